"""A plan tells what a run then does: what it finds, builds, loads and draws; and what a changed key changed in."""

import dataclasses
import json
import re
import shutil
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reasoning_lab.artifacts import base
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.drift import drifts_of
from reasoning_lab.artifacts.estimate import KindPlan, Plan
from reasoning_lab.artifacts.key import Keyed
from reasoning_lab.artifacts.manifests import Manifests
from reasoning_lab.artifacts.plan_words import bytes_words, duration_words, print_plan
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.schedule import completions_behind
from reasoning_lab.artifacts.store import Store, sealed
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.loaded import load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.size import load_footprint
from reasoning_lab.stages import STAGES, plan_of, share_between_cells
from tests.runs import context_of, run_of, staged

SMALL = [
    "benchmark.n_problems=4", "passk.n_problems=2", "passk.n_samples=2", "runtime.rows=16", "tracking=local",
    "runtime.threads=1", "runtime.device=cpu", "runtime.workers=1", "benchmark.max_new_tokens=64",
]  # fmt: skip
TINY = ["benchmark.n_problems=1", "benchmark.max_new_tokens=32"]
POWER = ["arms=power", "sampler.n_steps=2", "sampler.block_size=32"]
HYBRID = [
    "arms=hybrid_without_bias", "taxonomy=embedded", "steering=embedded", "judge=lexical", "sampler=temperature",
    "~arms.random_vectors", "~arms.random_categories", "~arms.no_vector", "~arms.thinking_choice",
    "taxonomy.benchmark.n_problems=8", "taxonomy.n_clusters=3", "steering.vectors.steps=2",
    "steering.vectors.min_examples=1", "steering.vectors.eval_every=1", "steering.vectors.correct_only=false",
]  # fmt: skip
CUED = [
    "arms=cue", "sampler.n_steps=1", "sampler.block_size=63", "cue.benchmark.n_problems=2", "cue.width=2",
    "cue.n_samples=2",
]  # fmt: skip


def experiment(*overrides: str) -> Experiment:
    return build(Composer().compose([*SMALL, *overrides]))


def plan(root: Path, *experiments: Experiment, cells_per_job: int = 1) -> Plan:
    return plan_of(experiments, context_of(experiments[0], root), cells_per_job)


def kind_of(given: Plan, kind: str) -> KindPlan:
    return next(each for each in given.kinds if each.kind == kind)


def words(given: Plan) -> str:
    heard = StringIO()
    print_plan(given, Console(file=heard, width=170))
    return heard.getvalue()


