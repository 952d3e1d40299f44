"""One run, or one cell of a sweep: read what was submitted, build the experiment, run its stage, leave row.json."""

import logging
import logging.config
import math
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from reasoning_lab.artifacts.base import Context, open_store
from reasoning_lab.artifacts.stopping import end_on_signals, wait_if_ending
from reasoning_lab.disk import disk_error
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.folders import Submitted, read_submitted
from reasoning_lab.launch.logging_section import check_logging
from reasoning_lab.launch.provenance import git_state, provenance, typed
from reasoning_lab.launch.status import Pulse, write_json
from reasoning_lab.launch.terminal import terminal
from reasoning_lab.launch.tracking.live import watched
from reasoning_lab.launch.tracking.log import Tracker
from reasoning_lab.launch.tracking.mode import mode_of
from reasoning_lab.launch.tracking.names import run_info
from reasoning_lab.launch.typed import build_plain
from reasoning_lab.stages import STAGES, Run, optimised

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkedOff:
    """How a run ended."""

    row: dict[str, Any]
    context: Context | None
    """What it had loaded, for the next cell of this process."""

    @property
    def error(self) -> str | None:
        """What went wrong, in one line."""
        return self.row.get("error")


@dataclass
class _AtWork:
    """The run that this process is at."""

    folder: Path
    pulse: Pulse
    row: dict[str, Any]
    started: float = field(default_factory=time.time)

    def end(self, status: str, **told: Any) -> None:
        """Leave row.json and the last word of status.json; a disk that takes neither is part of the error."""
        self.row |= {"status": status, "seconds": round(time.time() - self.started, 3)} | told
        try:
            write_json(self.folder / "row.json", self.row)
        except OSError as error:
            self.row |= {"status": "failed", "error": self.row.get("error") or failure_words(error, self.folder)}
        self.pulse.end(self.row["status"], **{key: self.row.get(key) for key in ("error", "seconds", "metrics")})


_at_work: list[_AtWork] = []


def save_on_signals() -> None:
    """From now on a signal saves what the run of this process is at, leaves a true status and ends the process."""
    end_on_signals(_interrupted)


def _interrupted(name: str) -> None:
    for run in _at_work:
        run.end("interrupted", error=name)
    if _at_work:
        shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # A progress bar hides the cursor.
        sys.stderr.write(f"{shown}\n{name}: saved. What is done is kept; the same command goes on.\n")
        sys.stderr.flush()


def work(folder: Path, earlier: Context | None = None) -> WorkedOff:
    """Do what the folder says; no error leaves it.

    Arguments: `earlier` is what an earlier cell of this process had loaded.
    """
    logging.raiseExceptions = False  # A full disk is told in one line, and not once more by each line that it costs.
    submitted = read_submitted(folder)
    command = typed(submitted.overrides)
    row: dict[str, Any] = {"overrides": _parsed(submitted.overrides), "started": round(time.time(), 3)}
    at_work = _AtWork(folder, Pulse(folder), row | provenance(command) | {"config": submitted.config})
    _at_work.append(at_work)
    context = None
    try:
        at_work.pulse.start()
        _configure_log(submitted.hydra, str(submitted.config["outputs"]))
        experiment = build_plain(submitted.config)
        context = _context(experiment, command, earlier)
        context.listeners.append(at_work.pulse)
        _measure(experiment, context, submitted, at_work.row)
        wait_if_ending()
        at_work.end("completed")
    except BaseException as error:
        log.exception("failed")
        wait_if_ending()
        at_work.end("failed", error=failure_words(error, folder))
        if not isinstance(error, Exception):
            raise
    finally:
        _at_work.remove(at_work)
        if context is not None:
            context.listeners.clear()
    return WorkedOff(at_work.row, context)


def failure_words(error: BaseException, folder: Path) -> str:
    """An error in one line: of the disk with the path, the free bytes and the next move."""
    told = disk_error(error, folder) if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {error}" if told is None else str(told)


def _measure(experiment: Experiment, context: Context, submitted: Submitted, row: dict[str, Any]) -> None:
    """Log the stage's metrics and put them into the row, with the one that a sweeper optimises."""
    with _tracker(experiment, submitted) as tracker:
        run = Run(experiment, context, submitted.folder, tracker.table, tracker.images)
        run.check()
        with watched(context, tracker, experiment.stage):
            row["metrics"] = metrics = STAGES[experiment.stage](run)
        tracker.summary(metrics)
        tracker.link("report", submitted.folder / "report")
        objective = optimised(run, metrics)
    row["objective"] = None if math.isnan(objective) else objective


def _context(experiment: Experiment, command: str, earlier: Context | None) -> Context:
    """A context of its own, with the models and values of an earlier one where they are of use here."""
    context = open_context(experiment, command)
    if earlier is None or (earlier.runtime, earlier.store.root) != (context.runtime, context.store.root):
        return context
    earlier.keep_models(experiment.model_pair)
    return replace(earlier, console=context.console, provenance=context.provenance, listeners=[])


def open_context(experiment: Experiment, command: str) -> Context:
    """The store below the experiment's outputs, its runtime, and the terminal; `command` is what was typed."""
    console = terminal()

    def note(line: str) -> None:
        console.print(line, style="yellow", highlight=False, soft_wrap=True)

    store = open_store(Path(experiment.outputs) / "artifacts", note)
    return Context(store, experiment.runtime, console, provenance=provenance(command))


def _tracker(experiment: Experiment, submitted: Submitted) -> Tracker:
    """The local log, and a dashboard beside it where the experiment and the machine allow."""
    mode, notice = mode_of(experiment.tracking, os.environ)
    if notice:
        sys.stderr.write(notice + "\n")
    cell = int(submitted.folder.name) if submitted.sweep else None
    commit = (git_state() or {}).get("commit")
    info = run_info(
        experiment, submitted.config, _parsed(submitted.overrides), submitted.choices, submitted.sweep, cell,
        typed(submitted.overrides), commit,
    )  # fmt: skip
    return Tracker(submitted.folder, info, mode, experiment.tracking.backend)


def _configure_log(hydra: dict[str, Any], outputs: str) -> None:
    """Python's logging as the config has it, each run with its own file; `hydra.verbose` as Hydra means it. Checked
    again: what was checked when it was submitted has lain in a folder since."""
    if hydra.get("job_logging"):
        check_logging("hydra.job_logging", hydra["job_logging"], outputs)
        logging.config.dictConfig(hydra["job_logging"])
    verbose = hydra.get("verbose")
    loud = [None] if verbose is True else [verbose] if isinstance(verbose, str) else verbose or []
    for name in loud:
        logging.getLogger(name).setLevel(logging.DEBUG)


def _parsed(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Overrides as key → value."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {override.get_key_element(): override.value() for override in parsed}
