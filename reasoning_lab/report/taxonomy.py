"""A taxonomy as a reader meets it: its categories and scores, as CSV, Markdown, page and terminal table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab import statistics as st
from reasoning_lab.report.html import document, region, text
from reasoning_lab.report.hybrid_inputs import CategoryView, TaxonomyView
from reasoning_lab.report.inputs import visible
from reasoning_lab.report.plots import stylesheet
from reasoning_lab.report.swatches import swatch, swatch_styles
from reasoning_lab.report.table import Cell, markdown_table, markdown_text, write_csv

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_EXAMPLES = 3
"""Representative sentences shown before the fold."""
MAX_EXAMPLES = 10
"""Representative sentences on the page; categories.csv has all."""
LONGEST_EXAMPLE = 300
"""Characters of a representative sentence that a page shows."""


def score_words(score: st.Interval) -> str:
    """'0.62 [0.55, 0.70]'; the number alone where the interval is a point."""
    value, low, high = (f"{x:.2f}" for x in score)
    return value if score.low == score.high else f"{value} [{low}, {high}]"


def category_name(category: CategoryView) -> str:
    """'3 Checking'."""
    return f"{category.index} {category.title}".strip()


def judge_words(view: TaxonomyView) -> str:
    """Who named and scored the categories."""
    return f"Named and scored by {view.judge}." if view.judge else "Nobody named or scored the categories."


def category_records(categories: tuple[CategoryView, ...]) -> list[dict[str, Cell]]:
    """categories.csv."""
    return [
        {"category": c.index, "title": c.title, "share": c.share, "truth": c.truth, "description": c.description,
         "examples": " | ".join(c.examples)} for c in categories
    ]  # fmt: skip


def write_categories(view: TaxonomyView, out_dir: Path) -> None:
    """categories.csv; a taxonomy without categories has none."""
    if view.categories:
        write_csv(category_records(view.categories), out_dir / "categories.csv")


def write_taxonomy(view: TaxonomyView, out_dir: Path, console: Console | None = None) -> None:
    """categories.csv, taxonomy.md and taxonomy.html; the table on the terminal too where one is given."""
    out_dir.mkdir(parents=True, exist_ok=True)
    write_categories(view, out_dir)
    (out_dir / "taxonomy.md").write_text("\n".join(_markdown(view)) + "\n", encoding="utf-8")
    body = (
        f"<header><h1>Categories of reasoning steps</h1></header><main><section>{taxonomy_parts(view)}</section></main>"
    )
    html = document("Taxonomy", stylesheet({}) + swatch_styles(), body, ("taxonomy.css",))
    (out_dir / "taxonomy.html").write_text(html, encoding="utf-8")
    if console is not None:
        print_taxonomy(view, console)


def _markdown(view: TaxonomyView) -> list[str]:
    lines = ["# Categories of reasoning steps", "", markdown_text(f"{view.method}. {judge_words(view)}"), ""]
    if view.scores:
        body = [(name, score_words(score)) for name, score in view.scores.items()]
        lines += [*markdown_table(("Score", "Value"), body), ""]
    header = ("Category", "Share %", "Truth", "Description", "Representative sentences")
    body = [(category_name(c), f"{100 * c.share:.1f}", c.truth or "–", c.description, " / ".join(c.examples[:3]))
            for c in view.categories]  # fmt: skip
    lines += markdown_table(header, body)
    return [*lines, "", *(f"- {markdown_text(note)}" for note in _notes(view))]


def _notes(view: TaxonomyView) -> list[str]:
    empty = {0: "Every category has sentences.", 1: "1 category has no sentence."}
    return [empty.get(view.n_dead, f"{view.n_dead} categories have no sentence."), *view.notes]


# --- page -----------------------------------------------------------------------------------------------------


def taxonomy_parts(view: TaxonomyView) -> str:
    """Scores, category table and notes, as HTML; needs the styles of `swatches` and `taxonomy.css`."""
    notes = "".join(f"<li>{text(note)}</li>" for note in _notes(view))
    return (
        f'<p class="lead">{text(view.method)}. {text(judge_words(view))} Intervals of the judge\'s scores are the '
        "range over its repetitions, the others 95 %.</p>"
        f'{_scores(view)}{_categories(view)}<ul class="made">{notes}</ul>'
    )


def _scores(view: TaxonomyView) -> str:
    tiles = "".join(
        f"<div><dt>{text(name)}</dt><dd><strong>{score.value:.2f}</strong>{_range(score)}</dd></div>"
        for name, score in view.scores.items()
    )
    return f'<dl class="scores">{tiles}</dl>' if tiles else ""


def _range(score: st.Interval) -> str:
    return "" if score.low == score.high else f" <small>{score.low:.2f} to {score.high:.2f}</small>"


def _categories(view: TaxonomyView) -> str:
    truth = any(c.truth for c in view.categories)
    widest = max((c.share for c in view.categories), default=0.0) or 1.0
    head = "".join(
        f'<th scope="col">{heading}</th>'
        for heading in ("Category", "Share", *(["Truth"] if truth else []), "Representative sentences")
    )
    rows = "".join(_category(c, place, truth, widest) for place, c in enumerate(view.categories))
    table = f'<table class="words categories"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return region("Categories", table)


def _category(category: CategoryView, place: int, truth: bool, widest: float) -> str:
    cells = (
        f'<th scope="row"><div class="name"><span class="swatch {swatch(place)}">{category.index}</span>'
        f"<span>{text(category.title or 'unnamed')}<small>{text(category.description)}</small></span></div></th>"
        f'<td class="share"><span class="bar {swatch(place)}" style="width:{4.5 * category.share / widest:.2f}rem">'
        f"</span> {100 * category.share:.1f} %</td>"
    )
    return f"<tr>{cells}{f'<td>{text(category.truth)}</td>' if truth else ''}<td>{_examples(category)}</td></tr>"


def _examples(category: CategoryView) -> str:
    if not category.examples:
        return "<small>no sentence</small>"
    examples = category.examples[:MAX_EXAMPLES]
    shown, rest = (_quotes(part) for part in (examples[:SHOWN_EXAMPLES], examples[SHOWN_EXAMPLES:]))
    n = len(examples) - SHOWN_EXAMPLES
    return shown if n <= 0 else f"{shown}<details><summary>{n} more</summary>{rest}</details>"


def _quotes(examples: tuple[str, ...]) -> str:
    short = (e if len(e) <= LONGEST_EXAMPLE else f"{e[:LONGEST_EXAMPLE]}…" for e in examples)
    return "".join(f"<q>{text(' '.join(e.split()))}</q>" for e in short)


# --- terminal -------------------------------------------------------------------------------------------------


def print_taxonomy(view: TaxonomyView, console: Console) -> None:
    """Categories with their share, truth and first sentence; scores and notes below."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(visible(view.method)), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    truth = any(c.truth for c in view.categories)
    for heading in ("Category", "Share %", *(["Truth"] if truth else []), "Nearest sentence"):
        table.add_column(heading, justify="right" if heading == "Share %" else "left")
    for c in view.categories:
        words = (category_name(c), f"{100 * c.share:.1f}", *([c.truth] if truth else []), *(c.examples[:1] or ("–",)))
        table.add_row(*(Text(visible(" ".join(word.split()))) for word in words))
    console.print(table)
    scores = ", ".join(f"{name} {score_words(score)}" for name, score in view.scores.items())
    for line in (judge_words(view), *([f"Scores: {scores}."] if scores else []), *_notes(view)):
        console.print(Text(visible(line), style="dim"))
