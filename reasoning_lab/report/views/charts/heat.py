"""Two swept keys as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.grid import Grid
from reasoning_lab.report.views.sweep import SEED, SweepTable, accuracy_over, points_of
from reasoning_lab.report.views.theme import contrast
from reasoning_lab.report.words import natural_key, percent, visible
from reasoning_lab.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Shown = Mapping[tuple[str, str], tuple[float, str]]
"""(row, column) -> (value that shades the cell, words written in it)."""
Frames = Mapping[tuple[str, str], str]
"""(row, column) -> line style of its frame."""
WHITE, BLACK = "#fefefe", "#0b1a2a"
"""No colour of the page, which would change when it turns dark: the text keeps its contrast to the cell."""


def accuracy_heat(table: SweepTable) -> Chart | None:
    """Accuracy over the two keys with most values, seeds apart; None where fewer were swept or no cell has one."""
    keys = [key for key in table.keys if key != SEED]
    if len(keys) < 2:
        return None
    column_key, row_key, *others = keys
    intervals: dict[tuple[str, str], list[Interval]] = {}
    for point in points_of(table.cells):
        if accuracy := accuracy_over(point):
            overrides = point[0].overrides
            intervals.setdefault((str(overrides.get(row_key)), str(overrides.get(column_key))), []).append(accuracy)
    if not intervals:
        return None
    shown = {place: (_mean(of_place), _accuracy_words(of_place)) for place, of_place in intervals.items()}
    caption = f"Accuracy in percent with its 95 % interval, for {row_key} (rows) and {column_key} (columns)."
    caption += f" Cells average over {', '.join(others)}." if others else ""
    caption += _base_words(table)
    alt = "; ".join(f"{row_key}={r}, {column_key}={c}: {' '.join(w.split())}" for (r, c), (_, w) in shown.items())
    return render("heatmap", "Accuracy over the sweep", caption, alt, lambda: _draw(shown, row_key, column_key, {}), {})


def _base_words(table: SweepTable) -> str:
    """The base arm beside the grid, where it is the same at every point."""
    bases = {cell.base for cell in table.cells}
    found = {accuracy_over(point, point[0].base) for point in points_of(table.cells) if point[0].base}
    if len(bases) != 1 or len(found) != 1 or None in found:
        return ""
    return f" Base arm at every point: {percent(found.pop())}."


def _mean(intervals: list[Interval]) -> float:
    return 100 * sum(interval.value for interval in intervals) / len(intervals)


def _accuracy_words(intervals: list[Interval]) -> str:
    """'64.5' above '[57.6, 70.8]'; of several points their mean and number (no common interval is claimed)."""
    mean, n = _mean(intervals), len(intervals)
    return percent(intervals[0]).replace(" ", "\n", 1) if n == 1 else f"{mean:.1f}\nmean of {n}"


def score_heat(grid: Grid) -> Chart:
    """Final score over layers and sizes, with frames around the best cell and each layer's elbow."""
    frames = {place: "--" for place in grid.scores if grid.at_elbow(place)} | {grid.best: "-"}
    shown = {place: (grid.mean(place), _score_words(grid.mean(place), len(scores)))
             for place, scores in grid.scores.items()}  # fmt: skip
    caption = (
        f"Final score (mean of consistency, completeness and independence) for each layer (rows) and number of "
        f"clusters (columns). Solid frame: best cell. Dashed frames: each layer's elbow: {grid.rule}."
    )
    alt = "; ".join(f"layer {layer}, {size} clusters: {words}" for (layer, size), (_, words) in shown.items())
    title = "Final score over layers and sizes"
    return render("heatmap", title, caption, alt, lambda: _draw(shown, "layer", "clusters", frames), {})


def _score_words(mean: float, n: int) -> str:
    return f"{mean:.3f}" if n == 1 else f"{mean:.3f}\nmean of {n}"


def _draw(shown: Shown, row_key: str, column_key: str, frames: Frames) -> Figure:
    """Cells shaded by value with the words written in."""
    rows, columns = (sorted({place[i] for place in shown}, key=natural_key) for i in (0, 1))
    figure = new_figure(2.2 + 1.25 * len(columns), 1.4 + 0.62 * len(rows))
    axes = figure.add_subplot()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(columns)), [visible(c) for c in columns])
    axes.set_yticks(range(len(rows)), [visible(r) for r in rows])
    axes.set(xlabel=visible(column_key), ylabel=visible(row_key))
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    values = [value for value, _ in shown.values()]
    for (row, column), (value, words) in shown.items():
        shade = _shade(value, min(values), max(values))
        frame = frames.get((row, column))
        _cell(axes, columns.index(column), rows.index(row), shade, words, frame)
    return figure


def _shade(value: float, low: float, high: float) -> str:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    shades = LinearSegmentedColormap.from_list("blue", ["#eef4fa", "#8dbbe2", "#0b5795"])
    red, green, blue = (round(255 * x) for x in shades(float(Normalize(low, high)(value)))[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def _cell(axes: Axes, x: int, y: int, shade: str, words: str, frame: str | None) -> None:
    from matplotlib.patches import Rectangle

    ink = max((WHITE, BLACK), key=lambda colour: contrast(colour, shade))
    # Rectangles, not an image: the page is told to load none, not even its own.
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade, linewidth=0))
    axes.text(x, y, words, ha="center", va="center", color=ink, fontsize=9.5)
    if frame:
        axes.add_patch(Rectangle((x - 0.46, y - 0.43), 0.92, 0.86, fill=False, edgecolor=ink, linewidth=2.2,
                                 linestyle=frame))  # fmt: skip
