"""Runs of small experiments in a folder of the test's own, as the command line makes them."""

from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.store import Store
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.provenance import provenance
from reasoning_lab.records import Annotation, Completion
from reasoning_lab.stages import STAGES, Metrics, Run


def context_of(experiment: Experiment, root: Path, heard: StringIO | None = None) -> Context:
    """A context whose store lies in `root`; what it prints goes to `heard`."""
    console = Console(file=heard if heard is not None else StringIO(), width=200)
    return Context(Store(root / "artifacts"), experiment.runtime, console, provenance=code())


@cache
def code() -> dict[str, Any]:
    """Commit and versions, as the command line records them; nothing was typed."""
    return {name: value for name, value in provenance("").items() if name != "command"}


def run_of(experiment: Experiment, root: Path, name: str = "run", heard: StringIO | None = None) -> Run:
    """The experiment at work in a folder of `root`, in a process of its own as far as its memory goes."""
    folder = root / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return Run(experiment, context_of(experiment, root, heard), folder)


def staged(experiment: Experiment, root: Path, name: str = "run", stage: str | None = None) -> Metrics:
    """The metrics of the experiment's stage, or of another one."""
    return STAGES[stage or experiment.stage](run_of(experiment, root, name))  # type: ignore[index]


def answers(run: Run, arm: str, draw: int = 0) -> tuple[Completion, ...]:
    """An arm's answers."""
    return run.context.get(run.arms.rows[arm].draws[draw].completions)


def notes(run: Run, arm: str) -> tuple[Annotation, ...]:
    """An arm's annotations, as drawn."""
    drawn = run.arms.rows[arm].drawn
    assert drawn is not None
    return run.context.get(drawn)
