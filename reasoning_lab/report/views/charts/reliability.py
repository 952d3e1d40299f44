"""Reliability diagrams: is an arm as sure as it is right?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from reasoning_lab.report.views.arms import PassSummary
from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.theme import FAINT, Ink, Inks
from reasoning_lab.report.words import short_label
from reasoning_lab.statistics import Calibration, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_LABEL = 30
CAPTION = (
    "Confidence of an answer: leave-one-out vote share, the share of the problem's other n−1 answers that agree with "
    "it; leaving the answer itself out keeps the share from being raised by the very answer that it judges. Points: "
    "share correct in each of ten bins, with 95 % intervals over problems; on the dashed line confidence "
    "equals correctness, below it the arm is overconfident. Pale columns and the size of the points: answers per bin. "
    "Error: expected calibration error, the mean distance from the line weighted by answers, with its 95 % interval; "
    "finite n and few problems raise it even for a calibrated arm, so compare arms, not the number with zero. Answers "
    "without a readable result have no confidence and are left out."
)


def reliability_chart(passk: list[PassSummary], inks: Inks) -> Chart:
    """Is it as sure as it is right?"""
    given = [(arm, arm.calibration) for arm in passk if arm.calibration]
    alt = "; ".join(f"{arm.label}: calibration error {_words(told.error)}" for arm, told in given)
    return render("reliability", "Is it as sure as it is right?", CAPTION, alt, lambda: _draw(given, inks), inks)


def _words(interval: Interval) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*interval)


def _draw(given: list[tuple[PassSummary, Calibration]], inks: Inks) -> Figure:
    """One diagram per arm, with the number of answers per bin below."""
    columns = min(len(given), 4)
    rows = math.ceil(len(given) / columns)
    figure = new_figure(max(4.0, 2.87 * columns), 3.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel, (arm, told) in zip(panels.flat, given, strict=False):
        _draw_panel(panel, arm, told, inks[arm.name])
    for panel in panels.flat[len(given) :]:
        panel.set_visible(False)
    for panel in panels[-1]:
        panel.set(xlabel="confidence: leave-one-out vote share")
    for panel in panels[:, 0]:
        panel.set(ylabel="share of correct answers")
    return figure


def _draw_panel(panel: Axes, arm: PassSummary, told: Calibration, ink: Ink) -> None:
    bins = [b for b in told.bins if b.n]
    most = max(b.n for b in bins)
    x = np.array([b.confidence for b in bins])
    value, low, high = np.array([b.accuracy for b in bins]).T
    panel.plot([0, 1], [0, 1], color=FAINT.light, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    panel.bar([(b.low + b.high) / 2 for b in bins], [0.22 * b.n / most for b in bins], width=0.085,
              color=ink.light, alpha=0.18, linewidth=0, zorder=1)  # fmt: skip
    panel.vlines(x, low, high, color=ink.light, linewidth=1.3, alpha=0.75)
    panel.scatter(x, value, s=[12 + 60 * b.n / most for b in bins], c=ink.light, marker=ink.marker, zorder=3)
    label = short_label(arm.label, LONGEST_LABEL)
    panel.set_title(f"{label}\nerror {_words(told.error)}", fontsize=9.5, linespacing=1.5)
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    panel.set_xticks([0, 0.5, 1])
    panel.set_yticks([0, 0.5, 1])
