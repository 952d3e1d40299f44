"""Scores against the number of clusters: where does another category stop paying?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.grid import Grid
from reasoning_lab.report.views.theme import TEXT, Inks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def elbow_chart(grid: Grid, inks: Inks) -> Chart:
    """One line per layer."""
    caption = f"One line per layer. Rings: the elbow: {grid.rule}. Star: the best cell of all."
    elbows = (f"layer {layer}: elbow at {grid.elbows[layer]:g} clusters" for layer in inks if layer in grid.elbows)
    alt = "; ".join(elbows) or "no elbow"
    title = "Where does another category stop paying?"
    return render("elbow", title, caption, alt, lambda: _draw(grid, inks), inks)


def _draw(grid: Grid, inks: Inks) -> Figure:
    """Final score against the number of clusters, layers labelled in the legend."""
    figure = new_figure(8.6, 4.4)
    axes = figure.add_subplot()
    x_of = _positions(grid.sizes)
    for layer, ink in inks.items():
        places = [(layer, size) for size in grid.sizes if (layer, size) in grid.scores]
        axes.plot([x_of[size] for _, size in places], [grid.mean(place) for place in places], color=ink.light,
                  marker=ink.marker, markersize=5, linewidth=1.8, label=f"layer {layer}")  # fmt: skip
        for place in filter(grid.at_elbow, places):
            axes.plot([x_of[place[1]]], [grid.mean(place)], marker="o", markersize=14, markerfacecolor="none",
                      markeredgecolor=ink.light, markeredgewidth=1.8)  # fmt: skip
    axes.plot([x_of[grid.best[1]]], [grid.mean(grid.best)], marker="*", markersize=15, color=TEXT.light, zorder=5,
              linestyle="")  # fmt: skip
    axes.set_xticks(list(x_of.values()), grid.sizes)
    axes.set(xlabel="clusters", ylabel="final score")
    figure.legend(loc="outside upper left", ncols=min(6, len(inks)), fontsize=9)
    return figure


def _positions(sizes: list[str]) -> dict[str, float]:
    """Sizes at their numbers, or one after the other where some are none."""
    numbers = all(size.isdecimal() for size in sizes)
    return {size: float(size) if numbers else float(i) for i, size in enumerate(sizes)}
