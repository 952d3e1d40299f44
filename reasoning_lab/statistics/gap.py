"""How much of a gap an arm recovers: a ratio of two differences that share the base."""

import math
from itertools import product

import numpy as np
from scipy import special, stats

from reasoning_lab.statistics.comparison import Compared
from reasoning_lab.statistics.intervals import LEVEL, Floats, Interval, root, unseen_share
from reasoning_lab.statistics.outcomes import ArmOutcomes, Outcomes, each_draw, means_by_draw

UNBOUNDED = 10.0
"""A gap recovered beyond +-1000 % says only that the gap may be next to nothing: such a bound is infinite."""
GRID = np.linspace(-UNBOUNDED, UNBOUNDED, 2001)


def gap_recovered(
    arm: ArmOutcomes, base: Outcomes, target: Outcomes, gap: Compared, level: float = LEVEL
) -> Interval | None:
    """(arm - base) / (target - base), unclipped; None unless the gap, target minus base, is clear.

    With g and d the mean gains of arm and target over the base, and S their covariance (over problems, and over the
    draws of a random control), the ratio r is tested by T = g - r d, whose mean is zero where r is true:

    - Fieller's (1954) set: |T| <= t sd(T). Unlike a bootstrap of g / d it knows that d may be small.
    - The ratio is given only where the gap is clear, which picks samples in which the base was unlucky. As the base
      stands in numerator and denominator, an arm that does nothing then seems to recover something. So each r is also
      tested by the law of T given what is independent of it and given that d passed (Fithian, Sun & Taylor 2014): a
      normal cut off at the point where d would not have passed.

    The interval is the hull of what either test accepts, and of what a kind of problem that was never seen could change
    (`intervals`). Far beyond the condition the second test changes nothing. Where a bound is infinite the value is nan:
    the data do not tell the share.
    """
    if not gap.is_clearly_above:
        return None
    order = list(each_draw(arm)[0])
    arms, bases, targets = (means_by_draw(each, order) for each in (arm, base, target))
    gains, gaps = arms.mean(1) - bases[:, 0], targets[:, 0] - bases[:, 0]
    n, g, d = len(order), float(gains.mean()), float(gaps.mean())
    t = float(stats.t.ppf((1 + level) / 2, n - 1))
    # Student's tails by a wider normal law.
    spread = np.cov(gains, gaps) / n * (t / float(stats.norm.ppf((1 + level) / 2))) ** 2
    if arms.shape[1] > 1:
        spread[0, 0] += _of_draws(arms.mean(0), level)
    passed = _least_passing(gap, d, level)
    ends = [_fieller(g, d, spread, level), _given_passed(g, d, spread, passed, level), _unseen(g, d, n, level)]
    low, high = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
    low, high = (low if low > -UNBOUNDED else -math.inf), (high if high < UNBOUNDED else math.inf)
    return Interval(g / d if math.isfinite(low) and math.isfinite(high) else math.nan, low, high)


def _of_draws(means: Floats, level: float) -> float:
    """Variance of the mean over a control's draws, widened as Student's law with so few is."""
    wider = float(stats.t.ppf((1 + level) / 2, len(means) - 1) / stats.norm.ppf((1 + level) / 2))
    return wider**2 * float(means.var(ddof=1)) / len(means)


def _least_passing(gap: Compared, d: float, level: float) -> float:
    """The smallest gap that would have been clear, the spread being as it is: where interval or exact test fails."""
    by_interval = d - gap.difference.low
    p_value = max(gap.p_value, 1e-300)
    needed = (1 - level) * p_value / max(gap.holm_p, p_value)
    return max(by_interval, d * float(stats.norm.isf(needed / 2) / stats.norm.isf(p_value / 2)))


def _fieller(g: float, d: float, spread: Floats, level: float) -> tuple[float, float]:
    """{r: (g - r d)^2 <= z^2 (S_gg - 2 r S_gd + r^2 S_dd)}; unbounded where d is not clear of zero."""
    z2 = float(stats.norm.ppf((1 + level) / 2)) ** 2
    a, b, c = d * d - z2 * spread[1, 1], g * d - z2 * spread[0, 1], g * g - z2 * spread[0, 0]
    if a <= 0:
        return -math.inf, math.inf
    reach = math.sqrt(max(b * b - a * c, 0.0))
    return (b - reach) / a, (b + reach) / a


def _given_passed(g: float, d: float, spread: Floats, passed: float, level: float) -> tuple[float, float]:
    """The hull of the r on the grid that the cut-off law accepts, its ends refined."""
    tail = (1 - level) / 2

    def surplus(r: float) -> float:
        p = float(_cut_off_p(np.array([r]), g, d, spread, passed)[0])
        return min(p, 1 - p) - tail

    p = _cut_off_p(GRID, g, d, spread, passed)
    accepted = np.flatnonzero(np.minimum(p, 1 - p) >= tail)
    if not len(accepted):
        return math.inf, -math.inf
    first, last = int(accepted[0]), int(accepted[-1])
    low = -math.inf if first == 0 else root(surplus, float(GRID[first - 1]), float(GRID[first]))
    high = math.inf if last == len(GRID) - 1 else root(surplus, float(GRID[last]), float(GRID[last + 1]))
    return low, high


def _cut_off_p(r: Floats, g: float, d: float, spread: Floats, passed: float) -> Floats:
    """P(T <= its value) for each r, where d = U + k T with U independent of T, given U and d > passed."""
    value = g - r * d
    variance = spread[0, 0] - 2 * r * spread[0, 1] + r**2 * spread[1, 1]
    sd = np.sqrt(np.maximum(variance, 1e-300))
    slope = (spread[0, 1] - r * spread[1, 1]) / np.maximum(variance, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        cut = value + (passed - d) / slope
        above = -np.expm1(special.log_ndtr(-value / sd) - special.log_ndtr(-cut / sd))
        below = np.exp(special.log_ndtr(value / sd) - special.log_ndtr(cut / sd))
    whole = special.ndtr(value / sd)
    return np.clip(np.nan_to_num(np.where(slope > 0, above, np.where(slope < 0, below, whole)), nan=0.5), 0.0, 1.0)


def _unseen(g: float, d: float, n: int, level: float) -> tuple[float, float]:
    """The ratio if a kind of problem that never occurred made up the largest share that it may, right or wrong in base,
    arm and target as it likes."""
    u = unseen_share(n, level)
    if (1 - u) * d - u <= 0:
        return -math.inf, math.inf
    kinds = product((0, 1), repeat=3)
    ratios = [((1 - u) * g + u * (arm - base)) / ((1 - u) * d + u * (target - base)) for base, arm, target in kinds]
    return min(ratios), max(ratios)
