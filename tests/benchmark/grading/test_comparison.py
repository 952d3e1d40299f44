"""Equality by types: letters, words with a value, kinds of collections, sets of numbers, relations, tolerance."""

import string
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading import values
from reasoning_lab.benchmark.grading.comparison import RealSet, equal, real_set
from reasoning_lab.benchmark.grading.reading import Node, read

LETTERS = string.ascii_lowercase


def same(gold: str, answer: str) -> bool:
    left, right = read(gold), read(answer)
    assert left is not None and right is not None, (gold, answer)
    return equal(left, right)


@pytest.mark.parametrize("letter", LETTERS)
@given(n=st.integers(2, 99), other=st.sampled_from(LETTERS))
@settings(max_examples=8, deadline=None)
def test_a_trailing_letter_is_a_variable(letter: str, n: int, other: str) -> None:
    for written in (f"{n}{letter}", f"{n} {letter}", f"{n}\\,{letter}", f"\\frac{{{n}}}{{7}}{letter}"):
        bare = written.removesuffix(letter).removesuffix("\\,")
        assert not same(written, bare) and not same(bare, written)
    assert same(f"{n}{letter}", f"{letter}\\cdot {n}")
    if other != letter:
        assert same(f"{n}{letter}+{other}", f"{other}+{n}{letter}")
        assert not same(f"{n}{letter}+{other}", f"{n}+{other}") and not same(f"{other}+{n}{letter}", f"{other}+{n}")
        assert not same(f"{n}{letter}", f"{n}{other}")


@given(st.integers(-999, 999), st.integers(1, 999))
@settings(max_examples=40, deadline=None)
def test_a_number_is_equal_however_it_is_written_and_to_no_part_of_it(above: int, below: int) -> None:
    value = Fraction(above, below)
    for text in (f"{above}/{below}", f"\\frac{{{above}}}{{{below}}}", f"\\dfrac{{{2 * above}}}{{{2 * below}}}"):
        assert same(str(value), text) and same(text, f"x = {value}")
        assert same(str(above), text) == (value == above) and same(str(below), text) == (value == below)


@pytest.mark.parametrize(
    ("word", "factor"),
    [
        ("hundred", 100),
        ("thousand", 1000),
        ("million", 10**6),
        ("billion", 10**9),
        ("dozen", 12),
        ("tenths", Fraction(1, 10)),
        ("hundredths", Fraction(1, 100)),
        ("quarters", Fraction(1, 4)),
    ],
)
@given(n=st.integers(2, 99))
@settings(max_examples=8, deadline=None)
def test_a_word_with_a_value_is_never_dropped(word: str, factor: int | Fraction, n: int) -> None:
    for text in (f"{n} {word}", f"{n}\\text{{ {word}}}", f"{n} \\mathrm{{{word}}}", f"{n} {word} dollars"):
        assert same(str(n * factor), text) and same(text, str(n * factor))
        assert not same(str(n), text) and not same(text, str(n))


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("5", "half of 10", True),
        ("10", "half of 10", False),
        ("-5", "minus 5", True),
        ("5", "minus 5", False),
        ("-5", "negative five", True),
        ("5", "not 5", False),
        ("25", "twenty-five", True),
        ("105", "one hundred and five", True),
        ("\\frac{3}{4}", "three quarters", True),
        ("500000", "half a million", True),
        ("10", "twice 5", True),
        ("\\text{3:30 PM}", "3:30 p.m.", True),
        ("\\text{3:30 PM}", "3:30 AM", False),
        ("3:30 PM", "3:30", False),
        ("52_8", "52_{\\text{eight}}", True),
        ("52_8", "52 \\text{ (base 8)}", True),
        ("52_8", "52", False),
        ("52", "52_8", False),
        ("52_8", "52_9", False),
        ("52", "52_{10}", True),
        ("5", "5 apples", True),
        ("5\\text{ m}", "5", True),
        ("5", "5\\text{ m}", True),
        ("5\\text{ m}", "5\\text{ cm}", False),
        ("5 \\text{ meters}", "5\\text{ m}", True),
        ("120^\\circ", "120", True),
        ("30", "30^\\circ C", True),
        ("5", "5 or 6", False),
        ("5", "at least 5", False),
        ("\\text{even}", "not even", False),
    ],
)
def test_words_around_a_number(gold: str, answer: str, expected: bool) -> None:
    assert same(gold, answer) == expected


COLLECTIONS = {"list": "{}, {}", "tuple": "({}, {})", "closed": "[{}, {}]", "half": "({}, {}]", "set": "\\{{{}, {}\\}}"}


