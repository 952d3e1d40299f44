"""pass@k against k: does an arm keep its variety?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reasoning_lab.report.views.arms import PassSummary
from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.charts.labels import spread_out
from reasoning_lab.report.views.theme import Inks
from reasoning_lab.report.words import short_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_LABEL = 34


def variety_chart(passk: list[PassSummary], inks: Inks) -> Chart:
    """Does it keep its variety?"""
    first = passk[0].curve
    caption = (
        f"pass@k: the probability that at least one of k answers is correct, estimated without bias from "
        f"{passk[0].n_samples} answers to each of {first.n_problems} problems as 1 − C(n−c, k) / C(n, k), c of n "
        "correct. Bands: 95 % intervals over problems, for each k by itself. A curve that starts high and stays flat "
        "has traded variety for certainty."
    )
    alt = "; ".join(
        f"{arm.label}: pass@1 {100 * arm.curve.points[0].value:.1f} %, pass@{arm.curve.ks[-1]} "
        f"{100 * arm.curve.points[-1].value:.1f} %" for arm in passk
    )  # fmt: skip
    return render("pass_at_k", "Does it keep its variety?", caption, alt, lambda: _draw(passk, inks), inks)


def _draw(passk: list[PassSummary], inks: Inks) -> Figure:
    """Curves with pointwise bands, each labelled at its end."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8.6, 4.6)
    axes = figure.add_subplot()
    for arm in passk:
        ks, colour = np.array(arm.curve.ks), inks[arm.name].light
        value, low, high = 100 * np.array(arm.curve.points).T
        axes.fill_between(ks, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(ks, value, color=colour, linewidth=2, marker=inks[arm.name].marker, markersize=4)
    last = max(arm.curve.ks[-1] for arm in passk)
    axes.set(xlabel="k, answers per problem", ylabel="pass@k, % of problems", ylim=(None, 101), xlim=(0.7, last + 0.3))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    gap = (axes.get_ylim()[1] - axes.get_ylim()[0]) / 18
    ends = spread_out([100 * arm.curve.points[-1].value for arm in passk], gap, top=100.0)
    for arm, y in zip(passk, ends, strict=True):
        axes.annotate(short_label(arm.label, LONGEST_LABEL), (arm.curve.ks[-1], y), xytext=(10, 0), fontsize=9,
                      textcoords="offset points", va="center", color=inks[arm.name].light,
                      annotation_clip=False)  # fmt: skip
    return figure
