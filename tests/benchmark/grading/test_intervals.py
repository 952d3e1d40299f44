"""Inequalities as intervals: right at every point of a grid."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading.intervals import as_interval, is_interval
from reasoning_lab.benchmark.grading.normal_form import normal_form

SIGNS = {"<": ["<"], "<=": ["\\le", "\\leq", "≤", "\\leqslant"], ">": [">"], ">=": ["\\ge", "\\geq", "≥"]}
GRID = [Fraction(n, 2) for n in range(-12, 13)]


def inside(interval: str, x: Fraction) -> bool:
    """Membership, by reading the interval's text: independent of how it was made."""
    for part in interval.split("\\cup"):
        low, high = part[1:-1].split(",")
        above = low == "-\\infty" or x > int(low) or (part[0] == "[" and x == int(low))
        below = high == "\\infty" or x < int(high) or (part[-1] == "]" and x == int(high))
        if above and below:
            return True
    return False


def holds(left: Fraction, sign: str, right: Fraction) -> bool:
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


@given(st.integers(-5, 5), st.sampled_from(sorted(SIGNS)), st.booleans(), st.data())
def test_one_bound_describes_the_same_points(bound: int, sign: str, turned: bool, data: st.DataObject) -> None:
    written = data.draw(st.sampled_from(SIGNS[sign]))
    text = f"{bound} {written} x" if turned else f"x {written} {bound}"
    interval = as_interval(normal_form(text))
    assert interval is not None and is_interval(interval)
    for x in GRID:
        truth = holds(Fraction(bound), sign, x) if turned else holds(x, sign, Fraction(bound))
        assert inside(interval, x) == truth


@given(st.integers(-5, 5), st.integers(-5, 5), st.sampled_from([("<", "<="), ("<=", "<"), (">", ">="), (">=", ">=")]))
def test_two_bounds_describe_the_same_points(low: int, high: int, signs: tuple[str, str]) -> None:
    interval = as_interval(normal_form(f"{low} {SIGNS[signs[0]][0]} t {SIGNS[signs[1]][0]} {high}"))
    assert interval is not None
    for x in GRID:
        assert inside(interval, x) == (holds(Fraction(low), signs[0], x) and holds(x, signs[1], Fraction(high)))


def test_or_is_a_union() -> None:
    interval = as_interval(normal_form("x < -2 \\text{ or } x \\ge 3"))
    assert interval == "(-\\infty,-2)\\cup[3,\\infty)"


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("]2,5[", "(2,5)"),
        ("]2,5]", "(2,5]"),
        ("[2,\\infty[", "[2,\\infty)"),
        ("x \\in [2,5)", "[2,5)"),
        ("(1,2)", "(1,2)"),
    ],
)
def test_other_notations_of_intervals(text: str, interval: str) -> None:
    assert as_interval(normal_form(text)) == interval


@pytest.mark.parametrize(
    "text", ["5", "x = 5", "x^2 < 4", "x + y < 3", "f(x) > 2", "1 < 2 < 3 < 4", "x \\ne 5", "<", "x <", "a,b", "", "]"]
)
def test_what_is_no_interval_is_left_alone(text: str) -> None:
    assert as_interval(normal_form(text)) is None


@given(st.text(alphabet="x<>=≤\\legor 0123,()[]", max_size=60))
def test_any_text_is_read_or_left_alone(text: str) -> None:
    found = as_interval(text)
    assert found is None or re.match(r"\s*[\[(]", found)
