"""A cue from its search to its rows, on the embedded pair: found once, shared, resumed, told with its cost."""

import csv
from pathlib import Path

import pytest

from reasoning_lab.artifacts import cue
from reasoning_lab.artifacts.arms import arms_of
from reasoning_lab.artifacts.cue import Cue
from reasoning_lab.artifacts.store import Store
from reasoning_lab.cue.search import FoundCue, answer_entropy
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.report.collect.answers import collect_report
from reasoning_lab.stages import Run
from tests.runs import answers, run_of, staged

SMALL = [
    "benchmark.n_problems=4", "benchmark.max_new_tokens=96", "runtime.rows=16", "tracking=local", "sampler.n_steps=1",
    "sampler.block_size=48", "runtime.threads=1", "runtime.device=cpu", "runtime.workers=1", "arms=cue",
    "cue.benchmark.n_problems=3", "cue.width=3", "cue.n_samples=3",
]  # fmt: skip


def experiment(*overrides: str) -> Experiment:
    looks = "cue=none" not in overrides
    small = [line for line in SMALL if looks or not line.startswith("cue.")]
    return build(Composer().compose([*small, *overrides]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cue")
    staged(experiment("stage=cue"), root, "cue")
    staged(experiment(), root)
    return root


def search(run: Run) -> tuple[Cue, FoundCue]:
    assert run.arms.cue is not None
    return run.arms.cue, run.context.get(run.arms.cue)


def test_the_chosen_opening_has_the_least_entropy_of_its_own_answers(finished: Path) -> None:
    run = run_of(experiment(), finished, "look")
    artifact, found = search(run)
    assert (len(found.candidates), found.n_problems, found.n_samples) == (3, 3, 3)
    assert found.chosen.entropy == min(each.entropy for each in found.candidates)
    total = 0
    for drawn in artifact.answers(run.context):
        texts = run.context.get(drawn)
        votes = {answer.problem: [] for answer in texts}
        for answer in texts:
            votes[answer.problem].append(artifact.problems.vote(answer.text))
        tokens, total = sum(a.decode_tokens for a in texts), total + sum(a.decode_tokens for a in texts)
        ids = getattr(drawn.sampler, "cue_ids", None) or ()
        (told,) = [each for each in (*found.candidates, found.without) if each.ids == ids]
        assert told.entropy == pytest.approx(sum(map(answer_entropy, votes.values())) / 3)
        assert told.tokens == tokens
    assert found.tokens == total


def test_the_stages_own_table_lists_every_candidate_and_what_it_cost(finished: Path) -> None:
    _, found = search(run_of(experiment(), finished, "look"))
    with (finished / "runs/cue/cue.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3", ""]
    assert sum(int(row["tokens"]) for row in rows) == found.tokens
    assert rows[0]["ids"] == " ".join(map(str, found.chosen.ids))


def test_rows_say_the_cue_and_its_cost(finished: Path) -> None:
    run = run_of(experiment(), finished, "look")
    _, found = search(run)
    report = collect_report(run.arms, "", (), run.context)
    for name in ("cue", "cued_power"):
        arm = report.arm(name)
        assert arm.sampler.startswith(f"cue: {found.chosen.text!r}, then ")
        assert f"finding it drew {found.tokens:,} decode tokens, once" in arm.note
        assert "3 training problems, no gold answer looked at" in arm.note
        for answer in arm.completions:
            assert answer.ids[: len(found.chosen.ids)] == found.chosen.ids
            assert answer.text.startswith(found.chosen.text)
    assert report.arm("base").note == ""


def test_found_once_for_all_arms_and_runs(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list((finished / "artifacts/cue").glob("*/manifest.json"))) == 1
    run = run_of(experiment(), finished, "look")
    rows = run.arms.rows
    assert rows["cue"].draws[0].completions.cue == rows["cued_power"].draws[0].completions.cue == run.arms.cue

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was built again")

    monkeypatch.setattr(Store, "_build", never)
    staged(experiment(), finished, "again")


def test_a_killed_search_goes_on_where_it_stood(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(run_of(experiment(), finished, "look"))[1]
    calls = []

    def dying(*arguments: object) -> object:
        calls.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cue, "answer_entropy", dying)
        with pytest.raises(KeyboardInterrupt):
            staged(experiment("stage=cue"), tmp_path)
    assert calls and list((tmp_path / "artifacts/openings").iterdir())
    drawn = len(list((tmp_path / "artifacts/completions").glob("*/manifest.json")))
    assert drawn == 4
    monkeypatch.setattr("reasoning_lab.artifacts.completions.draw_completions", lambda *_: pytest.fail("drawn again"))
    staged(experiment("stage=cue"), tmp_path, "again")
    assert search(run_of(experiment(), tmp_path, "look"))[1] == whole


def test_what_changes_the_cue_changes_its_key() -> None:
    def key(*overrides: str) -> str:
        found = run_arms(*overrides)
        assert found is not None
        return found.key

    def run_arms(*overrides: str) -> Cue | None:
        return arms_of(experiment(*overrides)).cue

    one = key()
    changed = [
        "cue.width=4", "cue.depth=1", "cue.n_samples=4", "cue.benchmark.n_problems=4", "cue.benchmark.problem_seed=1",
        "cue.sampler.temperature=0.7", "seed=1", "model_pair.dtype=float64",
        "model_pair.base.path=package:embedded/grpo",
    ]  # fmt: skip
    assert len({one, *map(key, changed)}) == 1 + len(changed)
    assert key("benchmark.n_problems=9", "sampler.alpha=2") == one


def test_a_cue_given_by_hand_is_forced_and_nothing_is_looked_for(tmp_path: Path) -> None:
    given = experiment("arms.cue.sampler.cue=' We'", "cue=none", "stage=completions", "~arms.low_temperature")
    with pytest.raises(ValueError, match=r"' Zx': this model's vocabulary lacks a part of it, or writes it as"):
        staged(experiment("arms.cue.sampler.cue=' Zx'", "cue=none", "stage=completions"), tmp_path)
    assert not (tmp_path / "artifacts/completions").exists()
    staged(given, tmp_path)
    run = run_of(given, tmp_path, "look")
    assert all(answer.text.startswith(" We") for answer in answers(run, "cue"))
    assert not (tmp_path / "artifacts/cue").exists()
