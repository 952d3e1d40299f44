"""How much of the gap between base and thinking model each arm closes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from reasoning_lab.report.views.arms import ArmSummary
from reasoning_lab.report.views.charts.kit import Chart, new_figure, open_left, render
from reasoning_lab.report.views.control_headline import gap_words
from reasoning_lab.report.views.controls import control_groups
from reasoning_lab.report.views.tables import Group
from reasoning_lab.report.views.theme import BACKGROUND, FAINT, GRID, TEXT, Ink, Inks
from reasoning_lab.report.words import percent, short_label
from reasoning_lab.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_LABEL = 38
WINDOW = (-1.0, 1.8)
"""Gap recovered that the chart shows at most; what lies beyond is clipped with an arrow, and stands in the table."""
GAP_CAPTION = (
    "Share of the gap from base (0 %) to thinking model (100 %) that an arm closes: (arm − base) / (thinking − base), "
    "never clipped, with 95 % intervals of the ratio over problems; where one has no end, no value is given. "
    "Shaded: null controls; whatever they recover is not the categories' doing. Arrows: beyond the frame. Two arms are "
    "compared by the paired differences in the table, not by whether their bars overlap."
)
ACCURACY_CAPTION = (
    "Accuracy with 95 % intervals over problems. The thinking model is not clearly above the base, so no share of a "
    "gap can be given. Shaded: null controls."
)


class _Line(NamedTuple):
    """A line of the chart: a group's heading, or an arm with its interval."""

    group: Group[ArmSummary]
    row: ArmSummary | None = None
    interval: Interval | None = None


def gap_chart(rows: list[ArmSummary], inks: Inks) -> Chart:
    """Gap recovered by every arm; their accuracies where there is no gap to recover."""
    if any(row.recovered for row in rows):
        alt = "; ".join(f"{row.label}: {gap_words(row.recovered)} %" for row in rows if row.recovered)
        title, caption, of_gap = "How much of the gap does each arm close?", GAP_CAPTION, True
    else:
        alt = "; ".join(f"{row.label}: {percent(row.accuracy)} %" for row in rows)
        title, caption, of_gap = "Accuracy of every arm", ACCURACY_CAPTION, False
    return render("gap_recovered", title, caption, alt, lambda: _draw(rows, inks, of_gap), inks)


def _draw(rows: list[ArmSummary], inks: Inks, of_gap: bool) -> Figure:
    """One line per arm, groups under their headings, null controls shaded."""
    lines = _lines(rows, of_gap)
    figure = new_figure(8.6, 0.9 + 0.29 * len(lines))
    axes = figure.add_subplot()
    window = _window([line.interval for line in lines if line.interval]) if of_gap else (-0.01, 1.01)
    _shade(axes, lines)
    for y, line in enumerate(lines):
        if line.row and line.interval:
            _bar(axes, y, line.interval, inks[line.row.name], window)
    _name_lines(axes, lines)
    axes.set(xlim=(100 * window[0], 100 * window[1]), ylim=(len(lines) - 0.4, -0.6))
    axes.set_xlabel("gap recovered, % (0: base, 100: thinking model)" if of_gap else "accuracy, % of problems")
    open_left(axes)
    if of_gap:
        for x, style in ((0, "-"), (100, (0, (4, 3)))):
            axes.axvline(x, color=FAINT.light, linewidth=1, linestyle=style, zorder=1)
    return figure


def _lines(rows: list[ArmSummary], of_gap: bool) -> list[_Line]:
    lines: list[_Line] = []
    for group in control_groups(rows):
        intervals = [(row, row.recovered if of_gap else row.accuracy) for row in group.rows]
        drawn = [_Line(group, row, interval) for row, interval in intervals if interval]
        if drawn and group.kind != "models":
            lines.append(_Line(group))
        lines += drawn
    return lines


def _name_lines(axes: Axes, lines: list[_Line]) -> None:
    names = [short_label(line.row.label, LONGEST_LABEL) if line.row else line.group.heading for line in lines]
    axes.set_yticks(range(len(lines)), names)
    for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set(color=TEXT.light if line.row else FAINT.light, fontsize=9.5,
                 fontstyle="normal" if line.row else "italic")  # fmt: skip


def _shade(axes: Axes, lines: list[_Line]) -> None:
    places = [y for y, line in enumerate(lines) if line.group.kind == "nulls"]
    if places:
        axes.axhspan(places[0] - 0.5, places[-1] + 0.5, color=GRID.light, alpha=0.55, linewidth=0, zorder=0)


def _window(intervals: list[Interval]) -> tuple[float, float]:
    ends = [x for interval in intervals for x in interval if math.isfinite(x)]
    return (max(WINDOW[0], min(-0.05, *ends) - 0.04), min(WINDOW[1], max(1.05, *ends) + 0.04))


def _bar(axes: Axes, y: int, interval: Interval, ink: Ink, window: tuple[float, float]) -> None:
    low, high = max(interval.low, window[0]), min(interval.high, window[1])
    axes.hlines(y, 100 * low, 100 * high, color=ink.light, linewidth=2.2, alpha=0.6, zorder=2)
    if window[0] <= interval.value <= window[1]:
        axes.plot([100 * interval.value], [y], marker=ink.marker, markersize=7, color=ink.light,
                  markeredgecolor=BACKGROUND.light, zorder=3)  # fmt: skip
    for beyond, x, marker in ((interval.low < window[0], window[0], "<"), (interval.high > window[1], window[1], ">")):
        if beyond:
            axes.plot([100 * x], [y], marker=marker, markersize=6, color=ink.light, clip_on=False, zorder=3)
