"""Where a curve of scores over cluster sizes stops paying: the elbow.

The paper picks the elbow by eye. Our rule: scale sizes and scores to [0, 1], draw the chord from
the first to the last point, and take the size whose score lies farthest above it (Satopää et al. 2011, "Finding a
Kneedle in a Haystack", without smoothing). Ties go to the smaller size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

TOLERANCE = 1e-9
"""Heights above the chord that count as equal, as a share of the scores' range."""


@dataclass(frozen=True)
class Elbow:
    """The size that the rule picks."""

    size: int
    height: float
    """Height above the chord as a share of the scores' range; 0 where the rule finds no elbow."""
    reason: Literal["chord", "too few sizes", "does not rise", "does not bend"]
    """chord: the rule holds. Else the size is the one with the best score, ties to the smaller: there are fewer than
    three sizes, the last score is not above the first, or no point lies above the chord."""


def elbow(sizes: Sequence[int], scores: Sequence[float]) -> Elbow:
    """The elbow of scores (higher is better) over sizes, in any order.

    Raises ValueError for lists of unequal length, no sizes, a size given twice, or a score that is not finite.
    """
    points = _points(sizes, scores)
    best = max(points, key=lambda point: (point[1], -point[0]))[0]
    if len(points) < 3:
        return Elbow(best, 0.0, "too few sizes")
    (first_size, first), (last_size, last) = points[0], points[-1]
    if last <= first:
        return Elbow(best, 0.0, "does not rise")
    span = max(score for _, score in points) - min(score for _, score in points)
    slope = (last - first) / (last_size - first_size)
    heights = [(score - first - slope * (size - first_size)) / span for size, score in points]
    if (highest := max(heights)) <= TOLERANCE:
        return Elbow(best, 0.0, "does not bend")
    at = next(i for i, height in enumerate(heights) if height >= highest - TOLERANCE)
    return Elbow(points[at][0], heights[at], "chord")


def _points(sizes: Sequence[int], scores: Sequence[float]) -> list[tuple[int, float]]:
    if len(sizes) != len(scores) or not sizes:
        raise ValueError(f"{len(sizes)} sizes and {len(scores)} scores: give one score for each of one or more sizes.")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"sizes={list(sizes)}: a size is given twice; average its scores first.")
    for size, score in zip(sizes, scores, strict=True):
        if not isfinite(score):
            raise ValueError(f"the score of size {size} is {score}; leave that size out.")
    return sorted(zip(sizes, scores, strict=True))
