"""Agreement with known categories: scikit-learn as the oracle, then what resampling traces must do."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from reasoning_lab.taxonomy.agreement import agreement


def values(labels: list[int], truth: list[str]) -> tuple[float, float, float]:
    found = agreement(labels, truth, list(range(len(labels))), resamples=2)
    return found.nmi.value, found.ari.value, found.purity.value


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_figures_are_scikit_learns(pairs: list[tuple[int, str]]) -> None:
    labels, truth = [a for a, _ in pairs], [b for _, b in pairs]
    nmi, ari, purity = values(labels, truth)
    assert nmi == pytest.approx(normalized_mutual_info_score(truth, labels), abs=1e-9)
    assert ari == pytest.approx(adjusted_rand_score(truth, labels), abs=1e-9)
    best = sum(
        max(truth_of.count(c) for c in "abcd") for k in set(labels) for truth_of in [[b for a, b in pairs if a == k]]
    )
    assert purity == pytest.approx(best / len(pairs))


def test_a_perfect_match_is_one_whatever_the_names() -> None:
    assert values([7, 7, 2, 2, 9], ["x", "x", "y", "y", "z"]) == pytest.approx((1, 1, 1))


def test_labels_that_know_nothing_have_purity_but_no_information() -> None:
    nmi, ari, purity = values([0, 1] * 8, ["a", "a", "b", "b"] * 4)
    assert (nmi, ari, purity) == (pytest.approx(0, abs=1e-12), pytest.approx(-0.0714, abs=1e-3), 0.5)


def test_figures_do_not_depend_on_the_order_of_sentences() -> None:
    rng = np.random.default_rng(0)
    labels, truth = rng.integers(0, 4, 200), rng.integers(0, 3, 200)
    order = rng.permutation(200)
    assert values(labels.tolist(), truth.tolist()) == pytest.approx(
        values(labels[order].tolist(), truth[order].tolist())
    )


def correlated(rng: np.random.Generator, n_traces: int, length: int) -> tuple[list[int], list[int], list[int]]:
    """In a good trace every label is right, in a bad one none: sentences of a trace share their luck."""
    good = np.repeat(rng.random(n_traces) < 0.5, length)
    truth = rng.integers(0, 3, n_traces * length)
    labels = np.where(good, truth, rng.integers(0, 3, n_traces * length))
    return labels.tolist(), truth.tolist(), np.repeat(np.arange(n_traces), length).tolist()


def test_intervals_come_from_traces_not_sentences() -> None:
    labels, truth, traces = correlated(np.random.default_rng(1), 30, 20)
    by_trace, by_sentence = agreement(labels, truth, traces), agreement(labels, truth, list(range(len(labels))))
    assert (by_trace.n_traces, by_trace.n_sentences) == (30, 600)
    assert by_trace.purity.value == by_sentence.purity.value
    assert by_trace.purity.high - by_trace.purity.low > 2 * (by_sentence.purity.high - by_sentence.purity.low)


def test_intervals_of_purity_cover() -> None:
    """Labels right with probability 1/2 + 1/2 * 1/3 have that purity; 95 % intervals should hold it about so often."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        low, high = agreement(*correlated(rng, 60, 5), resamples=200).purity[1:]
        held += low <= 2 / 3 <= high
    assert 175 <= held <= 198


def test_the_same_seed_gives_the_same_interval() -> None:
    data = correlated(np.random.default_rng(3), 20, 5)
    assert agreement(*data, seed=4) == agreement(*data, seed=4)
    assert agreement(*data, seed=4) != agreement(*data, seed=5)


def test_one_trace_says_nothing_of_others() -> None:
    found = agreement([0, 1, 1], ["a", "b", "b"], ["only"] * 3)
    assert found.nmi == (1.0, -math.inf, math.inf)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 labels, 1 categories and 2 traces"):
        agreement([0, 1], ["a"], [0, 0])
    with pytest.raises(ValueError, match="at least one sentence"):
        agreement([], [], [])
