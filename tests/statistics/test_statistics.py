"""Intervals cover, estimates are unbiased by exact enumeration, and scipy agrees where it has the same thing."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy import stats

from reasoning_lab import statistics as st
from reasoning_lab.records import Grade

SIMULATIONS = 400


def told(given: st.Calibration | None) -> st.Calibration:
    assert given is not None
    return given


def _covered(intervals: list[st.Interval], truth: float) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def _named(matrix: np.ndarray) -> dict[str, list[bool]]:
    return {f"p{row}": [bool(x) for x in samples] for row, samples in enumerate(matrix)}


def _draw(rng: np.random.Generator, n: int, samples: int) -> dict[str, list[bool]]:
    """Problems of very different difficulty: samples of one are strongly alike."""
    return _named(rng.random((n, samples)) < rng.beta(0.6, 0.6, (n, 1)))


# --- laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n: int) -> None:
    for c, k in product(range(n + 1), range(1, n + 1)):
        correct = [True] * c + [False] * (n - c)
        share = np.mean([any(subset) for subset in combinations(correct, k)])
        assert float(st.unbiased_pass_at_k(n, c, k)) == pytest.approx(share, abs=1e-12)
        assert float(st.unbiased_pass_at_k(n, c, k)) == pytest.approx(1 - comb(n - c, k) / comb(n, k), abs=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.13, 0.5, 1.0])
def test_pass_at_k_is_unbiased(p: float) -> None:
    n, ks = 6, np.arange(1, 7)
    law = stats.binom.pmf(np.arange(n + 1), n, p)
    mean = law @ st.unbiased_pass_at_k(n, np.arange(n + 1)[:, None], ks[None])
    np.testing.assert_allclose(mean, 1 - (1 - p) ** ks, atol=1e-12)


def test_leave_one_out_confidence_is_unbiased_and_the_plain_vote_share_is_not() -> None:
    law, n = {"a": 0.5, "b": 0.3, "c": 0.2}, 4
    seen, left_out, plain = (dict.fromkeys(law, 0.0) for _ in range(3))
    for given in product(law, repeat=n):
        weight = float(np.prod([law[x] for x in given]))
        for answer, confidence in zip(given, st.leave_one_out_confidence(given), strict=True):
            assert confidence is not None
            seen[answer] += weight
            left_out[answer] += weight * confidence
            plain[answer] += weight * given.count(answer) / n
    for answer, p in law.items():
        assert left_out[answer] / seen[answer] == pytest.approx(p, abs=1e-12)
        assert plain[answer] / seen[answer] > p + 0.1


def test_overconfidence_is_unbiased_by_enumeration() -> None:
    law, n = {"right": 0.6, "wrong": 0.4}, 3
    mean = sum(
        float(np.prod([law[x] for x in given]))
        * told(st.calibration({"p": [(x, x == "right") for x in given]}, resamples=10)).overconfidence.value
        for given in product(law, repeat=n)
    )
    assert mean == pytest.approx(0.6**2 + 0.4**2 - 0.6, abs=1e-12)


def test_clustered_interval_covers_and_a_binomial_one_would_not() -> None:
    rng = np.random.default_rng(1)
    drawn = [_draw(rng, 50, 8) for _ in range(SIMULATIONS)]
    assert 0.925 <= _covered([st.accuracy_interval(x) for x in drawn], 0.5) <= 0.985
    naive = [st.binomial_interval(sum(map(sum, x.values())), 400) for x in drawn]
    assert _covered(naive, 0.5) < 0.75


@pytest.mark.parametrize(("n", "most"), [(10, 1.0), (25, 1.0), (100, 0.985)])
def test_paired_difference_covers(n: int, most: float) -> None:
    rng, found = np.random.default_rng(n), []
    for _ in range(SIMULATIONS):
        ability = rng.beta(0.8, 0.8, (n, 1))
        a, b = rng.random((n, 4)) < ability, rng.random((n, 4)) < ability**2
        found.append(st.paired_difference(_named(a), _named(b)).difference)
    mean, square = 0.5, 0.5**2 + 0.25 / 2.6
    assert 0.925 <= _covered(found, mean - square) <= most


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(3)
    ability = rng.beta(0.5, 0.5, (200, 1))
    a, b = _named(rng.random((200, 8)) < ability), _named(rng.random((200, 8)) < ability)
    unpaired = np.hypot(st.accuracy_interval(a).half, st.accuracy_interval(b).half)
    assert st.paired_difference(a, b).difference.half < 0.5 * unpaired


@pytest.mark.parametrize("sharpness", [1.5, 4.0])
def test_calibration_intervals_cover_near_calibration_and_far_from_it(sharpness: float) -> None:
    rng = np.random.default_rng(5)

    def draw(n: int) -> dict[str, list[tuple[str | None, bool]]]:
        given = {}
        for i in range(n):
            p = rng.beta(1.2, 0.8)
            law = np.array([p, *((1 - p) * rng.dirichlet([0.5] * 5))]) ** sharpness
            picks = rng.choice(6, size=12, p=law / law.sum())
            given[str(i)] = [(str(x), bool(x == 0)) for x in picks]
        return given

    truth, *found = [
        st.calibration(draw(6000), resamples=2),
        *(st.calibration(draw(60), resamples=1000) for _ in range(100)),
    ]
    assert truth is not None
    found = [c for c in found if c is not None]
    assert _covered([c.error for c in found], truth.error.value) >= 0.87
    assert _covered([c.overconfidence for c in found], truth.overconfidence.value) >= 0.87


def test_unanimity_is_not_certainty() -> None:
    """60 right of 60, several samples each: the bootstrap has no spread, the interval has."""
    sure = {str(i): [True, True] for i in range(60)}
    interval = st.accuracy_interval(sure)
    assert interval.value == interval.high == 1
    assert interval.low == pytest.approx(stats.binomtest(60, 60).proportion_ci(method="exact").low)
    same = st.paired_difference(sure, sure)
    assert same.difference.value == 0 and not same.difference.excludes_zero
    assert same.difference.half == pytest.approx(1 - 0.025 ** (1 / 60))


# --- invariances ----------------------------------------------------------------------------------------------


def test_same_seed_same_interval_and_order_of_problems_in_b_is_irrelevant() -> None:
    rng = np.random.default_rng(0)
    a, b = _draw(rng, 40, 3), _draw(rng, 40, 3)
    shuffled = dict(reversed(list(b.items())))
    assert st.paired_difference(a, b) == st.paired_difference(a, shuffled)
    st.resample_weights.cache_clear()
    assert st.paired_difference(a, b) == st.paired_difference(a, shuffled)
    assert st.paired_difference(a, b, seed=1).difference != st.paired_difference(a, b, seed=0).difference


def test_difference_is_antisymmetric_and_zero_against_itself() -> None:
    rng = np.random.default_rng(2)
    a, b = _draw(rng, 80, 2), _draw(rng, 80, 2)
    forth, back = st.paired_difference(a, b).difference, st.paired_difference(b, a).difference
    np.testing.assert_allclose((-forth.value, -forth.high, -forth.low), back, atol=0.004)
    assert st.paired_difference(a, a).difference.value == 0


def test_pass_curve_rises_and_its_first_point_is_the_accuracy() -> None:
    results = _draw(np.random.default_rng(4), 30, 6)
    curve = st.pass_curve(results)
    assert curve.ks == (1, 2, 3, 4, 5, 6) and curve.n_problems == 30
    assert curve.points[0] == pytest.approx(st.accuracy_interval(results))
    values = [point.value for point in curve.points]
    assert values == sorted(values)
    assert all(point.low <= point.value <= point.high for point in curve.points)
    assert values[-1] == np.mean([any(samples) for samples in results.values()])


def test_pass_difference_is_the_difference_of_the_curves() -> None:
    rng = np.random.default_rng(6)
    a, b = _draw(rng, 30, 6), _draw(rng, 30, 4)
    for k in (1, 2, 3, 4):
        apart = st.pass_curve(a, [k]).points[0].value - st.pass_curve(b, [k]).points[0].value
        assert st.pass_difference(a, b, k).difference.value == pytest.approx(apart)


def test_calibration_of_a_perfect_arm_and_of_a_surely_wrong_one() -> None:
    right = told(st.calibration({str(i): [("7", True)] * 4 for i in range(30)}))
    assert right.error.value == 0 and right.overconfidence.value == 0 and right.accuracy == 1
    wrong = told(st.calibration({str(i): [("7", False)] * 4 for i in range(30)}))
    assert wrong.error.value == 1 and wrong.overconfidence.value == 1 and wrong.error.low > 0.85
    assert sum(b.n for b in wrong.bins) == wrong.n_answers == 120
    last = wrong.bins[-1]
    assert (last.n, last.n_problems, last.confidence, last.accuracy.value) == (120, 30, 1, 0)
    assert 0 < last.accuracy.high < 0.2, "thirty problems, not 120 samples"


def test_samples_without_answer_agree_with_nobody() -> None:
    assert st.leave_one_out_confidence(["3", None, None, "3"]) == [1 / 3, None, None, 1 / 3]
    found = told(st.calibration({"p": [("3", True), (None, False), (None, False), ("3", True)]}))
    assert (found.n_answers, found.n_unanswered, found.confidence) == (2, 2, pytest.approx(1 / 3))


# --- oracles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("c", "n"), [(0, 5), (5, 5), (1, 200), (97, 200), (500, 500), (1, 30)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_mid_p_lies_within_clopper_and_pearsons_and_halves_the_tail(c: int, n: int, level: float) -> None:
    exact = stats.binomtest(c, n).proportion_ci(level, method="exact")
    mine = st.binomial_interval(c, n, level)
    assert exact.low - 1e-12 <= mine.low <= mine.value == c / n <= mine.high <= exact.high + 1e-12
    unseen = 1 - ((1 - level) / 2) ** (1 / n)
    guard = (c / n * (1 - unseen), c / n + unseen * (1 - c / n))
    if mine.low not in (0.0, pytest.approx(guard[0])):
        tail = stats.binom.sf(c, n, mine.low) + stats.binom.pmf(c, n, mine.low) / 2
        assert tail == pytest.approx((1 - level) / 2, abs=1e-9)
    if mine.high not in (1.0, pytest.approx(guard[1])):
        tail = stats.binom.cdf(c - 1, n, mine.high) + stats.binom.pmf(c, n, mine.high) / 2
        assert tail == pytest.approx((1 - level) / 2, abs=1e-9)


def test_shares_in_between_are_drawn_as_mid_p_is_computed() -> None:
    """Values next to 0 and 1 take the Bayesian bootstrap; values 0 and 1 the closed form."""
    values = np.array([1.0] * 25 + [0.0] * 15)
    drawn = st.share_interval(np.where(values == 1, 1 - 1e-9, 1e-9), resamples=40_000)
    assert drawn == pytest.approx(st.share_interval(values), abs=0.004)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (3, 3), (1, 9), (12, 4), (0, 6)])
def test_mcnemar_is_scipys_sign_test(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    oracle = stats.binomtest(only_a, n).pvalue if n else 1.0
    assert st.mcnemar(only_a, only_b) == pytest.approx(oracle, abs=1e-12)


def test_bootstrap_is_scipys_up_to_noise() -> None:
    values = np.random.default_rng(8).random(300)
    mine = st.mean_interval(values, (0.0, 1.0), resamples=20_000)
    oracle = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert mine == pytest.approx((values.mean(), oracle.low, oracle.high), abs=0.002)


@pytest.mark.parametrize("n", [4, 5, 12])
def test_of_normal_replicates_the_expanded_percentile_interval_is_students(n: int) -> None:
    """The bootstrap's variance has divisor n, Student's has n - 1: what is expanded makes up for both."""
    values = np.random.default_rng(n).normal(size=n)
    quantiles = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    replicates = values.mean() + values.std(ddof=0) / np.sqrt(n) * quantiles
    oracle = stats.t.interval(0.9, n - 1, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(n))
    interval = st.percentile_interval(float(values.mean()), replicates, n, level=0.9)
    assert (interval.low, interval.high) == pytest.approx(oracle, abs=1e-3)


def gap(target: st.Outcomes, base: st.Outcomes) -> st.Compared:
    return st.compare_all([st.paired_difference(target, base)])[0]


def test_a_gain_that_is_always_half_the_gap_has_no_doubt_but_the_guards() -> None:
    base = {str(i): [False] * 4 for i in range(400)}
    target = {str(i): [True] * (i % 3 * 2) + [False] * (4 - i % 3 * 2) for i in range(400)}
    half = {str(i): [True] * (i % 3) + [False] * (4 - i % 3) for i in range(400)}
    recovered = st.gap_recovered(half, base, target, gap(target, base))
    assert recovered is not None and recovered.value == 0.5
    unseen, (gain, whole) = 1 - 0.025 ** (1 / 400), (sum(map(sum, x.values())) / 1600 for x in (half, target))
    assert recovered.low == pytest.approx(((1 - unseen) * gain - unseen) / ((1 - unseen) * whole), abs=1e-9)
    assert recovered.high == pytest.approx((unseen + (1 - unseen) * gain) / ((1 - unseen) * whole), abs=1e-9)


def test_gap_recovered() -> None:
    base, target = {str(i): [i % 4 == 0] for i in range(80)}, {str(i): [i % 4 < 3] for i in range(80)}
    half = {str(i): [i % 4 < 2] for i in range(80)}
    found = st.gap_recovered(half, base, target, gap(target, base))
    assert found is not None and found.value == pytest.approx(0.5) and found.low < 0.5 < found.high
    assert st.gap_recovered(half, base, base, gap(base, base)) is None
    assert st.gap_recovered(half, target, base, gap(base, target)) is None, "a target below the base"


def test_far_beyond_the_condition_the_interval_of_the_gap_is_fiellers() -> None:
    """Against the roots of Fieller's quadratic, by a scan."""
    rng = np.random.default_rng(4)
    low = rng.uniform(0.1, 0.3, 2000)
    base, target, arm = (_named(rng.random((2000, 1)) < (low + x)[:, None]) for x in (0, 0.6, 0.3))
    found = st.gap_recovered(arm, base, target, gap(target, base))
    gains, gaps = (np.array([x[i][0] - float(base[i][0]) for i in base]) for x in (arm, target))
    spread, t = np.cov(gains, gaps) / 2000, stats.t.ppf(0.975, 1999)
    r = np.linspace(0, 1, 100_001)
    statistic = np.abs(gains.mean() - r * gaps.mean())
    accepted = r[statistic <= t * np.sqrt(spread[0, 0] - 2 * r * spread[0, 1] + r**2 * spread[1, 1])]
    assert found is not None and (found.low, found.high) == pytest.approx((accepted[0], accepted[-1]), abs=2e-4)


