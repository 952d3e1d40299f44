"""When two problems are one."""

import json
from pathlib import Path

import pytest

from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.benchmark.base import problems_of
from reasoning_lab.benchmark.jsonl import Jsonl
from reasoning_lab.benchmark.overlap import same_form, shared_problems
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.records import Problem


def jsonl(path: Path, rows: list[dict[str, object]], **more: object) -> Jsonl:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [f"benchmark.{key}={value}" for key, value in more.items()]
    benchmark = build(
        Composer().compose(["benchmark=jsonl", f"benchmark.path={path}", "arms=single", *given])
    ).benchmark
    assert isinstance(benchmark, Jsonl)
    return benchmark


def shared(one: Jsonl, other: Jsonl) -> list[tuple[str, str]]:
    found = shared_problems(problems_of(one), problems_of(other), one.id_space == other.id_space)
    return [(pair.one.id, pair.other.id) for pair in found]


def test_a_question_is_the_same_under_another_id_layout_and_case(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "a.jsonl", [{"id": "a", "question": "What is  2+3?", "answer": "5"},
                                       {"id": "b", "question": "What is 2-3?", "answer": "-1"}])  # fmt: skip
    other = jsonl(tmp_path / "b.jsonl", [{"id": "x", "question": "what is 2+3?\n", "answer": "5"}])
    assert shared(one, other) == [("a", "x")]
    assert same_form("\ufb01ne Ａ") == "finea"


def test_equal_ids_of_two_files_are_no_shared_problem_and_those_of_one_file_are(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "a.jsonl", [{"id": "1", "question": "What is 1+1?", "answer": "2"}])
    other = jsonl(tmp_path / "b.jsonl", [{"id": "1", "question": "What is 2+2?", "answer": "4"}])
    assert shared(one, other) == []
    assert shared(one, one) == [("1", "1")]


def test_options_are_the_same_in_any_order_and_a_common_stem_is_no_common_problem(tmp_path: Path) -> None:
    stem = "Which is true?"
    rows = [{"id": "a", "question": stem, "options": ["red", "blue"], "answer": "A"}]
    turned = [{"id": "x", "question": stem, "options": ["blue", "red"], "answer": "B"}]
    others = [{"id": "y", "question": stem, "options": ["one", "two"], "answer": "A"}]
    more = {"grader": "choice", "options_field": "options"}
    one, two, three = (
        jsonl(tmp_path / f"{n}.jsonl", each, **more) for n, each in enumerate((rows, turned, others))
    )  # fmt: skip
    assert shared(one, two) == [("a", "x")]
    assert shared(one, three) == []


def test_arithmetic_is_the_same_in_other_words() -> None:
    """Its id is the arithmetic itself."""
    train = Arithmetic(n_problems=50, problem_seed=1, split="train", max_new_tokens=64)
    again = Arithmetic(n_problems=60, problem_seed=1, split="train", max_new_tokens=64)
    heldout = Arithmetic(n_problems=200, problem_seed=777, split="heldout", max_new_tokens=64)
    assert len(shared_problems(train.load(), again.load(), train.id_space == again.id_space)) == 50
    assert shared_problems(train.load(), heldout.load(), train.id_space == heldout.id_space) == []


LETTERED = "Which is a prime?\n\nA) 4\nB) 6\nC) 7\nD) 9"


@pytest.mark.parametrize(
    ("other", "is_one"),
    [
        ("Which is a prime?\n\nA) 7\nB) 9\nC) 4\nD) 6", True),
        ("Which is a prime?\n(A) 4\n(B) 6\n(C) 7", True),
        ("Which is a prime?", True),
        ("Question: Which is\u200b a prime", True),
        ("Which is a prime?\n\nA) 10\nB) 11\nC) 12\nD) 14", False),
        ("Which is no prime?\n\nA) 4\nB) 6\nC) 7\nD) 9", False),
    ],
)
def test_options_are_read_off_the_text(other: str, is_one: bool) -> None:
    """A record of a problem keeps its text alone; a stem that many questions share needs the options."""
    found = shared_problems([Problem("a", LETTERED, "C")], [Problem("b", other, "A")], False)
    assert bool(found) == is_one


def test_a_digit_of_the_question_is_no_option() -> None:
    first, second = (f"How many subgroups has a cyclic group of order {n}?\n\nA) 1\nB) 2\nC) 3\nD) 4" for n in (3, 4))
    assert not shared_problems([Problem("a", first, "B")], [Problem("b", second, "C")], False)
