"""Charts of a hybrid model: gap recovered by every arm, and the mixture of categories in each arm's sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import reasoning_lab.report.theme as theme
from reasoning_lab import statistics as st
from reasoning_lab.report.hybrid import HybridRow, gap_words, grouped
from reasoning_lab.report.hybrid_inputs import HybridReport
from reasoning_lab.report.inputs import visible
from reasoning_lab.report.plots import Chart, Inks, render
from reasoning_lab.report.table import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_LABEL = 38
WINDOW = (-1.0, 1.8)
"""Gap recovered that the chart shows at most; what lies beyond is clipped with an arrow, and stands in the table."""


def inks_of(given: HybridReport) -> Inks:
    """Base grey, hybrid blue, thinking orange; the others take turns."""
    return theme.inks(replace(given.report, base=given.base, power=given.hybrid, rl=given.thinking))


def charts(given: HybridReport, rows: list[HybridRow]) -> list[Chart]:
    """Every chart that the data allow."""
    inks = inks_of(given)
    return [_gap_chart(rows, inks), *([_shares_chart(given, inks)] if given.shares or given.truths else [])]


def _short(label: str) -> str:
    clean = " ".join(visible(label).split())
    return clean if len(clean) <= LONGEST_LABEL else clean[: LONGEST_LABEL - 1] + "…"


# --- gap recovered --------------------------------------------------------------------------------------------


def _gap_chart(rows: list[HybridRow], inks: Inks) -> Chart:
    if any(row.recovered for row in rows):
        caption = (
            "Share of the gap from base (0 %) to thinking model (100 %) that an arm closes: (arm − base) / (thinking − "
            "base), never clipped, with 95 % bootstrap intervals over problems in which all three arms are resampled "
            "together. Shaded: null controls; whatever they recover is not the categories' doing. Arrows: beyond the "
            "frame. Two arms are compared by the paired differences in the table, not by whether their bars overlap."
        )
        alt = "; ".join(f"{row.label}: {gap_words(row.recovered)} %" for row in rows if row.recovered)
        name = "gap_recovered"
        title = "How much of the gap does each arm close?"
        return render(name, title, caption, alt, lambda: forest(rows, inks, of_gap=True), inks)
    caption = (
        "Accuracy with 95 % intervals: Wilson's for arms with one answer per problem, a bootstrap over problems for "
        "the others. The thinking model is not clearly above the base, so no share of a gap can be given. Shaded: null "
        "controls."
    )
    alt = "; ".join(f"{row.label}: {percent(row.accuracy)} %" for row in rows)
    return render(
        "gap_recovered", "Accuracy of every arm", caption, alt, lambda: forest(rows, inks, of_gap=False), inks
    )


def forest(rows: list[HybridRow], inks: Inks, of_gap: bool) -> Figure:
    """One line per arm, groups under their headings, null controls shaded."""
    from matplotlib.figure import Figure

    lines = _lines(rows, of_gap)
    figure = Figure(figsize=(8.6, 0.9 + 0.29 * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    window = _window([row for _, row in lines if row], of_gap)
    _shade(axes, lines)
    for y, (_, row) in enumerate(lines):
        if row is not None and (interval := row.recovered if of_gap else row.accuracy) is not None:
            _bar(axes, y, interval, inks[row.name], window)
    axes.set_yticks(range(len(lines)), [heading if row is None else _short(row.label) for heading, row in lines])
    for tick, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set(color=theme.FAINT.light if row is None else theme.TEXT.light, fontsize=9.5,
                 fontstyle="italic" if row is None else "normal")  # fmt: skip
    axes.set(xlim=(100 * window[0], 100 * window[1]), ylim=(len(lines) - 0.4, -0.6))
    axes.set_xlabel("gap recovered, % (0: base, 100: thinking model)" if of_gap else "accuracy, % of problems")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    if of_gap:
        for x, style in ((0, "-"), (100, (0, (4, 3)))):
            axes.axvline(x, color=theme.FAINT.light, linewidth=1, linestyle=style, zorder=1)
    return figure


def _lines(rows: list[HybridRow], of_gap: bool) -> list[tuple[str, HybridRow | None]]:
    lines: list[tuple[str, HybridRow | None]] = []
    for heading, members in grouped(rows):
        drawn = [row for row in members if row.recovered or not of_gap]
        if drawn and heading != "Models":
            lines.append((heading, None))
        lines += [(heading, row) for row in drawn]
    return lines


def _shade(axes: Axes, lines: list[tuple[str, HybridRow | None]]) -> None:
    places = [y for y, (heading, _) in enumerate(lines) if heading == "Null controls"]
    if places:
        axes.axhspan(places[0] - 0.5, places[-1] + 0.5, color=theme.GRID.light, alpha=0.55, linewidth=0, zorder=0)


def _window(rows: list[HybridRow], of_gap: bool) -> tuple[float, float]:
    if not of_gap:
        return (-0.01, 1.01)
    found = [x for row in rows if row.recovered for x in row.recovered]
    return (max(WINDOW[0], min(-0.05, *found) - 0.04), min(WINDOW[1], max(1.05, *found) + 0.04))


def _bar(axes: Axes, y: int, interval: st.Interval, ink: theme.Ink, window: tuple[float, float]) -> None:
    low, high = max(interval.low, window[0]), min(interval.high, window[1])
    axes.hlines(y, 100 * low, 100 * high, color=ink.light, linewidth=2.2, alpha=0.6, zorder=2)
    if window[0] <= interval.value <= window[1]:
        axes.plot([100 * interval.value], [y], marker=ink.marker, markersize=7, color=ink.light,
                  markeredgecolor=theme.BACKGROUND.light, zorder=3)  # fmt: skip
    for beyond, x, marker in ((interval.low < window[0], window[0], "<"), (interval.high > window[1], window[1], ">")):
        if beyond:
            axes.plot([100 * x], [y], marker=marker, markersize=6, color=ink.light, clip_on=False, zorder=3)


# --- categories -----------------------------------------------------------------------------------------------


def _shares_chart(given: HybridReport, inks: Inks) -> Chart:
    caption = (
        "Share of each category among the sentences of an arm's answers. Where base and thinking model lie together "
        "the base model already has the behaviour as often; where the hybrid lies at the thinking model, steering "
        "brought its mixture. "
        + ("Left: the taxonomy's categories; right: ground truth." if given.shares and given.truths else "")
    )
    alt = "; ".join(
        f"{given.report.arm(name).label}: " + ", ".join(
            f"{_short(c.title)} {100 * _share_of(shares, c.index):.0f} %" for c in given.taxonomy.categories
        )
        for name, shares in given.shares.items()
    )  # fmt: skip
    title = "Who does what how often?"
    return render("category_shares", title, caption.strip(), alt, lambda: category_shares(given, inks), inks)


def _share_of(shares: tuple[float, ...], index: int) -> float:
    return shares[index] if 0 <= index < len(shares) else 0.0


def category_shares(given: HybridReport, inks: Inks) -> Figure:
    """Rows are categories, one marker per arm; the taxonomy's and the ground truth side by side."""
    from matplotlib.figure import Figure

    panels: list[tuple[str, list[str], dict[str, list[float]]]] = []
    if given.shares:
        found = {name: [_share_of(shares, c.index) for c in given.taxonomy.categories]
                 for name, shares in given.shares.items()}  # fmt: skip
        titles = [f"{c.index} {_short(c.title)}" for c in given.taxonomy.categories]
        panels.append(("taxonomy", titles, found))
    if given.truths:
        kinds = list(dict.fromkeys(kind for shares in given.truths.values() for kind in shares))
        truths = {name: [shares.get(kind, 0.0) for kind in kinds] for name, shares in given.truths.items()}
        panels.append(("ground truth", [_short(kind) for kind in kinds], truths))
    rows = max(len(titles) for _, titles, _ in panels)
    figure = Figure(figsize=(8.6, 1.6 + 0.33 * rows), layout="constrained")
    for column, (heading, titles, found) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _dots(column, titles, found, inks)
        column.set_title(heading)
        column.set_ylim(rows - 0.4, -0.6)
    names = list(dict.fromkeys(name for _, _, found in panels for name in found))
    handles = [_handle(inks[name]) for name in names]
    labels = [_short(given.report.arm(name).label) for name in names]
    figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(names)), fontsize=9)
    return figure


def _dots(axes: Axes, titles: list[str], found: dict[str, list[float]], inks: Inks) -> None:
    for y in range(len(titles)):
        values = [100 * shares[y] for shares in found.values()]
        axes.hlines(y, min(values), max(values), color=theme.GRID.light, linewidth=3, zorder=1)
    for i, (name, shares) in enumerate(found.items()):
        dodge = 0.13 * (i - (len(found) - 1) / 2)  # equal shares stay visible beside each other
        axes.plot([100 * x for x in shares], [y + dodge for y in range(len(titles))], linestyle="",
                  marker=inks[name].marker, markersize=7,
                  color=inks[name].light, markeredgecolor=theme.BACKGROUND.light, alpha=0.95)  # fmt: skip
    axes.set_yticks(range(len(titles)), titles, fontsize=9)
    axes.set_xlabel("% of sentences")
    axes.set_xlim(left=-1.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _handle(ink: theme.Ink):
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", marker=ink.marker, color=ink.light, markersize=7)
