"""The page of a taxonomy, and its part on the page of a hybrid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab.report.data import CategoryView, TaxonomyView
from reasoning_lab.report.pages.kit import html_page
from reasoning_lab.report.views.taxonomy import (
    judge_words,
    print_taxonomy,
    taxonomy_notes,
    write_categories,
    write_taxonomy_markdown,
)

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_EXAMPLES = 3
"""Representative sentences shown before the fold."""
MAX_EXAMPLES = 10
"""Representative sentences on the page; categories.csv has all."""
LONGEST_EXAMPLE = 300
"""Characters of a representative sentence that a page shows."""


@dataclass(frozen=True)
class TaxonomyParts:
    """What taxonomy_parts.html.j2 shows."""

    method: str
    judged: str
    scores: list[tuple[str, str, str]]
    """Name, value, range (empty where it is a point)."""
    categories: tuple[CategoryView, ...]
    sentences: list[list[str]]
    """Of each category, in its order."""
    n_shown: int
    """Sentences before the fold."""
    widest: float
    """The largest share."""
    truth: bool
    """Whether a category's truth is known."""
    notes: list[str]


def taxonomy_parts(view: TaxonomyView) -> TaxonomyParts:
    """The taxonomy as its page shows it."""
    scores = [(name, f"{score.value:.2f}", "" if score.low == score.high else f"{score.low:.2f} to {score.high:.2f}")
              for name, score in view.scores.items()]  # fmt: skip
    return TaxonomyParts(
        method=view.method,
        judged=judge_words(view),
        scores=scores,
        categories=view.categories,
        sentences=[[_shortened(text) for text in c.examples[:MAX_EXAMPLES]] for c in view.categories],
        n_shown=SHOWN_EXAMPLES,
        widest=max((c.share for c in view.categories), default=0.0) or 1.0,
        truth=any(c.truth for c in view.categories),
        notes=taxonomy_notes(view),
    )


def _shortened(example: str) -> str:
    short = example if len(example) <= LONGEST_EXAMPLE else f"{example[:LONGEST_EXAMPLE]}…"
    return " ".join(short.split())


def write_taxonomy(view: TaxonomyView, out_dir: Path, console: Console | None = None) -> None:
    """categories.csv, taxonomy.md and taxonomy.html; the table on the terminal too where one is given."""
    out_dir.mkdir(parents=True, exist_ok=True)
    write_categories(view, out_dir)
    write_taxonomy_markdown(view, out_dir / "taxonomy.md")
    html = html_page("taxonomy", "Taxonomy", {}, taxonomy=taxonomy_parts(view))
    (out_dir / "taxonomy.html").write_text(html, encoding="utf-8")
    if console is not None:
        print_taxonomy(view, console)
