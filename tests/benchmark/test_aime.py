"""AIME: answers are the integers from 0 to 999, however they are written."""

from typing import Any

import pytest

from reasoning_lab.benchmark.base import RowBenchmark
from reasoning_lab.records import Problem
from tests.benchmark.test_contract import WRONG_TYPE, build

ROW = {"problem": "q", "answer": "204", "id": 60}


def problem(change: dict[str, Any]) -> Problem:
    benchmark = build("aime2024")
    assert isinstance(benchmark, RowBenchmark)
    return benchmark.problem(ROW | change, 3, "f:4")


@pytest.mark.parametrize("n", [*range(0, 1000, 37), 999])
def test_every_writing_of_an_answer_is_the_number(n: int) -> None:
    for answer in (n, str(n), f"{n:03d}"):
        found = problem({"answer": answer})
        assert found.gold == str(n)
    for text in (
        f"\\boxed{{{n:03d}}}",
        f"The answer is {n}.",
        f"\\boxed{{m + n = {n}}}",
        f"\\boxed{{{n}\\text{{ ways}}}}",
    ):
        assert build("aime2024").grade(found, text, 0, "cap").correct, text
    assert not build("aime2024").grade(found, f"\\boxed{{{n + 1}}}", 0, "stop").correct


@pytest.mark.parametrize("answer", ["1000", "-1", "2.5", "", "x", None, True, 1000, 2.0, "٤٢"])
def test_another_answer_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match=r"^f:4: answer"):
        problem({"answer": answer})


def test_ids_begin_with_the_year() -> None:
    assert [problem({"id": id}).id for id in (60, "2024-I-1", None)] == ["2024-60", "2024-2024-I-1", "2024-03"]
    assert problem({"answer": 5}).tags == {}
    with pytest.raises(WRONG_TYPE, match="year"):
        build("aime2025", year=1066)