def test_a_barely_clear_gap_has_no_recovered_share_but_its_bounds() -> None:
    base = {str(i): [i < 40] for i in range(100)}
    target = {str(i): [i < 40 or 40 <= i < 48] for i in range(100)}
    recovered = st.gap_recovered(target, base, target, gap(target, base))
    assert recovered is not None and np.isnan(recovered.value) and np.isinf(recovered.high)


# --- what is called clear -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 7))
def test_sign_flips_are_enumerated(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        d = rng.integers(-4, 5, n) / 4
        sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((-1, 1), repeat=n)]
        oracle = np.mean([x >= abs(d.sum()) - 1e-12 for x in sums])
        assert st.sign_flip_p(d, 4) == pytest.approx(oracle, abs=1e-12)
        assert st.sign_flip_p(d) == pytest.approx(oracle, abs=0.02), "drawn"


def test_mcnemar_is_the_sign_flip_of_single_samples() -> None:
    d = np.array([1] * 9 + [-1] * 3 + [0] * 30)
    assert st.sign_flip_p(d.astype(float), 1) == pytest.approx(st.mcnemar(9, 3), abs=1e-12)


def test_holm_is_the_closed_test_of_bonferronis() -> None:
    """A hypothesis is rejected where every intersection that holds it is, by the smallest p times its size."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(0, 0.4, 4)
        oracle = []
        for own in range(4):
            sets = [chosen for k in range(1, 5) for chosen in combinations(range(4), k) if own in chosen]
            oracle.append(max(min(1.0, len(chosen) * min(p[i] for i in chosen)) for chosen in sets))
        assert st.holm(list(p)) == pytest.approx(oracle, abs=1e-12)


def test_an_interval_alone_is_not_clear() -> None:
    """Five problems for a, none for b, of thirty: the interval excludes zero, McNemar's p is .0625."""
    a, b = {str(i): [i < 15] for i in range(30)}, {str(i): [i < 10] for i in range(30)}
    (compared,) = st.compare_all([st.paired_difference(a, b)])
    assert compared.p_value == pytest.approx(0.0625) and not compared.is_clear
    many = {str(i): [i < 16] for i in range(60)}, {str(i): [i < 8] for i in range(60)}
    pairs = [st.paired_difference(*many)]
    assert st.compare_all(pairs)[0].is_clear, "McNemar p .008"
    assert not st.compare_all(pairs * 7)[0].is_clear, ".055 after seven comparisons"


