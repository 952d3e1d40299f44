"""The authors' grader (B8): a real server on loopback is asked, and what it says in passing decides."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts.arms import Answers
from reasoning_lab.benchmark.grading.compat import last_plain_number
from reasoning_lab.experiment import Experiment
from reasoning_lab.judge import local as local_judge
from reasoning_lab.judge.verdict import MAX_TOKENS, Case, verdict_prompt
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.stages import Run
from tests.judge.server import Exchange, serve
from tests.runs import run_of

REPLIES = ["YES", "The values are 3 and 4: NO.", "No. Not what I saw yesterday.", ""]
"""By the order of the requests; the third says yes, and the empty one no."""


def experiment(tmp_path: Path, *overrides: str) -> Experiment:
    return build(
        Composer().compose([
            "arms=single", "sampler=greedy", "runtime=cpu", "runtime.rows=8", "benchmark.n_problems=12",
            "benchmark.max_new_tokens=64", "benchmark.grader=venhoff2025", f"outputs={tmp_path}/out", *overrides,
        ])
    )  # fmt: skip


def at_work(tmp_path: Path, *overrides: str, heard: StringIO | None = None) -> tuple[Run, Answers]:
    """A run in a process of its own, as far as its memory goes, and its one arm."""
    run = run_of(experiment(tmp_path, *overrides), tmp_path / "out", heard=heard)
    return run, run.arms.rows["main"].draws[0]


def test_a_yes_anywhere_is_right_and_where_no_reply_came_the_last_number_decides(tmp_path: Path) -> None:
    said: dict[str, str] = {}

    def script(exchange: Exchange) -> None:
        assert exchange.body["max_completion_tokens"] == MAX_TOKENS
        prompt = exchange.body["messages"][0]["content"]
        if exchange.number % 5 == 4:
            exchange.send(500, b"{}")
            return
        said[prompt] = REPLIES[exchange.number % 5]
        choice = {"message": {"role": "assistant", "content": said[prompt]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        exchange.send(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    with serve(script) as server:
        judge = ("judge=openai", f"judge.base_url={server.url}", "judge.retries=0", "judge.concurrency=1")
        heard = StringIO()
        run, arm = at_work(tmp_path, *judge, heard=heard)
        given = run.context.get(arm.grades)
        assert len(server.requests) == 12
        assert "judge gpt-4.1-mini: 12 questions to ask (0 cached), about" in heard.getvalue()
        again, same = at_work(tmp_path, *judge)
        assert again.context.get(same.grades) == given and len(server.requests) == 12
    answers = run.context.get(arm.completions)
    problems = arm.completions.problems.by_id
    for answer, grade in zip(answers, given, strict=True):
        problem = problems[answer.problem]
        reply = said.get(verdict_prompt(Case(problem.question, problem.gold, answer.text)))
        right = last_plain_number(answer.text) == problem.gold if reply is None else "yes" in reply.lower()
        assert grade.correct == right
        assert grade.reason in (("last number", "no number") if reply is None else ("yes by gpt-4.1-mini",))
    assert {each.reason for each in given} >= {"yes by gpt-4.1-mini", "last number"}


def test_another_judge_is_another_grading_and_none_leaves_the_last_number(tmp_path: Path) -> None:
    run, arm = at_work(tmp_path, "judge=lexical")
    assert {grade.reason for grade in run.context.get(arm.grades)} <= {"last number", "no number"}
    assert len(list((tmp_path / "out/artifacts/grades").glob("*/manifest.json"))) == 1
    none, arm = at_work(tmp_path, "judge=none")
    none.context.get(arm.grades)
    assert len(list((tmp_path / "out/artifacts/grades").glob("*/manifest.json"))) == 2
    ours, arm = at_work(tmp_path, "benchmark.grader=conclusion")
    ours.context.get(arm.grades)
    assert len(list((tmp_path / "out/artifacts/grades").glob("*/manifest.json"))) == 3
    assert len(list((tmp_path / "out/artifacts/completions").glob("*/manifest.json"))) == 1, "one set of answers"


def test_a_local_model_is_asked_too_and_loaded_once_for_all_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded base model can't judge: it never says yes, and no answer is right by this grader."""
    loaded: list[Any] = []
    load = local_judge.load_model
    monkeypatch.setattr(local_judge, "load_model", lambda *given: loaded.append(given) or load(*given))
    local = ["judge=local", "judge.model.path=package:embedded/base", "judge.model.prompt_format=raw",
             "judge.dtype=float32", "judge.max_prompt_tokens=400", "judge.max_tokens=100", "judge.rows=4"]  # fmt: skip
    one, arm = at_work(tmp_path, "benchmark.n_problems=4", "sampler=temperature", *local)
    one.context.get(arm.grades)
    _, arm = at_work(tmp_path, "benchmark.n_problems=4", *local)
    given = one.context.get(arm.grades)
    assert len(loaded) == 1
    assert [(grade.verdict, grade.reason) for grade in given] == [
        ("wrong", "yes by package:embedded/base (run here)")
    ] * 4


def test_the_prompt_has_the_whole_answer_on_one_line() -> None:
    prompt = verdict_prompt(Case("How many?", "7", "One.\n\n  Two. {braces} stay"))
    assert "One. Two. {braces} stay" in prompt and "How many?" in prompt and "Correct answer: 7" in prompt
