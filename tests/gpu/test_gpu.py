"""Every numeric stage on CUDA; skipped without a device."""

from pathlib import Path

import pytest
import torch

from reasoning_lab.engine import run
from reasoning_lab.model_pair.pair import ModelSource, load, resolve_device
from reasoning_lab.rng import Key
from reasoning_lab.sampler.ancestral import Greedy
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.power import Power
from tests.test_stages import artifacts, experiment, lab

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
QUESTION = "Lily has 40 cards. She sells 5. She uses 9. How many cards now?\n"


def model(device: str, dtype: str = "float64"):
    return load(ModelSource("package:embedded/base"), dtype, device)


def test_auto_is_cuda() -> None:
    assert resolve_device("auto") == "cuda"


def test_the_law_on_the_device_is_the_law_on_the_cpu() -> None:
    here, there = model("cuda"), model("cpu")
    ids = here.encode(QUESTION)
    assert torch.allclose(here.policy.next_logits(ids).cpu(), there.policy.next_logits(ids), atol=1e-9)


@pytest.mark.parametrize("sampler", [Greedy(96), Power(96, 4.0, 16, 3)], ids=["greedy", "power"])
def test_the_engine_draws_on_the_device_what_it_draws_on_the_cpu(sampler) -> None:
    found = []
    for device in ("cuda", "cpu"):
        loaded = model(device)
        prompt = Prompt(loaded.encode(QUESTION), loaded.stop_ids, Key(0, "p"))
        [(_, sample)] = run(loaded.policy, [(0, sampler.sample(prompt))], 4, 192)
        found.append((sample.chain.tokens, [move.accepted for move in sample.moves]))
    assert found[0] == found[1]


def test_one_shape_is_batch_invariant_on_the_device() -> None:
    loaded, sampler = model("cuda", "float32"), Power(96, 4.0, 16, 3)
    prompts = [Prompt(loaded.encode(QUESTION), loaded.stop_ids, Key(0, "p", chain)) for chain in range(16)]
    together = dict(run(loaded.policy, [(i, sampler.sample(p)) for i, p in enumerate(prompts)], 16, 192))
    for i in (3, 11):
        [(_, alone)] = run(loaded.policy, [(i, sampler.sample(prompts[i]))], 16, 192)
        assert alone == together[i]


def test_the_main_job_runs_on_the_device(tmp_path: Path) -> None:
    from reasoning_lab import stages

    stages.STAGES["report"](experiment("runtime.device=cuda"), lab(tmp_path))
    assert artifacts(tmp_path)


def test_pretraining_runs_on_the_device() -> None:
    from reasoning_lab.corpus import Grammar, build_tokenizer
    from reasoning_lab.training.pretrain import Architecture, PretrainRecipe, pretrain

    trained, _ = pretrain(build_tokenizer(), Grammar(), Architecture(), PretrainRecipe(steps=3), print, device="cuda")
    assert next(trained.parameters()).device.type == "cuda"


def test_the_pair_is_built_on_the_device(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from reasoning_lab.training.embedded_pair import build_embedded_pair

    build_embedded_pair(tmp_path, pretrain_steps=300, grpo_steps=2, thinking_steps=2, device="cuda")
    assert (tmp_path / "grpo" / "model.safetensors").is_file()