def test_draws_of_a_control_are_no_samples_of_its_problems() -> None:
    """Five draws that differ by ten points: the interval is that of five draws, however many problems there are."""
    rng = np.random.default_rng(1)
    draws = [_named(rng.random((2000, 1)) < 0.5 + x) for x in (-0.1, -0.05, 0.0, 0.05, 0.1)]
    interval = st.accuracy_interval(draws)
    means = [np.mean([x[0] for x in draw.values()]) for draw in draws]
    oracle = stats.t.interval(0.95, 4, np.mean(means), np.std(means, ddof=1) / np.sqrt(5))
    assert (interval.low, interval.high) == pytest.approx(oracle, abs=0.01)
    pooled = {i: [draw[i][0] for draw in draws] for i in draws[0]}
    assert st.accuracy_interval(pooled).half < 0.5 * interval.half


# --- what to expect of sharpening -----------------------------------------------------------------------------------


def test_the_slope_is_the_derivative_of_sharpened_accuracy() -> None:
    """Enumerated: E over two samples of the within-problem covariance, and d/dα of the accuracy under p^α."""
    p, right = np.array([0.5, 0.3, 0.15, 0.05]), np.array([True, False, True, False])
    mean = 0.0
    for i, j in product(range(4), repeat=2):
        given = {"x": [(bool(right[i]), np.log(p[i])), (bool(right[j]), np.log(p[j]))]}
        mean += p[i] * p[j] * st.sharpening_slope(given, resamples=2).difference.value

    def accuracy(alpha: float) -> float:
        law = p**alpha / (p**alpha).sum()
        return float(law[right].sum())

    assert mean == pytest.approx((accuracy(1 + 1e-5) - accuracy(1 - 1e-5)) / 2e-5, abs=1e-8)


