"""Many runs in one table and one heat map."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_lab import statistics as st
from reasoning_lab.report.inputs import natural_key, visible
from reasoning_lab.report.page import resource
from reasoning_lab.report.plots import Chart, render, stylesheet
from reasoning_lab.report.table import Cell, markdown_table, markdown_text, percent, points, tokens, write_csv
from reasoning_lab.report.theme import contrast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Overrides = Mapping[str, Any]
SweepCell = tuple[Overrides, Mapping[str, float]]
"""What was set, and what `write_report` returned."""


def swept_keys(cells: list[SweepCell]) -> list[str]:
    """Keys that take more than one value, most values first (ties in the order given)."""
    keys = list(dict.fromkeys(key for overrides, _ in cells for key in overrides))
    values = {key: {str(overrides.get(key)) for overrides, _ in cells} for key in keys}
    return sorted((key for key in keys if len(values[key]) > 1), key=lambda key: -len(values[key]))


def _interval(metrics: Mapping[str, float], key: str) -> st.Interval | None:
    if key not in metrics:
        return None
    return st.Interval(metrics[key], metrics[f"{key}_low"], metrics[f"{key}_high"])


def _words(keys: list[str], cell: SweepCell) -> tuple[str, ...]:
    overrides, metrics = cell
    accuracy, difference = _interval(metrics, "accuracy"), _interval(metrics, "difference_to_base")
    return (
        *(str(overrides.get(key, "–")) for key in keys),
        percent(accuracy) if accuracy else "–",
        points(difference) if difference else "–",
        tokens(metrics["decode_tokens"]) if "decode_tokens" in metrics else "–",
    )


def report_sweep(cells: list[SweepCell], out_dir: Path, title: str = "Sweep") -> None:
    """Write sweep.csv, sweep.md, sweep.html and, when two keys were swept, heatmap.png.

    Of more than two swept keys the two with most values span the heat map, and each of its cells averages over the
    others and says so. Every cell of the sweep has its own row in the tables.
    """
    if not cells:
        raise ValueError("The sweep has no cells; run at least one.")
    out_dir.mkdir(parents=True, exist_ok=True)
    keys = swept_keys(cells) or sorted(cells[0][0])
    cells = sorted(cells, key=lambda cell: [natural_key(str(cell[0].get(key))) for key in keys])
    numbers = list(dict.fromkeys(name for _, metrics in cells for name in metrics))
    records: list[dict[str, Cell]] = [
        {**{key: str(overrides.get(key, "")) for key in keys}, **{name: metrics.get(name) for name in numbers}}
        for overrides, metrics in cells
    ]
    write_csv(records, out_dir / "sweep.csv")
    header = (*keys, "Accuracy %", "Difference to base", "Decode tokens")
    body = [_words(keys, cell) for cell in cells]
    note = ("Accuracy with its 95 % interval; differences to the base arm are paired by problem, in percentage points. "
            "The best of many cells is flattered by the choice: confirm it on other problems.")  # fmt: skip
    lines = [f"# {markdown_text(title)}", "", *markdown_table(header, body), "", note]
    (out_dir / "sweep.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    chart = _chart(cells, keys) if len(keys) > 1 else None
    if chart:
        (out_dir / f"{chart.name}.png").write_bytes(chart.png)
    (out_dir / "sweep.html").write_text(_page(title, header, body, note, chart), encoding="utf-8")


def _grid(cells: list[SweepCell], row_key: str, column_key: str) -> dict[tuple[str, str], list[st.Interval]]:
    grid: dict[tuple[str, str], list[st.Interval]] = {}
    for overrides, metrics in cells:
        if (accuracy := _interval(metrics, "accuracy")) is not None:
            grid.setdefault((str(overrides.get(row_key)), str(overrides.get(column_key))), []).append(accuracy)
    return grid


def _cell_text(found: list[st.Interval]) -> str:
    """'64.5 ± 6.6', half the interval; of several runs their mean and number (no common interval is claimed)."""
    mean = 100 * sum(f.value for f in found) / len(found)
    return f"{mean:.1f} ± {100 * found[0].half:.1f}" if len(found) == 1 else f"{mean:.1f}\nmean of {len(found)}"


def _chart(cells: list[SweepCell], keys: list[str]) -> Chart:
    column_key, row_key = keys[:2]
    grid = _grid(cells, row_key, column_key)
    caption = f"Accuracy in percent ± half its 95 % interval, for {row_key} (rows) and {column_key} (columns)."
    if len(keys) > 2:
        caption += f" Cells average over {', '.join(keys[2:])}."
    alt = "; ".join(f"{row_key}={r}, {column_key}={c}: {_cell_text(found)}" for (r, c), found in grid.items())
    return render("heatmap", "Accuracy over the sweep", caption, alt,
                        lambda: _heat_map(grid, row_key, column_key), {})  # fmt: skip


def _heat_map(grid: dict[tuple[str, str], list[st.Interval]], row_key: str, column_key: str) -> "Figure":
    """Cells shaded by accuracy, with the number and half its interval written in."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    rows, columns = (sorted({key[i] for key in grid}, key=natural_key) for i in (0, 1))
    values = np.full((len(rows), len(columns)), np.nan)
    for (row, column), found in grid.items():
        values[rows.index(row), columns.index(column)] = 100 * sum(f.value for f in found) / len(found)
    figure = Figure(figsize=(2.2 + 1.25 * len(columns), 1.4 + 0.62 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("blue", ["#eef4fa", "#8dbbe2", "#0b5795"])
    image = axes.imshow(values, cmap=shades, aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(columns)), [visible(c) for c in columns])
    axes.set_yticks(range(len(rows)), [visible(r) for r in rows])
    axes.set(xlabel=visible(column_key), ylabel=visible(row_key))
    for (row, column), found in grid.items():
        i, j = rows.index(row), columns.index(column)
        # Named colours: the text keeps its contrast to the cell when the page turns dark.
        shade = "#%02x%02x%02x" % tuple(round(255 * x) for x in shades(image.norm(values[i, j]))[:3])  # noqa: UP031
        ink = max(("#ffffff", "#0b1a2a"), key=lambda colour: contrast(colour, shade))
        ink = "#fefefe" if ink == "#ffffff" else ink
        axes.text(j, i, _cell_text(found), ha="center", va="center", color=ink, fontsize=9.5)
    return figure


def _page(
    title: str, header: tuple[str, ...], body: list[tuple[str, ...]], note: str, chart: Chart | None
) -> str:
    head = "".join(f'<th scope="col">{escape(visible(x))}</th>' for x in header)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(visible(x))}</td>' for x in row)}</tr>" for row in body)
    figure = f"<figure>{chart.svg}<figcaption>{escape(visible(chart.caption))}</figcaption></figure>" if chart else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{escape(visible(title))}</title>
<style>{stylesheet({})}{resource("page.css")}</style></head>
<body><main><section><h2>{escape(visible(title))}</h2>{figure}
<table class="words"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
<p class="caption">{escape(visible(note))}</p></section></main></body></html>
"""
