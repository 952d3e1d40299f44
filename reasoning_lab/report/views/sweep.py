"""Many runs in one table: what was set, and what came out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_lab.report.data import UNKNOWN, Provenance
from reasoning_lab.report.views.provenance import provenance_facts
from reasoning_lab.report.views.tables import (
    Words,
    markdown_list,
    markdown_table,
    markdown_text,
    write_csv,
    write_text_lines,
)
from reasoning_lab.report.words import NOTHING, natural_key, percent, points, thousands
from reasoning_lab.statistics import Interval

Overrides = Mapping[str, Any]
Metrics = Mapping[str, float]
SweepCell = tuple[Overrides, Metrics]
"""What was set, and what the cell's stage returned."""


@dataclass(frozen=True)
class SweepTable:
    """The cells in their order, in words, and how to read them."""

    title: str
    keys: list[str]
    cells: list[SweepCell]
    header: Words
    body: list[Words]
    note: str
    provenance: Provenance = UNKNOWN


ACCURACY_NOTE = (
    "Accuracy with its 95 % interval; differences to the base arm are paired by problem, in percentage points. The "
    "best of many cells is flattered by the choice: confirm it on other problems."
)


def swept_keys(cells: list[SweepCell]) -> list[str]:
    """Keys that take more than one value, most values first (ties in the order given)."""
    keys = list(dict.fromkeys(key for overrides, _ in cells for key in overrides))
    values = {key: {str(overrides.get(key)) for overrides, _ in cells} for key in keys}
    return sorted((key for key in keys if len(values[key]) > 1), key=lambda key: -len(values[key]))


def in_order(cells: list[SweepCell], keys: list[str]) -> list[SweepCell]:
    """Sorted by the keys, numbers as numbers."""
    return sorted(cells, key=lambda cell: [natural_key(str(cell[0].get(key))) for key in keys])


def metric_interval(metrics: Metrics, key: str) -> Interval | None:
    """The metric with its bounds, None where the cell has none."""
    if key not in metrics:
        return None
    return Interval(metrics[key], metrics[f"{key}_low"], metrics[f"{key}_high"])


def set_words(overrides: Overrides, keys: list[str]) -> Words:
    """What was set, in words."""
    return tuple(str(overrides.get(key, NOTHING)) for key in keys)


def accuracy_sweep(cells: list[SweepCell], title: str) -> SweepTable:
    """The table of a sweep over samplers, models or benchmarks."""
    keys = swept_keys(cells) or sorted(cells[0][0])
    cells = in_order(cells, keys)
    body = [(*set_words(overrides, keys), *_accuracy_words(metrics)) for overrides, metrics in cells]
    header = (*keys, "Accuracy %", "Difference to base", "Decode tokens")
    return SweepTable(title, keys, cells, header, body, ACCURACY_NOTE)


def _accuracy_words(metrics: Metrics) -> Words:
    return (
        percent(metric_interval(metrics, "accuracy")),
        points(metric_interval(metrics, "difference_to_base")),
        thousands(metrics["decode_tokens"]) if "decode_tokens" in metrics else NOTHING,
    )


def write_sweep_tables(table: SweepTable, out_dir: Path) -> None:
    """sweep.csv (a line per cell: what was set, then every metric) and sweep.md."""
    names = list(dict.fromkeys(name for _, metrics in table.cells for name in metrics))
    records = [
        {key: str(overrides.get(key, "")) for key in table.keys} | {name: metrics.get(name) for name in names}
        for overrides, metrics in table.cells
    ]
    write_csv(records, out_dir / "sweep.csv")
    lines = [f"# {markdown_text(table.title)}", *markdown_table(table.header, table.body)]
    made = markdown_list(provenance_facts(table.provenance))
    write_text_lines([*lines, "", markdown_text(table.note), *made], out_dir / "sweep.md")
