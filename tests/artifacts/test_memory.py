"""Memory told before a build, against what is alive while it is built."""

import gc
import weakref
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from reasoning_lab.artifacts import base, sampling
from reasoning_lab.artifacts.arms import Arms, arms_of
from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.memory import Memory, placed
from reasoning_lab.artifacts.schedule import build_missing, missing
from reasoning_lab.engine import local
from reasoning_lab.engine.live import LiveMemory
from reasoning_lab.engine.transformers import RowSession
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.loaded import load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.stages import plan_of
from tests.runs import context_of

SMALL = [
    "tracking=local", "runtime.threads=1", "runtime.device=cpu", "runtime.workers=1", "benchmark.max_new_tokens=48",
    "benchmark.n_problems=5", "runtime.rows=4",
]  # fmt: skip
POWER = ["arms=power", "sampler.n_steps=2", "sampler.block_size=16"]
HYBRID = [
    "experiment=hybrid", "taxonomy.benchmark.n_problems=24", "taxonomy.n_clusters=3", "steering.vectors.steps=2",
    "steering.vectors.min_examples=1", "steering.vectors.eval_every=1", "steering.vectors.correct_only=false",
]  # fmt: skip


def experiment(*overrides: str) -> Experiment:
    return build(Composer().compose([*SMALL, *overrides]))


def arms(*overrides: str) -> Arms:
    return arms_of(experiment(*overrides))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base model whose vocabulary is most of it: logits, and what a draw makes of them, count."""
    folder = tmp_path_factory.mktemp("wide")
    embedded = ModelSource("package:embedded/base").folder()
    assert embedded is not None
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / file).write_bytes((embedded / file).read_bytes())
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=4000, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def measured(artifact: Artifact[Any], context: Context) -> tuple[int, int]:
    """(bytes told before, most bytes alive during the build), what it is made of built before."""
    told = artifact.memory(context, context.shape_of(artifact)).total
    for each in artifact.upstream():
        context.get(each)
    models = [context.model(*weights) for weights in artifact.loads()]
    context.free_models(artifact.loads())
    with LiveMemory() as live:
        for model in models:
            live.hold(model.policy.model.parameters())
        context.folder(artifact)
    return told, live.peak


def test_live_memory_is_that_of_the_tensors_that_are_alive() -> None:
    with LiveMemory() as live:
        kept = torch.zeros(1000)
        copy = kept.double()
        assert (live.now, live.peak) == (12_000, 12_000)
        view = copy[10:20]
        del copy
        assert live.now == 12_000, "a view keeps the whole"
        del view
        assert (live.now, live.peak) == (4_000, 12_000)
        with torch.inference_mode():
            _ = (kept.view(10, 100) @ torch.zeros(100, 50)).softmax(-1)
        assert (live.now, live.peak) == (6_000, 26_000)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_answers_of_a_wide_model_take_what_was_told(dtype: str, wide: str, tmp_path: Path) -> None:
    own = [f"model_pair.base.path={wide}", f"model_pair.dtype={dtype}", "model_pair.grpo=null", *POWER]
    told, peak = measured(arms(*own).rows["power"].draws[0].completions, context_of(experiment(*own), tmp_path))
    assert told == pytest.approx(peak, rel=0.1)


@pytest.mark.slow  # Every operation of a training is followed.
def test_every_build_of_a_hybrid_takes_what_was_told(tmp_path: Path) -> None:
    asked = arms(*HYBRID)
    row, context = asked.rows["hybrid"], context_of(experiment(*HYBRID), tmp_path)
    assert row.drawn is not None
    wanted = [row.draws[0].completions, row.drawn, row.draws[0].scores]
    found = {}
    for each in missing([each for each in wanted if each is not None], context):
        if each.memory(context, context.shape_of(each)).total:
            found[each.kind, each.slug] = measured(each, context)
        context.folder(each)
    assert {kind for kind, _ in found} == {
        "completions", "activations", "taxonomy", "vectors", "annotations", "scores"
    }  # fmt: skip
    for name, (told, peak) in found.items():
        print(f"{name}: told {told:,}, measured {peak:,}, ratio {told / peak:.3f}")
    for (kind, slug), (told, peak) in found.items():
        # Training and clustering are told for their largest passes, which few texts do not fill.
        most = 1.4 if kind in ("taxonomy", "vectors") else 1.1
        assert 0.9 * peak <= told <= most * peak, (kind, slug, told, peak)


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (5, 8), (8, 8), (9, 16), (300, 64)])
def test_auto_has_a_row_for_every_answer_and_no_more_than_a_cpu_likes(n: int, rows: int, tmp_path: Path) -> None:
    own = [*POWER, "runtime.rows=auto", f"benchmark.n_problems={n}"]
    power, context = arms(*own).rows["power"].draws[0].completions, context_of(experiment(*own), tmp_path)
    assert context.shape_of(power).rows == rows
    assert {context.shape_of(shard).rows for shard in power.shards(3)} <= {rows}, "shards have the whole's shape"


def test_auto_takes_the_rows_that_fit_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = [*POWER, "runtime.rows=auto", "benchmark.n_problems=300"]
    power, context = arms(*own).rows["power"].draws[0].completions, context_of(experiment(*own), tmp_path)
    needed = power.memory(context, base.Shape(16, 64)).total
    monkeypatch.setattr(base, "free_bytes", lambda _: int(needed / base.FILLED) + 1)
    assert context.shape_of(power).rows == 16
    told = plan_of([experiment(*own)], context_of(experiment(*own), tmp_path), 1)
    assert next(kind for kind in told.kinds if kind.kind == "completions").rows == (16,)
    assert context.witness(power)["rows"] == 16, "a manifest names what auto was"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["device", "host"])
def test_memory_that_runs_out_halves_the_rows_and_loses_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than two rows are too many, once some answers are drawn."""
    own = [*POWER, "runtime.rows=4", "runtime.checkpoint_seconds=1000", "benchmark.max_new_tokens=32"]
    power, heard = arms(*own).rows["power"].draws[0].completions, StringIO()
    context = context_of(experiment(*own), tmp_path, heard)
    step, drawn = RowSession.step, list[str]()
    completion = sampling._completion
    monkeypatch.setattr(
        sampling, "_completion", lambda item, *rest: drawn.append(item.problem) or completion(item, *rest)
    )

    def failing(session: RowSession, *given: Any) -> Any:
        if session.rows > 2 and len(drawn) > 1:
            raise error
        return step(session, *given)

    monkeypatch.setattr(RowSession, "step", failing)
    build_missing([power], context)
    answers = context.get(power)
    assert sorted(drawn) == sorted(power.problems.by_id), "every answer is drawn once"
    assert [answer.problem for answer in answers] == list(power.problems.by_id)
    manifest = context.store.manifest(power)
    assert manifest["runtime"]["rows"] == 2
    assert [each["rows"] for each in manifest["earlier_attempts"]] == [4]
    assert "Out of memory at 4 rows" in heard.getvalue() and "goes on with 2." in heard.getvalue()
    assert context.shape_of(power).rows == 2, "and so do later answers of this model"


