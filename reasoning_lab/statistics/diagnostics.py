"""Two cheap signs, from plain samples of the base alone, of what sharpening can bring and what it costs."""

from collections.abc import Mapping, Sequence

import numpy as np

from reasoning_lab.statistics.comparison import Paired, sign_flip_p
from reasoning_lab.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Floats,
    Interval,
    percentile_interval,
    resample_weights,
    unseen_share,
)
from reasoning_lab.statistics.outcomes import Outcomes
from reasoning_lab.statistics.passk import pass_matrix

EXCHANGES = 10_000
"""Of two arms in random problems: the p of .05 is then known to +-.002."""


def sharpening_slope(
    given: Mapping[str, Sequence[tuple[bool, float]]],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """Within-problem covariance of correctness and log p [nats], mean over problems: d accuracy / d alpha at alpha = 1.

    Input: problem id -> (correct, log p of the whole answer) of each of its m >= 2 samples from p itself.
    Differentiating E_{p^alpha}[correct] gives Cov_{p^alpha}(correct, log p) (the identity behind Tomihari & Sato, arXiv
    2605.04542): the slope with which p^alpha leaves the base at alpha = 1, before a chain is run. Each problem's
    covariance has divisor m-1, so the mean is unbiased. Bootstrap over problems; an unseen kind of problem is given
    the mean spread of log p, and the right answers that covary most with it; p by flipping the signs of problems.
    ValueError with fewer than two samples of a problem.
    """
    values = np.array([_covariance(problem, samples) for problem, samples in given.items()])
    if not len(values):
        raise ValueError("No problems: a covariance needs at least one problem with two samples.")
    n, mean = len(values), float(values.mean())
    interval = percentile_interval(mean, resample_weights(n, resamples, seed) @ values, n, level)
    reach, unseen = float(np.mean([_reachable(samples) for samples in given.values()])), unseen_share(n, level)
    low, high = (1 - unseen) * mean - unseen * reach, (1 - unseen) * mean + unseen * reach
    guarded = Interval(mean, min(interval.low, low), max(interval.high, high))
    return Paired(guarded, sign_flip_p(values, seed=seed), n, "sign flips")


def _covariance(problem: str, samples: Sequence[tuple[bool, float]]) -> float:
    if len(samples) < 2:
        raise ValueError(f"Problem {problem!r} has {len(samples)} sample; a covariance within it needs two.")
    correct, log_p = np.array(samples, dtype=np.float64).T
    return float(np.cov(correct, log_p)[0, 1])


def _reachable(samples: Sequence[tuple[bool, float]]) -> float:
    """The largest covariance that half of the answers being right could have with these log p (Cauchy & Schwarz)."""
    m = len(samples)
    return 0.5 * float(np.sqrt(m / (m - 1)) * np.std([log_p for _, log_p in samples], ddof=1))


def exploration(results: Outcomes, k: int) -> float | None:
    """S(K) = A(K) / ((K-1) (1 - pass@1)), A(K) = sum_{k<K} (pass@K - pass@k); None where pass@1 is 1 or K is 1.

    How much of what one answer misses more answers find, and how late: 0 where further samples find nothing (arXiv
    2610.01509).
    """
    return _exploration(pass_matrix(results, range(1, k + 1)).mean(0))


def _exploration(curve: Floats) -> float | None:
    top = len(curve)
    missed = float(1 - curve[0])
    if top < 2 or missed <= 0:
        return None
    return float((curve[-1] - curve[:-1]).sum()) / ((top - 1) * missed)


def sharpening_tax(
    base: Outcomes, arm: Outcomes, k: int, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Paired | None:
    """S(K) of the base minus S(K) of the arm (arXiv 2610.01509): what of the base's variety the arm has paid.

    Paired bootstrap over problems; None where S is undefined for either, or in more than one resample of twenty. The
    guard: an unseen kind of problem moves each pass@k by its largest share at most, in each arm as it likes. p: the
    arms change places problem by problem, by fair coins (Fisher 1935), EXCHANGES times.
    """
    ks = range(1, k + 1)
    matrices = [pass_matrix(base, ks), pass_matrix({problem: arm[problem] for problem in base}, ks)]
    values = [_exploration(matrix.mean(0)) for matrix in matrices]
    n = len(matrices[0])
    if values[0] is None or values[1] is None or n < 2:
        return None
    weights = resample_weights(n, resamples, seed)
    curves = [weights @ matrix for matrix in matrices]
    defined = np.all([1 - curve[:, 0] > 1e-12 for curve in curves], axis=0)
    if defined.mean() < 0.95:
        return None
    first, second = (_explorations(curve[defined]) for curve in curves)
    tax = values[0] - values[1]
    interval = percentile_interval(tax, first - second, n, level)
    reach = [_reach(matrix.mean(0), unseen_share(n, level)) for matrix in matrices]
    low, high = reach[0][0] - reach[1][1], reach[0][1] - reach[1][0]
    widened = Interval(tax, max(-1.0, min(interval.low, low)), min(1.0, max(interval.high, high)))
    return Paired(widened, _exchange_p(matrices[0], matrices[1], tax, seed), n, "exchanges")


def _exchange_p(first: Floats, second: Floats, tax: float, seed: int) -> float:
    """Two-sided p of the tax among those with arms exchanged in random problems, the observed one among them."""
    swap = np.random.default_rng([seed, len(first)]).integers(0, 2, (EXCHANGES, len(first))).astype(np.float64)
    change = swap @ (second - first) / len(first)
    curves = first.mean(0) + change, second.mean(0) - change
    taxes = _explorations(curves[0]) - _explorations(curves[1])
    return float((1 + np.sum(np.abs(np.nan_to_num(taxes)) >= abs(tax) - 1e-12)) / (1 + EXCHANGES))


def _explorations(curves: Floats) -> Floats:
    """S of each row."""
    top = curves.shape[1]
    return (curves[:, -1:] - curves[:, :-1]).sum(1) / ((top - 1) * np.maximum(1 - curves[:, 0], 1e-12))


def _reach(curve: Floats, unseen: float) -> tuple[float, float]:
    """Least and largest S with a share `unseen` of problems that are never solved, always, or late alone."""
    top = len(curve)
    late = np.zeros(top)
    late[-1] = 1.0
    kinds = [np.zeros(top), np.ones(top), late]
    values = [_exploration((1 - unseen) * curve + unseen * kind) for kind in kinds]
    known = [value for value in values if value is not None]
    return min(known, default=0.0), max(known, default=1.0)
