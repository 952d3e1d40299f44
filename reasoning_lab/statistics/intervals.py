"""Intervals of means over problems, and the guard that none of them is shorter than what was never seen could change.

The unit of resampling is the problem, never the sample: samples of one problem share its difficulty, and treating
them as independent makes intervals too narrow (Miller 2024, "Adding Error Bars to Evals", section 2.2).

Every bootstrap is deterministic: the resamples are a function of (seed, number of problems, resamples) alone, so two
arms over the same problems see the same resamples.

**The guard.** When (nearly) all n values agree so do the resamples, and a bootstrap would claim certainty. But a kind
of problem that n problems never showed may still make up a share u = 1 - ((1 - level)/2)^(1/n) of all (Clopper &
Pearson 1934), and differ by as much as the bounds of a value allow; no interval is shorter than that. Where values vary
little it makes an interval cover more than it says.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval, unless told otherwise."""
RESAMPLES = 4000
"""Of a bootstrap: the tail probability of .025 is then known to +-.0025."""


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
        """Whether zero lies strictly outside."""
        return self.low > 0 or self.high < 0


def root(f: Callable[[float], float], a: float, b: float) -> float:
    """Where f, of opposite signs at a and b, is zero."""
    return float(optimize.root_scalar(f, bracket=(a, b), method="brentq").root)


def unseen_share(n: int, level: float = LEVEL) -> float:
    """The largest share that something may have which n independent trials never showed: 1 - ((1 - level)/2)^(1/n)."""
    return 1 - ((1 - level) / 2) ** (1 / n)


def guarded(interval: Interval, bounds: tuple[float, float], n: int, level: float = LEVEL) -> Interval:
    """The interval of a mean of n values, widened to what the unseen could change, and cut at the bounds."""
    value, unseen = interval.value, unseen_share(n, level)
    low = min(interval.low, value - unseen * (value - bounds[0]))
    high = max(interval.high, value + unseen * (bounds[1] - value))
    return Interval(value, max(low, bounds[0]), min(high, bounds[1]))


# --- the bootstraps -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def resample_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each of n problems occurs in each resample, as shares: rows of `resamples` x n that sum to 1."""
    counts = np.random.default_rng([seed, n, resamples]).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = counts / n
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=4)
def dirichlet_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Flat Dirichlet weights of n problems (the Bayesian bootstrap, Rubin 1981): rows of `resamples` x n, sum 1."""
    weights = np.random.default_rng([seed, n, resamples, 1]).standard_exponential((resamples, n))
    weights /= weights.sum(1, keepdims=True)
    weights.flags.writeable = False
    return weights


def percentile_interval(value: float, resampled: Floats, n: int, level: float = LEVEL) -> Interval:
    """Expanded percentile interval of an estimate from n units, given its bootstrap replicates.

    The plain percentile interval uses normal quantiles and the variance with divisor n, hence is too narrow by
    sqrt((n-1)/n) z / t; the tail probability is lowered to Phi(-sqrt(n/(n-1)) t_{n-1}) to make up for it (Hesterberg
    2015, "What Teachers Should Know About the Bootstrap", section 4.3).
    """
    if n < 2:
        return Interval(value, float("-inf"), float("inf"))
    t = stats.t.ppf((1 + level) / 2, n - 1)
    tail = float(stats.norm.cdf(-np.sqrt(n / (n - 1)) * t))
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Interval(value, float(low), float(high))


# --- means ----------------------------------------------------------------------------------------------------------


def mean_interval(
    values: Floats, bounds: tuple[float, float], level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of per-problem values (differences, say) within `bounds`: expanded percentile bootstrap, guarded."""
    n, mean = len(values), float(np.mean(values))
    interval = percentile_interval(mean, resample_weights(n, resamples, seed) @ values, n, level)
    return guarded(interval, bounds, n, level)


@lru_cache(maxsize=4096)  # A report asks for the same few shares again and again, and a root takes milliseconds.
def binomial_interval(n_correct: int, n: int, level: float = LEVEL) -> Interval:
    """Mid-P interval of a binomial share (Lancaster 1961; Berry & Armitage 1995), guarded.

    The p with P(X > x | p) + P(X = x | p) / 2 >= (1 - level)/2 on both sides. Clopper & Pearson's counts the whole of
    P(X = x) and covers too much, Wilson's covers less than 93 % for shares near 0 and 1.
    """
    if not 0 <= n_correct <= n or n == 0:
        raise ValueError(f"n_correct={n_correct} of n={n}: need 0 <= n_correct <= n and n >= 1.")
    tail, share = (1 - level) / 2, n_correct / n

    def above(p: float) -> float:
        return float(stats.binom.sf(n_correct, n, p) + stats.binom.pmf(n_correct, n, p) / 2) - tail

    def below(p: float) -> float:
        return float(stats.binom.cdf(n_correct - 1, n, p) + stats.binom.pmf(n_correct, n, p) / 2) - tail

    low = 0.0 if n_correct == 0 else root(above, 0.0, share)
    high = 1.0 if n_correct == n else root(below, share, 1.0)
    return guarded(Interval(share, low, high), (0.0, 1.0), n, level)


def share_interval(values: Floats, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean of per-problem shares in [0, 1]: mid-P when each is 0 or 1, else the same for values in between.

    Clopper & Pearson's upper limit is a quantile of the Bayesian bootstrap of the n values and one further problem at 1
    (Gaffke 2005; Learned-Miller & Thomas 2019), its lower limit of the n values and one at 0; mid-P's limits are
    quantiles of the even mixture of both. That is what is drawn here, and guarded.
    """
    n = len(values)
    if np.all((values == 0) | (values == 1)):
        return binomial_interval(round(float(values.sum())), n, level)
    return weighted_share_interval(values, np.ones(n), (0.0, 1.0), level, resamples, seed)


def weighted_share_interval(
    values: Floats,
    sizes: Floats,
    bounds: tuple[float, float],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """sum(values) / sum(sizes) over problems, where an unseen problem of mean size may have any share in `bounds`.

    As `share_interval`, for ratios: the further problem has the mean size. Values are sums over a problem's answers,
    sizes their number.
    """
    n, value = len(values), float(values.sum() / sizes.sum())
    weights, mean_size = dirichlet_weights(n + 1, resamples, seed), float(sizes.mean())
    sums, totals = weights[:, :n] @ values, weights[:, :n] @ sizes + weights[:, n] * mean_size
    ends = [(sums + weights[:, n] * mean_size * bound) / totals for bound in bounds]
    low, high = np.quantile(np.concatenate(ends), ((1 - level) / 2, (1 + level) / 2))
    return guarded(Interval(value, min(float(low), value), max(float(high), value)), bounds, n, level)
