"""What every benchmark of conf/benchmark promises. A new yaml enters by itself; it needs two golden files."""

import importlib
import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.base import Benchmark, Finish, RowBenchmark
from reasoning_lab.records import Grade

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
WRONG_TYPE = (ValueError, TypeError)
"""The classes say ValueError; where annotations are checked as well, that check may come first."""
JUDGED = {"alpaca_eval"}
"""Graded by a judge: no rule finds an answer correct or wrong."""
NAMES = sorted(path.stem for path in (ROOT / "conf" / "benchmark").glob("*.yaml"))


def settings_of(name: str) -> tuple[type[Benchmark], dict[str, Any]]:
    """Class and fields of a yaml."""
    options = yaml.safe_load((ROOT / "conf" / "benchmark" / f"{name}.yaml").read_text())
    module, _, cls = options.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), cls), options


def build(name: str, **changes: Any) -> Benchmark:
    """The benchmark of a yaml, reading a few made-up rows in place of the hub."""
    cls, options = settings_of(name)
    if issubclass(cls, RowBenchmark):
        options["path"] = str(GOLDEN / "rows" / f"{name}.jsonl")
        if "math500_path" in options:
            options["math500_path"] = str(GOLDEN / "rows" / "math500.jsonl")
    if "allow_unsandboxed" in options:
        options["allow_unsandboxed"] = True  # what runs here is our own, and not every machine has bubblewrap
    return cls(**(options | changes))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each benchmark in turn."""
    return request.param


def test_the_yaml_lists_every_field_and_comments_it(name: str) -> None:
    cls, options = settings_of(name)
    assert is_dataclass(cls)
    assert list(options) and set(options) == {field.name for field in fields(cls)}
    lines = (ROOT / "conf" / "benchmark" / f"{name}.yaml").read_text().splitlines()
    assert not [line for line in lines if line and "_target_" not in line and "#" not in line]


def test_a_class_states_version_citation_and_licence(name: str) -> None:
    cls, _ = settings_of(name)
    assert cls.version >= 1 and cls.citation and cls.licence
    assert getattr(cls, "__final__", False), "concrete benchmarks are final"


def test_loading_twice_gives_the_same_problems_with_different_ids(name: str) -> None:
    problems = build(name).load()
    assert problems == build(name).load()
    assert len({problem.id for problem in problems}) == len(problems) > 0


def test_a_smaller_subset_is_the_beginning_of_a_larger(name: str) -> None:
    assert build(name, n_problems=2).load() == build(name, n_problems=3).load()[:2]


def test_problems_survive_json(name: str) -> None:
    for problem in build(name).load():
        assert type(problem).from_json(json.loads(problem.dumps())) == problem


def test_the_prompt_is_the_golden_one(name: str) -> None:
    benchmark = build(name)
    golden = (GOLDEN / "prompts" / f"{name}.txt").read_bytes().decode()
    assert benchmark.prompt(benchmark.load()[0]) == golden


def test_the_gold_answer_is_correct_and_votes_for_itself(name: str) -> None:
    benchmark = build(name)
    if name in JUDGED:
        pytest.skip("graded by a judge")
    for problem in benchmark.load():
        text = benchmark.gold_text(problem)
        grade = benchmark.grade(problem, text, chain=3, finish="stop")
        assert grade.correct and (grade.problem, grade.chain) == (problem.id, 3)
        answer = benchmark.answer(text)
        assert answer == grade.answer and answer is not None
        assert benchmark.canonical(answer) == benchmark.canonical(problem.gold)


def test_another_answer_is_wrong(name: str) -> None:
    benchmark = build(name)
    if name in JUDGED:
        pytest.skip("graded by a judge")
    first, *others = benchmark.load()
    other = next(problem for problem in others if problem.gold != first.gold)
    assert benchmark.grade(first, benchmark.gold_text(other), 0, "stop").verdict == "wrong"


ODD_TEXTS = {
    "empty": "",
    "blank": " \n\t ",
    "no answer": "I do not know",
    "end of text alone": "<|endoftext|>",
    "ten boxes": " ".join(f"\\boxed{{{n}}}" for n in range(10)),
    "code fence": "```python\n```",
    "unclosed boxes": "\\boxed{" * 30_000,
    "closed at the end": "\\boxed{" * 30_000 + "}" * 30_000,
    "hundred thousand words": "so we have it " * 33_334,
    "hundred thousand numbers": "12 " * 100_000,
    "a page of blanks": "the answer is" + " " * 400_000,
    "one long number": "The answer is " + "7" * 400_000 + ".",
    "one long line of dollars": "the answer is " + "$" * 400_000,
    "hashes": "#### " * 80_000,
    "backslashes": "\\" * 400_000,
    "NUL and half a pair": "\0\ud800 the answer is \0\ud800",
    "other digits": "The answer is ٤٢.",
}


@pytest.mark.parametrize("finish", ["stop", "cap"])
@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_any_text_gets_a_grade_with_a_named_reason(name: str, odd: str, finish: Finish) -> None:
    benchmark = build(name)
    problem = benchmark.load()[0]
    grade = benchmark.grade(problem, ODD_TEXTS[odd], 0, finish)
    assert isinstance(grade, Grade) and grade.reason
    assert not grade.correct
    assert grade == benchmark.grade(problem, ODD_TEXTS[odd], 0, finish)
    if odd in ("empty", "blank"):
        assert grade.verdict == "ungradable" and grade.answer is None and grade.reason == "empty text"


@given(text=st.text(alphabet="\\boxedfrac{}$#123.,/-^_ =answeri:*\n", max_size=60))
@settings(max_examples=150, deadline=None)
def test_reading_and_voting_never_raise(text: str) -> None:
    for name in NAMES:
        benchmark = build(name)
        answer = benchmark.answer(text)
        assert answer is None or benchmark.canonical(answer) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_problems", -3), ("n_problems", 0), ("n_problems", True), ("max_new_tokens", 0)],
)
def test_a_value_out_of_bounds_is_named(name: str, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{field}={value!r}: must be a whole number of at least 1"):
        build(name, **{field: value})


@pytest.mark.parametrize(("field", "value"), [("max_new_tokens", 1.5), ("max_new_tokens", None), ("n_problems", "5")])
def test_a_value_of_another_type_is_named(name: str, field: str, value: object) -> None:
    with pytest.raises(WRONG_TYPE, match=field):
        build(name, **{field: value})


def test_grading_and_reading_are_named_by_all_that_can_change_them_and_nothing_else(name: str) -> None:
    benchmark = build(name)
    cls = type(benchmark)
    for identity in (benchmark.grading, benchmark.reading):
        assert identity.startswith(f"{cls.__module__}.{cls.__qualname__} {cls.version}")
    smaller = build(name, n_problems=2, max_new_tokens=7)
    assert (smaller.grading, smaller.reading) == (benchmark.grading, benchmark.reading)
    graders = get_args(get_type_hints(cls).get("grader"))
    named = [build(name, grader=grader) for grader in graders]
    assert len({each.grading for each in named}) == len(graders)


def test_importing_is_light() -> None:
    modules = [settings_of(name)[0].__module__ for name in NAMES]
    heavy = ["torch", "transformers", "sympy", "math_verify", "datasets", "pandas", "pyarrow", "hydra"]
    code = f"import {', '.join(modules)}, sys; assert not set({heavy}) & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
