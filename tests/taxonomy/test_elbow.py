"""The elbow's rule on curves whose elbow is known, and its stated answers where there is none."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reasoning_lab.taxonomy.elbow import elbow

SIZES = list(range(5, 55, 5))


def test_a_curve_of_two_straight_lines_bends_where_they_meet() -> None:
    scores = [min(n, 20) + 0.1 * max(n - 20, 0) for n in SIZES]
    found = elbow(SIZES, scores)
    assert (found.size, found.reason) == (20, "chord")
    assert found.height == pytest.approx(15 / 18 - 15 / 45)


def test_a_saturating_curve_has_its_elbow_where_the_slope_is_the_chords() -> None:
    """y = 1 - 1/n on [1, 25] runs parallel to its chord at n = √(1 * 25)."""
    sizes = list(range(1, 26))
    assert elbow(sizes, [1 - 1 / n for n in sizes]).size == 5


@given(st.lists(st.integers(0, 50), min_size=3, max_size=10), st.integers(1, 40), st.integers(-30, 30))
def test_units_and_order_do_not_matter(values: list[int], factor: int, shift: int) -> None:
    sizes = SIZES[: len(values)]
    one = elbow(sizes, [float(v) for v in values])
    other = elbow([3 * n + 1 for n in sizes][::-1], [float(factor * v + shift) for v in values][::-1])
    assert other.size == 3 * one.size + 1
    assert (other.reason, other.height) == (one.reason, pytest.approx(one.height, abs=1e-9))


@given(st.lists(st.integers(0, 50), min_size=3, max_size=10))
def test_no_size_lies_higher_above_the_chord(values: list[int]) -> None:
    sizes = SIZES[: len(values)]
    found = elbow(sizes, [float(v) for v in values])
    assume(found.reason == "chord")
    chord = [values[0] + (values[-1] - values[0]) * (n - sizes[0]) / (sizes[-1] - sizes[0]) for n in sizes]
    above = {n: v - c for n, v, c in zip(sizes, values, chord, strict=True)}
    assert above[found.size] == pytest.approx(max(above.values()))
    assert all(above[n] < above[found.size] for n in sizes if n < found.size)


@pytest.mark.parametrize(
    ("scores", "size", "reason"),
    [
        ([0.5, 0.7], 10, "too few sizes"),
        ([0.7], 5, "too few sizes"),
        ([0.7, 0.7], 5, "too few sizes"),
        ([0.1, 0.2, 0.3, 0.4], 20, "does not bend"),
        ([0.0, 0.1, 0.3, 1.0], 20, "does not bend"),
        ([0.4, 0.3, 0.2], 5, "does not rise"),
        ([0.4, 0.9, 0.4], 10, "does not rise"),
        ([0.4, 0.4, 0.4], 5, "does not rise"),
        ([0.0, 0.5, 0.75, 0.9, 0.8], 15, "chord"),
    ],
)
def test_curves_without_an_elbow_get_the_stated_answer(scores: list[float], size: int, reason: str) -> None:
    found = elbow(SIZES[: len(scores)], scores)
    assert (found.size, found.reason) == (size, reason)
    assert (found.height > 0) == (reason == "chord")


def test_ties_go_to_the_smaller_size() -> None:
    assert elbow([5, 10, 15, 20], [0.0, 3.0, 4.0, 3.0]).size == 10


@pytest.mark.parametrize(
    ("sizes", "scores", "message"),
    [
        ([], [], "0 sizes and 0 scores"),
        ([5, 10], [0.1], "2 sizes and 1 scores"),
        ([5, 5, 10], [0.1, 0.2, 0.3], "a size is given twice"),
        ([5, 10, 15], [0.1, float("nan"), 0.3], "score of size 10 is nan"),
    ],
)
def test_bad_curves_are_refused(sizes: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        elbow(sizes, scores)
