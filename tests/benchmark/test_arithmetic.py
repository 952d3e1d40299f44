"""The embedded benchmark: problems of the test side only, graded by the concluding sentence."""

import random

import pytest

from reasoning_lab.benchmark import grammar
from tests.benchmark.test_contract import WRONG_TYPE, build


def test_problems_are_held_out_and_tagged() -> None:
    benchmark = build("arithmetic")
    problems = benchmark.load()
    assert len(problems) == 200
    for problem, source in zip(problems, grammar.heldout_problems(200, 777), strict=True):
        assert source.heldout
        assert benchmark.prompt(problem) == source.text
        assert problem.gold == str(source.answer)
        assert problem.tags == {"length": str(source.length), "long_tail": "yes" if source.long_tail else "no"}


def test_the_reference_solutions_are_correct() -> None:
    benchmark, rng = build("arithmetic"), random.Random(0)
    for problem, source in zip(benchmark.load(), grammar.heldout_problems(200, 777), strict=True):
        text = grammar.response(rng, grammar.Grammar(), source, "V")
        grade = benchmark.grade(problem, text, 0, "stop")
        assert grade.correct and grade.reason == "conclusion"


@pytest.mark.parametrize(
    ("text", "answer"),
    [("The answer is 35.", "35"), ("40 - 5 = 35. The answer is 35.\n", "35"), ("The answer is 035.", "35"),
     ("The answer is 35. The answer is 36.", "36"), ("The answer is 35. Wait, not 35.", None),
     ("The answer is 35", None), ("\\boxed{35}", None), ("The answer is " + "1" * 5000 + ".", None)],
)  # fmt: skip
def test_only_the_last_sentence_concludes(text: str, answer: str | None) -> None:
    assert build("arithmetic").answer(text) == answer


def test_another_seed_gives_other_problems() -> None:
    assert build("arithmetic", problem_seed=1).load() != build("arithmetic").load()
    with pytest.raises(ValueError, match=r"^problem_seed=-1: must be a whole number"):
        build("arithmetic", problem_seed=-1)
    with pytest.raises(WRONG_TYPE, match="n_problems"):
        build("arithmetic", n_problems=None)


def test_the_training_side_is_another_and_grows_at_its_end() -> None:
    heldout = {problem.id for problem in build("arithmetic", n_problems=500).load()}
    problems = build("arithmetic", split="train", n_problems=500, problem_seed=3).load()
    ids = [problem.id for problem in problems]
    assert len(set(ids)) == 500 and not heldout & set(ids)
    assert problems[:70] == build("arithmetic", split="train", n_problems=70, problem_seed=3).load()
    assert problems != build("arithmetic", split="train", n_problems=500, problem_seed=4).load()
    stream = grammar.training_problems(3)
    sources = {}
    while len(sources) < 500:
        source = next(stream)
        assert not source.heldout
        sources.setdefault(source.key, source)
    assert [source.text for source in sources.values()] == [build("arithmetic").prompt(found) for found in problems]
    assert {problem.tags["length"] for problem in problems} == set("23456")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(WRONG_TYPE, match="split"):
        build("arithmetic", split="test")
