"""The last number against the last number: the authors' fallback, its defects included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.benchmark.grading.last_number import grade_by_last_number, last_number
from reasoning_lab.records import Problem


@pytest.mark.parametrize(
    ("gold", "text", "verdict"),
    [
        ("18", "She has 18.", "correct"),
        ("18", "so $18.00", "correct"),
        ("1,234", "1234", "correct"),
        ("-3", "it is -3", "correct"),
        ("18", "18 eggs from 16 hens", "wrong"),  # the defect: right, and then another number
        (r"\frac{1}{2}", r"\frac{3}{2}", "correct"),  # the defect: of a fraction the last digits alone
        ("x + y", "x + y", "ungradable"),
        ("x + y", "3", "wrong"),
        ("18", "", "ungradable"),
    ],
)
def test_cases(gold: str, text: str, verdict: str) -> None:
    assert grade_by_last_number(Problem("p", "?", gold, {}), text, 0).verdict == verdict


@given(st.text(alphabet="0123456789,.- ab"), st.text(alphabet="0123456789,.- "))
def test_any_text_gets_a_grade(text: str, gold: str) -> None:
    grade = grade_by_last_number(Problem("p", "?", gold, {}), text, 1)
    assert grade.reason in ("last number", "no number", "empty text")
    assert (grade.verdict == "ungradable") == (last_number(text) is None)


def test_long_digits_neither_hang_nor_raise() -> None:
    assert grade_by_last_number(Problem("p", "?", "7", {}), "9" * 100_000 + ",7." * 50_000, 0).verdict == "correct"


def test_it_is_an_option_of_the_embedded_benchmark_with_a_name_of_its_own() -> None:
    ours = Arithmetic(n_problems=20, problem_seed=777, max_new_tokens=8)
    theirs = Arithmetic(n_problems=20, problem_seed=777, max_new_tokens=8, grader="venhoff2025")
    assert theirs.grading == f"{ours.grading} venhoff2025" and theirs.reading == ours.reading
    assert theirs.asks_judge and not ours.asks_judge and theirs.notes() and not ours.notes()
    for problem in ours.load():
        gold = ours.gold_text(problem)
        assert ours.grade(problem, gold, 0, "stop").correct and theirs.grade(problem, gold, 0, "stop").correct
        text = gold + " Check: 1."
        assert not theirs.grade(problem, text, 0, "stop").correct or problem.gold == "1"
