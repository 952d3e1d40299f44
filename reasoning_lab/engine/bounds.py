"""What the most probable tokens say of a whole law: certified bounds on log Z, and the most that sum p log p can be."""

import math
from collections.abc import Sequence

ROUNDING = 1e-6
"""Of a sum of float32 probabilities: that much mass may be unlisted where they seem to sum to one."""


def log_z_bounds(log_p: Sequence[float], k: int, alpha: float) -> tuple[float, float]:
    """Bounds on log sum_v p_v^alpha, alpha >= 1.

    With R = 1 - sum of the listed p, and p_(k) the k-th largest, every unlisted p is at most p_(k), so
    sum p^alpha <= Z <= sum p^alpha + R p_(k)^(alpha-1), sums over the listed ids. For alpha < 1 an unlisted p^alpha is
    at least p p_(k)^(alpha-1), and nothing bounds their sum from above without their number: (the sum with those, inf).

    Arguments: `log_p` are those of different ids, the k most probable among them (ties cut anywhere), or of all ids
    where there are fewer than k: then both bounds are log Z.
    """
    if alpha == 1:
        return 0.0, 0.0
    falling = sorted(log_p, reverse=True)
    listed = log_sum_exp([alpha * each for each in falling])
    if len(falling) < k:
        return listed, listed
    rest = log_sum_exp([listed, math.log(unlisted(falling) + ROUNDING) + (alpha - 1) * falling[k - 1]])
    return (listed, rest) if alpha > 1 else (rest, math.inf)


def unlisted(log_p: Sequence[float]) -> float:
    """R: mass of the ids that are not listed."""
    return max(0.0, 1 - math.fsum(map(math.exp, log_p)))


def most_negentropy(log_p: Sequence[float], k: int) -> float:
    """The most that sum_v p log p can be: that of the listed ids and R log min(p_(k), R). Exact of a whole law."""
    listed = math.fsum(math.exp(each) * each for each in log_p if each > -math.inf)
    rest = unlisted(log_p)
    if len(log_p) < k or rest == 0:
        return listed
    return listed + rest * min(sorted(log_p, reverse=True)[k - 1], math.log(rest))


def log_sum_exp(values: Sequence[float]) -> float:
    """log sum exp, -inf of none."""
    top = max(values, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(each - top) for each in values))
