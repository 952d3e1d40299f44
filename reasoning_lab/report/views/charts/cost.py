"""Accuracy against decode tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_lab.report.views.arms import ArmSummary
from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.charts.labels import place_around
from reasoning_lab.report.views.theme import BACKGROUND, Inks
from reasoning_lab.report.words import short_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_LABEL = 34
CAPTION = (
    "Accuracy: share of correct answers, mean over problems; bars are 95 % intervals. Decode tokens per answer: all "
    "tokens the model drew for one answer, rejected proposals and discarded candidates included; prompt tokens are not "
    "counted, nor what a thinking model reads (the table has both, as forward tokens and FLOPs). Up and to the left is "
    "better."
)


def cost_chart(rows: list[ArmSummary], inks: Inks) -> Chart:
    """What accuracy costs."""
    alt = "Accuracy against decode tokens per answer: " + "; ".join(
        f"{row.label}: {100 * row.accuracy.value:.1f} % at {row.decode_tokens:.0f} tokens" for row in rows
    )
    return render("accuracy_by_cost", "What accuracy costs", CAPTION, alt, lambda: draw_cost(rows, inks), inks)


def draw_cost(rows: list[ArmSummary], inks: Inks) -> Figure:
    """Log scale, each point labelled beside it."""
    figure = new_figure(8.6, 5.2)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    texts, xy, bars = [], [], []
    for row in rows:
        x, ink = max(row.decode_tokens, 1e-9), inks[row.name]
        value, low, high = (100 * v for v in row.accuracy)
        axes.vlines(x, low, high, color=ink.light, linewidth=1.3, alpha=0.55)
        axes.plot([x], [value], marker=ink.marker, markersize=8, color=ink.light, markeredgecolor=BACKGROUND.light)
        label = short_label(row.label, LONGEST_LABEL)
        texts.append(axes.text(x, value, label, color=ink.light, fontsize=8.5, ha="left", va="bottom"))
        xy.append((x, value))
        bars.append((low, high))
    _scale(axes, [x for x, _ in xy])
    place_around(axes, texts, xy, bars)
    return figure


def _scale(axes: Axes, xs: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xlim(min(xs) / 1.9, max(xs) * 2.6)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high + 3, 103))
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}".replace(",", " ") if x >= 1 else f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set(xlabel="decode tokens per answer (log scale)", ylabel="accuracy, % of problems")
