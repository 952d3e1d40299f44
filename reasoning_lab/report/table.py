"""The table, as CSV (numbers), Markdown and terminal (words)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab import statistics as st
from reasoning_lab.report.inputs import ReportInput, visible
from reasoning_lab.report.summary import ROLLOUTS, ArmSummary, grpo_length, summarise

if TYPE_CHECKING:
    from rich.console import Console

Cell = str | float | int | None
MINUS = "\N{MINUS SIGN}"


def percent(interval: st.Interval) -> str:
    """'64.5 [57.6, 70.8]', in percent."""
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def points(interval: st.Interval) -> str:
    """'+23.0 [+16.5, +29.5]', in percentage points."""
    value, low, high = (f"{100 * x:+.1f}".replace("-", MINUS) for x in interval)
    return f"{value} [{low}, {high}]"


def _optional(value: float | None, form: str = "{:.2f}") -> str:
    return "–" if value is None else form.format(value)


def tokens(value: float) -> str:
    """Thousands separated by a thin space."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


COLUMNS = (
    ("Arm", "Model and sampler"),
    ("Accuracy %", "Share of correct answers, mean over problems, with its 95 % interval"),
    ("Difference to base", "Accuracy minus the base arm's on the same problems, percentage points, 95 % interval"),
    ("McNemar p", "Exact p of the hypothesis that arm and base are right equally often; needs one answer per problem"),
    ("Length", "Mean generated tokens of the final answer"),
    ("Checks", "Mean number of check sentences per answer"),
    ("Backtracks", "Mean number of backtracking sentences per answer"),
    ("Decode tokens", "Mean tokens drawn per answer, rejected and discarded ones included"),
    ("GRPO epochs", f"Decode tokens over the tokens of one GRPO epoch per problem with {ROLLOUTS[0]} | {ROLLOUTS[1]} "
                    "rollouts"),
    ("Accepted | moved", "Share of proposals that were accepted | that were accepted and changed the text"),
    ("Ungradable | timeout | cut off", "Answers that could not be graded, ran out of time, or hit the length limit"),
)  # fmt: skip
"""(heading, definition) of the columns that people read."""


def cells(row: ArmSummary) -> tuple[str, ...]:
    """The row in words, one cell per column of COLUMNS."""
    epochs = "–" if row.grpo_epochs is None else " | ".join(f"{e:.2f}" for e in row.grpo_epochs)
    return (
        row.label,
        percent(row.accuracy),
        "–" if row.difference is None else points(row.difference.difference),
        _optional(row.difference.p_value if row.difference else None, "{:.2g}"),
        f"{row.length:.0f}",
        _optional(row.checks),
        _optional(row.backtracks),
        tokens(row.decode_tokens),
        epochs,
        "–" if row.acceptance is None else f"{row.acceptance:.2f} | {row.move_rate:.2f}",
        f"{row.n_ungradable} | {row.n_timeout} | {row.n_capped}",
    )


def footer_lines(report: ReportInput, rows: list[ArmSummary]) -> list[str]:
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


# --- files ----------------------------------------------------------------------------------------------------


def _numbers(row: ArmSummary) -> dict[str, Cell]:
    """The row as plain numbers, unrounded."""
    difference = row.difference
    d = difference.difference if difference else None
    epochs = row.grpo_epochs or (None,) * len(ROLLOUTS)
    return {
        "name": row.name,
        "label": row.label,
        "role": row.role,
        "sampler": row.sampler,
        "n_problems": row.n_problems,
        "n_answers": row.n_answers,
        "accuracy": row.accuracy.value,
        "accuracy_low": row.accuracy.low,
        "accuracy_high": row.accuracy.high,
        "difference_to_base": d.value if d else None,
        "difference_low": d.low if d else None,
        "difference_high": d.high if d else None,
        "mcnemar_p": difference.p_value if difference else None,
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


def write_csv(records: list[dict[str, Cell]], path: Path) -> None:
    """Comma-separated records under a header line; floats in full precision, None as an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        for record in records:
            writer.writerow({key: visible(x) if isinstance(x, str) else x for key, x in record.items()})


def write_table_csv(rows: list[ArmSummary], path: Path) -> None:
    """table.csv."""
    write_csv([_numbers(row) for row in rows], path)


_SPECIAL = str.maketrans({"|": "\\|", "<": "&lt;", "\n": " ", "\r": " ", "`": "\\`", "$": "\\$"})


def markdown_text(text: str) -> str:
    """The text on one line of Markdown; what would end a table's cell, open a tag, code or a formula is escaped."""
    return visible(text).translate(_SPECIAL)


def markdown_row(row: tuple[str, ...]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(map(markdown_text, row)) + " |"


def markdown_table(header: tuple[str, ...], body: list[tuple[str, ...]]) -> list[str]:
    """Lines of a Markdown table, first column left, the others right."""
    return [markdown_row(header), "|:--|" + "--:|" * (len(header) - 1), *map(markdown_row, body)]


def write_table_markdown(report: ReportInput, rows: list[ArmSummary], path: Path) -> None:
    """table.md: the table, the footer, and the comparison with published numbers."""
    lines = [f"# {markdown_text(report.title)}", ""]
    lines += markdown_table(tuple(heading for heading, _ in COLUMNS), [cells(row) for row in rows])
    lines += ["", *(f"- {markdown_text(line)}" for line in footer_lines(report, rows))]
    if report.published:
        header = ("Published", "Number", "Here", "Why they differ")
        lines += ["", *markdown_table(header, published_cells(report, rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def published_cells(report: ReportInput, rows: list[ArmSummary]) -> list[tuple[str, ...]]:
    """What, published number, ours, reason."""
    accuracy = {row.name: percent(row.accuracy) for row in rows}
    return [(p.what, p.published, accuracy.get(p.arm or "", "–"), p.difference) for p in report.published]


# --- terminal -------------------------------------------------------------------------------------------------


NARROW = {110: (4, 8, 9), 160: (3, 5, 6, 10)}
"""Terminal width [characters] below which columns (by index) wait for the files and the page."""


def print_table(report: ReportInput, console: Console, rows: list[ArmSummary] | None = None) -> None:
    """The table and its footer on a terminal; columns that are empty in every row, or for which a narrow terminal has
    no room, are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = summarise(report) if rows is None else rows
    body = [cells(row) for row in rows]
    filled = [i for i in range(len(COLUMNS)) if i < 2 or any(line[i] != "–" for line in body)]
    hidden = {i for width, columns in NARROW.items() if console.width < width for i in columns}
    shown = [i for i in filled if i not in hidden]
    table = Table(title=Text(visible(report.title)), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for i in shown:
        table.add_column(COLUMNS[i][0], justify="left" if i == 0 else "right", no_wrap=i in (1, 2))
    for row, line in zip(rows, body, strict=True):
        style = "bold" if row.name == report.power else "dim" if row.name == report.base else ""
        table.add_row(*(Text(visible(line[i])) for i in shown), style=style)
    console.print(table)
    if len(shown) < len(filled):
        console.print("A wider terminal, table.md and the page have more columns.", style="dim")
    for line in footer_lines(report, rows):
        console.print(Text(visible(line), style="dim"))
