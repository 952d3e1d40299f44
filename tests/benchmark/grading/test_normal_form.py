"""The normal form and the exact number of an answer."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading.normal_form import canonical_answer, exact_number, normal_form, states_number


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
@settings(deadline=None)
def test_every_way_of_writing_a_fraction_has_its_value(above: int, below: int) -> None:
    value = Fraction(above, below)
    sign = "-" if above < 0 else ""
    for text in (f"{above}/{below}", f"\\frac{{{above}}}{{{below}}}", f"${sign}\\dfrac{{{abs(above)}}}{{{below}}}$"):
        assert exact_number(text) == value
        assert canonical_answer(text) == str(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=4))
@settings(deadline=None)
def test_every_way_of_writing_a_decimal_has_its_value(value: object) -> None:
    for text in (f"{value:f}", f"{value:,f}", f"\\${value:f}", f"{value:f}\\text{{ cm}}^2", f"{value:f}^\\circ"):
        assert exact_number(text) == Fraction(f"{value:f}")


@given(st.text(max_size=50))
@settings(deadline=None)
def test_any_text_has_a_normal_form(text: str) -> None:
    normal_form(text)
    exact_number(text)
    canonical_answer(text)


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1/0", "\\frac{1}{0}", "1 2", "1,23", "1.2.3", "x", "9^{9^9}", "٤", "5 or 6"]
)
def test_what_is_no_number_has_none(text: str) -> None:
    assert exact_number(text) is None


@pytest.mark.parametrize(
    "same",
    [
        ("5", "5.0", "5.", " 5 ", "x=5", "$5$", "\\(5\\)", "05", "+5", "5\\%", "10/2", "\\text{5}"),
        ("1\\frac{4}{5}", "9/5", "1.8", "1 \\frac45"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\frac{\\pi}2)", "(3,\\,\\tfrac{\\pi}{2})"),
        ("\\text{(C)}", "(C)", "C"),
        ("\\text{east}", "East", "east."),
        ("10,\\!080", "10,080", "10080"),
        ("\u22125", "-5", "minus 5"),
        ("3000000", "3 million", "3\\text{ million}", "3 \\times 10^6", "3,000,000 people"),
        ("1/20", "0.05", "5 hundredths", "five hundredths"),
        ("24", "2 dozen", "two dozen eggs"),
    ],
)
def test_one_answer_in_many_notations_is_one_vote(same: tuple[str, ...]) -> None:
    assert len({canonical_answer(text) for text in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("1 2", "12"), ("52_8", "52_9"), ("(1,200)", "1200"), ("(1,2)", "(2,1)"), ("x", "X"), ("a b", "ab"),
     ("2\\text{ and }3", "2"), ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}12\\end{pmatrix}")],
)  # fmt: skip
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert canonical_answer(one) != canonical_answer(other)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("18 dollars", True), ("x = 18", True), ("-18.5", True), ("\\$1,175", True), ("3 million", False),
     ("m+n=204", False), ("half of 10", False), ("seven", False), ("5 or 6", False), ("not 5", False), ("10-5", False)],
)  # fmt: skip
def test_a_number_in_digits_may_have_a_name_and_a_unit_and_nothing_else(text: str, is_one: bool) -> None:
    assert states_number(text) == is_one
