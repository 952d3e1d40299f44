"""Paper 1 end to end on the embedded pair, small: every stage an artifact, built once, the same the second time."""

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from reasoning_lab.artifacts.schedule import build_banks
from reasoning_lab.artifacts.steered import Steered
from reasoning_lab.artifacts.store import Store
from reasoning_lab.experiment import Experiment, Taxonomy
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from reasoning_lab.report.collect.answers import collect_report
from reasoning_lab.report.collect.hybrid import collect_hybrid
from reasoning_lab.report.collect.vectors import untrained_lines, vector_note
from reasoning_lab.stages import STAGES, Run
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.steering import NoSteering
from reasoning_lab.steering.vectors.base import vectors_from
from tests.runs import answers, notes, run_of, staged
from tests.test_stages import artifacts, tables

SMALL = [
    "experiment=hybrid", "tracking=local", "runtime.device=cpu", "runtime.threads=1", "runtime.workers=1",
    "runtime.rows=8", "benchmark.n_problems=6", "benchmark.max_new_tokens=96", "taxonomy.benchmark.n_problems=24",
    "taxonomy.n_clusters=4", "cue.benchmark.n_problems=3", "cue.width=2", "cue.n_samples=2",
    "taxonomy.clustering.max_epochs=20", "taxonomy.clustering.batch_size=64",
    "taxonomy.naming.n_repetitions=1", "taxonomy.naming.n_sentences=20", "taxonomy.scoring.n_sentences=20",
    "steering.vectors.n_train=32", "steering.vectors.n_heldout=8", "steering.vectors.steps=4",
    "steering.vectors.eval_every=2", "steering.vectors.minibatch=8", "steering.vectors.min_examples=3",
    "arms.random_vectors.steering.n_draws=2", "arms.random_categories.steering.n_draws=1",
    "arms.random_positions.steering.n_draws=1", "arms.published.steering.vectors.steps=4",
    "arms.published.steering.vectors.n_train=32", "arms.published.steering.vectors.n_heldout=8",
    "arms.published.steering.vectors.minibatch=8", "arms.published.steering.vectors.min_examples=3",
]  # fmt: skip
PLAIN = [line for line in SMALL if not line.startswith("arms.")]
KINDS = ("traces", "activations", "taxonomy", "naming", "vectors", "completions", "grades", "annotations", "scores")


