"""Statements of running text are read whole, and by which rule; hedges, negations and thoughts state nothing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading.extraction import extract_answer
from reasoning_lab.records import Problem
from tests.benchmark.test_contract import build

FRAMES = (
    "So the probability is {}.",
    "{}",
    "Therefore we get {}.",
    "The answer is {}.",
    "Hence it equals ${}$.",
    "**{}**",
    "Thus there are {} left over.",
    "Answer: {}",
    "It is \\({}\\).",
    "so that\n\\[x = {}\\]",
    "= {}",
)


def correct(gold: str, text: str) -> bool:
    return build("math500").grade(Problem("p", "q", gold), text, 0, "stop").correct


@pytest.mark.parametrize("frame", FRAMES)
@given(st.integers(2, 99), st.integers(2, 99))
@settings(max_examples=8, deadline=None)
def test_no_part_of_a_fraction_power_or_product_is_the_answer(frame: str, a: int, b: int) -> None:
    wholes = {
        f"{a}/{b}": (a / b),
        f"{a}^{b % 5 + 2}": a ** (b % 5 + 2),
        f"{a}.{b}": None,
        f"{a} \\cdot 10^{b % 9 + 2}": None,
        f"{a}\\sqrt{{{b}}}": a * math.sqrt(b),
        f"({a},{b})": None,
        f"\\frac{{{a}}}{{{b}}}": a / b,
    }
    for whole, value in wholes.items():
        text = frame.format(whole)
        assert correct(whole, text), text
        for part in (a, b):
            assert correct(str(part), text) == (value == part), (text, part)


@pytest.mark.parametrize("frame", FRAMES[:4])
@given(st.integers(2, 99), st.integers(2, 99))
@settings(max_examples=8, deadline=None)
def test_no_part_of_a_range_relation_or_amount_is_the_answer(frame: str, a: int, b: int) -> None:
    for whole in (
        f"{a}-{a + b}",
        f"{a} to {a + b}",
        f"{a}:{b}",
        f"x < {a}",
        f"{a} million",
        f"{a} or {a + b}",
        f"{a} hundredths",
    ):
        text = frame.format(whole)
        assert not correct(str(a), text) and not correct(str(a + b), text), text


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("7", "The answer is $3+4$, that is, $7$.", True),
        ("3", "The answer is $3+4$, that is, $7$.", False),
        ("7", "The answer is $3+4=7$.", True),
        ("7", "The answer is 7 because 3+4=7, not 8.", True),
        ("7", "The answer is 7, not 8.", True),
        ("8", "The answer is 7, not 8.", False),
        ("5", "The answer is not 5.", False),
        ("6", "The answer is not 5. It's 6.", True),
        ("7", "If the answer is 5 then no. The answer is 7.", True),
        ("7", "The answer is:\n\n$$x = 7$$\n", True),
        ("7", "<answer>7</answer>", True),
        ("7", "the final answer is therefore 7", True),
        ("3", "\\boxed{3} or \\boxed{5}", False),
        ("5", "\\boxed{3} or \\boxed{5}", False),
        ("3", "\\boxed{3}. Alternatively, \\boxed{5}", False),
        ("5", "It is \\boxed{3}, or perhaps \\boxed{5}", False),
        ("3,5", "\\boxed{3} and \\boxed{5}", True),
        ("3,5", "$\\boxed{3}$, $\\boxed{5}$", True),
        ("(3,5)", "$x=\\boxed{3}$ and $y=\\boxed{5}$", True),
        ("5", "\\boxed{3}, no: \\boxed{5}", True),
        ("5", "\\boxed{5} and \\boxed{5}", True),
        ("3", "It is not \\boxed{3}.", False),
        ("5000000", "\\boxed{5} million", True),
        ("5", "\\boxed{5} million", False),
        ("-5", "$x = -\\boxed{5}$", True),
        ("50\\%", "\\boxed{50}\\%", True),
        ("52_8", "$\\boxed{52}_8$", True),
        ("5", "<think>\\boxed{3}</think> so \\boxed{5}", True),
        ("3", "<think>\\boxed{3}</think> so 5", False),
        ("3", "it is \\boxed{3} </think>", False),
        ("3", "<think>the answer is 3", False),
        ("2,3", "The roots are $2$ and $3$.", True),
        ("3", "The roots are $2$ and $3$.", False),
        ("3", "roots: 2, 3", False),
        ("12", "There are $12$ ways to choose $3$ of $4$.", True),
        ("12", "There are 12 of them between 1 and 20.", True),
        ("\\frac{7}{2}", "Since $a=1$ and $b=3$, we get $\\frac{7}{2}.$ Note that $b > 2$.", True),
        ("18", "She makes $18 per day.", True),
        ("\\frac{1}{2}", "The probability is one half.", True),
        ("5\\cdot 10^3", "About 5 x 10^3.", True),
        ("1000", "It is 1 000.", True),
        ("5", "Since $x>2$, $f(x)=5$ for all $x$.", True),
    ],
)
def test_what_a_text_states(gold: str, text: str, expected: bool) -> None:
    assert correct(gold, text) == expected


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "page",
    [
        "$",
        "$5 and ",
        "\\(",
        "1,",
        "the answer is ",
        "(",
        "a=",
        "\\boxed{",
        " ",
        "\n",
        "1 ",
        "x ",
        "\\begin{align}",
        "and 1 ",
        "is 5 because ",
        "- ",
        "<think>",
        "#### ",
        "{",
        "\\frac{1}{",
    ],
)
def test_any_page_is_read_in_linear_time(page: str) -> None:
    """Quadratic time would be minutes here."""
    extract_answer(page * (60_000 // len(page)))


@given(st.text(alphabet="$\\()[]{}=+-^_.,:x12 andorisbecue\nthswr", max_size=200), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_text_has_an_answer_or_none(text: str, complete: bool) -> None:
    found = extract_answer(text, complete)
    assert found is None or (found.text.strip() and (complete or found.rule != "last number"))
