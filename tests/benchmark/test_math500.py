"""MATH500: its rows, its prompt, and all its references."""

from itertools import pairwise

import pytest

from reasoning_lab.benchmark.grading.equality import shared_pool
from tests.benchmark.data import shared
from tests.benchmark.test_contract import WRONG_TYPE, build


def test_every_reference_is_correct_against_itself() -> None:
    benchmark = build("math500", path=shared("math500.jsonl"))
    problems = benchmark.load()
    assert len(problems) == 500
    failed = [p for p in problems if not benchmark.grade(p, benchmark.gold_text(p), 0, "cap").correct]
    assert not failed


def test_every_reference_is_read_by_the_comparison_of_types_too() -> None:
    problems = build("math500", path=shared("math500.jsonl")).load()
    verdicts = {p.gold: shared_pool()._verify_by_worker(p.gold, p.gold, "types").verdict for p in problems}
    assert {gold for gold, verdict in verdicts.items() if verdict != "correct"} == set()


def test_a_reference_is_wrong_for_the_next_problem() -> None:
    benchmark = build("math500", path=shared("math500.jsonl"))
    problems = benchmark.load()
    accepted = {
        (one.gold, other.gold)
        for one, other in pairwise(problems)
        if one.gold != other.gold and benchmark.grade(one, benchmark.gold_text(other), 0, "stop").correct
    }
    assert accepted == {("5", "x=5")}


def test_the_plain_prompt_is_the_problem_alone() -> None:
    benchmark = build("math500", prompt_style="plain")
    for problem in benchmark.load():
        assert benchmark.prompt(problem) == problem.question
    with pytest.raises(WRONG_TYPE, match="prompt_style"):
        build("math500", prompt_style="cot")


def test_tags_are_written_alike_for_every_edition() -> None:
    tags = [problem.tags for problem in build("math500").load()]
    assert tags[0] == {"subject": "prealgebra", "level": "1"}
    assert tags[2] == {"subject": "geometry", "level": "2"}
    assert tags[4] == {"subject": "intermediate_algebra"}
