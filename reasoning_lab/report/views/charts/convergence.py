"""What more steps still change: accuracy by steps made, and what was accepted and moved on each rung."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasoning_lab.report.views.charts.kit import Chart, new_figure, render
from reasoning_lab.report.views.convergence import Convergence, Milestone
from reasoning_lab.report.views.theme import FAINT, GRID, TEXT, Ink, Inks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reasoning_lab.statistics import Interval

CAPTION = (
    "The first chain of each problem, looked at on its way; bars are 95 % intervals over problems. Above: share of "
    "right answers if the chain had ended there, at the end of each rung (large marks) and after each step of the last "
    "one (small marks, shaded). An early rung's cap cuts long answers off, which counts as wrong. With a full ladder a "
    "large mark is what the sampler returns with that rung as its last; fewer steps on every rung make another chain, "
    "which is not shown. Below, by rung: share of proposals accepted; accepted with a change of the text; and share of "
    "chains whose text changed at least once. Chains that hardly move give steady answers without having converged."
)


def convergence_chart(given: Convergence, inks: Inks) -> Chart:
    """Do more steps still change the answers?"""
    title = "Do more steps still change the answers?"
    accuracies = [f"{100 * place.accuracy.value:.1f}" for place in given.last if place.accuracy]
    alt = (
        f"{given.label}, {given.n_steps} steps on each of {len(given.rungs)} rungs: on the last rung "
        f"{100 * given.rungs[-1].chains_moved.value:.1f} % of the chains changed their text"
    )
    alt += f"; accuracy in percent after each of its steps: {', '.join(accuracies)}" if accuracies else ""
    return render("convergence", title, CAPTION, alt, lambda: draw_convergence(given, inks[given.name]), inks)


def draw_convergence(given: Convergence, ink: Ink) -> Figure:
    """Both panels over the steps made so far."""
    figure = new_figure(8.6, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1))
    _draw_accuracy(above, given, ink)
    _draw_moves(below, given, ink)
    below.set(xlabel=f"Metropolis–Hastings steps made so far ({given.n_steps} per rung)")
    return figure


def _draw_accuracy(axes: Axes, given: Convergence, ink: Ink) -> None:
    axes.axvspan(given.last[0].steps, given.last[-1].steps, color=GRID.light, alpha=0.5, linewidth=0)
    _draw_places(axes, given.ends, ink, 7.0)
    _draw_places(axes, given.last, ink, 3.5)
    axes.set(ylabel="right answers, %")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high + 2, 102))


def _draw_places(axes: Axes, places: tuple[Milestone, ...], ink: Ink, size: float) -> None:
    at = [(place.steps, place.accuracy) for place in places if place.accuracy is not None]
    axes.plot(
        [x for x, _ in at], [100 * y.value for _, y in at], color=ink.light, marker=ink.marker, markersize=size,
        linewidth=1.4,
    )  # fmt: skip
    for x, y in at:
        axes.vlines(x, 100 * y.low, 100 * y.high, color=ink.light, linewidth=1.2, alpha=0.5)


def _draw_moves(axes: Axes, given: Convergence, ink: Ink) -> None:
    lines = (
        ("proposals accepted", [rung.acceptance for rung in given.rungs], FAINT, "o", (0, (4, 3))),
        ("proposals that changed the text", [rung.moved for rung in given.rungs], ink, ink.marker, "-"),
        ("chains that changed their text", [rung.chains_moved for rung in given.rungs], TEXT, "^", (0, (1, 2))),
    )
    steps = {place.rung: place.steps for place in given.ends}
    xs = [steps[rung.rung] for rung in given.rungs]
    for label, values, colour, marker, style in lines:
        _draw_shares(axes, xs, values, label, colour, marker, style)
    axes.set(ylabel="%", ylim=(-2, 102))
    axes.legend(loc="upper center", ncols=3, fontsize=8.5, bbox_to_anchor=(0.5, 1.16))


def _draw_shares(
    axes: Axes, xs: list[int], values: list[Interval], label: str, colour: Ink, marker: str, style: object
) -> None:
    axes.plot(
        xs, [100 * value.value for value in values], color=colour.light, marker=marker, markersize=5, linewidth=1.4,
        linestyle=style, label=label,
    )  # fmt: skip
    for x, value in zip(xs, values, strict=True):
        axes.vlines(x, 100 * value.low, 100 * value.high, color=colour.light, linewidth=1.0, alpha=0.45)
