"""The entry: overrides → one typed Experiment, checked before any work → its stage → row.json.

`reasoning-lab` (or `python -m reasoning_lab.main`) composes and checks everything first, for a sweep every cell of it,
and then hands over to Hydra, which runs `work` here, in processes of this machine or on a cluster. Nothing heavy is
imported before there is work: --help, completion and every config error come without torch.
"""

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra import version
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.config import CONFIG_NAME, Cell, Composer, ConfigError, build, conf_dir, resolved

if TYPE_CHECKING:
    from reasoning_lab.launch.tracking import Tracker
    from reasoning_lab.stages import Lab

USAGE_ERROR = 2
"""Exit status of a mistake in files or overrides."""
LOCAL_CELLS = 2
"""Cells at a time under the local launcher, which would start all at once; hydra.sweeper.max_batch_size changes it."""
VERSIONS_OF = ("reasoning_lab", "torch", "transformers", "numpy", "hydra-core", "omegaconf", "wandb", "math-verify")
"""Distributions named in every row."""
DRAWING_STAGES = ("taxonomy", "completions", "grades", "report")
"""Stages whose cells may share draws."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """What is about to start, checked."""

    config: DictConfig
    cells: tuple[Cell, ...]
    experiments: tuple[Experiment, ...]
    folder: Path
    """Of the run or the sweep, made for it."""
    is_sweep: bool


def main() -> None:
    """The console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # Threads that spin for work starve the other cells' threads.
    arguments = get_args_parser().parse_args()
    try:
        if arguments.help:
            return show_help(arguments)
        passed_on = arguments.cfg or arguments.info or arguments.shell_completion or arguments.hydra_help
        if passed_on or arguments.experimental_rerun:
            return _hydra(arguments)
        launch = check(arguments)
    except ConfigError as error:
        _exit(f"error: {error}", USAGE_ERROR)
    return run_sweep(launch) if launch.is_sweep else _hydra(arguments)


def show_help(arguments: argparse.Namespace) -> None:
    """Groups, options and values."""
    text = _composer(arguments).help(arguments.overrides, arguments.resolve)
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:  # A reader such as `head` has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _hydra(arguments: argparse.Namespace) -> None:
    """Hydra's own main, which reads the command line."""
    if arguments.experimental_rerun:
        raise ConfigError("--experimental-rerun reads a pickle, which could run code; give the same overrides again.")
    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=CONFIG_NAME)(work)()


def _composer(arguments: argparse.Namespace) -> Composer:
    version.setbase("1.3")
    if arguments.config_path is not None:
        raise ConfigError("--config-path: not used here; add a folder of your own by --config-dir.")
    return Composer(arguments.config_dir, arguments.config_name)


def _exit(message: str, status: int) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(status)


# -- before anything starts --------------------------------------------------------------------------------------------


def check(arguments: argparse.Namespace) -> Launch:
    """Compose and build everything that would run, and make its folder; a mistake in any cell stops all of it here."""
    composer = _composer(arguments)
    is_sweep = arguments.multirun or any(line.strip() == "hydra.mode=MULTIRUN" for line in arguments.overrides)
    config = composer.compose(arguments.overrides, is_sweep)
    if not is_sweep and (sweep := config.hydra.runtime.choices.get("sweep")):
        raise ConfigError(f"sweep={sweep} is a sweep; add -m to run all of its cells.")
    cells = composer.cells(config) if is_sweep else [Cell(tuple(arguments.overrides), config)]
    experiments = [_checked(cell, is_sweep) for cell in cells]
    folder = _make_folder(config, "hydra.sweep.dir" if is_sweep else "hydra.run.dir", arguments.overrides)
    if is_sweep and _starts_all_at_once(config):
        sys.argv.append(f"hydra.sweeper.max_batch_size={LOCAL_CELLS}")
    return Launch(config, tuple(cells), tuple(experiments), folder, is_sweep)


def _starts_all_at_once(config: DictConfig) -> bool:
    is_local = config.hydra.launcher._target_.endswith(".LocalLauncher")
    return is_local and "max_batch_size" in config.hydra.sweeper and config.hydra.sweeper.max_batch_size is None


def _checked(cell: Cell, is_sweep: bool) -> Experiment:
    """The cell's experiment."""
    from reasoning_lab.stages import STAGES

    try:
        experiment = build(cell.config)
        if experiment.stage not in STAGES:
            raise ConfigError(f"stage={experiment.stage}: no such stage; choose one of {', '.join(STAGES)}.")
    except ConfigError as error:
        if is_sweep:
            raise ConfigError(f"cell {' '.join(cell.overrides)}: {error} No cell was started.") from error
        raise
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
        sys.argv.append(f"{key}='{quoted}'")
    return folder


# -- one run, or one cell ----------------------------------------------------------------------------------------------


