"""Before anything starts: compose and build everything that would run, and write it down in its folder."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from reasoning_lab.launch.compose import Cell, Composer, resolved, resolved_hydra
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.folders import Submitted
from reasoning_lab.launch.options import KEYS, Launching, split_launching

if TYPE_CHECKING:
    from reasoning_lab.experiment import Experiment
    from reasoning_lab.launch.launchers import Launcher


@dataclass(frozen=True)
class Launch:
    """What is about to start, checked."""

    runs: tuple[Submitted, ...]
    """The run, or the sweep's cells; their folders are not made yet."""
    experiments: "tuple[Experiment, ...]"
    launching: Launching
    folder: Path
    """Of the run or the sweep."""
    overrides: tuple[str, ...]
    launcher: "Launcher | None" = None
    """None of a single run."""
    launcher_plain: dict[str, Any] | None = None
    search: DictConfig | None = None
    """The composed root, where a sweeper chooses the cells as it goes."""


def composer_of(arguments: argparse.Namespace) -> Composer:
    """The composer that the command line asks for."""
    if arguments.config_path is not None:
        raise ConfigError("--config-path: not used here; add a folder of your own by --config-dir.")
    return Composer(arguments.config_dir, arguments.config_name)


def is_sweep(arguments: argparse.Namespace) -> bool:
    """Whether the command line asks for a sweep."""
    return arguments.multirun or any(line.strip() == "hydra.mode=MULTIRUN" for line in arguments.overrides)


def launching_of(config: DictConfig) -> Launching:
    """How the composed root is to be launched."""
    from reasoning_lab.launch.typed import build_option

    return build_option(Launching, {key: config[key] for key in KEYS}, "")


def check_run(composer: Composer, overrides: Sequence[str]) -> Launch:
    """A single run."""
    config = composer.compose(overrides)
    if sweep := config.hydra.runtime.choices.get("sweep"):
        raise ConfigError(f"sweep={sweep} is a sweep; add -m to run all of its cells.")
    launching = launching_of(config)
    if launching.submit:
        raise ConfigError("submit=true: a single run works in this terminal; add -m, also for one cell, to submit it.")
    experiment = _checked(Cell(tuple(overrides), config))
    folder = Path(str(OmegaConf.select(config, "hydra.run.dir"))).absolute()
    run = submitted(Cell(tuple(overrides), config), folder, None)
    return Launch((run,), (experiment,), launching, folder, tuple(overrides))


def check_sweep(composer: Composer, master: DictConfig, overrides: Sequence[str]) -> Launch:
    """A sweep; a mistake in any cell stops all of it here."""
    from reasoning_lab.launch.launchers import Launcher, SlurmLauncher
    from reasoning_lab.launch.slurm import slurm_fault
    from reasoning_lab.launch.typed import build_option

    launching = launching_of(master)
    n = composer.count_cells(master)
    if n > launching.max_cells:
        raise ConfigError(
            f"{n:,} cells are more than max_cells={launching.max_cells:,}; sweep over fewer values, or raise max_cells."
        )
    if master.hydra.sweeper.get("max_batch_size") is not None:
        raise ConfigError("hydra.sweeper.max_batch_size: not used here; set hydra.launcher.processes.")
    folder = Path(str(OmegaConf.select(master, "hydra.sweep.dir"))).absolute()
    plain = resolved_hydra(master, folder, 0)["launcher"]
    launcher = build_option(Launcher, plain, "hydra.launcher")
    if isinstance(launcher, SlurmLauncher) and not launching.dry_run and (fault := slurm_fault()) is not None:
        raise ConfigError(fault)
    cells = composer.cells(master)
    experiments = tuple(_checked(cell, is_sweep=True) for cell in cells)
    runs = tuple(submitted(cell, folder / str(number), number) for number, cell in enumerate(cells))
    is_search = composer.is_search(master)
    return Launch(
        () if is_search else runs, experiments, launching, folder, tuple(overrides), launcher, plain,
        master if is_search else None,
    )  # fmt: skip


def submitted(cell: Cell, folder: Path, number: int | None) -> Submitted:
    """A composed cell as it is written down."""
    plain = split_launching(resolved(cell.config))[1]
    return Submitted(folder, plain, cell.overrides, resolved_hydra(cell.config, folder, number))


def _checked(cell: Cell, is_sweep: bool = False) -> "Experiment":
    """The cell's experiment."""
    try:
        resolved(cell.config)  # What refers to nothing is told before the options' classes, and torch, are loaded.
        from reasoning_lab.launch.machine import check_machine
        from reasoning_lab.launch.typed import build

        experiment = build(cell.config)
        check_machine(experiment, cell.config.hydra.launcher if is_sweep else None, cell.config.dry_run)
        # What needs a network is compared by the job.
        experiment.check_disjoint({}, is_offline=True)
    except (ConfigError, ValueError) as error:
        if is_sweep:
            raise ConfigError(f"cell {' '.join(cell.overrides)}: {error} No cell was started.") from error
        raise ConfigError(str(error)) from error
    return experiment


def make_folder(folder: Path, outputs: str, is_given: bool) -> None:
    """Make the folder of a run or a sweep, one that nobody else has unless the user named it."""
    try:
        folder.mkdir(parents=True, exist_ok=is_given)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        why = f"{error.strerror}: {error.filename}"
        raise ConfigError(f"outputs={outputs}: can't write there ({why}); set another folder.") from error


def is_folder_given(launch: Launch) -> bool:
    """Whether the user named the folder."""
    return any(line.startswith(("hydra.run.dir=", "hydra.sweep.dir=")) for line in launch.overrides)