class Witness:
    """What is built and loaded, and what is found before it is built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built, self.loads, self.found = Counter[str](), 0, dict[str, str]()
        build_one, find = Store._build, Store.find

        def built(store: Store, artifact: Any, *rest: Any) -> None:
            self.built[artifact.kind] += 1
            self.found.pop(artifact.key, None)
            build_one(store, artifact, *rest)
            self.made.add(artifact.key)

        def found(store: Store, artifact: Keyed) -> Path | None:
            folder = find(store, artifact)
            if folder is not None and artifact.key not in self.made:
                self.found[artifact.key] = artifact.kind
            return folder

        def loaded(*given: Any) -> Any:
            self.loads += 1
            return load_model(*given)

        self.made = set[str]()
        monkeypatch.setattr(Store, "_build", built)
        monkeypatch.setattr(Store, "find", found)
        monkeypatch.setattr(base, "load_model", loaded)


def files(root: Path) -> dict[str, tuple[int, int]]:
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in root.rglob("*")}


def done(given: Plan) -> dict[str, int]:
    return {each.kind: each.n_builds for each in given.kinds if each.n_builds}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    staged(experiment(*POWER), root)
    return root


# -- what is told and what is done -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(POWER, id="power"),
        pytest.param([*CUED, "stage=cue"], id="cue stage"),
        pytest.param([*POWER, "stage=grades"], id="grades"),
        pytest.param([*HYBRID, "stage=vectors"], id="vectors"),
        # Half a minute each.
        pytest.param([*HYBRID, *TINY], id="hybrid", marks=pytest.mark.slow),
        pytest.param(CUED, id="cue", marks=pytest.mark.slow),
        pytest.param(["arms=baselines", "sampler.n_steps=1", "sampler.block_size=31", *TINY], id="pools",
                     marks=pytest.mark.slow),
        pytest.param([*HYBRID, "stage=taxonomy"], id="taxonomy", marks=pytest.mark.slow),
        pytest.param([*HYBRID, "stage=activations"], id="activations", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_plan_tells_what_the_run_then_builds_and_loads(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = experiment(*overrides)
    told = plan(tmp_path, asked)
    assert files(tmp_path) == {}, "nothing is written"
    seen = Witness(monkeypatch)
    staged(asked, tmp_path)
    built = seen.built.copy()
    at_most = Counter(done(told)) + Counter(completions=told.openings)
    assert built <= at_most and Counter(done(told)) <= built
    assert built == at_most or told.openings > 0
    assert seen.loads == told.loads and not told.loads_at_most
    again = plan(tmp_path, asked)
    assert done(again) == {} and again.loads == 0 and again.decode_tokens == 0 and again.openings == 0
    assert Counter({each.kind: each.reused for each in again.kinds}) <= built
    seen.loads = 0
    staged(asked, tmp_path, "again")
    assert seen.built == built and seen.loads == 0


def test_tokens_are_those_of_plain_answers_of_the_typical_length(finished: Path, tmp_path: Path) -> None:
    """At the answers' true mean length the estimate of ancestral draws is exact, and prompts are what was read."""
    run = run_of(experiment(*POWER), finished)
    drawn = [run.context.get(run.arms.rows[name].draws[0].completions) for name in ("base", "low_temperature")]
    lengths = [len(answer.ids) for answers in drawn for answer in answers]
    told = kind_of(plan(tmp_path, experiment(*POWER, "stage=completions")), "completions")
    layers = load_model(ModelSource("package:embedded/base"), "float32", "cpu").reader.n_layers
    all_drawn = [*drawn, run.context.get(run.arms.rows["power"].draws[0].completions)]
    read = sum(answer.compute.own.prefill for answers in all_drawn for answer in answers if answer.compute)
    assert told.prompt_tokens == read / layers + 12, "a prompt's last token is read with the first draw"
    mean = sum(lengths) / len(lengths)
    exact = plan(tmp_path, experiment(*POWER, f"typical_length={mean}", "stage=completions"))
    power = run.arms.rows["power"].draws[0].completions
    plain = exact.decode_tokens - power.expected_tokens(mean)
    assert plain == pytest.approx(sum(answer.decode_tokens for answers in drawn for answer in answers))


def half_done(root: Path, finished: Path) -> Completions:
    """The power arm's answers begun again: two of four in the log, and a state of a third."""
    shutil.copytree(finished / "artifacts", root / "artifacts")
    run = run_of(experiment(*POWER), root)
    answers = run.arms.rows["power"].draws[0]
    store, folder = run.context.store, run.context.store.folder(answers.completions)
    lines = (folder / "completions.jsonl").read_text().splitlines()
    for made in (answers.completions, answers.grades):
        shutil.rmtree(store.folder(made))
    log = RunLog(store.log_path(answers.completions), answers.completions.key)
    for line in lines[:2]:
        log.append({"completion": json.loads(line)})
    log.append({"problem": "x", "chain": 0, "state": {}, "work": {}})
    log.close()
    return answers.completions


def test_what_a_log_holds_is_not_drawn_again_and_the_log_stays_as_it_is(finished: Path, tmp_path: Path) -> None:
    begun = half_done(tmp_path, finished)
    log = context_of(experiment(), tmp_path).store.log_path(begun)
    log.write_bytes(log.read_bytes() + b"torn")
    before = files(tmp_path)
    told = plan(tmp_path, experiment(*POWER))
    assert files(tmp_path) == before
    found = kind_of(told, "completions")
    assert (found.reused, found.resumed, found.made) == (2, 1, 0)
    assert (found.resumed_items, found.resumed_of) == (2, 4)
    assert told.decode_tokens == begun.expected_tokens(100.0) / 2
    grades = kind_of(told, "grades")
    assert (grades.reused, grades.resumed, grades.made) == (2, 0, 1)
    assert "1 (2 of 4 items)" in words(told)


