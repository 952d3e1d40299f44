"""Answers drawn in shards: whoever draws which part, and dies over it, the whole is the same to the byte."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts import schedule
from reasoning_lab.artifacts.arms import arms_of
from reasoning_lab.artifacts.base import Context, places_of
from reasoning_lab.artifacts.completions import Completions, CompletionsShard
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.schedule import build_missing, shards_of
from reasoning_lab.artifacts.standing import standing_of
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from tests.runs import context_of, run_of

SMALL = [
    "benchmark.n_problems=5", "benchmark.max_new_tokens=24", "runtime.rows=4", "tracking=local", "runtime.threads=1",
    "runtime.device=cpu", "runtime.workers=1", "sampler.n_steps=1", "sampler.block_size=12", "arms=baselines",
    "runtime.checkpoint_seconds=0",
]  # fmt: skip
ARMS = ("power", "majority", "best_of_n")
"""A sampler with checkpoints, one whose budget is another's mean, and one that chooses from a pool."""


def experiment(*overrides: str) -> Experiment:
    return build(Composer().compose([*SMALL, *overrides]))


def arms(*overrides: str) -> dict[str, Completions]:
    """Of some arms, what is drawn."""
    rows = arms_of(experiment(*overrides)).rows
    return {name: rows[name].draws[0].completions for name in ARMS}


def lines(context: Context, completions: Completions) -> bytes:
    return (context.folder(completions) / "completions.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each arm's bytes, drawn in one piece by one process."""
    context = context_of(experiment(), tmp_path_factory.mktemp("whole"))
    build_missing(list(arms().values()), context)
    return {name: lines(context, each) for name, each in arms().items()}


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_whole_does_not_depend_on_the_number_of_shards(n: int, whole: dict[str, bytes], tmp_path: Path) -> None:
    context, asked = context_of(experiment(f"runtime.shards={n}"), tmp_path), arms()
    build_missing(list(asked.values()), context)
    assert {name: lines(context, each) for name, each in asked.items()} == whole
    shards = asked["power"].shards(n)
    assert len(shards) == (0 if n == 1 else min(n, 5))
    drawn = [problem.id for shard in shards for problem in shard.problems]
    assert sorted(drawn) == (sorted(asked["power"].problems.by_id) if shards else [])
    assert all(context.is_built(shard) for shard in shards)
    assert asked["best_of_n"].shards(n) == (), "nothing of a choice is drawn"
