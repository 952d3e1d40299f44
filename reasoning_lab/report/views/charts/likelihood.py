"""Where in the base model's law answers lie (Karan & Du 2025, Fig. 4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from reasoning_lab.report.data import ArmResult, Report
from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.theme import Ink, Inks
from reasoning_lab.report.words import short_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Float64[np.ndarray, "n"]
Edges = Float64[np.ndarray, "edges"]
N_BINS = 28
LONGEST_LABEL = 34
CAPTION = (
    "Each answer is scored under the base model, whoever wrote it. Left: its log-probability divided by its number of "
    "tokens. Right: confidence as in Karan & Du 2025, eq. 13, the mean over positions of Σ p log p (negative entropy; "
    "nearer zero is surer). Dashed: means. The lowest 0.5 % are counted in the first bin. After Fig. 4 of the paper."
)
PANELS = ("log p per token under the base [nats]", "confidence under the base: mean of Σ p log p [nats]")


def scored_arms(report: Report) -> list[ArmResult]:
    """Base, studied and reference arm as far as they were scored under the base; else the first three scored arms."""
    scored = [arm for arm in report.arms if arm.scored]
    return [arm for arm in scored if arm.name in report.leading] or scored[:3]


def likelihood_chart(report: Report, inks: Inks) -> Chart:
    """Where in the base model's law do answers lie?"""
    arms = scored_arms(report)
    means = ((arm.label, np.mean([log_p for log_p, _ in arm.scored or ()])) for arm in arms)
    alt = "; ".join(f"{label}: mean log p per token {mean:.3f}" for label, mean in means)
    title = "Where in the base model's law do answers lie?"
    return render("likelihood", title, CAPTION, alt, lambda: _draw(arms, inks), inks)


def _draw(arms: list[ArmResult], inks: Inks) -> Figure:
    """Histograms of log p per token and of confidence under the base model."""
    from matplotlib.patches import Patch

    figure = new_figure(8.6, 3.9)
    axes = figure.subplots(1, 2, sharey=True)
    for column, (panel, title) in enumerate(zip(axes, PANELS, strict=True)):
        values = [np.array([pair[column] for pair in arm.scored or () if math.isfinite(pair[column])], dtype=float)
                  for arm in arms]  # fmt: skip
        edges = _edges(np.concatenate(values))
        for arm, value in zip(arms, values, strict=True):
            if len(value):
                _histogram(panel, value, edges, inks[arm.name])
        panel.set(xlabel=title)
        panel.grid(visible=False, axis="x")
    axes[0].set(ylabel="% of answers")
    inked = [inks[arm.name].light for arm in arms]
    handles = [Patch(facecolor=colour, edgecolor=colour, alpha=0.6) for colour in inked]
    labels = [short_label(arm.label, LONGEST_LABEL) for arm in arms]
    figure.legend(handles, labels, loc="outside upper left", ncols=min(3, len(arms)))
    return figure


def _edges(values: Values) -> Edges:
    """All but the lowest half percent, which would squeeze the rest."""
    if not len(values):
        return np.linspace(-0.5, 0.5, N_BINS + 1)
    low, high = float(np.quantile(values, 0.005)), float(values.max())
    return np.linspace(*((low, high) if high > low else (low - 0.5, high + 0.5)), N_BINS + 1)


def _histogram(panel: Axes, values: Values, edges: Edges, ink: Ink) -> None:
    clipped, weights = np.clip(values, edges[0], edges[-1]), np.full(len(values), 100 / len(values))
    panel.hist(clipped, bins=list(edges), weights=weights, color=ink.light, alpha=0.22)
    panel.hist(clipped, bins=list(edges), weights=weights, color=ink.light, histtype="step", linewidth=1.6)
    panel.axvline(float(values.mean()), color=ink.light, linewidth=1.4, linestyle=(0, (4, 3)))