def test_a_corrupt_artifact_is_to_be_made_and_stays_where_it_is(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    (file,) = (tmp_path / "artifacts" / "grades").glob("*-power-*/grades.jsonl")
    file.write_text("no grades")
    before = files(tmp_path)
    assert kind_of(plan(tmp_path, experiment(*POWER)), "grades").made == 1
    assert files(tmp_path) == before


# -- a sweep -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_job", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_what_cells_share_is_built_once_and_each_process_loads_a_model_once(
    per_job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        experiment(*POWER, "stage=grades", f"sampler.alpha={alpha}", "benchmark.n_problems=2") for alpha in (1, 2, 4)
    ]
    told = plan(tmp_path, *cells, cells_per_job=per_job)
    assert (told.cells, told.processes, told.builds_first) == (3, -(-3 // per_job), True)
    completions = kind_of(told, "completions")
    assert (completions.made, completions.shared) == (6, 1), "the base is also low temperature at alpha=1"
    seen = Witness(monkeypatch)
    share_between_cells(cells, context_of(cells[0], tmp_path))
    for job in range(0, 3, per_job):
        context = context_of(cells[0], tmp_path)
        for number, cell in enumerate(cells[job : job + per_job]):
            run = dataclasses.replace(run_of(cell, tmp_path, f"{job}-{number}"), context=context)
            STAGES["grades"](run)
    assert seen.built == done(told) and seen.loads == told.loads


# -- what it takes -----------------------------------------------------------------------------------------------------


def test_memory_is_that_of_the_weights_and_of_the_cache_that_an_engine_opens() -> None:
    source = ModelSource("package:embedded/base")
    policy = load_model(source, "float32", "cpu").policy
    weights = sum(parameter.numel() * parameter.element_size() for parameter in policy.model.parameters())
    store = policy.open(16, 128)._cache.store  # type: ignore[attr-defined]
    assert load_footprint(source).bytes("float32", 0) == weights
    assert load_footprint(source).bytes("float32", 16 * 129) == weights + store.numel() * store.element_size()
    told = kind_of(plan(Path("nowhere"), experiment(*POWER)), "completions")
    assert told.memory is not None and told.memory > load_footprint(source).bytes("float32", 16 * (64 + 64 + 1))


def test_a_model_whose_config_is_not_here_is_unknown_and_no_error(tmp_path: Path) -> None:
    absent = ["model_pair.base.path=nobody/has-this-model", "model_pair.base.revision=" + "0" * 40]
    told = plan(tmp_path, experiment(*POWER, *absent))
    found = kind_of(told, "completions")
    assert (found.memory, found.prompt_tokens, told.memory, told.prompt_tokens) == (None, None, None, None)
    assert "unknown (a model's config is not here)" in words(told) and told.loads == 1


def test_times_are_those_of_earlier_builds_of_the_same_models_and_shape(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    run = run_of(experiment(*POWER), tmp_path)
    for name, seconds in (("base", 2.0), ("low_temperature", 4.0), ("power", 12.0)):
        completions = run.arms.rows[name].draws[0].completions
        manifest = run.context.store.folder(completions) / "manifest.json"
        spent = sum(answer.decode_tokens for answer in run.context.get(completions))
        manifest.write_text(sealed(json.loads(manifest.read_text()) | {"seconds": seconds * spent}))
    changed = experiment(*POWER, "sampler.alpha=8", "stage=completions")
    told = kind_of(plan(tmp_path, changed), "completions")
    low, power = (
        run_of(changed, tmp_path).arms.rows[name].draws[0].completions for name in ("low_temperature", "power")
    )
    assert told.n_measured == 2
    assert told.seconds == pytest.approx(3 * low.expected_tokens(100.0) + 12 * power.expected_tokens(100.0)), (
        "ancestral draws by the median of two, power sampling by its own"
    )
    other_rows = plan(tmp_path, experiment(*POWER, "sampler.alpha=8", "runtime.rows=8", "stage=completions"))
    found = kind_of(other_rows, "completions")
    assert (found.n_measured, found.n_untimed, found.seconds) == (0, 2, 0)
    assert "Process time: not known yet: 2 of which nothing is known yet." in words(other_rows)


def test_on_a_gpu_without_measures_the_least_time_is_that_of_reading_the_weights(tmp_path: Path) -> None:
    told = plan(tmp_path, experiment(*POWER, "runtime.device=cuda", "stage=completions"))
    found = kind_of(told, "completions")
    weights = load_footprint(ModelSource("package:embedded/base")).bytes("float32", 0)
    assert found.seconds == pytest.approx(told.decode_tokens / 16 * weights / 3.35e12)
    assert (found.n_at_least, found.n_untimed) == (3, 0)
    assert "GPU time: at least < 1 s: 3 builds at least so long, weights read once a step at 3.35 TB/s" in words(told)


# -- what changed ------------------------------------------------------------------------------------------------------


def changes(root: Path, *overrides: str) -> dict[str, tuple[str, ...]]:
    """By kind and slug, in what what is missing differs from the nearest finished one."""
    told = plan(root, experiment(*POWER, *overrides))
    return {f"{each.kind} {each.slug}": each.drift.differences for each in told.changed}


def test_a_changed_field_is_named_with_both_values_down_to_its_cause(finished: Path) -> None:
    found = changes(finished, "sampler.alpha=8")
    assert found["completions embedded-base-power-arithmetic"] == ("sampler.alpha 4.0 → 8.0",)
    assert found["grades embedded-base-power-arithmetic"] == ("upstream completions: sampler.alpha 4.0 → 8.0",)
    assert found["trajectories embedded-base-power-arithmetic"] == ("upstream completions: sampler.alpha 4.0 → 8.0",)
    assert set(changes(finished)) == set()


@pytest.mark.parametrize(
    ("override", "differences"),
    [
        ("seed=3", ("seed 0 → 3",)),
        ("n_samples=2", ("chains [0, 1] → [0, 2]",)),
        ("sampler.stop_rule=first_eos", ("sampler.stop_rule full_ladder → first_eos",)),
        ("sampler.proposal_temperature=0.5", ("sampler.proposal_temperature null → 0.5",)),
        ("benchmark.n_problems=3", ("problems",)),
        ("model_pair.dtype=float64", ("dtype float32 → float64",)),
        ("model_pair.base.path=package:embedded/grpo", ("model.content",)),
    ],
)
def test_what_differs_is_named_and_nothing_else(finished: Path, override: str, differences: tuple[str, ...]) -> None:
    assert changes(finished, override)["completions embedded-base-power-arithmetic"] == differences


def test_a_new_version_is_told(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Completions, "version", Completions.version + 1)
    found = changes(finished)["completions embedded-base-power-arithmetic"]
    assert found == (f"version {Completions.version - 1} → {Completions.version}",)


def test_the_nearest_comes_first_and_every_difference_is_true(finished: Path) -> None:
    """Each difference of each drift, put back into the missing one's form, gives the finished one's."""
    run = run_of(experiment(*POWER, "sampler.alpha=8", "seed=1"), finished)
    upstream = {
        each.key: each for each in completions_behind([row.draws[0].completions for row in run.arms.rows.values()])
    }
    low = run.arms.rows["low_temperature"].draws[0].completions
    drifts = drifts_of(low, upstream, Manifests(finished / "artifacts"))
    assert [drift.differences for drift in drifts] == [
        ("sampler.temperature 1.0 → 0.125", "seed 0 → 1"), ("sampler.temperature 0.25 → 0.125", "seed 0 → 1"),
    ] or [drift.differences for drift in drifts] == [
        ("sampler.temperature 0.25 → 0.125", "seed 0 → 1"), ("sampler.temperature 1.0 → 0.125", "seed 0 → 1"),
    ]  # fmt: skip


def test_an_upstream_that_is_gone_is_named_without_its_fields(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    for folder in (tmp_path / "artifacts" / "completions").glob("*-power-*"):
        if folder.is_dir():
            shutil.rmtree(folder)
    found = changes(tmp_path, "sampler.alpha=8")
    assert found["grades embedded-base-power-arithmetic"] == ("upstream completions",)
    assert "completions embedded-base-power-arithmetic" not in found


def test_the_lines_name_the_cause_once(finished: Path) -> None:
    text = words(plan(finished, experiment(*POWER, "sampler.alpha=8")))
    (line,) = re.findall(r"^ *sampler\.alpha 4\.0 → 8\.0 .*$", text, re.MULTILINE)
    assert "(4: completions, grades, scores, trajectories; embedded-base-power-arithmetic-" in line


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, "0 s"), (0.4, "< 1 s"), (59.0, "59 s"), (90.0, "1.5 min"), (7200.0, "2.0 h")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration_words(seconds) == expected


def test_bytes() -> None:
    assert (bytes_words(3 * 2**20), bytes_words(2**30 + 2**29)) == ("3.0 MiB", "1.5 GiB")


def test_what_no_number_tells_is_said(tmp_path: Path) -> None:
    trained = plan(tmp_path, experiment("stage=embedded_pair"), experiment("stage=embedded_pair", "seed=1"))
    assert "Training: 2 of the cells train a model; what that takes is in no number here." in words(trained)
    judged = words(plan(tmp_path, experiment(*HYBRID, "stage=taxonomy")))
    assert "Judge: its questions" in judged and "Training" not in judged
    assert "Judge" not in words(plan(tmp_path, experiment(*POWER)))