def experiment(*overrides: str, without: Sequence[str] = ()) -> Experiment:
    return build(Composer().compose([*(line for line in SMALL if line not in without), *overrides]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole experiment."""
    root = tmp_path_factory.mktemp("hybrid")
    metrics = staged(experiment(), root)
    (root / "metrics.json").write_text(json.dumps(metrics))
    return root


def kept(root: Path, kind: str) -> list[Path]:
    return [file.parent for file in (root / "artifacts" / kind).glob("*/manifest.json")]


def look(root: Path, *overrides: str, name: str = "look") -> Run:
    return run_of(experiment(*overrides), root, name)


def law(run: Run, arm: str) -> Steered:
    steered = run.arms.rows[arm].draws[0].completions.law
    assert isinstance(steered, Steered)
    return steered


def never(*_: object, **__: object) -> None:
    raise AssertionError("work began")


# --- the story ------------------------------------------------------------------------------------------------------


def test_every_stage_leaves_an_artifact_and_the_pages_are_written(finished: Path) -> None:
    assert {kind: bool(kept(finished, kind)) for kind in KINDS} == dict.fromkeys(KINDS, True)
    assert len(kept(finished, "traces")) == len(kept(finished, "naming")) == 1
    made = [len(kept(finished, kind)) for kind in ("activations", "taxonomy", "vectors")]
    assert made == [2, 2, 2], "one for the published defaults, one for the hybrid and all its controls"
    written = {file.name for file in (finished / "runs/run/report").iterdir()}
    assert {"index.html", "table.csv", "hybrid.html", "hybrid.md", "hybrid.csv", "vectors.csv"} <= written
    with (finished / "runs/run/report/hybrid.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["name"] for row in rows) == sorted(experiment().arms)


def test_no_problem_is_clustered_and_scored_as_held_out(finished: Path) -> None:
    """By problem, of every clustering; the titles' scores on both stand side by side."""
    run = look(finished)
    clusters, context = run.categories.clusters, run.context
    traces = context.get(clusters.traces)
    own, heldout = (
        {traces[int(each.trace)].problem for each in clusters.labelled(context, is_heldout)}
        for is_heldout in (False, True)
    )
    assert len(heldout) == round(0.1 * len({trace.problem for trace in traces})) == 2
    assert not own & heldout
    assert run.categories.naming is not None
    named = context.get(run.categories.naming)
    assert named.heldout is not None
    sentences = clusters.labelled(context, is_heldout=True)
    assert all(decision.sentence < len(sentences) for told in named.heldout.decisions for decision in told)
    metrics = json.loads((finished / "metrics.json").read_text())
    staged(experiment("stage=taxonomy"), finished, "taxonomy only")
    written = (finished / "runs/taxonomy only/report/taxonomy.md").read_text()
    assert "held-out nmi" in written and "held-out consistency" in written and "held-out independence" not in written
    assert f"those named held-out on {len(sentences)} sentences of the 10 % of the problems" in written
    assert metrics


def test_nothing_held_out_is_said(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    staged(experiment("stage=taxonomy", "taxonomy.heldout_share=0", "judge=none"), tmp_path)
    written = (tmp_path / "runs/run/report/taxonomy.md").read_text()
    assert "All scores are on the sentences that were clustered." in written and "held-out" not in written


def test_the_cue_is_forced_on_the_hybrid_too(finished: Path) -> None:
    """The steered law behind the cue of the base model, by the slow form of the law."""
    run = look(finished)
    row = run.arms.rows["cued_hybrid"].draws[0].completions
    assert run.arms.cue is not None and row.cue is not None and row.cue.key == run.arms.cue.key
    cue = run.context.get(run.arms.cue).chosen.ids
    policy = law(run, "cued_hybrid").policy(run.context, run.arms.problems)
    prompts = run.arms.problems.encoded(run.context.model(run.arms.pair.base, run.arms.pair.dtype))
    for answer in answers(run, "cued_hybrid")[:2]:
        assert answer.ids[: len(cue)] == cue and answer.inserted == tuple(range(len(cue)))
        prefix = (*prompts[answer.problem], *cue)
        logits = [policy.next_logits((*prefix, *answer.ids[len(cue) : n])) for n in range(len(cue), len(answer.ids))]
        expected = sum(
            float(torch.log_softmax(each.double(), -1)[id])
            for each, id in zip(logits, answer.ids[len(cue) :], strict=True)
        )
        assert answer.log_p == pytest.approx(expected, abs=1e-3)


def test_no_vector_is_the_base_model_draw_by_draw(finished: Path) -> None:
    """The steered path with nothing added is the base model's law, and draws are keyed by problem, not by arm."""
    run = look(finished)
    base, empty = answers(run, "base"), answers(run, "no_vector")
    assert [answer.ids for answer in base] == [answer.ids for answer in empty]
    assert [answer.ids for answer in base] != [answer.ids for answer in answers(run, "hybrid")]


def test_the_annotations_are_of_the_answers_and_say_what_was_done(finished: Path) -> None:
    run = look(finished)
    for name in ("base", "hybrid", "thinking"):
        seen = notes(run, name)
        assert [(a.problem, a.chain, len(a.ids)) for a in answers(run, name)] == [
            (note.problem, note.chain, len(note.categories)) for note in seen
        ]
        coefficients = {c for note in seen for c, fired in zip(note.coefficients, note.steered, strict=True) if fired}
        assert coefficients == ({1.0} if name == "hybrid" else set())


def test_an_arm_with_its_own_taxonomy_is_the_experiment_with_that_taxonomy(finished: Path) -> None:
    """The published defaults beside the hybrid are the hybrid of an experiment of the published defaults."""
    run, whole = look(finished), experiment()
    arm = whole.arms["published"]
    assert isinstance(arm.taxonomy, Taxonomy) and arm.taxonomy.pooling == "mean_with_previous"
    alone = replace(whole, taxonomy=arm.taxonomy, steering=arm.steering, arms={
        name: replace(whole.arms[name], taxonomy=None, steering=arm.steering if name == "published" else NoSteering())
        for name in ("base", "published")
    })  # fmt: skip
    other = run_of(alone, finished, "look")
    key = run.arms.rows["published"].draws[0].completions.key
    assert other.arms.rows["published"].draws[0].completions.key == key
    mixed = run_of(replace(alone, taxonomy=whole.taxonomy), finished, "look")
    assert mixed.arms.rows["published"].draws[0].completions.key != key
    own, same = (law(each, "published").policy(each.context, each.arms.problems) for each in (run, other))
    assert torch.equal(own.parts.clusters.centres, same.parts.clusters.centres)
    assert run.arms.categories is not None
    common = run.context.get(run.arms.categories.clusters).clusters
    assert not torch.equal(own.parts.clusters.centres, common.centres)


def test_the_page_shows_an_arm_with_its_own_taxonomy_in_the_experiments_categories(finished: Path) -> None:
    run = look(finished)
    row = run.arms.rows["published"]
    assert row.drawn is not None and row.common is not None
    drawn, common = run.context.get(row.drawn), run.context.get(row.common)
    assert [note.categories for note in drawn] != [note.categories for note in common]
    shown = collect_hybrid(run.arms, collect_report(run.arms, "", (), run.context), (), run.context)
    seen = shown.annotations["published"]
    assert [note.categories for note in seen] == [note.categories for note in common]
    assert [note.steered for note in seen] == [note.steered for note in drawn]
    assert any(any(note.steered) for note in seen)


def test_vectors_that_kept_their_start_are_named(finished: Path, tmp_path: Path) -> None:
    """A learning rate at which every step makes things worse leaves all vectors where they began."""
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    heard, rate = StringIO(), "steering.vectors.learning_rate_of_norm=1000"
    run = run_of(experiment(rate), tmp_path, heard=heard)
    STAGES["vectors"](run)
    log = run.context.get(run.vectors).log
    assert log.bias is not None
    assert {each.category for each in log.untrained} == {-1} | {each.category for each in log.categories}
    words = "The bias and the vectors of categories 0, 1, 2, 3 each kept its random start"
    assert words in heard.getvalue()
    others = [name for name, row in run.arms.rows.items() if row.is_steered and name != "published"]
    assert f"Vectors of {', '.join(others)}: {words}" in " ".join(untrained_lines(run.arms, run.context))
    note = "kept its random start: no step had a lower loss"
    assert {vector_note(log, each) for each in (log.bias, *log.categories)} == {note}


def test_the_pages_name_untrained_vectors_where_there_are_any(finished: Path) -> None:
    run = look(finished)
    lines = untrained_lines(run.arms, run.context)
    log = run.context.get(run.vectors).log
    assert bool(lines) >= bool(log.untrained)
    report = collect_report(run.arms, "", (), run.context)
    assert all(line in report.footer for line in lines)
    shown = collect_hybrid(run.arms, report, (), run.context).vectors
    assert {view.category for view in shown if "start" in view.note} == {each.category for each in log.untrained}


def test_random_positions_fire_at_the_hybrids_rate(finished: Path) -> None:
    run = look(finished)
    seen = notes(run, "hybrid")
    rate = sum(note.steered_fraction for note in seen) / len(seen)
    rule: Any = law(run, "random_positions").matched(run.context)
    assert rule.rate == rate > 0


def test_draws_of_a_random_control_differ_and_make_one_row(finished: Path) -> None:
    run = look(finished)
    trained = run.context.get(run.vectors).vectors
    laws = [draw.completions.law for draw in run.arms.rows["random_vectors"].draws]
    one, two = (steered.rule.transform(trained) for steered in laws if isinstance(steered, Steered))
    assert not torch.allclose(one.vectors, two.vectors)
    torch.testing.assert_close(one.norms, two.norms)
    pair = [answers(run, "random_vectors", number) for number in (0, 1)]
    row = collect_report(run.arms, "", (), run.context).arm("random_vectors")
    assert [(a.problem, a.chain, a.ids) for a in row.completions] == [
        (answer.problem, number, answer.ids) for number in (0, 1) for answer in pair[number]
    ]


def test_a_second_run_builds_nothing_and_gives_the_same_tables(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any weights: a tokenizer is all that a page needs of a model."""
    monkeypatch.setattr(Store, "_build", never)
    monkeypatch.setattr("reasoning_lab.artifacts.base.load_model", never)
    metrics = staged(experiment(), finished, "again")
    assert metrics == json.loads((finished / "metrics.json").read_text())
    assert tables(finished, "again") == tables(finished)
    for name in ("hybrid.csv", "hybrid.md", "categories.csv", "vectors.csv", "hybrid.html"):
        first, second = (finished / "runs" / run / "report" / name for run in ("run", "again"))
        assert first.read_bytes() == second.read_bytes(), name


def test_stages_find_what_the_report_made(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "_build", never)
    run = look(finished, name="parts")
    told = {stage: STAGES[stage](run) for stage in ("traces", "activations", "taxonomy", "vectors")}
    (file,) = kept(finished, "traces")
    traces = [json.loads(line) for line in (file / "traces.jsonl").open()]
    right = sum(trace["verdict"] == "correct" for trace in traces) / 24
    counted = {"n_traces": 24.0, "n_sentences": float(sum(len(t["spans"]) for t in traces)), "accuracy/traces": right}
    assert told["traces"] == told["activations"] == counted
    assert {"nmi", "ari", "purity", "score/final", "n_dead"} <= set(told["taxonomy"])
    assert all(0 <= told["taxonomy"][name] <= 1 for name in ("nmi", "purity", "score/final"))
    file = run.context.store.folder(run.vectors)
    norms = load_file(file / "vectors.safetensors")["vectors"].norm(dim=1).tolist()
    assert list(told["vectors"].values()) == pytest.approx(norms)


def test_traces_alone_draw_the_thinking_model_alone(tmp_path: Path) -> None:
    found = experiment("taxonomy.benchmark.n_problems=3")
    told = staged(found, tmp_path, stage="traces")
    assert told["n_traces"] == 3
    assert {path.name for path in (tmp_path / "artifacts").iterdir() if kept(tmp_path, path.name)} == {
        "completions", "grades", "traces",
    }  # fmt: skip


def test_rows_do_not_change_the_traces(tmp_path: Path) -> None:
    """In float64 sentences and verdicts at 3 rows are those at 8; likelihoods may round otherwise."""
    found = []
    for rows in (3, 8):
        chosen = ["model_pair.dtype=float64", "taxonomy.benchmark.n_problems=4", f"runtime.rows={rows}"]
        staged(experiment(*chosen), tmp_path / str(rows), stage="traces")
        found.append([text for file, text in artifacts(tmp_path / str(rows)).items() if "/traces/" in file])
    assert found[0] == found[1] != []


# --- export ---------------------------------------------------------------------------------------------------------


def test_the_export_loads_elsewhere(finished: Path) -> None:
    run = look(finished, name="export")
    told = STAGES["export"](run)
    folder = finished / "runs/export/export"
    assert told["files"] == sum(file.is_file() for file in folder.rglob("*"))
    made = run.context.store.folder(run.vectors)
    with safe_open(folder / "vectors/vectors.safetensors", framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        vectors = vectors_from(tensors, opened.metadata())
    assert torch.equal(vectors.vectors, load_file(made / "vectors.safetensors")["vectors"])
    assert load_file(folder / "sae_lens/sae_weights.safetensors")["W_enc"].shape == (128, 4)
    assert json.loads((folder / "sae_lens/cfg.json").read_text())["metadata"]["hook_name"] == "blocks.2.hook_resid_post"
    files = sorted((folder / "control_vectors").iterdir())
    assert len(files) == 1 + 4 - len(vectors.empty)
    gguf = pytest.importorskip("gguf")
    (tensor,) = gguf.GGUFReader(str(next(file for file in files if file.name == "bias.gguf"))).tensors
    assert vectors.bias is not None
    assert (tensor.name, tensor.data.tolist()) == ("direction.2", vectors.bias.tolist())


# --- the grid -------------------------------------------------------------------------------------------------------


def test_a_grid_makes_each_cells_taxonomy_from_one_set_of_traces(finished: Path, tmp_path: Path) -> None:
    cells = [
        experiment("arms=single", f"taxonomy.layer={layer}", f"taxonomy.n_clusters={n}", "stage=taxonomy",
                   without=[line for line in SMALL if line not in PLAIN])
        for layer in (1, 2) for n in (4, 6)
    ]  # fmt: skip
    for kind in ("completions", "grades", "traces", "activations"):
        shutil.copytree(finished / "artifacts" / kind, tmp_path / "artifacts" / kind)
    runs = [run_of(cell, tmp_path) for cell in cells]
    build_banks([run.categories.clusters for run in runs], runs[0].context)
    assert all(run.context.is_built(run.categories.clusters) for run in runs)
    assert len(kept(tmp_path, "taxonomy")) == 4
    assert len(kept(tmp_path, "activations")) == len(kept(finished, "activations"))
    # A cell of the grid is the taxonomy that is fitted alone.
    whole = look(finished)
    alone = whole.context.get(whole.categories.clusters).clusters.tensors()
    banked = runs[2].context.get(runs[2].categories.clusters).clusters.tensors()
    assert all(torch.allclose(banked[name], tensor, atol=1e-4) for name, tensor in alone.items())


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["taxonomy=none"], "published.taxonomy.benchmark: refers to taxonomy.benchmark, .* a taxonomy that has it"),
        (["taxonomy=none", "~arms.published"], "vectors need categories; choose taxonomy=embedded or venhoff2025"),
        (
            ["steering=venhoff2025"],
            "sampler=temperature: must be greedy: the thinking model chooses among this",
        ),
        (["taxonomy.layer=7"], r"layer=7: must be one of the collected layers \(0, 1, 2, 3\)"),
        (["steering.layer=-1"], "layer=-1: must be at least 0"),
        (["steering=diff_of_means"], "arms.bias_only.steering: these vectors have no bias to be alone"),
        (["arms.random_positions.steering.rate_matched_to=nobody"], "rate_matched_to=nobody: must be one of the arms"),
        (["arms.hybrid.role=thinking"], "arms.hybrid.role=thinking: a hybrid steers the base model"),
        (["+arms.base.taxonomy=${taxonomy}"], "arms.base.taxonomy: steering=none picks no category; set it to null"),
        (["steering.vocabulary=text"], "steering.vocabulary='text': must be one of ids, strings"),
        (["taxonomy.clustering.k=0"], "taxonomy.clustering.k=0: must be a whole number of at least 1"),
    ],
)
def test_a_mistake_in_the_config_is_refused_as_one_message(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Composer().compose(["experiment=hybrid", *overrides]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("taxonomy.layers=[2,9]", r"taxonomy.layers: the thinking model has no layer 9; its layers are 0 ... 3"),
        ("steering.layer=4", r"steering.layer: the base model has no layer 4; its layers are 0 ... 3"),
        ("runtime.max_prompt_tokens=8", r"its prompt has \d+ tokens, runtime.max_prompt_tokens=8"),
    ],
)
@pytest.mark.parametrize("stage", ["traces", "report"])
def test_what_only_the_models_know_is_refused_before_anything_is_drawn(
    stage: str, override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning_lab.engine.scheduler.run", never)
    with pytest.raises(ValueError, match=message):
        staged(experiment(override), tmp_path, stage=stage)
    assert not artifacts(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["taxonomy.n_clusters=4000"], r"4000.* \d+ sentences|\d+ sentences.*4000"),
        (["taxonomy.min_words=500"], "taxonomy.min_words=500: no sentence is that long; lower it"),
        (["taxonomy.clustering.k=5"], "k=5: must be at most n_clusters=4"),
    ],
)
def test_too_little_to_cluster_is_refused_and_the_traces_stay(
    finished: Path, overrides: list[str], message: str
) -> None:
    before = artifacts(finished)
    with pytest.raises(ValueError, match=message):
        staged(experiment(*overrides), finished, "refused", "taxonomy")
    assert artifacts(finished) == before
    assert len(kept(finished, "activations")) == 2


def test_vectors_of_too_few_sentences_are_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"no category has enough examples .*lower min_examples"):
        staged(experiment("steering.vectors.min_examples=5000"), finished, "refused", "vectors")
    assert len(kept(finished, "vectors")) == 2


def test_the_taxonomy_and_vectors_of_another_layer_are_other_artifacts_and_never_mixed(finished: Path) -> None:
    run = look(finished)
    found = run.experiment
    assert isinstance(found.taxonomy, Taxonomy)
    other = run_of(replace(found, taxonomy=replace(found.taxonomy, layer=1)), finished, "look")
    assert run.context.is_built(run.categories.clusters)
    assert not run.context.is_built(other.categories.clusters)
    assert not run.context.is_built(other.vectors)
    parts = law(run, "hybrid").policy(run.context, run.arms.problems).parts
    prompts = {pair.base: pair.thinking for pair in parts.prompts.values()}
    base, thinking = parts.base.policy, parts.thinking.policy
    steering, of_base, of_layer = found.steering, run.vectors.base_key, run.categories.clusters.source

    def hybrid(rule: Any, layer: int, base_key: str, source: str) -> HybridPolicy:
        return HybridPolicy(
            base, thinking, parts.clusters, layer, parts.vectors, rule, prompts, parts.ends, parts.vocabulary, base_key,
            source,
        )  # fmt: skip

    hybrid(steering, 2, of_base, of_layer)
    with pytest.raises(ValueError, match=r"vectors trained at layer 2 cannot steer layer=1; set layer=2"):
        hybrid(replace(steering.inner, layer=1), 2, of_base, of_layer)
    with pytest.raises(ValueError, match="base"):
        hybrid(steering, 2, "another base model", of_layer)
    with pytest.raises(ValueError, match=r"fitted on layer 2 of model \w{12}, not on layer 1 of model"):
        hybrid(steering, 1, of_base, other.categories.clusters.source)
