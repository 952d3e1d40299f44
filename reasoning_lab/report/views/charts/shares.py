"""The mixture of categories in each arm's sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.views.charts.kit import Chart, new_figure, open_left, render
from reasoning_lab.report.views.theme import BACKGROUND, GRID, Inks
from reasoning_lab.report.words import short_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_LABEL = 38
CAPTION = (
    "Share of each category among the sentences of an arm's answers. Where base and thinking model lie together the "
    "base model already has the behaviour as often; where the hybrid lies at the thinking model, steering brought its "
    "mixture."
)


class _Panel(NamedTuple):
    heading: str
    titles: list[str]
    """Of the categories, from above."""
    shares: dict[str, list[float]]
    """Of each category, by arm."""


def shares_chart(given: HybridReport, inks: Inks) -> Chart | None:
    """Who does what how often? None where no shares are known."""
    panels = [panel for panel in (_taxonomy(given), _truth(given)) if panel.shares]
    if not panels:
        return None
    both = " Left: the taxonomy's categories; right: ground truth." if len(panels) == 2 else ""
    labels = {arm.name: arm.label for arm in given.report.arms}
    alt = "; ".join(f"{labels[name]}: {_mixture(given, shares)}" for name, shares in given.shares.items())
    title = "Who does what how often?"
    return render("category_shares", title, CAPTION + both, alt, lambda: _draw(panels, labels, inks), inks)


def _taxonomy(given: HybridReport) -> _Panel:
    categories = given.taxonomy.categories
    titles = [f"{c.index} {short_label(c.title, LONGEST_LABEL)}" for c in categories]
    shares = {name: [_share_of(each, c.index) for c in categories] for name, each in given.shares.items()}
    return _Panel("taxonomy", titles, shares)


def _truth(given: HybridReport) -> _Panel:
    kinds = list(dict.fromkeys(kind for shares in given.truths.values() for kind in shares))
    shares = {name: [each.get(kind, 0.0) for kind in kinds] for name, each in given.truths.items()}
    return _Panel("ground truth", [short_label(kind, LONGEST_LABEL) for kind in kinds], shares)


def _share_of(shares: tuple[float, ...], index: int) -> float:
    return shares[index] if 0 <= index < len(shares) else 0.0


def _mixture(given: HybridReport, shares: tuple[float, ...]) -> str:
    return ", ".join(
        f"{short_label(c.title, LONGEST_LABEL)} {100 * _share_of(shares, c.index):.0f} %"
        for c in given.taxonomy.categories
    )


def _draw(panels: list[_Panel], labels: dict[str, str], inks: Inks) -> Figure:
    """Rows are categories, one marker per arm; the taxonomy's and the ground truth side by side."""
    from matplotlib.lines import Line2D

    rows = max(len(panel.titles) for panel in panels)
    figure = new_figure(8.6, 1.6 + 0.33 * rows)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _dots(axes, panel, inks)
        axes.set_title(panel.heading)
        axes.set_ylim(rows - 0.4, -0.6)
    names = list(dict.fromkeys(name for panel in panels for name in panel.shares))
    handles = [Line2D([], [], linestyle="", marker=inks[name].marker, color=inks[name].light, markersize=7)
               for name in names]  # fmt: skip
    legend = [short_label(labels[name], LONGEST_LABEL) for name in names]
    figure.legend(handles, legend, loc="outside upper left", ncols=min(4, len(names)), fontsize=9)
    return figure


def _dots(axes: Axes, panel: _Panel, inks: Inks) -> None:
    n, arms = len(panel.titles), panel.shares.items()
    for y in range(n):
        values = [100 * shares[y] for _, shares in arms]
        axes.hlines(y, min(values), max(values), color=GRID.light, linewidth=3, zorder=1)
    for i, (name, shares) in enumerate(arms):
        dodge = 0.13 * (i - (len(arms) - 1) / 2)  # equal shares stay visible beside each other
        axes.plot([100 * x for x in shares], [y + dodge for y in range(n)], linestyle="", marker=inks[name].marker,
                  markersize=7, color=inks[name].light, markeredgecolor=BACKGROUND.light, alpha=0.95)  # fmt: skip
    axes.set_yticks(range(n), panel.titles, fontsize=9)
    axes.set_xlabel("% of sentences")
    axes.set_xlim(left=-1.5)
    open_left(axes)
