"""Keyed uniforms: pure, distinct, uniform."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from reasoning_lab.engine.rng import Key, index, uniform

keys = st.builds(Key, st.integers(), st.text(), st.integers(0), st.integers(0), st.integers(0))


@given(keys, st.integers(0, 4096), st.sampled_from(["token", "cut", "accept"]))
def test_a_draw_is_a_pure_function_strictly_inside_the_unit_interval(key: Key, position: int, role: str) -> None:
    assert uniform(key, position, role) == uniform(Key(*key), position, role)
    assert 0 < uniform(key, position, role) < 1


@given(keys, keys)
def test_keys_that_differ_anywhere_draw_differently(a: Key, b: Key) -> None:
    assert (uniform(a, 0, "token") == uniform(b, 0, "token")) == (a == b)


def test_every_field_position_and_role_matters() -> None:
    key = Key(1, "p", 2, 3, 4)
    others = [
        key._replace(seed=9),
        key._replace(problem="q"),
        key._replace(chain=9),
        key._replace(rung=9),
        key._replace(step=9),
    ]
    draws = {uniform(k, 0, "token") for k in (key, *others)} | {uniform(key, 1, "token"), uniform(key, 0, "cut")}
    assert len(draws) == 8


def test_draws_are_uniform_and_uncorrelated_along_every_field() -> None:
    for field in ("seed", "chain", "rung", "step"):
        draws = np.array([uniform(Key(0, "p")._replace(**{field: i}), 0, "token") for i in range(4000)])
        assert kstest(draws, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.06


def test_index_is_uniform_over_its_values() -> None:
    counts = np.bincount([index(Key(0, "p", i), "cut", 7) for i in range(7000)], minlength=7)
    assert counts.min() > 850
    assert counts.max() < 1150
