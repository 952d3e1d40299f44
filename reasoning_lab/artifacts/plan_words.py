"""A plan as a terminal shows it: a line for each kind of artifact, then what the numbers leave open."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning_lab.artifacts.estimate import Changed, KindPlan, Plan
from reasoning_lab.artifacts.rates import BANDWIDTH

NOTHING, UNKNOWN_WORDS = "–", "not known yet"
JUDGED = ("naming", "preferences")
"""Kinds whose builds ask a judge."""
MOST_CHANGES = 20
"""Differences that are listed."""


def print_plan(plan: Plan, console: Console) -> None:
    """The table, the sentences, and what changed."""
    table = Table(title="Plan: nothing was started", title_justify="left")
    table.add_column("artifacts")
    headings = (
        "there",
        "go on",
        "to make",
        "shared",
        "decode tokens",
        "prompt tokens",
        "rows",
        "process time",
        "memory",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for kind in plan.kinds:
        table.add_row(*_row(kind, plan.cells))
    console.print(table)
    for line in (*_sentences(plan), *_changes(plan)):
        console.print(Text(line), soft_wrap=True)


def _row(kind: KindPlan, cells: int) -> tuple[str, ...]:
    of = "" if kind.resumed_of is None else f" of {kind.resumed_of:,}"
    begun = f"{kind.resumed:,} ({kind.resumed_items:,}{of} items)" if kind.resumed else NOTHING
    return (
        kind.kind,
        _count(kind.reused),
        begun,
        _count(kind.made),
        _count(kind.shared) if cells > 1 else NOTHING,
        _count(kind.decode_tokens),
        "unknown" if kind.prompt_tokens is None else _count(kind.prompt_tokens),
        " to ".join(f"{rows:,}" for rows in dict.fromkeys((*kind.rows[:1], *kind.rows[-1:]))) or NOTHING,
        _time_words(kind),
        "unknown" if kind.memory is None else bytes_words(kind.memory) if kind.memory else NOTHING,
    )


def _count(n: float | int) -> str:
    return f"{n:,.0f}" if n else NOTHING


def _time_words(kind: KindPlan) -> str:
    """'1.5 min', '≥ 2.0 h' where only the least is known of some, 'not known yet' of none."""
    if not kind.n_builds:
        return NOTHING
    if kind.n_untimed == kind.n_builds:
        return UNKNOWN_WORDS
    return f"{'≥ ' if kind.n_untimed or kind.n_at_least else ''}{duration_words(kind.seconds)}"


def duration_words(seconds: float) -> str:
    """'12 s', '3.5 min', '41.0 h'."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "< 1 s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def bytes_words(n: int) -> str:
    """'3 MiB', '61.2 GiB'."""
    return f"{n / 2**30:,.1f} GiB" if n >= 2**30 else f"{n / 2**20:,.1f} MiB"


def _sentences(plan: Plan) -> Iterator[str]:
    yield _work(plan)
    length = " to ".join(f"{length:g}" for length in dict.fromkeys((plan.typical_lengths[0], plan.typical_lengths[-1])))
    prompts = "an unknown number" if plan.prompt_tokens is None else f"{plan.prompt_tokens:,}"
    yield (
        f"Tokens: {plan.decode_tokens:,.0f} to draw, expected at {length} tokens of a plain answer (typical_length), "
        f"and {prompts} of prompts, each answer's once."
    )
    if plan.openings:
        yield (
            f"Cue: the search finds its openings first; at most {plan.openings} sets of answers and "
            f"{plan.openings_tokens:,.0f} tokens more than the table has."
        )
    if plan.trained:
        yield f"Training: {plan.trained} of the cells train a model; what that takes is in no number here."
    if any(kind.n_builds for kind in plan.kinds if kind.kind in JUDGED):
        yield "Judge: its questions, and the model of a judge that runs here, are in no number here."
    least = "at most " if plan.loads_at_most else ""
    held = "unknown (a model's config is not here)" if plan.memory is None else bytes_words(plan.memory)
    yield (
        f"Model loads: {least}{plan.loads:,}. Memory of a process's fullest device, at most: {held}; {MEMORY_MEANING}"
    )
    yield from _room(plan)
    yield from _places(plan)
    yield from _times(plan)


MEMORY_MEANING = "weights, caches, saved states, passes and training, without what kernels take within one operation."


def _room(plan: Plan) -> Iterator[str]:
    """Whether the device has it."""
    if plan.memory is None or plan.free is None or not plan.memory:
        return
    free = f"{bytes_words(plan.free)} are free on {plan.device}"
    if plan.memory > plan.free:
        yield (
            f"Too little memory: {free}; lower runtime.rows or runtime.max_prompt_tokens, or take more devices "
            "(runtime.devices, runtime.devices_each=2 puts the two models of a pair apart)."
        )
    else:
        yield f"Memory: {free}."


def _places(plan: Plan) -> Iterator[str]:
    """Who draws at the same time, where several do."""
    if len(plan.drawing) > 1:
        named = ", ".join("+".join(devices) for devices in dict.fromkeys(plan.drawing))
        parts = f", each arm in {plan.shards} shards" if plan.shards > 1 else ""
        yield f"Drawing: {len(plan.drawing)} processes at once ({named}){parts}."


def _work(plan: Plan) -> str:
    reused, builds = sum(kind.reused for kind in plan.kinds), sum(kind.n_builds for kind in plan.kinds)
    cells = "1 cell" if plan.cells == 1 else f"{plan.cells:,} cells"
    processes = "1 process" if plan.processes == 1 else f"{plan.processes:,} processes"
    first = " after one that builds what they share" if plan.builds_first else ""
    return f"Work: {cells} in {processes}{first}; {builds:,} artifacts to build, {reused:,} are there."


def _times(plan: Plan) -> Iterator[str]:
    measured, least, unknown = (
        sum(getattr(kind, name) for kind in plan.kinds) for name in ("n_measured", "n_at_least", "n_untimed")
    )
    if not measured + least + unknown:
        return
    parts = [
        *([f"{measured:,} builds by the median rate of earlier ones on {plan.device}"] if measured else []),
        *(
            [f"{least:,} builds at least so long, weights read once a step at {BANDWIDTH / 1e12:g} TB/s"]
            if least
            else []
        ),
        *([f"{unknown:,} of which nothing is known yet"] if unknown else []),
    ]
    total = sum(kind.seconds for kind in plan.kinds)
    known = duration_words(total) if measured + least else UNKNOWN_WORDS
    is_bound = "at least " if (least or unknown) and measured + least else ""
    hours = "GPU time" if plan.device.startswith("cuda") else "Process time"
    yield f"{hours}: {is_bound}{known}: {'; '.join(parts)}."


def _changes(plan: Plan) -> Iterator[str]:
    """A line for each way in which missing artifacts differ from the nearest finished ones."""
    groups: dict[tuple[str, ...], list[Changed]] = {}
    for each in plan.changed:
        groups.setdefault(tuple(map(_cause, each.drift.differences)), []).append(each)
    if groups:
        yield "Missing, and what tells each from the nearest finished one of its name:"
    for differences, changed in list(groups.items())[:MOST_CHANGES]:
        kinds = ", ".join(dict.fromkeys(each.kind for each in changed))
        yield f"  {'; '.join(differences)} ({len(changed)}: {kinds}; {changed[0].drift.folder})"
    if len(groups) > MOST_CHANGES:
        yield f"  and {len(groups) - MOST_CHANGES} more"


def _cause(line: str) -> str:
    """A difference without the words that place it upstream."""
    _, colon, cause = line.partition(": ")
    return cause if colon and line.startswith("upstream ") else line
