"""One swept key as a curve: accuracy with its interval, point by point, the base arm beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.sweep import SEED, SweepTable, accuracy_over, points_of
from reasoning_lab.report.views.theme import FAINT, TEXT, Ink
from reasoning_lab.report.words import percent, visible
from reasoning_lab.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def accuracy_curve(table: SweepTable) -> Chart | None:
    """None unless one key was swept, seeds apart, and every point has an accuracy."""
    keys = [key for key in table.keys if key != SEED]
    points = points_of(table.cells)
    given = [accuracy_over(point) for point in points]
    studied = [each for each in given if each is not None]
    if len(keys) != 1 or len(points) < 2 or len(studied) < len(points):
        return None
    (key,) = keys
    values = [str(point[0].overrides.get(key)) for point in points]
    bases = [accuracy_over(point, point[0].base) if point[0].base else None for point in points]
    base = [each for each in bases if each is not None]
    shown_base = base if len(base) == len(points) else []
    caption = f"Accuracy of the studied arm in percent with its 95 % interval, for each {key}."
    caption += " Grey: the base arm." if shown_base else ""
    alt = "; ".join(f"{key}={value}: {percent(each)}" for value, each in zip(values, studied, strict=True))

    def draw() -> Figure:
        figure = new_figure(8.6, 4.0)
        axes = figure.add_subplot()
        _series(axes, shown_base, -0.06, FAINT, "base")
        _series(axes, studied, 0.06 if shown_base else 0.0, TEXT, "studied")
        axes.set_xticks(range(len(values)), [visible(value) for value in values])
        axes.set(xlabel=visible(key), ylabel="accuracy [%]", xlim=(-0.5, len(values) - 0.5))
        if shown_base:
            figure.legend(loc="outside upper left", ncols=2, fontsize=9)
        return figure

    return render("curve", "Accuracy over the sweep", caption, alt, draw, {})


def _series(axes: Axes, given: list[Interval], shift: float, ink: Ink, label: str) -> None:
    """Points with both bounds, joined."""
    if not given:
        return
    x = [i + shift for i in range(len(given))]
    bars = [[100 * (each.value - each.low) for each in given], [100 * (each.high - each.value) for each in given]]
    axes.errorbar(x, [100 * each.value for each in given], yerr=bars, color=ink.light, marker="o", markersize=5,
                  linewidth=1.4, elinewidth=1.4, capsize=3, label=label)  # fmt: skip
