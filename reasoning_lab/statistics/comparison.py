"""Accuracies and their differences, and the word "clearly".

Two arms are compared problem by problem, which removes the difficulty they share (Miller 2024, section 4). A
difference is called clear only where two methods with unlike weaknesses agree: the interval excludes zero, and the
exact test of equality rejects it, also after Holm's correction for the number of comparisons that stand beside it.
"""

from collections.abc import Sequence
from math import lcm
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from reasoning_lab.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Floats,
    Interval,
    guarded,
    mean_interval,
    share_interval,
)
from reasoning_lab.statistics.outcomes import ArmOutcomes, each_draw, is_single, means_by_draw

FEW_DRAWS = 3
"""So few draws often agree by chance, and Satterthwaite's df then forgets that they are few: they have df draws - 1."""
FLIPS = 20_000
"""Random sign flips where the exact distribution has too many values."""
MOST_SUMS = 200_000
"""Values that an exact distribution may have."""
TestName = Literal["McNemar", "sign flips", "exchanges", "t and sign flips"]


class Paired(NamedTuple):
    """Difference a - b over the same problems."""

    difference: Interval
    p_value: float
    """Two-sided p of a = b."""
    n_problems: int
    test: TestName = "McNemar"


class Compared(NamedTuple):
    """A paired difference among all that are looked at together."""

    difference: Interval
    p_value: float
    holm_p: float
    """The p corrected for `n_comparisons` (Holm 1979)."""
    n_comparisons: int
    test: TestName

    def reversed(self) -> "Compared":
        """The same comparison as b - a."""
        value, low, high = self.difference
        return self._replace(difference=Interval(-value, -high, -low))

    @property
    def is_clear(self) -> bool:
        """Whether interval and corrected exact test both exclude equality."""
        return self.difference.excludes_zero and self.holm_p <= 1 - LEVEL

    @property
    def is_clearly_above(self) -> bool:
        """Whether a is clearly better than b."""
        return self.is_clear and self.difference.value > 0

    @property
    def is_clearly_below(self) -> bool:
        """Whether a is clearly worse than b."""
        return self.is_clear and self.difference.value < 0


# --- accuracies -----------------------------------------------------------------------------------------------------


