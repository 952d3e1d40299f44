"""Harm to finished artifacts of many kinds: none is believed, and the same command again ends in the same table."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts.base import Artifact
from reasoning_lab.artifacts.store import Store
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from tests.artifacts.faults import SMALL
from tests.artifacts.harms import ALONE, EXCHANGES
from tests.runs import run_of, staged
from tests.test_hybrid_stages import SMALL as HYBRID
from tests.test_stages import artifacts

SAME_AFTER = ("flip data", "no manifest", "empty list, files gone", "folder is a link", "data is a pipe")
"""Harms to one artifact after which the whole run is made again; the others end in the same way, by the same path."""


def arms() -> Experiment:
    return build(Composer().compose([line for line in SMALL if not line.startswith("hydra.")]))


def vectors() -> Experiment:
    small = [line for line in HYBRID if not line.startswith("arms.")]
    return build(Composer().compose([*small, "taxonomy.benchmark.n_problems=12", "stage=vectors"]))


def within(artifact: Artifact[Any]) -> Iterator[Artifact[Any]]:
    for each in artifact.upstream():
        yield from within(each)
    yield artifact


@pytest.fixture(scope="module")
def power(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Artifact[Any]]]:
    """Answers and grades of three arms."""
    root = tmp_path_factory.mktemp("power")
    (root / "metrics.json").write_text(json.dumps(staged(arms(), root)))
    made = [each for answers in run_of(arms(), root).arms.answers() for each in within(answers.grades)]
    return root, list({each.key: each for each in made}.values())


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Artifact[Any]]]:
    """Traces, activations, clusters and vectors."""
    root = tmp_path_factory.mktemp("steered")
    staged(vectors(), root)
    return root, list({each.key: each for each in within(run_of(vectors(), root).vectors)}.values())


def copied(root: Path, place: Path) -> Store:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root / "artifacts", place / "artifacts")
    return Store(place / "artifacts")


def test_no_harm_to_one_artifact_is_believed(power: Any, steered: Any, tmp_path: Path) -> None:
    tried, kinds = 0, set()
    for root, made in (power, steered):
        for harm in ALONE:
            store = copied(root, tmp_path / "store")
            for artifact in made:
                ALONE[harm](store.folder(artifact))
            for artifact in made:
                assert store.find(artifact) is None, f"{harm}: {artifact.kind} is believed"
                tried, kinds = tried + 1, kinds | {artifact.kind}
    assert kinds == {"completions", "grades", "traces", "activations", "taxonomy", "vectors"}
    assert tried >= 400, tried


def pairs(made: list[Artifact[Any]]) -> list[tuple[Artifact[Any], Artifact[Any]]]:
    return [(a, b) for a in made for b in made if a.kind == b.kind and a.key != b.key]


def test_nothing_passes_for_another_artifact(power: Any, tmp_path: Path) -> None:
    root, made = power
    both = {"folders", "data", "manifests"}
    for exchange in EXCHANGES:
        for one, other in pairs(made):
            store = copied(root, tmp_path / "store")
            EXCHANGES[exchange](store.folder(one), store.folder(other))
            assert store.find(one) is None, f"{exchange}: {one.slug} is believed"
            assert (store.find(other) is None) == (exchange in both)
    assert len(EXCHANGES) * len(pairs(made)) >= 100


@pytest.mark.parametrize(
    "harm",
    [each if number % 5 == 0 else pytest.param(each, marks=pytest.mark.slow)
     for number, each in enumerate([*SAME_AFTER, *EXCHANGES])],
)  # fmt: skip
def test_the_table_is_the_same_after_harm_to_all(harm: str, power: Any, tmp_path: Path) -> None:
    root, made = power
    store = copied(root, tmp_path)
    if harm in ALONE:
        for artifact in made:
            ALONE[harm](store.folder(artifact))
    else:
        for one, other in zip(made[::2], made[2::2], strict=False):
            EXCHANGES[harm](store.folder(one), store.folder(other))
    assert staged(arms(), tmp_path) == json.loads((root / "metrics.json").read_text())
    assert {name: (tmp_path / name).read_bytes() for name in artifacts(root)} == artifacts(root)


def test_unharmed_artifacts_are_believed(power: Any, steered: Any) -> None:
    for root, made in (power, steered):
        store = Store(root / "artifacts")
        assert all(store.find(artifact) == store.folder(artifact) for artifact in made)
