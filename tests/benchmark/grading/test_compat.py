"""The authors' graders: each defect is there by name, and none is in ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.benchmark.grading.compat import boxed, grade_by_last_number, last_plain_number
from reasoning_lab.benchmark.grading.equality import shared_pool
from reasoning_lab.benchmark.multiple_choice import ChoiceProblem
from reasoning_lab.records import Problem
from tests.benchmark.data import shared
from tests.benchmark.test_contract import build

CORRECT, WRONG = "correct", "wrong"


@pytest.mark.parametrize(
    ("gold", "answer", "theirs", "ours"),
    [
        ("\\frac{14}{3}", "\\dfrac{14}{3}", CORRECT, CORRECT),
        ("\\frac{3}{4}", "\\frac{6}{8}", WRONG, CORRECT),  # unreduced
        ("5", "10/2", WRONG, CORRECT),  # an integer must be one
        ("5", "5.0", CORRECT, CORRECT),
        ("x=5", "5", CORRECT, CORRECT),
        ("1,-2", "-2,1", WRONG, CORRECT),  # a list in its order
        ("(1,2)", "(1, 2)", CORRECT, CORRECT),
        ("(1,2)", "[1,2]", WRONG, WRONG),
        ("(1,x+1)", "(1,1+x)", CORRECT, CORRECT),  # by elements
        ("(1,\\frac{\\sqrt3}{3})", "(1,\\frac{1}{\\sqrt{3}})", WRONG, CORRECT),  # a bracket within hides them
        ("3\\sqrt{13}", "\\sqrt{117}", CORRECT, CORRECT),
        ("p - q", "-q + p", CORRECT, CORRECT),
        ("p - q", "q - p", WRONG, WRONG),
        ("\\frac{x+1}{2}", "\\frac{1+x}{2}", WRONG, CORRECT),  # the brackets of a sum are lost
        ("a+b+c", "c+b+a", WRONG, CORRECT),  # three unknowns
        ("(x+1)^{12}", "(1+x)^{12}", WRONG, CORRECT),  # an exponent of two digits
        ("123", "1 2 3", CORRECT, WRONG),  # spaces go
        ("\\text{Evelyn}", "EVELYN", CORRECT, CORRECT),
        ("90^\\circ", "90", CORRECT, CORRECT),
        ("10,\\!080", "10080", CORRECT, CORRECT),
        ("52_8", "52_9", WRONG, WRONG),
        ("\\text{east}", "(\\text{east})", WRONG, CORRECT),  # a word in brackets is not compared
        ("c", "(c)", CORRECT, CORRECT),
        ("1 \\pm \\sqrt{2}", "1 \\mp \\sqrt{2}", WRONG, CORRECT),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}", CORRECT, CORRECT),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 12 \\end{pmatrix}", WRONG, WRONG),
        ("1000", "1,000.0", CORRECT, CORRECT),
        ("(8,-2)", "(8.0, -2.0)", CORRECT, CORRECT),
        ("(\\frac{1}{2},2)", "(0.5,2)", CORRECT, CORRECT),
        ("\\frac{270}{7}", "\\frac{270}7", CORRECT, CORRECT),
        ("2\\pi", "2π", WRONG, CORRECT),  # their code knows the character only after a macro
        ("\\frac{\\pi}{2}", "\\frac{π}{2}", CORRECT, CORRECT),
        ("2\\alpha+1", "1+2\\alpha", CORRECT, CORRECT),
        ("\\sin x + 1", "1 + \\sin x", WRONG, CORRECT),  # its letters count as unknowns
        ("\\sqrt[3]{2}", "\\sqrt{2}", CORRECT, WRONG),  # the index is lost
        ("52_8", "528", CORRECT, WRONG),  # Python reads the underscore within digits away
        ("3", "3 million", WRONG, WRONG),
        ("\\begin{pmatrix} 1/5 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 0.2 \\\\ 2 \\end{pmatrix}", WRONG, CORRECT),
    ],
)
def test_the_rules_agree_and_differ_where_they_are_known_to(gold: str, answer: str, theirs: str, ours: str) -> None:
    problem, text = Problem("p", "q", gold), f"Thus \\boxed{{{answer}}}."
    grade = build("math500", grader="reference").grade(problem, text, 0, "stop")
    assert (grade.verdict, grade.answer) == (theirs, answer), grade.reason
    assert grade.reason.startswith("reference, ")
    assert build("math500").grade(problem, text, 0, "stop").verdict == ours


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{1} \\boxed{2}", "2"), ("\\boxed{2} \\fbox{3}", "2"), ("\\fbox{3}", "3"), ("The answer is 5.", None),
        ("\\boxed{1} \\boxed{2", None), ("\\boxed 5", None), ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"), ("", None),
    ],
)  # fmt: skip
def test_the_last_box_is_read(text: str, answer: str | None) -> None:
    assert boxed(text) == answer


def test_all_references_of_math500_are_correct_against_themselves() -> None:
    benchmark = build("math500", path=shared("math500.jsonl"), grader="reference")
    failed = [p.gold for p in benchmark.load() if not benchmark.grade(p, benchmark.gold_text(p), 0, "stop").correct]
    assert failed == []


@pytest.mark.parametrize(
    "answer",
    [
        "__import__('os').mkdir('CANARY')",
        "exec('1')",
        "open(1)",
        "().__class__",
        "x.real",
        "lambda: 1",
        "[1]",
        "a[0]",
        "1 if 1 else 2",
    ],
)
def test_nothing_but_mathematics_reaches_the_parser(answer: str, tmp_path: object) -> None:
    verification = shared_pool().difference_is_zero("x", answer.replace("CANARY", f"{tmp_path}/canary"))
    assert verification.verdict == "wrong" and verification.means != "difference"


@pytest.mark.parametrize(
    ("text", "theirs", "ours"),
    [
        ("\\boxed{B}", "B", "B"),
        ("\\boxed{B}. That is a fact.", "A", "B"),  # the article
        ("\\boxed{C}, for (D) has no charge", "D", "C"),
        ("I choose B", "B", "B"),
        ("because b is so", "B", None),
        ("no letter", None, None),
    ],
)
def test_the_last_letter_of_the_upper_cased_text(text: str, theirs: str | None, ours: str | None) -> None:
    problem = ChoiceProblem("p", "q", "B", {}, ("w", "x", "y", "z"))
    grade = build("gpqa_diamond", grader="reference").grade(problem, text, 0, "stop")
    assert grade.answer == theirs and grade.correct == (theirs == "B") and grade.reason.startswith("reference, ")
    assert build("gpqa_diamond").grade(problem, text, 0, "stop").answer == ours


@pytest.mark.parametrize("name", ["math500", "gsm8k", "aime2024", "hendrycks_math", "gpqa_diamond", "mmlu_pro"])
def test_verdicts_of_two_graders_never_share_a_name(name: str) -> None:
    ours, theirs = build(name), build(name, grader="reference")
    assert ours.grading == ours.reading == f"{type(ours).__module__}.{type(ours).__name__} {ours.version}"
    assert theirs.grading == f"{ours.grading} reference" and theirs.reading == ours.reading


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
def test_the_last_number_against_the_golds_last(gold: str, text: str, verdict: str) -> None:
    assert grade_by_last_number(Problem("p", "?", gold, {}), text, 0).verdict == verdict


@given(st.text(alphabet="0123456789,.- ab"), st.text(alphabet="0123456789,.- "))
def test_any_text_gets_a_grade_by_its_last_number(text: str, gold: str) -> None:
    grade = grade_by_last_number(Problem("p", "?", gold, {}), text, 1)
    assert grade.reason in ("last number", "no number", "empty text")
    assert (grade.verdict == "ungradable") == (last_plain_number(text) is None)


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
