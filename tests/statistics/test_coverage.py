"""Intervals cover: a few settings always, all of them with -m slow."""

import numpy as np
import pytest

from reasoning_lab import statistics as st
from tests.statistics import coverage

FAST = (
    coverage.sure_share(30, 0.04),
    coverage.overconfidence(30, 0.06),
    coverage.control_difference(200, 5, 0.1),
    coverage.gap_share(200, 0.5, 0.1, 0.0),
)


@pytest.mark.parametrize("setting", FAST, ids=lambda s: f"{s.kind}: {s.name}")
def test_what_used_to_fail_covers(setting: coverage.Setting) -> None:
    """Of 300 intervals with a coverage of 93 to 99 %, fewer than 265 hold the truth once in 10^4 times."""
    assert coverage.simulate(setting, runs=300).share >= 265 / 300


@pytest.mark.slow
def test_a_random_control_is_not_clearly_different_from_its_own_mean() -> None:
    """300 hybrids as good as the mean of the control's draws, which differ by seven points: at most 5 % look different,
    which gives 28 or more once in 10^3 times. With the draws taken as fixed it is 50 and more."""
    rng = np.random.default_rng(0)
    clear = fixed = 0
    for _ in range(300):
        hybrid, draws = coverage.control_data(rng, 200, 5, 0.07, 0.0)
        clear += st.compare_all([st.paired_difference(hybrid, draws)])[0].is_clear
        pooled = {problem: [draw[problem][0] for draw in draws] for problem in hybrid}
        fixed += st.compare_all([st.paired_difference(hybrid, pooled)])[0].is_clear
    assert clear <= 28 < fixed


@pytest.mark.slow
def test_every_interval_covers_between_93_and_99_percent() -> None:
    covered = {f"{s.kind}: {s.name}": coverage.simulate(s, runs=2000) for s in coverage.settings()}
    for name, each in covered.items():
        print(f"{name:80} {each.share:.3f} given {each.given:.2f} width {each.width:.3f}")
    # Of 2000 runs four standard errors are .023 at .93 and .009 at .99.
    low = {name: each for name, each in covered.items() if each.share < 0.93 - 0.023}
    high = {name: each for name, each in covered.items() if each.share > 0.99 + 0.009}
    assert len(covered) >= 20 and not low and not high
