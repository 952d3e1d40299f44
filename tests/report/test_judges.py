"""What a judge that runs here reads and writes stands apart from the arms' costs."""

import re
from pathlib import Path

from reasoning_lab.judge.base import Usage
from reasoning_lab.report.collect.answers import collect_report
from reasoning_lab.report.collect.judges import judge_costs
from tests.runs import run_of
from tests.test_stages import experiment

ARMS = ("arms=single", "sampler=temperature", "benchmark.n_problems=2")
LOCAL = (
    "benchmark.grader=venhoff2025", "judge=local", "judge.model.path=package:embedded/base", "judge.dtype=float32",
    "judge.model.prompt_format=raw", "judge.max_prompt_tokens=400", "judge.max_tokens=100",
)  # fmt: skip


def test_a_local_judges_tokens_are_told_and_in_no_arm(tmp_path: Path) -> None:
    run = run_of(experiment(*ARMS, *LOCAL), tmp_path)
    grades = run.arms.rows["main"].draws[0].grades
    used = grades.usage(run.context)
    assert used.asked == 2 and used.prompt_tokens > 100
    [line] = judge_costs(run.arms, run.context)
    read, wrote = (int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", line))
    assert (read, wrote) == (used.prompt_tokens, used.completion_tokens)
    assert "grading the answers" in line
    report = collect_report(run.arms, "t", [], run.context)
    assert line in report.footer
    [answer, _] = report.arms[0].completions
    assert answer.compute is not None and answer.compute.own.heads == answer.decode_tokens


def test_without_a_judge_nothing_is_told(tmp_path: Path) -> None:
    run = run_of(experiment(*ARMS), tmp_path)
    assert judge_costs(run.arms, run.context) == []
    assert run.arms.rows["main"].draws[0].grades.usage(run.context) == Usage()
