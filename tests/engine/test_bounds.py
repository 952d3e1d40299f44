"""Bounds on log Z against whole laws."""

import math
import random

import pytest

from reasoning_lab.engine.bounds import log_z_bounds, most_negentropy


def law(seed: int, n: int, flatness: float) -> list[float]:
    """log p of n ids, by falling p."""
    rng = random.Random(seed)
    weights = [math.exp(rng.gauss(0, 1) / flatness) for _ in range(n)]
    return sorted((math.log(w / sum(weights)) for w in weights), reverse=True)


@pytest.mark.parametrize("alpha", [1.25, 2.0, 4.0, 8.0])
def test_log_z_lies_between_the_bounds_and_more_logprobs_bring_them_closer(alpha: float) -> None:
    for seed in range(40):
        log_p = law(seed, 300, random.Random(seed).choice([0.2, 0.5, 2.0]))
        true = math.log(math.fsum(math.exp(alpha * each) for each in log_p))
        widths = []
        for k in (1, 5, 20, 100, 299):
            low, high = log_z_bounds(log_p[:k], k, alpha)
            assert low - 1e-12 <= true <= high + 1e-12
            widths.append(high - low)
        assert widths == sorted(widths, reverse=True)
        assert log_z_bounds(log_p, 301, alpha) == pytest.approx((true, true), abs=1e-12)


def test_the_bounds_are_those_of_the_formula() -> None:
    low, high = log_z_bounds([math.log(0.6), math.log(0.3)], 2, 4.0)
    assert math.exp(low) == pytest.approx(0.6**4 + 0.3**4, rel=1e-12)
    assert math.exp(high) == pytest.approx(0.6**4 + 0.3**4 + 0.1 * 0.3**3, rel=1e-5)


def test_a_drawn_token_beside_the_most_probable_ones_narrows_the_rest_and_is_no_kth() -> None:
    low, high = log_z_bounds([math.log(0.6), math.log(0.3), math.log(0.01)], 2, 2.0)
    assert math.exp(low) == pytest.approx(0.36 + 0.09 + 0.0001)
    assert math.exp(high) == pytest.approx(0.36 + 0.09 + 0.0001 + 0.09 * 0.3, rel=1e-4)


def test_at_temperature_1_there_is_nothing_to_bound_and_above_it_no_upper_bound() -> None:
    log_p = law(0, 50, 1.0)
    assert log_z_bounds(log_p[:3], 3, 1.0) == (0.0, 0.0)
    low, high = log_z_bounds(log_p[:3], 3, 0.5)
    assert low <= math.log(math.fsum(math.exp(0.5 * each) for each in log_p)) <= high == math.inf


def test_float32_laws_that_seem_to_sum_to_one_keep_some_slack() -> None:
    assert log_z_bounds([0.0], 1, 4.0)[1] > 0.0


@pytest.mark.parametrize("k", [1, 5, 20, 60])
def test_the_true_negentropy_is_no_more(k: int) -> None:
    for seed in range(40):
        log_p = law(seed, 60, 0.5 + seed % 3)
        true = math.fsum(math.exp(each) * each for each in log_p)
        assert true <= most_negentropy(log_p[:k], k) + 1e-12
        assert most_negentropy(log_p, 61) == pytest.approx(true, abs=1e-12)
