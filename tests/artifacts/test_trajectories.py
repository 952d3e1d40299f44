"""Graded states of real chains."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.trajectories import Trajectories
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.records import ChainState
from tests.runs import run_of
from tests.test_stages import experiment

SMALL = ("arms=single", "sampler=power", "sampler.n_steps=3", "sampler.block_size=48", "n_samples=2")


class Death(BaseException):
    """Stands for a kill between two appends."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trajectories")


def asked(root: Path) -> tuple[Any, Trajectories]:
    run = run_of(experiment(*SMALL), root)
    return run, Trajectories(run.arms.rows["main"].draws[0].grades)


def test_the_last_state_has_the_answers_verdict(root: Path) -> None:
    run, wanted = asked(root)
    states = run.context.get(wanted)
    by_chain: dict[tuple[str, int], list[ChainState]] = {}
    for state in states:
        by_chain.setdefault((state.problem, state.chain), []).append(state)
    grades = {(grade.problem, grade.chain): grade for grade in run.context.get(wanted.grades)}
    answers = {(a.problem, a.chain): a for a in run.context.get(wanted.grades.completions)}
    assert set(by_chain) == {item for item in grades if item[1] == 0}, "moves are kept for the first chain"
    for item, of_chain in by_chain.items():
        assert [(s.rung, s.step) for s in of_chain] == [(0, 3), (1, 3), (2, 3), *((3, step) for step in range(4))]
        assert of_chain[-1].verdict == grades[item].verdict
        assert of_chain[-1].length == len(answers[item].ids)


def test_every_text_is_graded_once_and_death_repeats_none(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, wanted = asked(root)
    states = first.context.get(wanted)
    run, wanted = asked(tmp_path)
    run.context.get(wanted.grades)
    append, grade, graded, left = RunLog.append, Arithmetic.grade, Counter[tuple[str, str]](), [2]

    def dying(self: RunLog, record: dict[str, Any]) -> None:
        append(self, record)
        graded[tuple(record["text"][:2])] += 1
        left[0] -= 1
        if left[0] == 0:
            raise Death

    monkeypatch.setattr(RunLog, "append", dying)
    monkeypatch.setattr(Arithmetic, "grade", lambda *args: grade(*args))
    for attempt in range(40):
        left[0] = 2 + attempt
        try:
            found = run.context.get(wanted)
            break
        except Death:
            continue
    assert found == states
    assert set(graded.values()) == {1}
    assert len(graded) <= len(states)
