"""Memory told before a build, against what is alive while it is built."""

import gc
import weakref
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
from reasoning_lab.engine.live import LiveMemory
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.loaded import load_model
from reasoning_lab.model_pair.pair import ModelSource
from tests.runs import context_of

SMALL = [
    "tracking=local", "runtime.threads=1", "runtime.device=cpu", "runtime.workers=1", "benchmark.max_new_tokens=48",
    "benchmark.n_problems=5", "runtime.rows=4",
]  # fmt: skip
POWER = ["arms=power", "sampler.n_steps=2", "sampler.block_size=16"]
HYBRID = [
    "experiment=hybrid", "taxonomy.benchmark.n_problems=12", "taxonomy.n_clusters=3", "steering.vectors.steps=2",
    "steering.vectors.min_examples=1", "steering.vectors.eval_every=1", "steering.vectors.correct_only=false",
]  # fmt: skip
MEANS = ["steering.vectors._target_=reasoning_lab.steering.vectors.diff_of_means.DiffOfMeans"]


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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
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
    assert {name: told for name, (told, _) in found.items()} == {
        name: pytest.approx(peak, rel=0.1) for name, (_, peak) in found.items()
    }