def accuracy_interval(
    results: ArmOutcomes, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean over problems of the share of correct samples; see `share_interval`, and `crossed_interval` for draws."""
    means = means_by_draw(results)
    if means.shape[1] > 1:
        return crossed_interval(means, np.zeros((len(means), 1)), (0.0, 1.0), level)[0]
    return share_interval(means[:, 0], level, resamples, seed)


def paired_difference(
    a: ArmOutcomes, b: ArmOutcomes, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Paired:
    """Accuracy of a minus accuracy of b over the same problems.

    The interval is a bootstrap over problems of the per-problem differences of means, and the p McNemar's exact one,
    or with several samples a problem that of all sign flips. For arms of several draws the interval is Student's,
    problems and draws being random (`crossed_interval`), and the p the larger of Student's and that of sign flips, for
    a control that is drawn again must not turn a difference clear that the exact test rejects. ValueError when the
    problem ids differ.
    """
    order = list(each_draw(a)[0])
    means_a, means_b = means_by_draw(a, order), means_by_draw(b, order)
    if means_a.shape[1] > 1 or means_b.shape[1] > 1:
        interval, p_value = crossed_interval(means_a, means_b, (-1.0, 1.0), level)
        units = lcm(means_a.shape[1], means_b.shape[1]) * lcm(*_sample_counts(a), *_sample_counts(b))
        flipped = sign_flip_p(means_a.mean(1) - means_b.mean(1), units, seed)
        return Paired(interval, max(p_value, flipped), len(order), "t and sign flips")
    differences = means_a[:, 0] - means_b[:, 0]
    interval = mean_interval(differences, (-1.0, 1.0), level, resamples, seed)
    if is_single(a) and is_single(b):
        p_value = mcnemar(int(np.sum(differences > 0)), int(np.sum(differences < 0)))
        return Paired(interval, p_value, len(order), "McNemar")
    units = lcm(*_sample_counts(a), *_sample_counts(b))
    return Paired(interval, sign_flip_p(differences, units, seed), len(order), "sign flips")


def _sample_counts(arm: ArmOutcomes) -> set[int]:
    return {len(samples) for draw in each_draw(arm) for samples in draw.values()}


# --- tests ----------------------------------------------------------------------------------------------------------


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that an answer right in one arm only is equally often a's and b's (McNemar 1947).

    Binomial(only_a + only_b, 1/2), both tails; problems on which the arms agree carry no information.
    """
    n = only_a + only_b
    return 1.0 if n == 0 else min(1.0, 2 * float(stats.binom.cdf(min(only_a, only_b), n, 0.5)))


def sign_flip_p(differences: Floats, units: int = 0, seed: int = 0) -> float:
    """Two-sided p of |sum of d_i s_i| >= |sum of d_i| with signs s_i = +-1 by fair coins (Fisher 1935).

    If a problem is as likely to differ one way as the other, its sign is a coin. McNemar's exact test is the case of
    differences 0 and +-1. With d_i in multiples of 1/`units` the distribution is computed, by adding one problem after
    the other; else, or with too many values, it is estimated by FLIPS flips, the observed one counted among them
    (Phipson & Smyth 2010).
    """
    sizes = np.abs(differences[differences != 0])
    if units and units * sizes.sum() <= MOST_SUMS:
        return _exact_flips(np.rint(units * sizes).astype(np.int64), round(units * abs(float(differences.sum()))))
    signs = np.random.default_rng([seed, len(sizes)]).integers(0, 2, (FLIPS, len(sizes)), dtype=np.int8)
    sums = np.abs(sizes.sum() - 2 * signs.astype(np.float32) @ sizes)
    slack = 1e-5 * max(1.0, float(sizes.sum()))
    return float((1 + np.sum(sums >= abs(float(differences.sum())) - slack)) / (1 + FLIPS))


def _exact_flips(steps: np.ndarray, observed: int) -> float:
    """The distribution of the sum after each problem, from -sum(steps) to +sum(steps)."""
    total = int(steps.sum())
    law = np.zeros(2 * total + 1)
    law[total] = 1.0
    for step in steps:
        law = (np.roll(law, step) + np.roll(law, -step)) / 2
    sums = np.abs(np.arange(-total, total + 1))
    return min(1.0, float(law[sums >= observed].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the chance of one false rejection among all is kept; order is kept."""
    order = np.argsort(p_values, kind="stable")
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def compare_all(pairs: Sequence[Paired]) -> list[Compared]:
    """The pairs as one family of comparisons."""
    corrected = holm([pair.p_value for pair in pairs])
    return [
        Compared(pair.difference, pair.p_value, p, len(pairs), pair.test)
        for pair, p in zip(pairs, corrected, strict=True)
    ]


# --- random controls ------------------------------------------------------------------------------------------------


def crossed_interval(a: Floats, b: Floats, bounds: tuple[float, float], level: float = LEVEL) -> tuple[Interval, float]:
    """Mean of a minus b, both [problem, draw], with problems and draws random; and the p of a mean of zero.

    The truth is the mean over all problems and all draws of the control, so that a control drawn five times is known
    no better than five draws allow, however many problems there are. With V_P the variance of the problems' mean
    differences over n, V_a and V_b those of the draws' means over their numbers (0 for one draw), and V_E the part of
    them that problems and draws count twice, SE^2 = V_P + V_a + V_b - V_E, and Student's t with Satterthwaite's (1946)
    degrees of freedom SE^4 / (sum of V^2 / df over V_P, V_a, V_b), or draws - 1 with FEW_DRAWS or fewer. Resampling
    five draws instead has a variance too small by 4/5 and normal tails. Guarded.
    """
    n = len(a)
    differences = a.mean(1) - b.mean(1)
    mean = float(differences.mean())
    if n < 2:
        return guarded(Interval(mean, float("-inf"), float("inf")), bounds, n, level), 1.0
    parts = [(float(differences.var(ddof=1)) / n, n - 1)]
    twice = 0.0
    for arm in (a, b):
        draws = arm.shape[1]
        if draws > 1:
            of_draws = float(arm.mean(0).var(ddof=1)) / draws
            rest = arm - arm.mean(1, keepdims=True) - arm.mean(0, keepdims=True) + arm.mean()
            twice += min(of_draws, float((rest**2).sum()) / ((n - 1) * (draws - 1)) / (n * draws))
            parts.append((of_draws, draws - 1))
    whole = sum(variance for variance, _ in parts)
    if whole == 0:
        return guarded(Interval(mean, mean, mean), bounds, n, level), 1.0 if mean == 0 else 0.0
    square = whole - twice if whole > twice else whole
    df = square**2 / sum(variance**2 / free for variance, free in parts)
    fewest = min(arm.shape[1] for arm in (a, b) if arm.shape[1] > 1)
    df = df if fewest > FEW_DRAWS else fewest - 1
    error = float(np.sqrt(square))
    half = float(stats.t.ppf((1 + level) / 2, df)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, df))
    return guarded(Interval(mean, mean - half, mean + half), bounds, n, level), p_value
