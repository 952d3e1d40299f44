"""The plan of a run, and its carrying out: what is drawn, in how many processes, with a bar for each."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_lab.artifacts.draws import (
    Draw,
    all_draws,
    describe,
    expected_tokens,
    flat,
    trace_draw,
)
from reasoning_lab.artifacts.lab import Lab
from reasoning_lab.artifacts.lineage import taxonomy_recipe
from reasoning_lab.artifacts.results import (
    annotations,
    check_layers,
    check_prompts,
    completions,
    grades,
    taxonomy_bank,
    vectors,
)
from reasoning_lab.artifacts.store import Store
from reasoning_lab.experiment import Experiment

if TYPE_CHECKING:
    from reasoning_lab.model_pair.loaded import LoadedModel


def show_plan(experiment: Experiment, lab: Lab, draws: Sequence[Draw]) -> None:
    """Print what will be drawn: arms, problems, expected decode tokens."""
    from rich.table import Table

    table = Table(
        title=f"Plan: {experiment.model_pair.name} on {type(experiment.benchmark).__name__}", title_justify="left"
    )
    for column in ("draw", "model", "sampler"):
        table.add_column(column)
    for column in ("answers", "expected tokens", "state"):
        table.add_column(column, justify="right")
    total = 0.0
    for draw in flat(draws):
        tokens = expected_tokens(experiment, draw)
        built = lab.store.get(draw.recipe) is not None
        total += 0 if built else tokens
        state = "built" if built else "resumes" if lab.store.log_path(draw.recipe).exists() else "to draw"
        chosen = "chosen from its pool" if draw.pool else f"{tokens:,.0f}"
        table.add_row(draw.label, draw.role, describe(draw.sampler), f"{draw.n_answers:,}", chosen, state)
    lab.console.print(table)
    lab.console.print(
        f"About {total:,.0f} tokens to draw, at {experiment.typical_length} tokens per plain answer.", highlight=False
    )


def draw_all(work: Sequence[tuple[Experiment, Draw]], lab: Lab) -> None:
    """Draw what is not in the store, several draws at a time where the runtime has several workers.

    A worker that needs another's result waits for its lock, so the order is a matter of speed alone: longest first,
    behind what they depend on.
    """
    missing = [(experiment, draw) for experiment, draw in work if lab.store.get(draw.recipe) is None]
    if not missing:
        return
    for experiment, draw in missing:
        check_prompts(experiment, draw)
        check_layers(experiment)
    missing.sort(key=lambda pair: (_is_dependent(pair[1]), pair[1].pool is not None, -expected_tokens(*pair)))
    n_workers = _n_workers(missing)
    with progress(lab):
        for experiment, draw in missing:
            if draw.law is not None:  # What all hybrids share is made once, by all threads.
                vectors(replace(experiment, taxonomy=draw.taxonomy), draw.steering, lab)
        if n_workers == 1:
            for experiment, draw in missing:
                completions(experiment, draw, lab)
            return
        from reasoning_lab.artifacts.workers import call_all

        calls = [(experiment, draw, lab.store.root, lab.store.runtime) for experiment, draw in missing]
        call_all(_draw_apart, calls, n_workers, lambda event: _relay(event, lab))


def grade_all(experiment: Experiment, draws: Sequence[Draw], lab: Lab) -> None:
    """Grade what is not in the store."""
    with progress(lab):
        for draw in draws:
            grades(experiment, draw, lab)


def _is_dependent(draw: Draw) -> bool:
    return draw.matched is not None or draw.rate_of is not None


def _n_workers(work: Sequence[tuple[Experiment, Draw]]) -> int:
    """As the runtime says on a CPU; one process has the GPU."""
    from reasoning_lab.model_pair.loaded import resolve_device

    runtime = work[0][0].runtime
    if runtime.workers > 1 and resolve_device(runtime.device) != "cpu":
        return 1
    return min(runtime.workers, sum(draw.pool is None for _, draw in work) or 1)


_worker_models: dict[Any, "LoadedModel"] = {}
"""Models of a worker process, kept from one draw to the next."""


def annotate_all(experiment: Experiment, views: Sequence[tuple[Draw, bool]], lab: Lab) -> None:
    """Annotate draws, as drawn or as the taxonomy alone sees them, several at a time like `draw_all`."""
    n_workers = _n_workers([(experiment, draw) for draw, _ in views])
    if n_workers == 1:
        for draw, as_drawn in views:
            annotations(experiment, draw, lab, as_drawn)
        return
    from reasoning_lab.artifacts.workers import call_all

    calls = [(experiment, draw, lab.store.root, lab.store.runtime, as_drawn) for draw, as_drawn in views]
    with progress(lab):
        call_all(_draw_apart, calls, n_workers, lambda event: _relay(event, lab))


def _draw_apart(
    report: Callable[[Any], None],
    experiment: Experiment,
    draw: Draw,
    root: Path,
    runtime: dict[str, Any],
    annotate_as_drawn: bool | None = None,
) -> None:
    """One draw, or its annotation, in a worker process; lines and progress go to the parent."""
    from io import StringIO

    from rich.console import Console

    from reasoning_lab.launch.tracking import Tracker

    lines = StringIO()
    store = Store(root, note=lambda line: report(("line", line)))
    store.runtime = runtime
    lab = Lab(store, Tracker(root), Console(file=lines, width=200), root, _worker_models, _rarely(report))
    if annotate_as_drawn is None:
        completions(experiment, draw, lab)
    else:
        annotations(experiment, draw, lab, annotate_as_drawn)
    report(("line", lines.getvalue().rstrip("\n")))


def _rarely(report: Callable[[Any], None]) -> Callable[[str, int, int, int], None]:
    """Progress events, at most five a second and the last one always."""
    last = [0.0]

    def on_progress(label: str, total: int, done: int, tokens: int) -> None:
        if done == total or time.monotonic() - last[0] > 0.2:
            last[0] = time.monotonic()
            report(("progress", label, total, done, tokens))

    return on_progress


def _relay(event: Any, lab: Lab) -> None:
    kind, *rest = event
    if kind == "progress":
        lab.on_progress(*rest)
    elif rest[0]:
        lab.console.print(rest[0], highlight=False, soft_wrap=True)


def build_taxonomies(experiments: Sequence[Experiment], lab: Lab) -> None:
    """Traces and activations once, and the taxonomies of one layer that differ in size alone as one bank, before the
    cells of a grid name and score them."""
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        recipe = taxonomy_recipe(experiment)
        groups.setdefault(replace(recipe, n_clusters=1).key, []).append(experiment)
    draw_all([(group[0], trace_draw(group[0])) for group in groups.values()], lab)
    with progress(lab):
        for number, group in enumerate(groups.values(), start=1):
            taxonomy_bank(group, lab)
            lab.on_progress("banks of taxonomies", len(groups), number, 0)
    lab.models.clear()


def build_shared(experiments: Sequence[Experiment], lab: Lab) -> None:
    """Draw what more than one cell of a sweep needs, once, before the cells start."""
    if experiments[0].stage == "taxonomy":
        build_taxonomies(experiments, lab)
        return
    needed: Counter[str] = Counter()
    owners: dict[str, tuple[Experiment, Draw]] = {}
    for experiment in experiments:
        for draw in flat(all_draws(experiment)):
            needed[draw.recipe.key] += 1
            owners.setdefault(draw.recipe.key, (experiment, draw))
    shared = [key for key, n in needed.items() if n > 1]
    lab.console.print(
        f"{len(shared)} of {len(needed)} draws are shared by several cells; built first.", highlight=False
    )
    draw_all([owners[key] for key in shared], lab)
    lab.models.clear()


@contextmanager
def progress(lab: Lab) -> Iterator[None]:
    """A bar per draw at work: answers done, tokens so far, time."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[tokens]:>11,} tokens"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=lab.console, transient=True) as bars:
        at: dict[str, Any] = {}

        def on_progress(label: str, total: int, done: int, tokens: int) -> None:
            if label not in at:
                at[label] = bars.add_task(label, total=total, tokens=0)
            bars.update(at[label], completed=done, tokens=tokens, visible=done < total)

        lab.on_progress = on_progress
        try:
            yield
        finally:
            lab.on_progress = lambda *_: None
