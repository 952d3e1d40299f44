"""What would not end is told by its looks, and nothing that a benchmark has as a reference is."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading import magnitude
from reasoning_lab.benchmark.grading.magnitude import unanswerable
from tests.benchmark.data import shared
from tests.benchmark.test_contract import build

SMALL = st.integers(0, 30)


@given(SMALL, SMALL, SMALL)
def test_a_tower_is_refused_exactly_where_its_exponent_is_too_large(a: int, b: int, c: int) -> None:
    too_large = b**c > magnitude.MAX_EXPONENT
    for text in (f"{a}^{{{b}^{{{c}}}}}", f"{a}^{b}^{c}", f"{a} ^ {{ {b} ^ {c} }} + 1"):
        assert (unanswerable("1", text) is not None) == too_large


@given(st.integers(0, 12), st.integers(1, 3))
def test_a_factorial_is_refused_exactly_where_what_it_is_of_is_too_large(n: int, marks: int) -> None:
    value = n
    for _ in range(marks - 1):
        value = math.factorial(min(value, 10))
    assert (unanswerable("1", f"{n}" + "!" * marks) is not None) == (value > magnitude.MAX_FACTORIAL)
    assert (unanswerable("1", "(" * marks + f"{n}!" + ")!" * (marks - 1)) is not None) == (
        value > magnitude.MAX_FACTORIAL
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("9^{9^{9^9}}", "too large to compute"), ("10^{10^{10}}", "too large to compute"),
        ("2^{1000000}", "too large to compute"), ("2^{-1000000}", "too large to compute"),
        ("1000000!", "too large to compute"), ("(50!)!", "too large to compute"),
        ("\\binom{10^9}{5}", None), ("\\binom{100000000}{5}", "too large to compute"),
        ("(a+b)^{1000}", "too large to compute"), ("(a+b)^{12}", None), ("(1+2)^{1000}", None),
        ("(" * 13 + "5" + ")" * 13, "nested too deep"), ("(" * 12 + "5" + ")" * 12, None),
        (",".join("1" * 300), "too many parts"), ("1,2,3", None),
        ("\\int_0^1 x dx", "not worked out"), ("\\sum_{k=1}^n k", "not worked out"), ("\\intercal", None),
        ("2^{2005}-1", None), ("10^{100}", None), ("x^{1000000}", None), ("e^{e^{e^{10}}}", None), ("20!", None),
    ],
)  # fmt: skip
def test_each_kind_has_a_name(answer: str, why: str | None) -> None:
    assert unanswerable("5", answer) == why
    expected = None if why == "not worked out" else why
    assert unanswerable(answer, "5") == expected, "a reference may leave a sum as it is"


def test_no_reference_of_math500_is_refused() -> None:
    for problem in build("math500", path=shared("math500.jsonl")).load():
        assert unanswerable(problem.gold, problem.gold) is None


@given(st.text(alphabet="0123456789^{}()!\\binomsumtx,+- ", max_size=200))
def test_any_text_is_told_without_computing(text: str) -> None:
    before = sys.get_int_max_str_digits()
    assert unanswerable("5", text) in (
        None, "too large to compute", "nested too deep", "too many parts", "not worked out"
    )  # fmt: skip
    assert sys.get_int_max_str_digits() == before