def work(config: DictConfig) -> float:
    """Hydra's task: build the experiment, run its stage, leave row.json; the headline metric.

    In a sweep a failure is recorded and nan returned, so that the other cells go on; the launching process names it.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    started = time.time()
    row = {"status": "running", "overrides": _overrides(), "started": round(started, 3), **provenance()}
    write_json(folder / "status.json", {"status": "running"})
    try:
        row["config"] = resolved(config)
        experiment = build(config)
        row["metrics"] = run_stage(experiment, folder, row)
        row["status"] = "completed"
    except Exception as error:
        log.exception("failed")
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        if in_sweep:
            return math.nan
        if isinstance(error, (ValueError, ConfigError)):
            _exit(f"error: {error}\n(traceback: {folder / 'main.log'})", 1)
        raise
    except BaseException as error:  # Ctrl-C, or the end of a job's time: what is done stays done.
        row |= {"status": "interrupted", "error": type(error).__name__}
        raise
    finally:
        row["seconds"] = round(time.time() - started, 3)
        write_json(folder / "row.json", row)
        write_json(folder / "status.json", {key: row.get(key) for key in ("status", "error", "seconds", "metrics")})
    return headline(experiment, row["metrics"])


def run_stage(experiment: Experiment, folder: Path, row: dict[str, Any]) -> dict[str, float]:
    """The stage's metrics, logged."""
    from reasoning_lab.stages import STAGES

    with open_tracker(experiment, folder, row["config"]) as tracker:
        metrics = STAGES[experiment.stage](experiment, open_lab(experiment, folder, tracker))
        tracker.log(metrics)
        tracker.summary(metrics)
    return metrics


def open_lab(experiment: Experiment, folder: Path, tracker: "Tracker") -> "Lab":
    """What a stage works with."""
    from rich.console import Console

    from reasoning_lab.artifacts.store import Store
    from reasoning_lab.stages import Lab

    console = Console()
    store = Store(Path(experiment.outputs) / "artifacts", note=lambda line: console.print(line, style="yellow"))
    store.runtime = vars(experiment.runtime) | provenance()
    return Lab(store, tracker, console, folder)


def open_tracker(experiment: Experiment, folder: Path, config: dict[str, Any]) -> "Tracker":
    """The local log, and W&B beside it where the experiment and the machine allow."""
    from reasoning_lab.launch.tracking import RunInfo, Tracker, resolve_mode

    tracking = experiment.tracking
    mode, notice = resolve_mode(tracking.mode, os.environ) if tracking.wandb else ("disabled", None)
    if notice:
        sys.stderr.write(notice + "\n")
    hydra_config = HydraConfig.get()
    is_sweep = hydra_config.mode == RunMode.MULTIRUN
    group = "/".join(Path(hydra_config.sweep.dir).parts[-2:]) if is_sweep else None
    name = f"{Path(hydra_config.sweep.dir).name}/{folder.name}" if is_sweep else folder.name
    return Tracker(folder, RunInfo(tracking.project, tracking.entity, group, experiment.stage, name, config), mode)


def headline(experiment: Experiment, metrics: dict[str, float]) -> float:
    """What a sweeper optimises: the accuracy of the arm `power`, else of the first arm, else the first metric."""
    first = next(iter(experiment.arms), "")
    for name in ("accuracy/power", f"accuracy/{first}", *metrics):
        if name in metrics:
            return metrics[name]
    return math.nan


def _overrides() -> dict[str, Any]:
    """The task's overrides as key → value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    return {override.get_key_element(): override.value() for override in parsed}


def provenance() -> dict[str, Any]:
    """Code and libraries that a result comes from."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    versions = {"python": sys.version.split()[0]}
    for package in VERSIONS_OF:
        try:
            versions[package] = version_of(package)
        except PackageNotFoundError:
            continue
    return {"git": git_state(), "versions": versions}


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether it differs from it; None outside a checkout."""
    import subprocess

    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write a file as a whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(data, indent=1, default=str))
    os.replace(partial, file)


# -- sweeps ------------------------------------------------------------------------------------------------------------


def run_sweep(launch: Launch) -> None:
    """Build what cells share, let Hydra run the cells, then sum up; exit status 1 where a cell failed."""
    from reasoning_lab.launch.sweep import Watch, cell_names, sum_up

    lab = _sweep_lab(launch)
    with lab.tracker:
        _build_shared(launch, lab)
        names = cell_names([cell.overrides for cell in launch.cells])
        with Watch(launch.folder, names, lab.console):
            status = _hydra_status()
        failed = sum_up(launch.folder, names, lab)
    sys.exit(1 if failed or status else 0)


def _sweep_lab(launch: Launch) -> "Lab":
    from reasoning_lab.launch.tracking import Tracker

    return open_lab(launch.experiments[0], launch.folder, Tracker(launch.folder))


def _build_shared(launch: Launch, lab: "Lab") -> None:
    """Draw once what several cells need, before they start."""
    from reasoning_lab.stages import build_shared

    wanted = [e for e in launch.experiments if e.runtime.build_shared and e.stage in DRAWING_STAGES]
    if len(wanted) < 2:
        return
    try:
        build_shared(wanted, lab)
    except ValueError as error:
        _exit(f"error: {error} No cell was started.", 1)


def _hydra_status() -> int:
    """Exit status of Hydra's sweep; it ends the process where a job was lost."""
    try:
        hydra.main(version_base="1.3", config_path=conf_dir(), config_name=CONFIG_NAME)(work)()
    except SystemExit as end:
        return 0 if end.code in (0, None) else 1
    return 0


if __name__ == "__main__":
    # Jobs of a sweep find `work` by its module's name, which must not be __main__.
    from reasoning_lab.main import main as entry

    entry()
