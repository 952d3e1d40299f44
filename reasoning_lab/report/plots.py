"""The charts: each is drawn once by matplotlib and saved as PNG (light) and as SVG whose colours follow the page."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import reasoning_lab.report.theme as theme
from reasoning_lab.report.inputs import ReportInput, visible
from reasoning_lab.report.summary import ArmSummary, PassSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

Inks = dict[str, theme.Ink]


class Chart(NamedTuple):
    """A drawn chart."""

    name: str
    """File name without ending."""
    title: str
    caption: str
    """Defines every quantity shown."""
    alt: str
    """What a reader who cannot see it should know."""
    png: bytes
    svg: str
    """Inline SVG: no external reference, ids unique on the page, colours as CSS variables."""


STYLE: dict[str, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": theme.FAINT.light,
    "axes.labelcolor": theme.TEXT.light,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": theme.GRID.light,
    "grid.linewidth": 0.8,
    "text.color": theme.TEXT.light,
    "xtick.color": theme.FAINT.light,
    "ytick.color": theme.FAINT.light,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": theme.BACKGROUND.light,
    "axes.facecolor": theme.BACKGROUND.light,
    "savefig.facecolor": theme.BACKGROUND.light,
    "legend.frameon": False,
}


@contextmanager
def _style(name: str) -> Iterator[None]:
    """House style; labels may hold characters that the PNG's font lacks, which is no reason to warn."""
    import matplotlib as mpl

    settings: Any = {**STYLE, "svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def render(name: str, title: str, caption: str, alt: str, draw: Callable[[], Figure], inks: Inks) -> Chart:
    """Draw and save in both formats; the same input gives the same bytes."""
    with _style(name):
        figure = draw()
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return Chart(name, title, caption, alt, png.getvalue(), _inline(svg.getvalue(), name, alt, inks))


def _inline(svg: str, name: str, alt: str, inks: Inks) -> str:
    """Matplotlib's SVG as part of an HTML page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for variable, ink in _variables(inks).items():
        svg = svg.replace(ink.light, f"var({variable})")
    svg = re.sub(r"font: ?([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    opening = f'<svg class="chart" role="img" aria-label="{_attribute(alt)}"'
    return re.sub(r'^<svg(.*?) width="[^"]*"', lambda m: opening + re.sub(r' height="[^"]*"', "", m[1]), svg, count=1,
                  flags=re.DOTALL)  # fmt: skip


def _attribute(text: str) -> str:
    import html

    return html.escape(visible(text))


def _variables(inks: Inks) -> dict[str, theme.Ink]:
    """CSS variable -> ink, for the page's furniture and all arms (arms that share an ink share a variable)."""
    furniture = {"--text": theme.TEXT, "--faint": theme.FAINT, "--grid": theme.GRID, "--background": theme.BACKGROUND}
    by_light = {ink.light: ink for ink in inks.values()}
    return furniture | {f"--ink-{light[1:]}": ink for light, ink in by_light.items()}


def variable(ink: theme.Ink) -> str:
    """CSS expression for an arm's colour."""
    return f"var(--ink-{ink.light[1:]})"


def stylesheet(inks: Inks) -> str:
    """Declarations of the colour variables for the light and the dark page."""
    light, dark = ("".join(f"{name}:{getattr(ink, which)};" for name, ink in _variables(inks).items())
                   for which in ("light", "dark"))  # fmt: skip
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _labels(labels: Sequence[str], longest: int = 34) -> list[str]:
    clean = [" ".join(visible(label).split()) for label in labels]
    return [label if len(label) <= longest else label[: longest - 1] + "…" for label in clean]


# --- placing labels -------------------------------------------------------------------------------------------


def _spread(ys: Sequence[float], gap: float, top: float) -> list[float]:
    """The positions moved until neighbours are `gap` apart and none is above `top`; order is kept."""
    order = sorted(range(len(ys)), key=lambda i: ys[i])
    placed: dict[int, float] = {}
    groups: list[list[int]] = []
    for i in order:
        groups.append([i])
        while (
            len(groups) > 1
            and _centre(groups[-1], ys) - _centre(groups[-2], ys) < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            last = groups.pop()
            groups[-1] += last
    for group in groups:
        start = _centre(group, ys) - gap * (len(group) - 1) / 2
        for rank, i in enumerate(group):
            placed[i] = start + gap * rank
    for i in sorted(placed, key=lambda i: -placed[i]):
        placed[i] = min(placed[i], top)
        top = placed[i] - gap
    return [placed[i] for i in range(len(ys))]


def _centre(group: list[int], ys: Sequence[float]) -> float:
    return sum(ys[i] for i in group) / len(group)


def _place(axes: Axes, texts: list[Text], xy: list[tuple[float, float]], bars: list[tuple[float, float]]) -> None:
    """Move each text around its point to a near place where it meets no text, marker, interval bar or edge."""
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    taken: list[Bbox] = []
    frame, scale = axes.get_window_extent(), figure.dpi / 72
    for (x, y), (low, high) in zip(xy, bars, strict=True):
        (px, py), (_, y0), (_, y1) = axes.transData.transform([(x, y), (x, low), (x, high)])
        taken.append(Bbox.from_bounds(px - 6 * scale, py - 6 * scale, 12 * scale, 12 * scale))
        taken.append(Bbox.from_extents(px - 2 * scale, y0, px + 2 * scale, y1))
    order = sorted(range(len(texts)), key=lambda i: -xy[i][1])
    for i in order:
        size = texts[i].get_window_extent()
        px, py = axes.transData.transform(xy[i])
        best = min(_spots(px, py, size.width, size.height, scale), key=lambda box: _clash(box, taken, frame, px, py))
        x, y = axes.transData.inverted().transform((best.x0, best.y0))
        texts[i].set_position((float(x), float(y)))
        taken.append(best)
        _leader(axes, xy[i], best, px, py, scale)


def _spots(px: float, py: float, width: float, height: float, scale: float) -> Iterator[Bbox]:
    """Boxes around a point, nearest first."""
    from matplotlib.transforms import Bbox

    for radius in (9, 16, 26, 38, 52, 68, 86, 106, 130, 160):
        for angle in (0, 180, 30, 330, 150, 210, 60, 300, 120, 240, 90, 270):
            cx, cy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            x = px + radius * scale * cx - width * (1 - cx) / 2
            y = py + radius * scale * cy - height * (1 - cy) / 2
            yield Bbox.from_bounds(x, y, width, height)


def _clash(box: Bbox, taken: list[Bbox], frame: Bbox, px: float, py: float) -> float:
    """Overlapped area with everything taken, heavily; leaving the frame, as heavily; distance, lightly."""
    from matplotlib.transforms import Bbox

    overlap = sum((cut.width + 1) * (cut.height + 1) for other in taken if (cut := Bbox.intersection(box, other)))
    outside = max(0, frame.x0 - box.x0) + max(0, box.x1 - frame.x1) + max(0, frame.y0 - box.y0)
    outside += max(0, box.y1 - frame.y1)
    return 1e3 * overlap + 1e3 * outside + math.hypot((box.x0 + box.x1) / 2 - px, (box.y0 + box.y1) / 2 - py)


def _leader(axes: Axes, xy: tuple[float, float], box: Bbox, px: float, py: float, scale: float) -> None:
    """A thin line from a point to its label when they are far apart."""
    nearest = (min(max(px, box.x0), box.x1), min(max(py, box.y0), box.y1))
    if math.hypot(nearest[0] - px, nearest[1] - py) > 14 * scale:
        end = axes.transData.inverted().transform(nearest)
        axes.plot([xy[0], end[0]], [xy[1], end[1]], color=theme.FAINT.light, linewidth=0.6, alpha=0.6, zorder=1)


# --- the charts -----------------------------------------------------------------------------------------------


def pass_at_k(passk: list[PassSummary], inks: Inks) -> Figure:
    """pass@k against k with pointwise bands."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(8.6, 4.6)
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
    ends = _spread([100 * arm.curve.points[-1].value for arm in passk], gap, top=100.0)
    for arm, label, y in zip(passk, _labels([arm.label for arm in passk]), ends, strict=True):
        axes.annotate(label, (arm.curve.ks[-1], y), xytext=(10, 0), textcoords="offset points", va="center",
                      color=inks[arm.name].light, fontsize=9, annotation_clip=False)  # fmt: skip
    return figure


def likelihood(report: ReportInput, inks: Inks) -> Figure:
    """Histograms of log p per token and of confidence under the base model (Karan & Du 2025, Fig. 4)."""
    arms = scored_arms(report)
    figure = _figure(8.6, 3.9)
    axes = figure.subplots(1, 2, sharey=True)
    titles = ("log p per token under the base [nats]", "confidence under the base: mean of Σ p log p [nats]")
    for column, (panel, title) in enumerate(zip(axes, titles, strict=True)):
        values = [np.array([pair[column] for pair in arm.scored or () if math.isfinite(pair[column])]) for arm in arms]
        filled = np.concatenate([v for v in values if len(v)]) if any(map(len, values)) else np.zeros(1)
        bins = np.linspace(*_range(filled), 29)
        for arm, value in zip(arms, values, strict=True):
            if len(value):
                _histogram(panel, value, bins, inks[arm.name])
        panel.set(xlabel=title)
        panel.grid(visible=False, axis="x")
    axes[0].set(ylabel="% of answers")
    handles = [_swatch(inks[arm.name].light) for arm in arms]
    figure.legend(handles, _labels([arm.label for arm in arms]), loc="outside upper left", ncols=min(3, len(arms)))
    return figure


def scored_arms(report: ReportInput) -> list[Any]:
    """Base, power and RL arm as far as they were scored under the base; else the first three scored arms."""
    named = [arm for arm in report.arms if arm.scored and arm.name in (report.base, report.power, report.rl)]
    return named or [arm for arm in report.arms if arm.scored][:3]


def _range(values: np.ndarray) -> tuple[float, float]:
    """Where the histogram runs: all but the lowest half percent, which would squeeze the rest."""
    low, high = float(np.quantile(values, 0.005)), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _histogram(panel: Axes, value: np.ndarray, bins: np.ndarray, ink: theme.Ink) -> None:
    clipped, weights = np.clip(value, bins[0], bins[-1]), np.full(len(value), 100 / len(value))
    panel.hist(clipped, bins=list(bins), weights=weights, color=ink.light, alpha=0.22)
    panel.hist(clipped, bins=list(bins), weights=weights, color=ink.light, histtype="step", linewidth=1.6)
    panel.axvline(float(value.mean()), color=ink.light, linewidth=1.4, linestyle=(0, (4, 3)))


def _swatch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor=colour, alpha=0.6)


def reliability(passk: list[PassSummary], inks: Inks) -> Figure:
    """One reliability diagram per arm, with the number of answers per bin below."""
    columns = min(len(passk), 4)
    rows = math.ceil(len(passk) / columns)
    figure = _figure(max(4.0, 2.87 * columns), 3.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel, arm in zip(panels.flat, passk, strict=False):
        _reliability_panel(panel, arm, inks[arm.name])
    for panel in panels.flat[len(passk) :]:
        panel.set_visible(False)
    for panel in panels[-1]:
        panel.set(xlabel="confidence: leave-one-out vote share")
    for panel in panels[:, 0]:
        panel.set(ylabel="share of correct answers")
    return figure


def _reliability_panel(panel: Axes, arm: PassSummary, ink: theme.Ink) -> None:
    found = arm.calibration
    bins = [b for b in found.bins if b.n]
    x = np.array([b.confidence for b in bins])
    value, low, high = np.array([b.accuracy for b in bins]).T
    panel.plot([0, 1], [0, 1], color=theme.FAINT.light, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    panel.bar([(b.low + b.high) / 2 for b in bins], [0.22 * b.n / max(b.n for b in bins) for b in bins], width=0.085,
              color=ink.light, alpha=0.18, linewidth=0, zorder=1)  # fmt: skip
    panel.vlines(x, low, high, color=ink.light, linewidth=1.3, alpha=0.75)
    sizes = [12 + 60 * b.n / max(b.n for b in bins) for b in bins]
    panel.scatter(x, value, s=sizes, c=ink.light, marker=ink.marker, zorder=3)
    label = _labels([arm.label], 30)[0]
    panel.set_title(f"{label}\nerror {_share(found.error)}", fontsize=9.5, linespacing=1.5)
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    panel.set_xticks([0, 0.5, 1])
    panel.set_yticks([0, 0.5, 1])


def _share(interval: Sequence[float]) -> str:
    return f"{interval[0]:.3f} [{interval[1]:.3f}, {interval[2]:.3f}]"


def cost(rows: list[ArmSummary], inks: Inks) -> Figure:
    """Accuracy against decode tokens per answer, log scale, each point labelled beside it."""
    figure = _figure(8.6, 5.2)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    texts, xy, bars = [], [], []
    for row, label in zip(rows, _labels([row.label for row in rows]), strict=True):
        x, ink = max(row.decode_tokens, 1e-9), inks[row.name]
        value, low, high = (100 * v for v in row.accuracy)
        axes.vlines(x, low, high, color=ink.light, linewidth=1.3, alpha=0.55)
        edge = theme.BACKGROUND.light
        axes.plot([x], [value], marker=ink.marker, markersize=8, color=ink.light, markeredgecolor=edge)
        bars.append((low, high))
        texts.append(axes.text(x, value, label, color=ink.light, fontsize=8.5, ha="left", va="bottom"))
        xy.append((x, value))
    _cost_axes(axes, [x for x, _ in xy])
    _place(axes, texts, xy, bars)
    return figure


def _cost_axes(axes: Axes, xs: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xlim(min(xs) / 1.9, max(xs) * 2.6)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high + 3, 103))
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}".replace(",", " ") if x >= 1 else f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set(xlabel="decode tokens per answer (log scale)", ylabel="accuracy, % of problems")


# --- all of them ----------------------------------------------------------------------------------------------


def charts(report: ReportInput, rows: list[ArmSummary], passk: list[PassSummary]) -> list[Chart]:
    """Every chart that the data allow, in the page's order."""
    inks = theme.inks(report)
    made = [_cost_chart(rows, inks)]
    if passk:
        made += [_pass_chart(passk, inks), _reliability_chart(passk, inks)]
    if scored_arms(report):
        made.append(_likelihood_chart(report, inks))
    return made


def _cost_chart(rows: list[ArmSummary], inks: Inks) -> Chart:
    caption = (
        "Accuracy: share of correct answers, mean over problems; bars are 95 % intervals. Decode tokens per answer: "
        "all tokens the model drew for one answer, rejected proposals and discarded candidates included; prompt tokens "
        "are not counted. Up and to the left is better."
    )
    alt = "Accuracy against decode tokens per answer: " + "; ".join(
        f"{row.label}: {100 * row.accuracy.value:.1f} % at {row.decode_tokens:.0f} tokens" for row in rows
    )
    return render("accuracy_by_cost", "What accuracy costs", caption, alt, lambda: cost(rows, inks), inks)


def _pass_chart(passk: list[PassSummary], inks: Inks) -> Chart:
    first = passk[0].curve
    caption = (
        f"pass@k: the probability that at least one of k answers is correct, estimated without bias from "
        f"{passk[0].n_samples} answers to each of {first.n_problems} problems as 1 − C(n−c, k) / C(n, k), c of n "
        "correct. Bands: 95 % bootstrap over problems, for each k by itself. A curve that starts high and stays flat "
        "has traded variety for certainty."
    )
    alt = "; ".join(
        f"{arm.label}: pass@1 {100 * arm.curve.points[0].value:.1f} %, pass@{arm.curve.ks[-1]} "
        f"{100 * arm.curve.points[-1].value:.1f} %" for arm in passk
    )  # fmt: skip
    return render("pass_at_k", "Does it keep its variety?", caption, alt, lambda: pass_at_k(passk, inks), inks)


def _reliability_chart(passk: list[PassSummary], inks: Inks) -> Chart:
    caption = (
        "Confidence of an answer: leave-one-out vote share, the share of the problem's other n−1 answers that agree "
        "with it; leaving the answer itself out keeps the share from being raised by the very answer that it judges. "
        "Points: share correct in each of ten bins, with 95 % intervals by bootstrap over problems; on the dashed line "
        "confidence equals correctness, below it the arm is overconfident. Pale columns and the size of the points: "
        "answers per bin. Error: expected calibration error, the mean distance from the line weighted by answers, with "
        "its 95 % interval; "
        "finite n and few problems raise it even for a calibrated arm, so compare arms, not the number with zero. "
        "Answers without a readable result have no confidence and are left out."
    )
    alt = "; ".join(f"{arm.label}: calibration error {_share(arm.calibration.error)}" for arm in passk)
    return render("reliability", "Is it as sure as it is right?", caption, alt, lambda: reliability(passk, inks), inks)


def _likelihood_chart(report: ReportInput, inks: Inks) -> Chart:
    caption = (
        "Each answer is scored under the base model, whoever wrote it. Left: its log-probability divided by its number "
        "of tokens. Right: confidence as in Karan & Du 2025, eq. 13, the mean over positions of Σ p log p (negative "
        "entropy; nearer zero is surer). Dashed: means. The lowest 0.5 % are counted in the first bin. After Fig. 4 of "
        "the paper."
    )
    means = [(arm.label, [p for p, _ in arm.scored or ()]) for arm in scored_arms(report)]
    alt = "; ".join(f"{label}: mean log p per token {np.mean(values):.3f}" for label, values in means)
    return render("likelihood", "Where in the base model's law do answers lie?", caption, alt,
                  lambda: likelihood(report, inks), inks)  # fmt: skip
