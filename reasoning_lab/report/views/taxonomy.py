"""A taxonomy as a reader meets it: its categories and scores, as CSV, Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab.report.data import CategoryView, TaxonomyView, VectorView
from reasoning_lab.report.views.provenance import provenance_facts
from reasoning_lab.report.views.tables import (
    Cell,
    Column,
    Group,
    markdown_list,
    markdown_table,
    markdown_text,
    print_lines,
    print_rows,
    write_csv,
    write_text_lines,
)
from reasoning_lab.report.words import NOTHING
from reasoning_lab.statistics import Interval

if TYPE_CHECKING:
    from rich.console import Console

MARKDOWN_EXAMPLES = 3
"""Representative sentences of a category in taxonomy.md; categories.csv has all."""


def score_words(score: Interval) -> str:
    """'0.62 [0.55, 0.70]'; the number alone where the interval is a point."""
    value, low, high = (f"{x:.2f}" for x in score)
    return value if score.low == score.high else f"{value} [{low}, {high}]"


def category_name(category: CategoryView) -> str:
    """'3 Checking'."""
    return f"{category.index} {category.title}".strip()


def judge_words(view: TaxonomyView) -> str:
    """Who named and scored the categories."""
    return f"Named and scored by {view.judge}." if view.judge else "Nobody named or scored the categories."


def taxonomy_notes(view: TaxonomyView) -> list[str]:
    """How many categories are empty, and what was skipped or counted."""
    empty = {0: "Every category has sentences.", 1: "1 category has no sentence."}
    return [empty.get(view.n_dead, f"{view.n_dead} categories have no sentence."), *view.notes]


def _made(view: TaxonomyView) -> list[str]:
    return [*taxonomy_notes(view), *provenance_facts(view.provenance)]


def _record(category: CategoryView) -> dict[str, Cell]:
    return {
        "category": category.index,
        "title": category.title,
        "share": category.share,
        "truth": category.truth,
        "description": category.description,
        "examples": " | ".join(category.examples),
    }


def write_categories(view: TaxonomyView, out_dir: Path) -> None:
    """categories.csv; a taxonomy without categories has none."""
    if view.categories:
        write_csv([_record(category) for category in view.categories], out_dir / "categories.csv")


def write_vectors(vectors: Sequence[VectorView], out_dir: Path) -> None:
    """vectors.csv, norms and test losses; a hybrid without vectors has none."""
    records: list[dict[str, Cell]] = [
        {"category": v.category, "norm": v.norm, "test_without": v.loss_before, "test_with": v.loss_after,
         "n_train": v.n_examples, "note": v.note} for v in vectors
    ]  # fmt: skip
    if records:
        write_csv(records, out_dir / "vectors.csv")


def write_taxonomy_markdown(view: TaxonomyView, path: Path) -> None:
    """Scores, then categories with their first sentences."""
    lines = ["# Categories of reasoning steps", "", markdown_text(f"{view.method}. {judge_words(view)}")]
    if view.scores:
        lines += markdown_table(("Score", "Value"), [(name, score_words(score)) for name, score in view.scores.items()])
    header = ("Category", "Share %", "Truth", "Description", "Representative sentences")
    body = [(category_name(c), f"{100 * c.share:.1f}", c.truth or NOTHING, c.description,
             " / ".join(c.examples[:MARKDOWN_EXAMPLES])) for c in view.categories]  # fmt: skip
    write_text_lines([*lines, *markdown_table(header, body), *markdown_list(_made(view))], path)


def _one_line(text: str) -> str:
    return " ".join(text.split())


TAXONOMY_COLUMNS: tuple[Column[CategoryView], ...] = (
    Column("Category", "Number and title", lambda c: _one_line(category_name(c))),
    Column("Share %", "Of the traces' sentences", lambda c: f"{100 * c.share:.1f}"),
    Column("Truth", "Ground truth of most of its sentences", lambda c: _one_line(c.truth) or NOTHING, left=True),
    Column("Nearest sentence", "The nearest to its centre", lambda c: _one_line((*c.examples, NOTHING)[0]), left=True),
)


def print_taxonomy(view: TaxonomyView, console: Console) -> None:
    """Categories with their share, truth and first sentence; scores and notes below."""
    print_rows(view.method, TAXONOMY_COLUMNS, [Group("", list(view.categories))], console)
    scores = ", ".join(f"{name} {score_words(score)}" for name, score in view.scores.items())
    said = [judge_words(view), *([f"Scores: {scores}."] if scores else []), *_made(view)]
    print_lines(said, console, "dim")