def test_exploration_is_one_where_all_comes_last_and_nothing_where_nothing_comes() -> None:
    late = {"a": [True] + [False] * 7, "b": [False] * 8}
    curve = [st.pass_curve(late, [k]).points[0].value for k in range(1, 9)]
    oracle = sum(curve[-1] - x for x in curve[:-1]) / (7 * (1 - curve[0]))
    assert st.exploration(late, 8) == pytest.approx(oracle)
    assert st.exploration({"a": [True] * 4, "b": [False] * 4}, 4) == 0
    assert st.exploration({"a": [True] * 4}, 4) is None, "nothing is missed"


def test_the_tax_is_what_sharpened_answers_lack() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(1, 1, (150, 1))
    base, sure = _named(rng.random((150, 8)) < p), _named(np.repeat(p > 0.5, 8, axis=1))
    tax = st.sharpening_tax(base, sure, 8)
    assert tax is not None and tax.difference.low > 0 and tax.p_value < 0.001
    assert tax.difference.value == pytest.approx(st.exploration(base, 8))
    same = st.sharpening_tax(base, base, 8)
    assert same is not None and same.difference.value == 0 and same.p_value == 1
    assert st.sharpening_tax(base, {i: [True] * 8 for i in base}, 8) is None


# --- edges ----------------------------------------------------------------------------------------------------


def test_grades_are_grouped_by_problem() -> None:
    verdicts = (("b", 0, "correct", "1"), ("a", 0, "ungradable", None), ("b", 1, "timeout", None))
    grades = [Grade(*row, reason="") for row in verdicts]
    assert st.outcomes(grades) == {"b": [True, False], "a": [False]}
    assert st.answers(grades) == {"b": [("1", True), (None, False)], "a": [(None, False)]}


def test_one_problem_says_almost_nothing() -> None:
    assert st.accuracy_interval({"p": [True, False]}) == pytest.approx((0.5, 0.0125, 0.9875))


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="'y'"):
        st.paired_difference({"x": [True], "y": [True]}, {"x": [True]})
    with pytest.raises(ValueError, match="No problems"):
        st.accuracy_interval({})
    with pytest.raises(ValueError, match="'x' has no samples"):
        st.accuracy_interval({"x": []})
    with pytest.raises(ValueError, match="1 <= k <= n"):
        st.pass_curve({"x": [True]}, [2])
    with pytest.raises(ValueError, match="at least two"):
        st.calibration({"x": [("1", True)]})


def test_without_an_answer_there_is_no_calibration() -> None:
    assert st.calibration({"x": [(None, False)] * 2}) is None
