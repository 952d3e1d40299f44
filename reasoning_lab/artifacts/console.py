"""What a terminal shows of the work: the plan before it, a bar for each build during it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from reasoning_lab.artifacts.arms import describe
from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.cue import Cue
from reasoning_lab.artifacts.listening import Listener
from reasoning_lab.artifacts.standing import standing_of, tokens_left


def show_plan(
    title: str, answers: Sequence[Completions], typical_length: float, context: Context, cues: Sequence[Cue] = ()
) -> None:
    """Print what will be drawn: searches for cues, arms, problems, expected decode tokens at the length of a plain
    answer."""
    table = Table(title=title, title_justify="left")
    for column in ("answers of", "writer", "sampler"):
        table.add_column(column)
    for column in ("answers", "expected decode tokens", "state"):
        table.add_column(column, justify="right")
    total = 0.0
    for cue in cues:
        tokens, standing = cue.expected_tokens(typical_length), standing_of(cue, context)
        total += tokens_left(cue, standing, typical_length)
        words = f"entropy of {cue.n_samples} answers, ≤ {cue.openings.width} openings: {describe(cue.sampler)}"
        table.add_row(
            "cue search", cue.openings.role, words, f"≤ {cue.n_answers:,}", f"≤ {tokens:,.0f}",
            standing.word,
        )  # fmt: skip
    for each in answers:
        standing = standing_of(each, context)
        total += tokens_left(each, standing, typical_length)
        shown = "chosen from its pool" if each.pool else f"{each.expected_tokens(typical_length):,.0f}"
        table.add_row(each.caption, each.writer, describe(each.sampler), f"{each.n_answers:,}", shown, standing.word)
    context.console.print(table)
    context.console.print(
        f"About {total:,.0f} decode tokens to draw, at {typical_length} tokens per plain answer; prompts, and what a "
        "thinking model reads, come on top.",
        highlight=False,
    )


@contextmanager
def progress(context: Context) -> Iterator[None]:
    """A bar per build at work: items done, tokens so far, time."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[tokens]:>11,} tokens"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=context.console, transient=True) as bars:
        shown = _Bars(bars)
        context.listeners.append(shown)
        try:
            yield
        finally:
            context.listeners.remove(shown)


class _Bars(Listener):
    """A bar per label, gone when it is full."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._at: dict[str, TaskID] = {}

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        if label not in self._at:
            self._at[label] = self._bars.add_task(label, total=total, tokens=0)
        self._bars.update(self._at[label], completed=done, tokens=tokens, visible=done < total)
