"""The authors' grader (B8): a real server on loopback is asked, and what it says in passing decides."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reasoning_lab.artifacts.draws import problems_of, table_draws
from reasoning_lab.artifacts.lab import Lab
from reasoning_lab.artifacts.results import completions, grades
from reasoning_lab.artifacts.store import Store
from reasoning_lab.benchmark.grading.compat import last_plain_number
from reasoning_lab.experiment import Experiment
from reasoning_lab.judge import local as local_judge
from reasoning_lab.judge.verdict import MAX_TOKENS, Case, verdict_prompt
from reasoning_lab.launch.config import Composer, build
from tests.judge.server import Exchange, serve

REPLIES = ["YES", "The values are 3 and 4: NO.", "No. Not what I saw yesterday.", ""]
"""By the order of the requests; the third says yes, and the empty one no."""


def experiment(tmp_path: Path, *overrides: str) -> Experiment:
    return build(
        Composer().compose([
            "arms=single", "sampler=greedy", "runtime=cpu", "runtime.rows=8", "benchmark.n_problems=12",
            "benchmark.max_new_tokens=64", "benchmark.grader=venhoff2025", f"outputs={tmp_path}/out", *overrides,
        ])
    )  # fmt: skip


def lab(tmp_path: Path, heard: StringIO | None = None) -> Lab:
    tracker: Any = None
    return Lab(Store(tmp_path / "out" / "artifacts"), tracker, Console(file=heard or StringIO()), tmp_path)


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
        found = experiment(
            tmp_path, "judge=openai", f"judge.base_url={server.url}", "judge.retries=0", "judge.concurrency=1"
        )
        (draw,) = table_draws(found, problems_of(found)).values()
        heard = StringIO()
        given = grades(found, draw, lab(tmp_path, heard))
        assert len(server.requests) == 12
        assert "judge gpt-4.1-mini: 12 questions to ask (0 cached), about" in heard.getvalue()
        assert grades(found, draw, lab(tmp_path)) == given and len(server.requests) == 12
    answers = completions(found, draw, lab(tmp_path))
    problems = {problem.id: problem for problem in draw.problems}
    for answer, grade in zip(answers, given, strict=True):
        problem = problems[answer.problem]
        reply = said.get(verdict_prompt(Case(problem.question, problem.gold, answer.text)))
        right = last_plain_number(answer.text) == problem.gold if reply is None else "yes" in reply.lower()
        assert grade.correct == right
        assert grade.reason in (("last number", "no number") if reply is None else ("yes by gpt-4.1-mini",))
    assert {each.reason for each in given} >= {"yes by gpt-4.1-mini", "last number"}


def test_another_judge_is_another_grading_and_none_leaves_the_last_number(tmp_path: Path) -> None:
    found = experiment(tmp_path, "judge=lexical")
    (draw,) = table_draws(found, problems_of(found)).values()
    assert {grade.reason for grade in grades(found, draw, lab(tmp_path))} <= {"last number", "no number"}
    assert len(list((tmp_path / "out/artifacts/grades").glob("*/manifest.json"))) == 1
    none = experiment(tmp_path, "judge=none")
    grades(none, draw, lab(tmp_path))
    assert len(list((tmp_path / "out/artifacts/grades").glob("*/manifest.json"))) == 2
    ours = experiment(tmp_path, "benchmark.grader=conclusion")
    (draw,) = table_draws(ours, problems_of(ours)).values()
    grades(ours, draw, lab(tmp_path))
    assert len(list((tmp_path / "out/artifacts/completions").glob("*/manifest.json"))) == 1, "one set of answers"


def test_a_local_model_is_asked_too_and_loaded_once_for_all_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded base model can't judge: it never says yes, and no answer is right by this grader."""
    loaded: list[Any] = []
    load = local_judge.load
    monkeypatch.setattr(local_judge, "load", lambda *given: loaded.append(given) or load(*given))
    local = ["judge=local", "judge.model.path=package:embedded/base", "judge.model.prompt_format=raw",
             "judge.dtype=float32", "judge.max_prompt_tokens=400", "judge.max_tokens=100", "judge.rows=4"]  # fmt: skip
    found = experiment(tmp_path, "benchmark.n_problems=4", *local)
    other = experiment(tmp_path, "benchmark.n_problems=4", "sampler=temperature", *local)
    here = lab(tmp_path)
    for each in (other, found):
        (draw,) = table_draws(each, problems_of(each)).values()
        given = grades(each, draw, here)
    assert len(loaded) == 1
    assert [(grade.verdict, grade.reason) for grade in given] == [
        ("wrong", "yes by package:embedded/base (run here)")
    ] * 4


def test_the_prompt_has_the_whole_answer_on_one_line() -> None:
    prompt = verdict_prompt(Case("How many?", "7", "One.\n\n  Two. {braces} stay"))
    assert "One. Two. {braces} stay" in prompt and "How many?" in prompt and "Correct answer: 7" in prompt
