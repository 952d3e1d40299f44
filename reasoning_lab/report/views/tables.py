"""One kit for tables: columns that know their words, written as CSV (numbers), Markdown and on a terminal (words)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from reasoning_lab.report.words import NOTHING, finite, visible
from reasoning_lab.statistics import Interval

if TYPE_CHECKING:
    from rich.console import Console

R = TypeVar("R")
Cell = str | float | int | None
Words = tuple[str, ...]


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column that people read."""

    heading: str
    meaning: str
    words: Callable[[R], str]
    from_width: int = 0
    """A terminal narrower than this [characters] has no room for it; the files and the page have it."""
    wraps: bool = True
    left: bool = False
    clear: Callable[[R], bool] | None = None
    """Whether the row's difference in this column is clear."""


@dataclass(frozen=True)
class Group(Generic[R]):
    """Rows under a heading of their own; an empty one is not printed."""

    heading: str
    rows: list[R]
    kind: str = ""


def headings(columns: Sequence[Column[R]]) -> Words:
    """The header line."""
    return tuple(column.heading for column in columns)


def cells(columns: Sequence[Column[R]], row: R) -> Words:
    """The row in words."""
    return tuple(column.words(row) for column in columns)


def telling(columns: Sequence[Column[R]], rows: Sequence[R]) -> list[Column[R]]:
    """The first two columns, and those that hold something in some row."""
    return [column for i, column in enumerate(columns) if i < 2 or any(column.words(row) != NOTHING for row in rows)]


# --- numbers --------------------------------------------------------------------------------------------------


def with_bounds(key: str, interval: Interval | None, stem: str = "") -> dict[str, float | None]:
    """`key`, `key_low` and `key_high`, the bounds under another stem where one is given; None for no number."""
    stem = stem or key
    value, low, high = map(finite, interval) if interval is not None else (None, None, None)
    return {key: value, f"{stem}_low": low, f"{stem}_high": high}


def known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """The numbers that are there."""
    return {key: value for key, value in numbers.items() if value is not None}


def write_csv(records: Sequence[Mapping[str, Cell]], path: Path) -> None:
    """Comma-separated records under a header line; floats in full precision, None as an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        for record in records:
            writer.writerow({key: visible(x) if isinstance(x, str) else x for key, x in record.items()})


# --- Markdown -------------------------------------------------------------------------------------------------


_SPECIAL = str.maketrans({"|": "\\|", "<": "&lt;", "\n": " ", "\r": " ", "`": "\\`", "$": "\\$"})


def markdown_text(text: str) -> str:
    """The text on one line of Markdown; what would end a table's cell, open a tag, code or a formula is escaped."""
    return visible(text).translate(_SPECIAL)


def markdown_row(row: Words) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(map(markdown_text, row)) + " |"


def markdown_table(header: Words, body: Sequence[Words]) -> list[str]:
    """Lines of a Markdown table, first column left, the others right, with an empty line above."""
    return ["", markdown_row(header), "|:--|" + "--:|" * (len(header) - 1), *map(markdown_row, body)]


def markdown_list(items: Sequence[str]) -> list[str]:
    """Lines of a Markdown list, with an empty line above."""
    return ["", *(f"- {markdown_text(item)}" for item in items)]


def write_text_lines(lines: Sequence[str], path: Path) -> None:
    """A text file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- terminal -------------------------------------------------------------------------------------------------


def print_lines(lines: Sequence[str], console: Console, style: str = "") -> None:
    """The lines on a terminal, no markup read in them."""
    from rich.text import Text

    for line in lines:
        console.print(Text(visible(line), style=style))


def print_rows(
    title: str,
    columns: Sequence[Column[R]],
    groups: Sequence[Group[R]],
    console: Console,
    style: Callable[[R], str] = lambda _: "",
) -> None:
    """The rows under their groups' headings, each in its style; says where the terminal is too narrow for columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    filled = telling(columns, [row for group in groups for row in group.rows])
    shown = [column for column in filled if console.width >= column.from_width]
    table = Table(title=Text(visible(title)), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    grouped = any(group.heading for group in groups)
    for i, column in enumerate(shown):
        table.add_column(column.heading, justify="left" if column.left or i == 0 else "right",
                         no_wrap=not column.wraps, min_width=24 if grouped and i == 0 else None)  # fmt: skip
    for group in groups:
        if group.heading:
            table.add_section()
            table.add_row(Text(group.heading, style="italic"))
        for row in group.rows:
            words = [visible(word) for word in cells(shown, row)]
            table.add_row(Text("  " * grouped + words[0]), *map(Text, words[1:]), style=style(row))
    console.print(table)
    if len(shown) < len(filled):
        console.print("A wider terminal, the files and the page have more columns.", style="dim")
