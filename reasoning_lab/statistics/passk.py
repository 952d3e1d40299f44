"""pass@k: the probability that one of k samples is right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reasoning_lab.statistics.comparison import Paired, sign_flip_p
from reasoning_lab.statistics.intervals import LEVEL, RESAMPLES, Floats, Interval, mean_interval, share_interval
from reasoning_lab.statistics.outcomes import Outcomes, problem_means

Counts = int | np.integer | np.ndarray


class PassCurve(NamedTuple):
    """pass@k for k = ks, each with its interval."""

    ks: tuple[int, ...]
    points: tuple[Interval, ...]
    n_problems: int


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


def pass_matrix(results: Outcomes, ks: Sequence[int]) -> Floats:
    """Unbiased pass@k of [problem, k]."""
    problem_means(results)  # refuses empty input
    n = np.array([len(samples) for samples in results.values()])
    c = np.array([sum(samples) for samples in results.values()])
    return unbiased_pass_at_k(n[:, None], c[:, None], np.asarray(ks)[None, :])


def _default_ks(results: Outcomes) -> tuple[int, ...]:
    """1 .. the fewest samples that any problem has."""
    return tuple(range(1, min(len(samples) for samples in results.values()) + 1))


def pass_curve(
    results: Outcomes, ks: Sequence[int] | None = None, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> PassCurve:
    """Unbiased pass@k, mean over problems, for each k (1 .. n when None), with intervals over problems.

    The intervals hold for each k by itself, not for the whole curve at once.
    """
    problem_means(results)  # refuses empty input
    ks = _default_ks(results) if ks is None else ks
    columns = pass_matrix(results, ks).T
    points = tuple(share_interval(column, level, resamples, seed) for column in columns)
    return PassCurve(tuple(ks), points, len(results))


def pass_difference(
    a: Outcomes, b: Outcomes, k: int, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Paired:
    """pass@k of a minus pass@k of b over the same problems: bootstrap over problems, p by sign flips."""
    if odd := sorted(set(a) ^ set(b)):
        raise ValueError(f"{len(odd)} problems are in one arm only, the first is {odd[0]!r}; pair the same problems.")
    aligned = {problem: b[problem] for problem in a}
    differences = pass_matrix(a, [k])[:, 0] - pass_matrix(aligned, [k])[:, 0]
    interval = mean_interval(differences, (-1.0, 1.0), level, resamples, seed)
    whole = int(np.allclose(differences, np.rint(differences), atol=1e-12))
    return Paired(interval, sign_flip_p(differences, whole, seed), len(a), "sign flips")