@given(st.integers(-9, 9), st.integers(-9, 9))
@settings(max_examples=40, deadline=None)
def test_tuples_intervals_lists_and_sets_are_distinct(a: int, b: int) -> None:
    written = {kind: form.format(a, b) for kind, form in COLLECTIONS.items()}
    for one, gold in written.items():
        for other, answer in written.items():
            alike = one == other or {one, other} == {"list", "set"}
            assert same(gold, answer) == alike, (gold, answer)
    assert same(f"{a}, {b}", f"{b} \\text{{ and }} {a}") and same(f"\\{{{a},{b}\\}}", f"\\{{{b},{a}\\}}")
    assert same(f"({a},{b})", f"({b},{a})") == (a == b)
    assert same(f"{a}", f"{a}, {b}") == same(f"{b}", f"{a}, {b}") == (a == b)


@given(st.integers(1, 10**12), st.integers(-40, 40))
@settings(max_examples=40, deadline=None)
def test_tolerance_is_relative(digits: int, power: int) -> None:
    gold = f"{digits} \\cdot 10^{{{power}}}"
    assert same(gold, f"{digits}e{power}")
    assert not same(gold, f"{digits + 1}e{power}") and not same(gold, "0") and not same("0", gold)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("\\frac{1}{3}", "0.333333", True),
        ("\\frac{1}{3}", "0.33333", False),
        ("\\frac{1}{3}", "0.333334", True),
        ("\\frac{1}{3}", "0.333335", False),
        ("\\sqrt{2}", "1.41421", True),
        ("\\sqrt{2}", "1.414", False),
        ("0.333333", "\\frac{1}{3}", True),
        ("0.333", "\\frac{1}{3}", False),
        ("7", "7.0000001", False),
        ("0", "0.0000000001", False),
        ("0.5", "0.500001", False),
        ("0.3", "0.30000000000000004", True),
        ("2^{2005}", "2^{2005}-1", False),
        ("2^{2005}-1", "-1+2^{2005}", True),
        ("10^{-10}", "2\\cdot 10^{-10}", False),
    ],
)
def test_decimals_that_round(gold: str, answer: str, expected: bool) -> None:
    assert same(gold, answer) == expected


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("x=5", "5", True),
        ("5", "x=5", True),
        ("5", "5=x", True),
        ("10", "2x=10", False),
        ("9", "x^2=9", False),
        ("6", "x+1=6", False),
        ("7", "m+n=7", True),
        ("5", "2+3=5", True),
        ("2x+1", "(x+1)^2-x^2=2x+1", True),
        ("16\\pi", "\\pi r^2 = \\pi 4^2 = 16\\pi", True),
        ("\\frac{3}{5}", "\\sin A = \\frac{3}{5}", True),
        ("x=5", "y=5", False),
        ("y=2x+1", "2x-y+1=0", True),
        ("y=2x+1", "x=2y+1", False),
        ("2x+z=1", "1", False),
        ("\\frac{1}{3}", "x=\\frac{1}{3} \\approx 0.33", True),
        ("x<1", "-x>-1", True),
        ("x<1", "x>-1", False),
        ("x \\le 5", "5 \\ge x", True),
        ("5", "x<5", False),
        ("(2,4)", "x=2, y=4", True),
        ("(2,4)", "x=4, y=2", False),
        ("(p,q)=(3,2)", "(3,2)", True),
        ("18", "\\det(2A) = 18", True),
        ("5", "3x = 15 \\Rightarrow x = 5", True),
        ("x^2/4+y^2/3=1", "x^2/16+y^2/12=1/4", True),
        ("120", "5! = 120", True),
        ("120", "5!=120", True),
    ],
)
def test_relations_are_read_whole(gold: str, answer: str, expected: bool) -> None:
    assert same(gold, answer) == expected


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("\\sin^2 x + \\cos^2 x", "1", True),
        ("\\tan^2 y + 1", "\\sec^2 y", True),
        ("\\sqrt{x^2}", "|x|", True),
        ("\\sqrt{x^2}", "x", False),
        ("x^{2/3}", "\\sqrt[3]{x}^2", True),
        ("\\log_2 8", "3", True),
        ("i^2", "-1", True),
        ("\\sqrt[3]{-8}", "-2", True),
        ("e^{i\\pi}", "-1", True),
        ("\\binom{5}{2}", "10", True),
        ("\\lfloor 2.5 \\rfloor", "2", True),
        ("3R^2", "3r^2", True),
        ("Rr", "rR", True),
        ("R+2r", "2R+r", False),
        ("\\sin 30^\\circ", "\\frac{1}{2}", True),
        ("1 \\pm \\sqrt{2}", "1-\\sqrt{2}, 1+\\sqrt{2}", True),
        ("1 \\pm \\sqrt{2}", "1+\\sqrt{2}", False),
        ("2:3", "4:6", True),
        ("2:3", "3:2", False),
        ("\\frac{2}{3}", "2:3", False),
        ("50\\%", "0.5", True),
        ("50", "0.5", False),
    ],
)
def test_expressions_by_their_values(gold: str, answer: str, expected: bool) -> None:
    assert same(gold, answer) == expected


