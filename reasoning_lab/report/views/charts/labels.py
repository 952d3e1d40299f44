"""Where labels stand: moved apart in a column, or around their points so that they meet nothing.

adjustText moves labels by repelling forces, which leaves overlaps behind where it is crowded; here each label tries a
fixed list of places and takes the best, so that the same data give the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reasoning_lab.report.views.theme import FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox


def spread_out(ys: Sequence[float], gap: float, top: float) -> list[float]:
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


def place_around(axes: Axes, texts: list[Text], xy: list[tuple[float, float]], bars: list[tuple[float, float]]) -> None:
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
        axes.plot([xy[0], end[0]], [xy[1], end[1]], color=FAINT.light, linewidth=0.6, alpha=0.6, zorder=1)
