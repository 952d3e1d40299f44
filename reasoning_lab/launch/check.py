"""Before anything starts: compose and build everything that would run, and make its folder."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from reasoning_lab.launch.compose import Cell, Composer, resolved
from reasoning_lab.launch.errors import ConfigError

if TYPE_CHECKING:
    from reasoning_lab.experiment import Experiment

LOCAL_CELLS = 2
"""Cells at a time under the local launcher, which would start all at once; hydra.sweeper.max_batch_size changes it."""


@dataclass(frozen=True)
class Launch:
    """What is about to start, checked."""

    config: DictConfig
    cells: tuple[Cell, ...]
    experiments: "tuple[Experiment, ...]"
    folder: Path
    """Of the run or the sweep, made for it."""
    is_sweep: bool


def composer_of(arguments: argparse.Namespace) -> Composer:
    """The composer that the command line asks for."""
    if arguments.config_path is not None:
        raise ConfigError("--config-path: not used here; add a folder of your own by --config-dir.")
    return Composer(arguments.config_dir, arguments.config_name)


def check(arguments: argparse.Namespace) -> Launch:
    """Compose and build all cells, and make the folder; a mistake in any cell stops all of it here."""
    composer = composer_of(arguments)
    is_sweep = arguments.multirun or any(line.strip() == "hydra.mode=MULTIRUN" for line in arguments.overrides)
    config = composer.compose(arguments.overrides, is_sweep)
    if not is_sweep and (sweep := config.hydra.runtime.choices.get("sweep")):
        raise ConfigError(f"sweep={sweep} is a sweep; add -m to run all of its cells.")
    cells = composer.cells(config) if is_sweep else [Cell(tuple(arguments.overrides), config)]
    experiments = [_checked(cell, is_sweep) for cell in cells]
    folder = _make_folder(config, "hydra.sweep.dir" if is_sweep else "hydra.run.dir", arguments.overrides)
    if is_sweep and _starts_all_at_once(config):
        _add_override(f"hydra.sweeper.max_batch_size={LOCAL_CELLS}", arguments.overrides)
    return Launch(config, tuple(cells), tuple(experiments), folder, is_sweep)


def _starts_all_at_once(config: DictConfig) -> bool:
    is_local = config.hydra.launcher._target_.endswith(".LocalLauncher")
    return is_local and "max_batch_size" in config.hydra.sweeper and config.hydra.sweeper.max_batch_size is None


def _checked(cell: Cell, is_sweep: bool) -> "Experiment":
    """The cell's experiment."""
    try:
        resolved(cell.config)  # What refers to nothing is told before the options' classes, and torch, are loaded.
        from reasoning_lab.launch.typed import build

        experiment = build(cell.config)
        # What needs a network is compared by the job.
        experiment.check_disjoint({}, is_offline=True)
    except (ConfigError, ValueError) as error:
        if is_sweep:
            raise ConfigError(f"cell {' '.join(cell.overrides)}: {error} No cell was started.") from error
        raise ConfigError(str(error)) from error
    return experiment


def _make_folder(config: DictConfig, key: str, overrides: Sequence[str]) -> Path:
    """Make the folder of a run or a sweep, one that nobody else has, and let Hydra use it."""
    folder = Path(str(OmegaConf.select(config, key))).absolute()
    is_given = any(line.startswith(f"{key}=") for line in overrides)
    try:
        folder.mkdir(parents=True, exist_ok=is_given)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        why = f"{error.strerror}: {error.filename}"
        raise ConfigError(f"outputs={config.outputs}: can't write there ({why}); set another folder.") from error
    if not is_given:
        quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
        _add_override(f"{key}='{quoted}'", overrides)
    return folder


def _add_override(override: str, given: Sequence[str]) -> None:
    """Say it to Hydra, which reads the command line again: beside the given overrides, for it takes none on both sides
    of a flag."""
    sys.argv.insert(sys.argv.index(given[0]) if given else len(sys.argv), override)
