"""Estimates with intervals: accuracy, paired differences, pass@k and calibration.

The unit of resampling is the problem, never the sample: samples of one problem share its difficulty, and treating
them as independent makes intervals too narrow (Miller 2024, "Adding Error Bars to Evals", section 2.2). Two arms
are compared problem by problem, which removes the difficulty they share (ibid., section 4).

Every bootstrap is deterministic: the resamples are a function of (seed, number of problems, draws) alone, so two
arms over the same problems see the same resamples. Percentile intervals are widened for small samples as in
Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 4.3 (expanded percentile interval).

Outcomes are given as a mapping: problem id -> the outcomes (True = correct) of its samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reasoning_lab.records import Grade

Floats = NDArray[np.float64]
Counts = int | np.integer | NDArray[np.integer]
Outcomes = Mapping[str, Sequence[bool]]

LEVEL = 0.95
"""Coverage of every interval, unless told otherwise."""
DRAWS = 4000
"""Bootstrap resamples: the tail probability of .025 is then known to +-.0025."""


class Interval(NamedTuple):
    """A point estimate and its interval."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the interval's width."""
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies strictly outside: what the report calls a clear difference."""
        return self.low > 0 or self.high < 0


class Paired(NamedTuple):
    """Difference a - b over the same problems."""

    difference: Interval
    p_value: float | None
    """Exact McNemar p of a = b; None when a problem has several samples."""
    n_problems: int


class PassCurve(NamedTuple):
    """pass@k for k = ks, each with its interval."""

    ks: tuple[int, ...]
    points: tuple[Interval, ...]
    n_problems: int


class Bin(NamedTuple):
    """One bin of a reliability diagram."""

    low: float
    high: float
    n: int
    """Answers in the bin."""
    n_problems: int
    """Problems that they come from."""
    confidence: float
    """Their mean confidence; nan when the bin is empty."""
    accuracy: Interval
    """Share of them that is correct; nan when the bin is empty."""


class Calibration(NamedTuple):
    """Confidence against correctness, see `calibration`."""

    bins: tuple[Bin, ...]
    error: Interval
    """Expected calibration error: sum over the bins of (n_b / n) |accuracy_b - confidence_b|."""
    overconfidence: Interval
    """Mean confidence - accuracy; positive: surer than right."""
    confidence: float
    accuracy: float
    n_answers: int
    n_unanswered: int
    """Samples without an answer, which have no confidence and are left out."""
    n_problems: int


# --- grouping -------------------------------------------------------------------------------------------------


def outcomes(grades: Iterable[Grade]) -> dict[str, list[bool]]:
    """Problem id -> correctness of its samples, in the order of the grades."""
    grouped: dict[str, list[bool]] = {}
    for grade in grades:
        grouped.setdefault(grade.problem, []).append(grade.correct)
    return grouped


def answers(grades: Iterable[Grade]) -> dict[str, list[tuple[str | None, bool]]]:
    """Problem id -> (answer, correctness) of its samples: the input of `calibration`."""
    grouped: dict[str, list[tuple[str | None, bool]]] = {}
    for grade in grades:
        grouped.setdefault(grade.problem, []).append((grade.answer, grade.correct))
    return grouped


def problem_means(results: Outcomes) -> Floats:
    """Share of correct samples per problem, problems in the mapping's order."""
    if not results:
        raise ValueError("No problems: an estimate needs at least one graded problem.")
    if empty := [problem for problem, samples in results.items() if not samples]:
        raise ValueError(f"Problem {empty[0]!r} has no samples; leave it out or grade it.")
    return np.array([np.mean(samples) for samples in results.values()], dtype=np.float64)