def test_memory_that_runs_out_at_one_row_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = [*POWER, "runtime.rows=1"]
    power, context = arms(*own).rows["power"].draws[0].completions, context_of(experiment(*own), tmp_path)

    def failing(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(RowSession, "step", failing)
    with pytest.raises(torch.OutOfMemoryError):
        build_missing([power], context)


# -- models ------------------------------------------------------------------------------------------------------------


def test_a_model_that_no_later_build_loads_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Base and RL-trained model after each other: the first is gone when the second draws."""
    own = [*POWER, "benchmark.n_problems=1", "benchmark.max_new_tokens=16"]
    plain, context = arms(*own).rows["base"].draws[0].completions, context_of(experiment(*own), tmp_path)
    trained = replace(plain, model=ModelSource("package:embedded/grpo"))
    models: dict[str, weakref.ref[Any]] = {}
    alive: dict[str, list[str]] = {}

    def loaded(source: ModelSource, dtype: str, device: str) -> Any:
        found = load_model(source, dtype, device)
        models[source.path] = weakref.ref(found.policy.model)
        return found

    draw = local.run

    def watched(*given: Any) -> Any:
        alive[str(len(alive))] = [path for path, model in models.items() if model() is not None]
        return draw(*given)

    monkeypatch.setattr(base, "load_model", loaded)
    monkeypatch.setattr(local, "run", watched)
    build_missing([plain, trained], context)
    assert sorted(map(len, alive.values())) == [1, 1], alive
    context.free_models()
    gc.collect()
    assert all(model() is None for model in models.values())


def test_where_memory_is_short_a_model_that_only_later_builds_load_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(experiment(), tmp_path)
    one, other = ((ModelSource(f"package:embedded/{role}"), "float32") for role in ("base", "thinking"))
    for weights in (one, other):
        context.model(*weights)
    context.later = frozenset([other])
    context.make_room([one], needed=10_000_000)
    assert set(context._models) == {one, other}
    monkeypatch.setattr(base, "free_bytes", lambda _: 12_000_000)
    context.make_room([one], needed=10_000_000)
    assert set(context._models) == {one}


def test_models_are_spread_over_the_devices_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = experiment("runtime.devices=[cuda:0,cuda:1]", "runtime.devices_each=2")
    context, places = context_of(asked, tmp_path), []
    model = load_model(ModelSource("package:embedded/base"), "float32", "cpu")
    monkeypatch.setattr(base, "resolve_device", lambda device: device)
    monkeypatch.setattr(
        base, "load_model", lambda source, dtype, device: places.append((source.path[-4:], device)) or model
    )
    for role in ("base", "thinking", "grpo"):
        context.model(ModelSource(f"package:embedded/{role}"), "float32")
    assert places == [("base", "cuda:0"), ("king", "cuda:1"), ("grpo", "cuda:0")]
    assert placed([5, 3, 1, 1], 2) == [0, 1, 1, 1]
    base_model, thinking = ((ModelSource(f"package:embedded/{role}"), "float32") for role in ("base", "thinking"))
    need = Memory({base_model: 100, thinking: 70}, passes=10, training=1)
    assert (need.total, need.largest(1), need.largest(2)) == (181, 181, 111)
