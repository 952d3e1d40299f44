"""A search for a cue as a reader meets it: all its candidates, on a terminal and as CSV, and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab.cue.search import CueCandidate, FoundCue
from reasoning_lab.report.views.tables import Column, Group, print_lines, print_rows, write_csv
from reasoning_lab.report.words import NOTHING

if TYPE_CHECKING:
    from rich.console import Console


def cue_words(found: FoundCue) -> str:
    """How the cue was found, and for how many tokens."""
    chosen, without = found.chosen, found.without
    return (
        f"The cue {chosen.text!r} has the least answer entropy of {len(found.candidates)} openings, "
        f"{chosen.entropy:.2f} nats against {without.entropy:.2f} without one ({found.n_samples} answers to each of "
        f"{found.n_problems} training problems, no gold answer looked at); finding it drew {found.tokens:,} decode "
        "tokens, once."
    )


def _named(candidate: CueCandidate) -> str:
    return repr(candidate.text) if candidate.ids else "no opening"


def _ranks(found: FoundCue) -> list[tuple[int | None, CueCandidate]]:
    """The candidates by rising entropy, and what there is without one."""
    return [*enumerate(found.candidates, start=1), (None, found.without)]


COLUMNS: tuple[Column[tuple[int | None, CueCandidate]], ...] = (
    Column("Rank", "By entropy", lambda pair: NOTHING if pair[0] is None else str(pair[0])),
    Column("Opening", "Forced tokens as text", lambda pair: _named(pair[1]), left=True),
    Column("Probability", "Mean over the problems", lambda pair: f"{pair[1].probability:.3f}"),
    Column("Entropy", "Mean over the problems, of their answers [nats]", lambda pair: f"{pair[1].entropy:.3f}"),
    Column("Unread %", "Answers that could not be read", lambda pair: f"{100 * pair[1].unread:.1f}"),
    Column("Tokens", "Drawn for its answers", lambda pair: f"{pair[1].tokens:,}"),
)


def print_cue(found: FoundCue, console: Console) -> None:
    """All candidates by rising entropy, and the sentence."""
    groups: Sequence[Group[tuple[int | None, CueCandidate]]] = [Group("", _ranks(found))]
    print_rows(f"Cue: {found.chosen.text!r}", COLUMNS, groups, console)
    print_lines([cue_words(found)], console, "")


def write_cue(found: FoundCue, path: Path) -> None:
    """A row per candidate; the one without an opening has no rank."""
    write_csv(
        [
            {"rank": rank, "opening": each.text, "ids": " ".join(map(str, each.ids)), "probability": each.probability,
             "entropy": each.entropy, "unread": each.unread, "tokens": each.tokens} for rank, each in _ranks(found)
        ],
        path,
    )  # fmt: skip