def _aligned(a: Outcomes, b: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Both arms with problems in a's order."""
    if odd := sorted(set(a) ^ set(b)):
        raise ValueError(f"{len(odd)} problems are in one arm only, the first is {odd[0]!r}; pair the same problems.")
    return a, {problem: b[problem] for problem in a}


# --- the bootstrap --------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def resample_weights(n: int, draws: int = DRAWS, seed: int = 0) -> Floats:
    """How often each of n problems occurs in each resample, as shares: rows of `draws` x n that sum to 1."""
    counts = np.random.default_rng([seed, n, draws]).multinomial(n, np.full(n, 1 / n), size=draws)
    weights = counts / n
    weights.flags.writeable = False
    return weights


def percentile_interval(value: float, resampled: Floats, n: int, level: float = LEVEL) -> Interval:
    """Expanded percentile interval of an estimate from n units, given its bootstrap replicates.

    The plain percentile interval uses normal quantiles and the variance with divisor n, hence is too narrow by
    sqrt((n-1)/n) z / t; the tail probability is lowered to Phi(-sqrt(n/(n-1)) t_{n-1}) to make up for it.
    """
    if n < 2:
        return Interval(value, float("-inf"), float("inf"))
    t = stats.t.ppf((1 + level) / 2, n - 1)
    tail = float(stats.norm.cdf(-np.sqrt(n / (n - 1)) * t))
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Interval(value, float(low), float(high))


def mean_interval(
    values: Floats, bounds: tuple[float, float], level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Mean of per-problem values that lie within `bounds`, with a bootstrap interval over problems.

    When (nearly) all n values agree so do the resamples, and a bootstrap would claim certainty. But a kind of problem
    that n problems never showed may still make up a share u = 1 - ((1 - level)/2)^(1/n) of all (Clopper & Pearson
    1934), and differ by as much as the bounds allow; no interval is shorter than that. The rule binds for (nearly)
    unanimous arms and below some 40 problems, where it makes the interval cover more than it says.
    """
    n, mean = len(values), float(np.mean(values))
    interval = percentile_interval(mean, resample_weights(n, draws, seed) @ values, n, level)
    unseen = 1 - ((1 - level) / 2) ** (1 / n)
    low = min(interval.low, mean - unseen * (mean - bounds[0]))
    high = max(interval.high, mean + unseen * (bounds[1] - mean))
    return Interval(mean, max(low, bounds[0]), min(high, bounds[1]))


# --- accuracy and differences ---------------------------------------------------------------------------------


def wilson(n_correct: int, n: int, level: float = LEVEL) -> Interval:
    """Score interval of a binomial share (Wilson 1927): the p with |p_hat - p| <= z sqrt(p (1-p) / n)."""
    if not 0 <= n_correct <= n or n == 0:
        raise ValueError(f"n_correct={n_correct} of n={n}: need 0 <= n_correct <= n and n >= 1.")
    z = float(stats.norm.ppf((1 + level) / 2))
    share = n_correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if n_correct == 0 else float(centre - half)
    return Interval(share, low, 1.0 if n_correct == n else float(centre + half))


def single_sample(results: Outcomes) -> bool:
    """Whether every problem has exactly one sample."""
    return all(len(samples) == 1 for samples in results.values())


def accuracy_interval(results: Outcomes, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean over problems of the share of correct samples.

    Wilson's interval when each problem has one sample; a bootstrap over problems (clusters) when there are several.
    """
    means = problem_means(results)
    if single_sample(results):
        return wilson(int(means.sum()), len(means), level)
    return mean_interval(means, (0.0, 1.0), level, draws, seed)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that an answer right in one arm only is equally often a's and b's (McNemar 1947).

    Binomial(only_a + only_b, 1/2), both tails; problems on which the arms agree carry no information.
    """
    n = only_a + only_b
    return 1.0 if n == 0 else min(1.0, 2 * float(stats.binom.cdf(min(only_a, only_b), n, 0.5)))


def paired_difference(a: Outcomes, b: Outcomes, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Paired:
    """Accuracy of a minus accuracy of b over the same problems.

    The interval is a bootstrap over problems of the per-problem differences of means; McNemar's exact p is added
    when both arms have one sample a problem. ValueError when the problem ids differ.
    """
    a, b = _aligned(a, b)
    means_a, means_b = problem_means(a), problem_means(b)
    p_value = None
    if single_sample(a) and single_sample(b):
        p_value = mcnemar(int(np.sum(means_a > means_b)), int(np.sum(means_b > means_a)))
    difference = mean_interval(means_a - means_b, (-1.0, 1.0), level, draws, seed)
    return Paired(difference, p_value, len(means_a))


def gap_recovered(
    arm: Outcomes, base: Outcomes, target: Outcomes, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """(arm - base) / (target - base), with a bootstrap over problems; None unless target is clearly above base.

    A ratio whose denominator may be zero has no useful interval (Fieller 1954), hence the condition.
    """
    if paired_difference(target, base, level, draws, seed).difference.low <= 0:
        return None
    arm, base = _aligned(arm, base)
    _, target = _aligned(arm, target)
    gain = problem_means(arm) - problem_means(base)
    gap = problem_means(target) - problem_means(base)
    weights = resample_weights(len(gap), draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num((weights @ gain) / (weights @ gap), nan=0.0)
    return percentile_interval(float(gain.mean() / gap.mean()), ratios, len(gap), level)


# --- pass@k ---------------------------------------------------------------------------------------------------


def unbiased_pass_at_k(n: Counts, c: Counts, k: Counts) -> Floats:
    """Probability that k of n samples, drawn without replacement, hold at least one of the c correct ones.

    1 - C(n-c, k) / C(n, k), an unbiased estimate of pass@k (Chen et al. 2021, eq. 1), computed as
    1 - prod_{i=n-c+1}^{n} (1 - k/i). Arguments broadcast.
    """
    n, c, k = np.broadcast_arrays(np.asarray(n), np.asarray(c), np.asarray(k))
    if np.any((c < 0) | (c > n)) or np.any((k < 1) | (k > n)):
        raise ValueError(f"n={n}, c={c}, k={k}: pass@k needs 0 <= c <= n and 1 <= k <= n samples.")
    i = np.arange(1, int(n.max(initial=1)) + 1)
    used = (i > (n - c)[..., None]) & (i <= n[..., None])
    factors = np.where(used, np.maximum(1 - k[..., None] / i, 0.0), 1.0)
    return np.asarray(1 - np.prod(factors, axis=-1))


def _pass_matrix(results: Outcomes, ks: Sequence[int]) -> Floats:
    """problems x ks."""
    problem_means(results)  # refuses empty input
    n = np.array([len(samples) for samples in results.values()])
    c = np.array([sum(samples) for samples in results.values()])
    return unbiased_pass_at_k(n[:, None], c[:, None], np.asarray(ks)[None, :])


def _default_ks(*arms: Outcomes) -> tuple[int, ...]:
    """1 .. the fewest samples that any problem has."""
    return tuple(range(1, min(len(samples) for arm in arms for samples in arm.values()) + 1))


def _curve(
    matrix: Floats, ks: Sequence[int], bounds: tuple[float, float], level: float, draws: int, seed: int
) -> PassCurve:
    points = tuple(mean_interval(column, bounds, level, draws, seed) for column in matrix.T)
    return PassCurve(tuple(ks), points, len(matrix))


def pass_curve(
    results: Outcomes, ks: Sequence[int] | None = None, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> PassCurve:
    """Unbiased pass@k, mean over problems, for each k (1 .. n when None), with bootstrap intervals over problems.

    The intervals hold for each k by itself, not for the whole curve at once.
    """
    ks = _default_ks(results) if ks is None else ks
    return _curve(_pass_matrix(results, ks), ks, (0.0, 1.0), level, draws, seed)


def pass_difference(
    a: Outcomes,
    b: Outcomes,
    ks: Sequence[int] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> PassCurve:
    """pass@k of a minus pass@k of b over the same problems, for each k, with bootstrap intervals over problems."""
    a, b = _aligned(a, b)
    ks = _default_ks(a, b) if ks is None else ks
    return _curve(_pass_matrix(a, ks) - _pass_matrix(b, ks), ks, (-1.0, 1.0), level, draws, seed)


# --- calibration ----------------------------------------------------------------------------------------------


def leave_one_out_confidence(given: Sequence[str | None]) -> list[float | None]:
    """For each sample of a problem, the share of the OTHER n-1 samples that give the same answer.

    A sample without an answer has no confidence (None) and agrees with nobody.
    """
    if len(given) < 2:
        raise ValueError(f"{len(given)} sample: a leave-one-out vote needs at least two samples a problem.")
    return [None if x is None else (sum(x == y for y in given) - 1) / (len(given) - 1) for x in given]


class _Sums(NamedTuple):
    """Per problem and bin: counts, summed confidence and summed correctness (problems x bins)."""

    n: Floats
    confidence: Floats
    correct: Floats


def _bin_sums(given: Mapping[str, Sequence[tuple[str | None, bool]]], n_bins: int) -> _Sums:
    sums = _Sums(*(np.zeros((len(given), n_bins)) for _ in range(3)))
    for row, samples in enumerate(given.values()):
        confidences = leave_one_out_confidence([answer for answer, _ in samples])
        for confidence, (_, correct) in zip(confidences, samples, strict=True):
            if confidence is not None:
                b = min(int(confidence * n_bins + 1e-9), n_bins - 1)
                sums.n[row, b] += 1
                sums.confidence[row, b] += confidence
                sums.correct[row, b] += correct
    return sums


def _bin(sums: _Sums, weights: Floats, b: int, level: float) -> Bin:
    """Bin b of the diagram; its interval resamples problems, or is Wilson's over problems when they all agree."""
    n_bins = sums.n.shape[1]
    n, n_problems = int(sums.n[:, b].sum()), int(np.count_nonzero(sums.n[:, b]))
    edges = (b / n_bins, (b + 1) / n_bins)
    if n == 0:
        return Bin(*edges, 0, 0, float("nan"), Interval(*[float("nan")] * 3))
    share = float(sums.correct[:, b].sum()) / n
    totals = weights @ sums.n[:, b]
    ratios = (weights @ sums.correct[:, b])[totals > 0] / totals[totals > 0]
    if n_problems < 2 or np.ptp(ratios) == 0:
        bounds = wilson(round(share * n_problems), n_problems, level)
        accuracy = Interval(share, min(bounds.low, share), max(bounds.high, share))
    else:
        accuracy = percentile_interval(share, ratios, n_problems, level)
    return Bin(*edges, n, n_problems, float(sums.confidence[:, b].sum()) / n, accuracy)


def _error_interval(gap: Floats, resampled: Floats, n: int, level: float) -> Interval:
    """Sum of |gap| over the bins; its interval as described in `calibration`."""
    error = float(np.abs(gap).sum())
    spread = percentile_interval(0.0, np.abs(resampled - gap).sum(1), n, level)
    biased = percentile_interval(error, np.abs(resampled).sum(1), n, level)
    return Interval(error, max(0.0, error - spread.high), min(1.0, max(0.0, 2 * error - biased.low)))


def calibration(
    given: Mapping[str, Sequence[tuple[str | None, bool]]],
    n_bins: int = 10,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Calibration:
    """Does the share of votes for an answer tell how likely it is to be right?

    Input: problem id -> (answer, correct) of each of its n >= 2 samples; answers are compared as strings, so they
    must be in canonical form. Confidence of an answer = leave-one-out vote share: the share of the problem's other
    n-1 samples that give the same answer. Leaving the sample itself out makes this an unbiased estimate of the
    probability that the arm gives that answer to that problem: with it, even a lone answer would claim 1/n.

    Overconfidence is therefore unbiased. The calibration error (Guo et al. 2017, eq. 3, equal-width bins) is not: a
    vote of n-1 is a noisy confidence, which flattens the diagram, and |.| turns noise into error. Compare errors only
    between arms with the same n and the same problems. Its percentile interval would miss a small true error nearly
    always, so the ends are built apart, with d_b the gap of bin b and * a resample (coverage by simulation 90-99 %):
    low = e - q(sum_b |d*_b - d_b|), valid by the triangle inequality; high = 2 e - q_low(e*), the basic bootstrap's.
    """
    if not given:
        raise ValueError("No problems: calibration needs at least one problem with two samples.")
    sums = _bin_sums(given, n_bins)
    n_samples, n_answers = sum(len(samples) for samples in given.values()), int(sums.n.sum())
    if n_answers == 0:
        raise ValueError(f"None of {n_samples} samples has an answer, so there is no confidence to calibrate.")
    totals, gaps = sums.n.sum(1), sums.confidence - sums.correct
    gap = gaps.sum(0) / n_answers
    weights = resample_weights(len(given), draws, seed)
    weights = weights[weights @ totals > 0]
    gap_resampled = (weights @ gaps) / (weights @ totals)[:, None]
    over = percentile_interval(float(gap.sum()), gap_resampled.sum(1), len(given), level)
    return Calibration(
        bins=tuple(_bin(sums, weights, b, level) for b in range(n_bins)),
        error=_error_interval(gap, gap_resampled, len(given), level),
        overconfidence=Interval(over.value, max(over.low, -1.0), min(over.high, 1.0)),
        confidence=float(sums.confidence.sum()) / n_answers,
        accuracy=float(sums.correct.sum()) / n_answers,
        n_answers=n_answers,
        n_unanswered=n_samples - n_answers,
        n_problems=len(given),
    )
