"""What is told of a drawing and of a grading on the way is what is known by then."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reasoning_lab.artifacts import telling
from reasoning_lab.artifacts.listening import Listener, Pace
from reasoning_lab.artifacts.telling import AccuracySoFar, Drawing, Grading
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.records import Completion, Grade
from reasoning_lab.statistics import accuracy_interval, binomial_interval, outcomes
from tests.runs import run_of
from tests.test_stages import experiment

SMALL = (
    "arms=single", "sampler=power", "sampler.n_steps=1", "sampler.block_size=48", "benchmark.n_problems=3",
    "benchmark.max_new_tokens=96", "runtime.workers=1",
)  # fmt: skip


class Heard(Listener):
    """Everything that is told."""

    def __init__(self) -> None:
        self.values: list[tuple[str, dict[str, float]]] = []
        self.artifacts: list[tuple[str, str]] = []

    def on_values(self, label: str, values: Mapping[str, float]) -> None:
        self.values.append((label, dict(values)))

    def on_artifact(self, kind: str, slug: str, key: str, folder: Path) -> None:
        self.artifacts.append((kind, key))

    def of(self, label: str, name: str) -> list[dict[str, float]]:
        """What was told of a label with a value of that name."""
        return [values for told, values in self.values if told == label and name in values]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is told and graded as soon as it is known."""
    monkeypatch.setattr(telling, "Pace", lambda *_: Pace(0.0, float("inf")))


def graded(problem: str, verdict: str, chain: int = 0) -> Grade:
    return Grade(problem, chain, verdict, None, "")  # type: ignore[arg-type]


def test_accuracy_so_far_is_the_share_with_its_interval() -> None:
    tally = AccuracySoFar()
    assert tally.values() == {}
    verdicts = ["correct", "wrong", "correct", "ungradable", "correct"]
    for n, verdict in enumerate(verdicts, start=1):
        tally.add(graded(f"p{n}", verdict))
        expected = binomial_interval(verdicts[:n].count("correct"), n)
        told = tally.values()
        assert (told["graded"], told["accuracy"]) == (n, expected.value)
        assert (told["accuracy_low"], told["accuracy_high"]) == (expected.low, expected.high)


def test_with_chains_it_is_the_share_of_all_graded_and_at_the_end_the_tables() -> None:
    grades = [graded(f"p{n % 3}", "correct" if n % 4 == 0 else "wrong", n // 3) for n in range(12)]
    tally = AccuracySoFar()
    for n, grade in enumerate(grades, start=1):
        tally.add(grade)
        told = tally.values()
        assert told["accuracy"] == pytest.approx(sum(each.correct for each in grades[:n]) / n)
        assert told["accuracy_low"] <= told["accuracy"] <= told["accuracy_high"]
    table = accuracy_interval(outcomes(grades))
    assert (told["accuracy"], told["accuracy_low"], told["accuracy_high"]) == tuple(table)


def test_a_run_tells_what_its_artifacts_hold_and_ends_at_the_tables_accuracy(at_once: None, tmp_path: Path) -> None:
    run, heard = run_of(experiment(*SMALL, "n_samples=2"), tmp_path), Heard()
    run.context.listeners.append(heard)
    draw = run.arms.rows["main"].draws[0]
    grades, answers = run.context.get(draw.grades), run.context.get(draw.completions)
    right = {(grade.problem, grade.chain): grade.correct for grade in grades}

    while_drawn, while_graded = (part for part in _parts(heard.of("main", "graded"), len(answers)))
    assert [told["graded"] for told in while_drawn] == list(range(1, len(answers) + 1)), "graded as they finish"
    assert [told["graded"] for told in while_graded] == [*range(1, len(answers) + 1), len(answers)]
    in_order = [right[answer.problem, answer.chain] for answer in answers]
    for n, told in enumerate(while_graded[:-1], start=1):
        assert told["accuracy"] == pytest.approx(sum(in_order[:n]) / n)
    table = accuracy_interval(outcomes(grades))
    last = while_graded[-1]
    assert (last["accuracy"], last["accuracy_low"], last["accuracy_high"]) == tuple(table)
    assert while_drawn[-1]["accuracy"] == table.value

    drawn = heard.of("main", "acceptance")[-1]
    proposals = sum(answer.n_proposals for answer in answers)
    assert drawn["answers"] == len(answers)
    assert drawn["acceptance"] == sum(answer.n_accepted for answer in answers) / proposals
    assert drawn["move_rate"] == sum(answer.n_moved for answer in answers) / proposals
    assert 0 < drawn["occupancy"] <= 1
    assert drawn["tokens_per_second"] > 0
    assert ("completions", draw.completions.key) in heard.artifacts
    assert ("grades", draw.grades.key) in heard.artifacts


def _parts(told: list[dict[str, float]], n: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    return told[:n], told[n:]


class _Programs(Arithmetic):
    runs_programs: ClassVar[bool] = True


def test_no_program_is_run_and_no_judge_asked_while_answers_are_drawn(at_once: None) -> None:
    def told_of(benchmark: Arithmetic) -> list[str]:
        names: list[str] = []
        problems = {problem.id: problem for problem in benchmark.load()}
        drawing = Drawing(benchmark, problems, 1, lambda values: names.extend(values))
        answer = Completion(next(iter(problems)), 0, "The answer is 3.", (1,), "stop", 0.0, 0.0, 1)
        drawing.on_done(answer, Counts())
        return names

    def asked(of: Callable[..., Arithmetic], **more: Any) -> Arithmetic:
        return of(n_problems=2, max_new_tokens=8, split="heldout", problem_seed=0, **more)

    assert "accuracy" in told_of(asked(Arithmetic))
    assert "accuracy" not in told_of(asked(_Programs))
    assert "accuracy" not in told_of(asked(Arithmetic, grader="venhoff2025"))


def test_a_resumed_grading_counts_what_was_graded_before() -> None:
    told: list[Mapping[str, float]] = []
    grading = Grading(told.append, [graded("p1", "correct"), graded("p2", "correct")])
    grading.on_grade(graded("p3", "wrong"))
    grading.finish()
    assert told[-1]["accuracy"] == pytest.approx(2 / 3)


def test_what_takes_long_is_done_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("reasoning_lab.artifacts.listening.time.monotonic", lambda: now[0])
    pace = Pace(seconds=2.0, share=0.01)
    assert not pace.is_due, "not before the first interval is over"
    now[0] += 2
    assert pace.is_due
    with pace.taken():
        now[0] += 0.5
    for passed, is_due in ((49.0, False), (1.0, True)):
        now[0] += passed
        assert pace.is_due == is_due, "half a second is one percent of fifty"
