"""A file of one's own: fields of any name, a grader by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.records import Problem
from tests.benchmark.test_contract import WRONG_TYPE, build

NAMES = {"id_field": "nr", "question_field": "frage", "answer_field": "antwort"}


def own(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Benchmark:
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return build("jsonl", path=str(path), **(NAMES | changes))


def test_fields_are_found_by_their_names(tmp_path: Path) -> None:
    benchmark = own(tmp_path, [{"nr": 7, "frage": "Wie viel ist 1+1?", "antwort": 2, "x": None}])
    assert benchmark.load() == [Problem("7", "Wie viel ist 1+1?", "2")]
    assert own(tmp_path, [{"frage": "q", "antwort": "2"}], id_field=None).load()[0].id == "00000"


@pytest.mark.parametrize(
    ("grader", "gold", "text", "verdict"),
    [
        ("math", "\\frac{1}{2}", "\\boxed{0.5}", "correct"), ("math", "x+1", "\\boxed{1+x}", "correct"),
        ("math", "x+1", "", "ungradable"),
        ("integer", "1,200", "It is 1200 dollars", "correct"),
        ("integer", "18", "\\boxed{18 \\text{ apples}}", "correct"),
        ("integer", "18", "\\boxed{18.5}", "wrong"), ("integer", "18", "none", "ungradable"),
        ("exact", "Paris", "  paris\n", "correct"), ("exact", "Paris", "The answer is Paris.", "correct"),
        ("exact", "Paris", "\\boxed{PARIS}", "correct"), ("exact", "Paris", "Paris, France", "wrong"),
        ("exact", "Room 12", "Room  12", "correct"), ("exact", "12", "Room 12", "wrong"),
        ("choice", "b", "The answer is (B).", "correct"), ("choice", "B", "a fact", "ungradable"),
        ("choice", "B", "\\boxed{C}", "wrong"),
    ],
)  # fmt: skip
def test_each_grader_grades(tmp_path: Path, grader: str, gold: str, text: str, verdict: str) -> None:
    benchmark = own(tmp_path, [{"nr": "1", "frage": "q", "antwort": gold}], grader=grader)
    (problem,) = benchmark.load()
    assert benchmark.grade(problem, text, 0, "stop").verdict == verdict
    assert benchmark.grade(problem, benchmark.gold_text(problem), 0, "stop").correct
    assert benchmark.grading == benchmark.reading == f"reasoning_lab.benchmark.jsonl.Jsonl 2 {grader}"


def test_options_may_stand_in_a_list(tmp_path: Path) -> None:
    row = {"nr": "1", "frage": "Which?", "antwort": "B", "wahl": ["red", "green", "blue"]}
    benchmark = own(tmp_path, [row], grader="choice", options_field="wahl")
    (problem,) = benchmark.load()
    assert benchmark.prompt(problem) == "Which?\n\nA) red\nB) green\nC) blue"
    assert benchmark.grade(problem, "The answer is green.", 0, "stop").correct
    for bad in ({"wahl": ["red"]}, {"wahl": "red"}, {"wahl": None}, {"antwort": "D"}):
        with pytest.raises(ValueError, match=r"own\.jsonl:1: (wahl|antwort)"):
            own(tmp_path, [row | bad], grader="choice", options_field="wahl").load()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"antwort": 1.5}, "antwort is of type float"), ({"antwort": True}, "antwort is of type bool"),
     ({"antwort": 10**200}, "more than 100 digits"), ({"frage": ""}, "frage is empty"), ({"nr": None}, "nr is of type"),
     ({"antwort": "eighteen"}, "must be an integer for grader=integer")],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=rf"own\.jsonl:1: .*{said}"):
        own(tmp_path, [{"nr": 1, "frage": "q", "antwort": 1} | change], grader="integer").load()


def test_without_file_and_hub_it_says_what_to_set() -> None:
    with pytest.raises(ValueError, match=r"^benchmark\.path=None, benchmark\.hub_id=None: .* set benchmark\.path"):
        build("jsonl", path=None).load()


@pytest.mark.parametrize(
    ("field", "value"),
    [("grader", "f1"), ("prompt_style", "cot"), ("question_field", ""), ("id_field", " "), ("options_field", "x")],
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    with pytest.raises(WRONG_TYPE, match=field):
        build("jsonl", **{field: value})
