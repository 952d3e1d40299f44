"""Many runs in one table and one heat map."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_lab import statistics as st
from reasoning_lab.report.html import document, figure, region, text
from reasoning_lab.report.inputs import natural_key, visible
from reasoning_lab.report.plots import Chart, Inks, render, stylesheet
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
    cells = in_order(cells, keys)
    write_cells(cells, keys, out_dir / "sweep.csv")
    header = (*keys, "Accuracy %", "Difference to base", "Decode tokens")
    body = [_words(keys, cell) for cell in cells]
    note = ("Accuracy with its 95 % interval; differences to the base arm are paired by problem, in percentage points. "
            "The best of many cells is flattered by the choice: confirm it on other problems.")  # fmt: skip
    lines = [f"# {markdown_text(title)}", "", *markdown_table(header, body), "", note]
    (out_dir / "sweep.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    chart = _chart(cells, keys) if len(keys) > 1 else None
    if chart:
        (out_dir / f"{chart.name}.png").write_bytes(chart.png)
    html = sweep_page(title, header, body, note, [chart] if chart else [], {})
    (out_dir / "sweep.html").write_text(html, encoding="utf-8")


def in_order(cells: list[SweepCell], keys: list[str]) -> list[SweepCell]:
    """Sorted by the keys, numbers as numbers."""
    return sorted(cells, key=lambda cell: [natural_key(str(cell[0].get(key))) for key in keys])


def write_cells(cells: list[SweepCell], keys: list[str], path: Path) -> None:
    """One line per cell: what was set, then every metric."""
    numbers = list(dict.fromkeys(name for _, metrics in cells for name in metrics))
    records: list[dict[str, Cell]] = [
        {**{key: str(overrides.get(key, "")) for key in keys}, **{name: metrics.get(name) for name in numbers}}
        for overrides, metrics in cells
    ]
    write_csv(records, path)


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
    shown = {place: (100 * sum(f.value for f in found) / len(found), _cell_text(found))
             for place, found in grid.items()}  # fmt: skip
    return render("heatmap", "Accuracy over the sweep", caption, alt, lambda: heat_map(shown, row_key, column_key), {})


def heat_map(
    shown: Mapping[tuple[str, str], tuple[float, str]],
    row_key: str,
    column_key: str,
    framed: Mapping[tuple[str, str], str] | None = None,
) -> "Figure":
    """(row, column) -> (value, words): cells shaded by value with the words written in; `framed` ones get a frame
    of the given line style."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows, columns = (sorted({key[i] for key in shown}, key=natural_key) for i in (0, 1))
    values = [value for value, _ in shown.values()]
    scale = Normalize(min(values), max(values))
    figure = Figure(figsize=(2.2 + 1.25 * len(columns), 1.4 + 0.62 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("blue", ["#eef4fa", "#8dbbe2", "#0b5795"])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(columns)), [visible(c) for c in columns])
    axes.set_yticks(range(len(rows)), [visible(r) for r in rows])
    axes.set(xlabel=visible(column_key), ylabel=visible(row_key))
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    for (row, column), (value, words) in shown.items():
        i, j = rows.index(row), columns.index(column)
        # Named colours: the text keeps its contrast to the cell when the page turns dark.
        shade = "#%02x%02x%02x" % tuple(round(255 * x) for x in shades(float(scale(value)))[:3])  # noqa: UP031
        ink = max(("#ffffff", "#0b1a2a"), key=lambda colour: contrast(colour, shade))
        ink = "#fefefe" if ink == "#ffffff" else ink
        # Rectangles, not an image: the page is told to load none, not even its own.
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=shade, linewidth=0))
        axes.text(j, i, words, ha="center", va="center", color=ink, fontsize=9.5)
        if style := (framed or {}).get((row, column)):
            axes.add_patch(Rectangle((j - 0.46, i - 0.43), 0.92, 0.86, fill=False, edgecolor=ink, linewidth=2.2,
                                     linestyle=style))  # fmt: skip
    return figure


def sweep_page(
    title: str, header: tuple[str, ...], body: list[tuple[str, ...]], note: str, charts: list[Chart], inks: Inks
) -> str:
    """Charts (drawn in these inks), the table of all cells, and how to read it."""
    head = "".join(f'<th scope="col">{text(x)}</th>' for x in header)
    rows = "".join(f"<tr>{''.join(f'<td>{text(x)}</td>' for x in row)}</tr>" for row in body)
    table = f'<table class="words"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    main = (
        f"<main><section><h2>{text(title)}</h2>{''.join(map(figure, charts))}{region('Cells', table)}"
        f'<p class="caption">{text(note)}</p></section></main>'
    )
    return document(title, stylesheet(inks), main)
