"""The table of a hybrid and its controls: its columns in words, its records in numbers, and how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab import statistics as st
from reasoning_lab.report.data import HybridReport, VectorView
from reasoning_lab.report.views.control_headline import controls_headline, gap_words, no_gap
from reasoning_lab.report.views.controls import ControlRow, control_groups, control_rows
from reasoning_lab.report.views.tables import (
    Cell,
    Column,
    Words,
    cells,
    fitting,
    headings,
    markdown_list,
    markdown_table,
    markdown_text,
    print_lines,
    spread,
    telling,
    terminal_table,
    write_csv,
    write_lines,
)
from reasoning_lab.report.words import capital, decimal, p_value, percent, points

if TYPE_CHECKING:
    from rich.console import Console


def _name(row: ControlRow) -> str:
    return row.label + (f" ({row.n_draws} draws)" if row.n_draws > 1 else "")


def _is_clear(row: ControlRow) -> bool:
    return row.difference is not None and row.difference.excludes_zero


CONTROL_COLUMNS: tuple[Column[ControlRow], ...] = (
    Column("Arm", "Law that the answers were drawn from", _name),
    Column("Accuracy %", "Share of correct answers, mean over problems, with its 95 % interval",
           lambda row: percent(row.accuracy), wraps=False),
    Column("Gap recovered %", "(arm − base) / (thinking − base), unclipped, bootstrap over problems",
           lambda row: gap_words(row.recovered), wraps=False),
    Column("Hybrid minus arm", "Paired difference in accuracy, percentage points, 95 % interval",
           lambda row: points(row.difference), wraps=False, clear=_is_clear),
    Column("McNemar p",
           "Exact p of the hypothesis that hybrid and arm are right equally often; needs one answer per problem",
           lambda row: p_value(row.lead), from_width=160),
    Column("Steered %",
           "Share of an answer's tokens at which the gate fired, mean over problems, with its 95 % interval",
           lambda row: percent(row.steered), wraps=False, from_width=114),
    Column("Length", "Mean generated tokens", lambda row: f"{row.length:.0f}", from_width=160),
    Column("Checks", "Mean number of check sentences per answer", lambda row: decimal(row.checks), from_width=160),
    Column("Backtracks", "Mean number of backtracking sentences per answer", lambda row: decimal(row.backtracks),
           from_width=160),
)  # fmt: skip
PUBLISHED_HYBRIDS = ("What", "Base %", "Hybrid %", "Thinking %", "Gap recovered %", "Steered %", "Source")
"""Headings of the paper's Tables 2 and 3 in one."""


def published_hybrids(given: HybridReport, rows: list[ControlRow]) -> list[Words]:
    """Ours first (Table 2: accuracies and gap; Table 3: steered fraction), then every null, then the published ones."""
    by = {row.name: row for row in rows}
    base, thinking = (percent(by[name].accuracy) for name in (given.base, given.reference))
    ours = [
        (row.label, base, percent(row.accuracy), thinking, gap_words(row.recovered), percent(row.steered), "here")
        for row in rows
        if row.name == given.studied or row.group == "nulls"
    ]
    return [*ours, *given.published]


def control_footer(given: HybridReport, rows: list[ControlRow]) -> list[str]:
    """How the numbers were made."""
    draws = ", ".join(f"{row.label} {row.n_draws}" for row in rows if row.n_draws > 1)
    lacking = no_gap(given)
    return [
        "Gap recovered: unclipped; bootstrap over problems, base, thinking and arm resampled together "
        f"({st.DRAWS} resamples, 95 %). Differences: paired by problem; McNemar p: exact, two-sided, of the problems "
        "that only one of the two got right. Neither is corrected for the number of arms.",
        *([f"{capital(lacking)}."] if lacking else []),
        "Accuracy: Wilson's interval for arms with one answer per problem, a bootstrap over problems for the others.",
        f"Answers per problem: {f'{draws}; all others 1' if draws else '1'}.",
        f"Taxonomy: {given.taxonomy.method}; judge: {given.taxonomy.judge or 'none'}; {given.taxonomy.n_dead} empty "
        "categories.",
        *given.taxonomy.notes,
        *given.report.footer,
    ]


# --- files and terminal ---------------------------------------------------------------------------------------


def _record(row: ControlRow) -> dict[str, Cell]:
    return {
        "name": row.name,
        "label": row.label,
        "group": row.group,
        "n_draws": row.n_draws,
        **spread("accuracy", row.accuracy),
        **spread("gap_recovered", row.recovered),
        **spread("hybrid_lead", row.difference),
        "mcnemar_p": row.lead.p_value if row.lead else None,
        **spread("steered", row.steered),
        "length": row.length,
        "checks": row.checks,
        "backtracks": row.backtracks,
    }


def _vector_record(vector: VectorView) -> dict[str, Cell]:
    return {
        "category": vector.category,
        "norm": vector.norm,
        "heldout_without": vector.loss_before,
        "heldout_with": vector.loss_after,
        "n_train": vector.n_examples,
        "note": vector.note,
    }


def write_control_tables(given: HybridReport, rows: list[ControlRow], out_dir: Path) -> None:
    """hybrid.csv, hybrid.md and, where there are vectors, vectors.csv."""
    write_csv([_record(row) for row in rows], out_dir / "hybrid.csv")
    if given.vectors:
        write_csv([_vector_record(vector) for vector in given.vectors], out_dir / "vectors.csv")
    lines = [f"# {markdown_text(given.report.title)}"]
    lines += [line for said in controls_headline(given, rows) for line in ("", markdown_text(said))]
    for group in control_groups(rows):
        body = [cells(CONTROL_COLUMNS, row) for row in group.rows]
        lines += ["", f"## {group.heading}", *markdown_table(headings(CONTROL_COLUMNS), body)]
    lines += ["", "## Beside the paper", *markdown_table(PUBLISHED_HYBRIDS, published_hybrids(given, rows))]
    write_lines([*lines, *markdown_list(control_footer(given, rows))], out_dir / "hybrid.md")


def print_hybrid(given: HybridReport, console: Console, rows: list[ControlRow] | None = None) -> None:
    """The table of controls on a terminal, with the headline above and the footer below."""
    rows = control_rows(given) if rows is None else rows
    columns = fitting(telling(CONTROL_COLUMNS, rows), console.width)

    def style(row: ControlRow) -> str:
        return "bold" if row.name == given.studied else "dim" if row.group == "nulls" else ""

    print_lines(controls_headline(given, rows), console)
    console.print(terminal_table("The hybrid and its controls", columns, control_groups(rows), style))
    print_lines(control_footer(given, rows), console, "dim")
