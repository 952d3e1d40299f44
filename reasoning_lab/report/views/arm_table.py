"""The table of an experiment's arms: its columns in words, its records in numbers, and how the numbers were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab import statistics as st
from reasoning_lab.report.data import Report
from reasoning_lab.report.views.arms import ROLLOUTS, ArmSummary, grpo_length, summarise
from reasoning_lab.report.views.tables import (
    Cell,
    Column,
    Group,
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
from reasoning_lab.report.words import NOTHING, decimal, p_value, percent, points, thousands

if TYPE_CHECKING:
    from rich.console import Console


def _difference(row: ArmSummary) -> st.Interval | None:
    return row.difference.difference if row.difference else None


def _is_clear(row: ArmSummary) -> bool:
    return row.difference is not None and row.difference.difference.excludes_zero


def _epochs(row: ArmSummary) -> str:
    return NOTHING if row.grpo_epochs is None else " | ".join(map(decimal, row.grpo_epochs))


def _moves(row: ArmSummary) -> str:
    return NOTHING if row.acceptance is None else f"{decimal(row.acceptance)} | {decimal(row.move_rate)}"


ARM_COLUMNS: tuple[Column[ArmSummary], ...] = (
    Column("Arm", "Model and sampler", lambda row: row.label),
    Column("Accuracy %", "Share of correct answers, mean over problems, with its 95 % interval",
           lambda row: percent(row.accuracy), wraps=False),
    Column("Difference to base", "Accuracy minus the base arm's on the same problems, percentage points, 95 % interval",
           lambda row: points(_difference(row)), wraps=False, clear=_is_clear),
    Column("McNemar p",
           "Exact p of the hypothesis that arm and base are right equally often; needs one answer per problem",
           lambda row: p_value(row.difference), from_width=160),
    Column("Length", "Mean generated tokens of the final answer", lambda row: f"{row.length:.0f}", from_width=110),
    Column("Checks", "Mean number of check sentences per answer", lambda row: decimal(row.checks), from_width=160),
    Column("Backtracks", "Mean number of backtracking sentences per answer", lambda row: decimal(row.backtracks),
           from_width=160),
    Column("Decode tokens", "Mean tokens drawn per answer, rejected and discarded ones included",
           lambda row: thousands(row.decode_tokens)),
    Column("GRPO epochs",
           f"Decode tokens over the tokens of one GRPO epoch per problem with {ROLLOUTS[0]} | {ROLLOUTS[1]} rollouts",
           _epochs, from_width=110),
    Column("Accepted | moved", "Share of proposals that were accepted | that were accepted and changed the text",
           _moves, from_width=110),
    Column("Ungradable | timeout | cut off",
           "Answers that could not be graded, ran out of time, or hit the length limit",
           lambda row: f"{row.n_ungradable} | {row.n_timeout} | {row.n_capped}", from_width=160),
)  # fmt: skip
PUBLISHED_ARMS = ("Published", "Number", "Here", "Why they differ")
"""Headings of the comparison with the paper."""


def published_arms(report: Report, rows: list[ArmSummary]) -> list[Words]:
    """What, published number, ours, reason."""
    accuracy = {row.name: percent(row.accuracy) for row in rows}
    return [(p.what, p.published, accuracy.get(p.arm or "", NOTHING), p.difference) for p in report.published]


def arm_footer(report: Report, rows: list[ArmSummary]) -> list[str]:
    """How the numbers were made: method of the intervals first, then the caller's provenance."""
    single = all(row.n_answers == row.n_problems for row in rows)
    method = "Wilson's score interval" if single else (
        "Wilson's score interval for arms with one sample a problem, a bootstrap over problems for the others"
    )  # fmt: skip
    length = grpo_length(report)
    lines = [
        f"{rows[0].n_problems} problems. Accuracy: {method}, 95 %. Differences: paired by problem, bootstrap over "
        f"problems with {st.DRAWS} resamples (seed {report.seed}), 95 %; McNemar p: exact, two-sided, of the problems "
        "that only one of the two got right. Neither is corrected for the number of arms. "
        "No bootstrap interval is shorter than what a kind of problem that never occurred could change.",
        "Ungradable answers and timeouts count as wrong.",
    ]
    if length is not None:
        lines.append(
            f"GRPO epochs: decode tokens per answer / (rollouts × {length:.1f} tokens, the mean GRPO completion), for "
            f"{ROLLOUTS[0]} and {ROLLOUTS[1]} rollouts; counts generation only, not the gradient steps."
        )
    return [*lines, *report.footer]


# --- files and terminal ---------------------------------------------------------------------------------------


def _record(row: ArmSummary) -> dict[str, Cell]:
    """The row as plain numbers, unrounded."""
    epochs = row.grpo_epochs or (None,) * len(ROLLOUTS)
    return {
        "name": row.name,
        "label": row.label,
        "role": row.role,
        "sampler": row.sampler,
        "n_problems": row.n_problems,
        "n_answers": row.n_answers,
        **spread("accuracy", row.accuracy),
        **spread("difference_to_base", _difference(row), "difference"),
        "mcnemar_p": row.difference.p_value if row.difference else None,
        "length": row.length,
        "checks": row.checks,
        "backtracks": row.backtracks,
        "decode_tokens": row.decode_tokens,
        **{f"grpo_epochs_{n}": e for n, e in zip(ROLLOUTS, epochs, strict=True)},
        "acceptance": row.acceptance,
        "move_rate": row.move_rate,
        "n_ungradable": row.n_ungradable,
        "n_timeout": row.n_timeout,
        "n_capped": row.n_capped,
        "note": row.note,
    }


def write_arm_tables(report: Report, rows: list[ArmSummary], out_dir: Path) -> None:
    """table.csv, and table.md with the footer and the comparison with published numbers."""
    write_csv([_record(row) for row in rows], out_dir / "table.csv")
    lines = [f"# {markdown_text(report.title)}"]
    lines += markdown_table(headings(ARM_COLUMNS), [cells(ARM_COLUMNS, row) for row in rows])
    lines += markdown_list(arm_footer(report, rows))
    if report.published:
        lines += markdown_table(PUBLISHED_ARMS, published_arms(report, rows))
    write_lines(lines, out_dir / "table.md")


def print_table(report: Report, console: Console, rows: list[ArmSummary] | None = None) -> None:
    """The table and its footer on a terminal; columns that are empty in every row, or for which a narrow terminal has
    no room, are left out."""
    rows = summarise(report) if rows is None else rows
    columns = telling(ARM_COLUMNS, rows)
    shown = fitting(columns, console.width)
    styles = {report.base: "dim", report.studied: "bold"}
    console.print(terminal_table(report.title, shown, [Group("", rows)], lambda row: styles.get(row.name, "")))
    if len(shown) < len(columns):
        console.print("A wider terminal, table.md and the page have more columns.", style="dim")
    print_lines(arm_footer(report, rows), console, "dim")
