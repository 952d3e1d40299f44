"""Reading answers: the table of cases, and the order of the rules."""

import json
from typing import Any

import pytest

from reasoning_lab.benchmark.grading.extraction import MAX_ANSWER_CHARS, Answer, extract_answer
from reasoning_lab.records import Problem
from tests.benchmark.test_contract import GOLDEN, build

CASES = json.loads((GOLDEN / "grading" / "math.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['gold']}|{case['text'][:40]}")
def test_the_table_of_grades_holds(case: dict[str, Any]) -> None:
    grade = build(case["benchmark"]).grade(Problem("p", "q", case["gold"]), case["text"], 0, case["finish"])
    assert grade.answer == case["answer"]
    assert grade.verdict == case["verdict"], grade.reason
    assert grade.rule == (grade.reason.split(", ")[0] if grade.answer else "none")


def test_every_case_names_its_source_and_none_is_there_twice() -> None:
    assert all(case["source"] for case in CASES)
    keys = [(case["benchmark"], case["text"], case["gold"], case["finish"]) for case in CASES]
    assert len(set(keys)) == len(keys) >= 350


def test_rules_are_tried_in_their_order() -> None:
    parts = ["\\boxed{1}", "\n#### 2\n", "The answer is 3.", "So 4"]
    found = [extract_answer(" ".join(parts[first:])) for first in range(4)]
    assert found == [
        Answer("1", "boxed"), Answer("2", "hashes"), Answer("3", "answer is"), Answer("4", "last number")
    ]  # fmt: skip
    assert extract_answer("So 4", complete=False) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{a{b}c}", "a{b}c"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("} } \\boxed{5} {", "5"),
        ("{ \\boxed{5} and \\boxed{ }", "5"),
        ("\\boxed {6}", "6"),
        ("\\boxed{x} \\fbox{y}", "x, y"),
        ("\\boxed{\\boxed{in} out}", "in"),
        ("$\\\\\\boxed{8}$", "8"),
        (f"\\boxed{{3}} \\boxed{{{'9' * (MAX_ANSWER_CHARS + 1)}}}", "3"),
        ("The answer is: $x = 5$, so it is", "x = 5"),
        ("the ANSWER is\n\n42.", "42"),
        ("Final answer: **1.5**.", "1.5"),
        ("The answer is 3.14.", "3.14"),
        ("The answer is (C).", "(C)"),
        ("The answer is \\(\\frac{1}{2}\\).", "\\frac{1}{2}"),
        ("The answer is 1,234 apples and 5 pears.", "1,234 and 5"),
        ("The answer is simple. It is 12.", "simple"),
        ("#### 3. Conclusion\n7 it is", "7"),
        ("#### \\frac{1}{2}", "\\frac{1}{2}"),
        ("costs $1,234.50, that is all", "1,234.50"),
        ("x = -3", "x = -3"),
        ("(2)-3", "(2)-3"),
        ("from 3-4 to .5", "3-4 to .5"),
    ],
)
def test_an_answer_is_read_as_it_stands(text: str, answer: str) -> None:
    found = extract_answer(text)
    assert found is not None and found.text == answer
