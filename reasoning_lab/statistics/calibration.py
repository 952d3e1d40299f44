"""Calibration: is an arm as sure as it is right?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from reasoning_lab.statistics.comparison import sign_flip_p
from reasoning_lab.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Floats,
    Interval,
    percentile_interval,
    resample_weights,
    unseen_share,
    weighted_share_interval,
)

UNSEEN = (-0.25, 1.0)
"""Expected confidence - correctness of a problem: with answers' probabilities p_k, the right one's q, it is
sum_k p_k^2 - q, at least q^2 - q >= -1/4, and 1 where one wrong answer always comes."""


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
    p_overconfidence: float
    """Of a mean of zero, by flipping the signs of problems."""
    confidence: float
    accuracy: float
    n_answers: int
    n_unanswered: int
    """Samples without an answer, which have no confidence and are left out."""
    n_problems: int


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


def _bin(sums: _Sums, b: int, level: float, resamples: int, seed: int) -> Bin:
    """Bin b of the diagram, with an interval over the problems that it holds answers to."""
    n_bins, seen = sums.n.shape[1], sums.n[:, b] > 0
    n, n_problems = int(sums.n[:, b].sum()), int(seen.sum())
    edges = (b / n_bins, (b + 1) / n_bins)
    if n == 0:
        return Bin(*edges, 0, 0, float("nan"), Interval(*[float("nan")] * 3))
    accuracy = weighted_share_interval(sums.correct[seen, b], sums.n[seen, b], (0.0, 1.0), level, resamples, seed)
    return Bin(*edges, n, n_problems, float(sums.confidence[:, b].sum()) / n, accuracy)


def _absolute(over: Interval) -> Interval:
    """|overconfidence|: the error where all answers are in one bin."""
    ends = sorted(abs(end) for end in (over.low, over.high))
    return Interval(abs(over.value), 0.0 if over.low <= 0 <= over.high else ends[0], ends[1])


def _error_interval(gap: Floats, resampled: Floats, confidence: Floats, n: int, level: float) -> Interval:
    """Sum of |gap| over the bins; its interval as described in `calibration`. `confidence` is each bin's mean."""
    error = float(np.abs(gap).sum())
    spread = percentile_interval(0.0, np.abs(resampled - gap).sum(1), n, level)
    biased = percentile_interval(error, np.abs(resampled).sum(1), n, level)
    low, high = error - spread.high, 2 * error - biased.low
    # An unseen kind of problem has the confidence of some bin, and is right or wrong.
    room = np.maximum(confidence, 1 - confidence)
    fall = np.where(gap > 0, 1 - confidence, np.where(gap < 0, confidence, 0.0))
    unseen = unseen_share(n, level)
    low = min(low, (1 - unseen) * error - unseen * float(fall.max()))
    high = max(high, (1 - unseen) * error + unseen * float(room.max()))
    return Interval(error, min(max(0.0, low), error), max(min(1.0, high), error))


def calibration(
    given: Mapping[str, Sequence[tuple[str | None, bool]]],
    n_bins: int = 10,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Calibration | None:
    """Does the share of votes for an answer tell how likely it is to be right? None where no sample has an answer.

    Input: problem id -> (answer, correct) of each of its n >= 2 samples; answers are compared as strings, so they
    must be in canonical form. Confidence of an answer = leave-one-out vote share: the share of the problem's other
    n-1 samples that give the same answer. Leaving the sample itself out makes this an unbiased estimate of the
    probability that the arm gives that answer to that problem: with it, even a lone answer would claim 1/n.

    Overconfidence is therefore unbiased; a kind of problem that was never seen may be anywhere in UNSEEN
    (`weighted_share_interval`). The calibration error (Guo et al. 2017, eq. 3, equal-width bins) is not
    unbiased: a vote of n-1 is a noisy confidence, which flattens the diagram, and |.| turns noise into error. Compare
    errors only between arms with the same n and the same problems. Its percentile interval would miss a small true
    error nearly always, so the ends are built apart, with d_b the gap of bin b and * a resample:
    low = e - q(sum_b |d*_b - d_b|), valid by the triangle inequality; high = 2 e - q_low(e*), the basic bootstrap's;
    both are guarded against the unseen. With all answers in one bin it is the absolute overconfidence.
    """
    if not given:
        raise ValueError("No problems: calibration needs at least one problem with two samples.")
    sums = _bin_sums(given, n_bins)
    n_samples, n_answers = sum(len(samples) for samples in given.values()), int(sums.n.sum())
    if n_answers == 0:
        return None
    totals, gaps = sums.n.sum(1), sums.confidence - sums.correct
    gap, confidence = gaps.sum(0) / n_answers, float(sums.confidence.sum()) / n_answers
    weights = resample_weights(len(given), resamples, seed)
    weights = weights[weights @ totals > 0]
    gap_resampled = (weights @ gaps) / (weights @ totals)[:, None]
    filled = sums.n.sum(0) > 0
    of_bins = sums.confidence.sum(0)[filled] / sums.n.sum(0)[filled]
    over = weighted_share_interval(gaps.sum(1), totals, UNSEEN, level, resamples, seed)
    return Calibration(
        bins=tuple(_bin(sums, b, level, resamples, seed) for b in range(n_bins)),
        error=_absolute(over)
        if len(of_bins) == 1
        else _error_interval(gap[filled], gap_resampled[:, filled], of_bins, len(given), level),
        overconfidence=over,
        p_overconfidence=sign_flip_p(gaps.sum(1), seed=seed),
        confidence=confidence,
        accuracy=float(sums.correct.sum()) / n_answers,
        n_answers=n_answers,
        n_unanswered=n_samples - n_answers,
        n_problems=len(given),
    )