# --- sets of numbers ------------------------------------------------------------------------------------------

SIGNS = {"<": ["<", "\\lt "], "<=": ["\\le ", "\\leq ", "≤", "\\leqslant "], ">": [">"], ">=": ["\\ge ", "\\geq ", "≥"]}
GRID = [Fraction(n, 2) for n in range(-12, 13)]


def holds(left: Fraction, sign: str, right: Fraction) -> bool:
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


def inside(found: RealSet, x: Fraction) -> bool:
    return any(
        (low < x or (low == x and a < 0)) and (x < high or (x == high and b > 0))
        for low, a, high, b in ((float(low[0]), low[1], float(high[0]), high[1]) for low, high in found.stretches)  # type: ignore[arg-type]
    )


def solutions(text: str) -> RealSet:
    node = read(text)
    found = real_set(node) if node else None
    assert found is not None, text
    return found


@given(st.integers(-5, 5), st.sampled_from(sorted(SIGNS)), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_one_bound_describes_the_same_points(bound: int, sign: str, turned: bool, data: st.DataObject) -> None:
    written = data.draw(st.sampled_from(SIGNS[sign]))
    found = solutions(f"{bound} {written} x" if turned else f"x {written} {bound}")
    for x in GRID:
        assert inside(found, x) == (holds(Fraction(bound), sign, x) if turned else holds(x, sign, Fraction(bound)))


@given(st.integers(-5, 5), st.integers(-5, 5), st.sampled_from([("<", "<="), ("<=", "<"), (">", ">="), (">=", ">=")]))
@settings(max_examples=40, deadline=None)
def test_two_bounds_describe_the_same_points(low: int, high: int, signs: tuple[str, str]) -> None:
    found = solutions(f"{low} {SIGNS[signs[0]][0]} t {SIGNS[signs[1]][0]} {high}")
    for x in GRID:
        assert inside(found, x) == (holds(Fraction(low), signs[0], x) and holds(x, signs[1], Fraction(high)))


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.booleans(), st.booleans()), min_size=1, max_size=4)
)
def test_unions_and_complements_describe_the_same_points(stretches: list[tuple[int, int, bool, bool]]) -> None:
    parts = [f"{'(['[a]}{low},{high}{')]'[b]}" for low, high, a, b in stretches]
    found, rest = solutions(" \\cup ".join(parts)), solutions("\\mathbb{R} \\setminus (" + " \\cup ".join(parts) + ")")
    for x in GRID:
        truth = any(
            (low < x or (a and x == low))
            and (x < high or (b and x == high))
            and (low < high or (low == high and a and b))
            for low, high, a, b in stretches
        )
        assert inside(found, x) == truth and inside(rest, x) != truth


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("(2,\\infty)", "x>2", True),
        ("[2,\\infty)", "x>2", False),
        ("]2,5[", "(2,5)", True),
        ("x \\in [2,5)", "[2,5)", True),
        ("(-\\infty,-2)\\cup[3,\\infty)", "x<-2 \\text{ or } x \\ge 3", True),
        ("(2,12)\\cup(12,102)", "(2,12),(12,102)", True),
        ("(-\\infty,0)\\cup(0,\\infty)", "x \\ne 0", True),
        ("\\mathbb{R}\\setminus\\{0\\}", "(-\\infty,0)\\cup(0,\\infty)", True),
        ("(-\\sqrt{3},\\sqrt{3})", "-\\sqrt{3}<x<\\sqrt{3}", True),
        ("[0,1]", "\\{0,1\\}", False),
        ("2<x<5", "x>2 \\text{ and } x<5", True),
        ("(0,1)", "0<f(x)<1", True),
        ("(1,2)", "1<x<3", False),
        ("\\emptyset", "\\{\\}", True),
    ],
)
def test_inequalities_intervals_and_unions(gold: str, answer: str, expected: bool) -> None:
    assert same(gold, answer) == expected


# --- bounds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^9}}",
        "(10^{10})^{10^{10}}",
        "2^{1000000}",
        "10001!",
        "e^{e^{e^{10}}}",
        "\\sin(10^{100})",
        "\\binom{10^9}{5}",
    ],
)
def test_what_is_too_large_is_told_before_it_is_computed(text: str) -> None:
    node = read(text)
    assert node is not None
    with pytest.raises(values.TooLarge):
        equal(Node("number", label="6", value=Fraction(6)), node)


@given(st.text(alphabet="x2+-*/^(){}[]=<>,.\\frac sqrtpi|!_%or$ 0", max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_text_is_read_or_not_and_compared_or_told_too_large(text: str) -> None:
    node = read(text)
    if node is None:
        return
    try:
        equal(node, node)
    except values.TooLarge:
        return
