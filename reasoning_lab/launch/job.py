"""One run, or one cell of a sweep: build the experiment, run its stage, leave row.json."""

import json
import logging
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from reasoning_lab.artifacts.base import Context, open_store
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import resolved
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.provenance import git_state, provenance, typed
from reasoning_lab.launch.tracking.live import watched
from reasoning_lab.launch.tracking.log import Tracker
from reasoning_lab.launch.tracking.mode import resolve_mode
from reasoning_lab.launch.tracking.names import run_info
from reasoning_lab.launch.typed import build
from reasoning_lab.stages import STAGES, Run, optimised

log = logging.getLogger(__name__)


def work(config: DictConfig) -> float:
    """Hydra's task; the metric that a sweeper optimises.

    In a sweep a failure is recorded and nan returned, so that the other cells go on; the launching process names it.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    started = time.time()
    command = typed(list(HydraConfig.get().overrides.task))
    row = {"status": "running", "overrides": _overrides(), "started": round(started, 3), **provenance(command)}
    write_json(folder / "status.json", {"status": "running"})
    try:
        row["config"] = resolved(config)
        run, row["metrics"] = _run(build(config), folder, row["config"])
        metric = optimised(run, row["metrics"])
        row["status"] = "completed"
    except Exception as error:
        log.exception("failed")
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        if in_sweep:
            return math.nan
        if isinstance(error, (ValueError, ConfigError)):
            sys.stderr.write(f"error: {error}\n(traceback: {folder / 'main.log'})\n")
            sys.exit(1)
        raise
    except BaseException as error:  # Ctrl-C, or the end of a job's time: what is done stays done.
        row |= {"status": "interrupted", "error": type(error).__name__}
        raise
    finally:
        row["seconds"] = round(time.time() - started, 3)
        write_json(folder / "row.json", row)
        write_json(folder / "status.json", {key: row.get(key) for key in ("status", "error", "seconds", "metrics")})
    return metric


def _run(experiment: Experiment, folder: Path, config: dict[str, Any]) -> tuple[Run, dict[str, float]]:
    """The run, and its stage's metrics, logged."""
    with _tracker(experiment, folder, config) as tracker:
        overrides = list(HydraConfig.get().overrides.task)
        context = open_context(experiment, typed(overrides))
        run = Run(experiment, context, folder, tracker.table, tracker.images)
        run.check()
        with watched(context, tracker, experiment.stage):
            metrics = STAGES[experiment.stage](run)
        tracker.summary(metrics)
        tracker.link("report", folder / "report")
    return run, metrics


def open_context(experiment: Experiment, command: str) -> Context:
    """The store below the experiment's outputs, its runtime, and the terminal; `command` is what was typed."""
    console = Console()

    def note(line: str) -> None:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)

    store = open_store(Path(experiment.outputs) / "artifacts", note)
    return Context(store, experiment.runtime, console, provenance=provenance(command))


def _tracker(experiment: Experiment, folder: Path, config: dict[str, Any]) -> Tracker:
    """The local log, and a dashboard beside it where the experiment and the machine allow."""
    tracking, hydra_config = experiment.tracking, HydraConfig.get()
    mode, notice = resolve_mode(tracking.mode, os.environ) if tracking.backend == "wandb" else ("offline", None)
    if notice:
        sys.stderr.write(notice + "\n")
    is_sweep = hydra_config.mode == RunMode.MULTIRUN
    info = run_info(
        experiment, config, _overrides(), dict(hydra_config.runtime.choices),
        Path(hydra_config.sweep.dir) if is_sweep else None, hydra_config.job.num if is_sweep else None,
        typed(list(hydra_config.overrides.task)), (git_state() or {}).get("commit"),
    )  # fmt: skip
    return Tracker(folder, info, "disabled" if tracking.backend == "none" else mode, tracking.backend)


def _overrides() -> dict[str, Any]:
    """The task's overrides as key → value."""
    parsed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    return {override.get_key_element(): override.value() for override in parsed}


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write a file as a whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(data, indent=1, default=str))
    os.replace(partial, file)
