"""Answers drawn in shards: whoever draws which part, and dies over it, the whole is the same to the byte."""

import dataclasses
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts import sampling
from reasoning_lab.artifacts.arms import arms_of
from reasoning_lab.artifacts.base import Context, places_of
from reasoning_lab.artifacts.completions import Completions, CompletionsShard
from reasoning_lab.artifacts.manifests import Manifests
from reasoning_lab.artifacts.rates import Machine, Rates
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.schedule import build_missing, shards_of
from reasoning_lab.artifacts.standing import standing_of
from reasoning_lab.artifacts.store import sealed
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from tests.runs import context_of

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
    assert asked["majority"].budget_of == asked["power"], "its budget is a mean over all problems, of every shard"


def test_one_arm_is_drawn_by_all_devices_at_once(whole: dict[str, bytes], tmp_path: Path) -> None:
    heard = StringIO()
    asked, power = experiment("runtime.devices=[cpu,cpu]"), arms()["power"]
    context = context_of(asked, tmp_path, heard)
    build_missing([power], context)
    assert lines(context, power) == whole["power"]
    assert all(context.is_built(shard) for shard in power.shards(2))
    assert all(f"power ({part} of 2): " in heard.getvalue() for part in (1, 2)), "each told what it drew"
    manifest = context.store.manifest(power)
    assert manifest["runtime"]["shards"] == 2
    assert [each["devices"] for each in manifest["earlier_attempts"]] == [["cpu"]], "who drew is named"


@pytest.mark.parametrize(("n_arms", "n_places", "shards"), [(1, 1, 1), (1, 8, 8), (3, 8, 3), (2, 2, 1), (10, 8, 1)])
def test_there_are_as_many_shards_as_keep_every_process_at_work(n_arms: int, n_places: int, shards: int) -> None:
    power, runtime = arms()["power"], experiment().runtime
    left = [dataclasses.replace(power, seed=seed) for seed in range(n_arms)]
    assert shards_of(left, n_places, runtime) == shards
    assert shards_of(left, n_places, dataclasses.replace(runtime, shards=5)) == 5


def test_a_process_has_a_device_and_names_no_other() -> None:
    assert places_of(experiment("runtime.workers=3").runtime) == (("cpu",),) * 3
    assert places_of(experiment("runtime.devices=[cpu]", "runtime.workers=3").runtime) == (("cpu",),)
    four = "runtime.devices=[cuda:0,cuda:1,cuda:2,cuda:3]"
    assert places_of(experiment(four, "runtime.devices_each=2").runtime) == (("cuda:0", "cuda:1"), ("cuda:2", "cuda:3"))
    with pytest.raises(ValueError, match=r"^runtime.devices_each=5: must be at most the 4 devices that there are"):
        places_of(experiment(four, "runtime.devices_each=5").runtime)
    with pytest.raises(ConfigError, match=r"^runtime.devices=\(\): must be auto or a list; name at least one device"):
        experiment("runtime.devices=[]")


# -- deaths ------------------------------------------------------------------------------------------------------------


class Death(BaseException):
    """Stands for a kill between two appends."""


def begun(completions: Completions, root: Path, shards: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn in some number of shards by a process that dies at its n-th append."""
    append, left = RunLog.append, [n]

    def dying(self: RunLog, record: dict[str, Any]) -> None:
        append(self, record)
        left[0] -= 1
        if left[0] == 0:
            raise Death

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(RunLog, "append", dying)
        build_missing([completions], context_of(experiment(f"runtime.shards={shards}"), root))


@pytest.mark.parametrize(("before", "after"), [(3, 3), (3, 2), (1, 7), (7, 1)])
def test_what_a_killed_run_had_drawn_is_kept_whatever_the_number_of_shards(
    before: int, after: int, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power = arms()["power"]
    begun(power, tmp_path, before, 6, monkeypatch)
    context = context_of(experiment(f"runtime.shards={after}"), tmp_path)
    standing = standing_of(power, context)
    assert not standing.is_built and standing.has_log and 0 < standing.n_logged < 5
    drawn: list[str] = []
    completion = sampling._completion
    monkeypatch.setattr(
        sampling, "_completion", lambda item, *rest: drawn.append(item.problem) or completion(item, *rest)
    )
    build_missing([power], context)
    assert len(drawn) == 5 - standing.n_logged, "what is finished is not drawn again"
    assert lines(context, power) == whole["power"]


def test_a_shard_that_another_job_is_at_is_left_to_it_until_the_end(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs of one arm: each begins with what is free."""
    power = arms()["power"]
    context = context_of(experiment("runtime.shards=3"), tmp_path)
    first = power.shards(3)[0]
    built: list[int] = []
    build_one = CompletionsShard.build
    monkeypatch.setattr(
        CompletionsShard, "build", lambda self, *given: built.append(self.part) or build_one(self, *given)
    )
    monkeypatch.setattr(type(context.store), "is_at_work", lambda _, artifact: artifact == first)
    build_missing([power], context)
    assert built == [1, 2, 0] and lines(context, power) == whole["power"]


def test_a_lock_tells_who_is_at_work(tmp_path: Path) -> None:
    power = arms()["power"]
    context, other = (context_of(experiment(), tmp_path) for _ in range(2))
    seen: list[bool] = []
    assert not other.store.is_at_work(power)

    def build(folder: Path) -> None:
        seen.append(other.store.is_at_work(power))
        (folder / "completions.jsonl").write_text("")

    context.build_with(power, build)
    assert seen == [True] and not other.store.is_at_work(power)


# -- what earlier ones tell --------------------------------------------------------------------------------------------


def test_the_time_of_an_arm_is_that_of_its_shards(tmp_path: Path) -> None:
    """What merging takes is no rate of drawing."""
    power = arms()["power"]
    context = context_of(experiment("runtime.shards=2"), tmp_path)
    build_missing([power], context)
    answers = context.get(power)
    rates = {}
    for shard, seconds in zip(power.shards(2), (3.0, 3.0), strict=True):
        file = context.store.folder(shard) / "manifest.json"
        drawn = sum(a.decode_tokens for a in answers if a.problem in {p.id for p in shard.problems})
        file.write_text(sealed(json.loads(file.read_text()) | {"seconds": seconds * drawn}))
        rates[shard.part] = drawn
    machine = Machine(context.witness(power)["device"], 4)
    told = Rates(Manifests(context.store.root), {}, machine).time(dataclasses.replace(power, seed=1), 10.0, 1.0, 100.0)
    assert told is not None and told.is_measured and told.seconds == pytest.approx(30.0)
