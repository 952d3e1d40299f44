"""Every numeric stage on CUDA; skipped without a device."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_lab.benchmark import grammar
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.model_pair.loaded import load_model, resolve_device
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.sampler.ancestral import Greedy
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.power import Power
from reasoning_lab.steering.category import Argmax
from reasoning_lab.steering.coefficient import Candidates, Fixed, Learned
from reasoning_lab.steering.gate import Boundary, Disagreement
from reasoning_lab.steering.hybrid.annotate import Unannotated, annotate
from reasoning_lab.steering.steering import Steering
from reasoning_lab.steering.vectors.examples import LabelledTrace
from reasoning_lab.steering.vectors.venhoff2025 import Venhoff2025
from reasoning_lab.steering.vectors.venhoff2026 import Venhoff2026
from tests.runs import staged
from tests.steering.pairs import Given, Pair, embedded_pair
from tests.test_stages import artifacts, experiment

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
ROPE = 2e-5
"""Largest difference of a law between two devices: transformers computes a rope's angles in float32 whatever the
model's dtype, and one unit in their last place moves these logits by 5e-7, a hybrid's by 1.3e-6."""
STREAMS = 1e-4
"""The same of residual streams, which move by 8e-6."""
QUESTION = "Lily has 40 cards. She sells 5. She uses 9. How many cards now?\n"


def model(device: str, dtype: str = "float64") -> Any:
    return load_model(ModelSource("package:embedded/base"), dtype, device)


def test_auto_is_cuda() -> None:
    assert resolve_device("auto") == "cuda"


def test_the_law_on_the_device_is_the_law_on_the_cpu() -> None:
    here, there = model("cuda"), model("cpu")
    ids = here.encode(QUESTION)
    assert torch.allclose(here.policy.next_logits(ids).cpu(), there.policy.next_logits(ids), rtol=0, atol=ROPE)


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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_captured_step_gives_the_bits_of_the_same_pass_without_a_graph(dtype: str) -> None:
    found = []
    for captures in (True, False):
        loaded = model("cuda", dtype)
        loaded.policy.captures = captures
        prompts = [Prompt(loaded.encode(QUESTION), loaded.stop_ids, Key(0, "p", chain)) for chain in range(12)]
        sampler = Power(96, 4.0, 16, 3, redraw="from_cut")
        drawn = dict(run(loaded.policy, [(i, sampler.sample(p)) for i, p in enumerate(prompts)], 4, 192))
        found.append([drawn[i] for i in range(12)])
    assert found[0] == found[1]


def test_the_main_job_runs_on_the_device(tmp_path: Path) -> None:
    staged(experiment("runtime.device=cuda"), tmp_path)
    assert artifacts(tmp_path)


def test_pretraining_runs_on_the_device() -> None:
    from reasoning_lab.benchmark.grammar import Grammar, build_tokenizer
    from reasoning_lab.training.pretrain import Architecture, PretrainHyperparameters, pretrain

    trained, _ = pretrain(
        build_tokenizer(), Grammar(), Architecture(), PretrainHyperparameters(steps=3), print, device="cuda"
    )
    assert next(trained.parameters()).device.type == "cuda"


def test_the_pair_is_built_on_the_device(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from reasoning_lab.training.embedded_pair import build_embedded_pair
    from tests.training.reward import exact_answer

    build_embedded_pair(tmp_path, exact_answer, pretrain_steps=300, grpo_steps=2, thinking_steps=2, device="cuda")
    assert (tmp_path / "grpo" / "model.safetensors").is_file()


# --- paper 1: each numeric stage on the device is what it is on the CPU -----------------------------------------------


def written(loaded) -> list:
    """The grammar's answers to 12 problems, as traces of a model."""
    from reasoning_lab.records import Trace
    from reasoning_lab.taxonomy.spans import token_spans

    rng, found = random.Random(0), []
    for number, problem in enumerate(grammar.heldout_problems(12)):
        text = grammar.response(rng, grammar.Grammar(), problem)
        ids = tuple(loaded.reader.tokenizer(text)["input_ids"])
        spans = token_spans(text, ids, loaded.decode)
        found.append(Trace(f"p{number}", 0, text, loaded.encode(problem.text), ids, spans, "correct"))
    return found


def test_activations_on_the_device_are_those_on_the_cpu() -> None:
    from reasoning_lab.taxonomy.activations import collect, merge

    there, here = (
        merge(collect(loaded.policy, written(loaded), (0, 2), "mean_with_previous", 4, 30))
        for loaded in (model("cuda"), model("cpu"))
    )
    assert torch.equal(there.index.cpu(), here.index)
    for layer in (0, 2):
        torch.testing.assert_close(there.layers[layer].cpu(), here.layers[layer], rtol=0, atol=STREAMS)
        torch.testing.assert_close(there.means[layer].cpu(), here.means[layer], rtol=0, atol=STREAMS)


def test_a_bank_of_autoencoders_on_the_device_is_that_on_the_cpu() -> None:
    from reasoning_lab.taxonomy.sae.topk import TopKSAE
    from tests.taxonomy.sae.test_topk import planted

    x, _ = planted(300, 16, 5, noise=0.3)
    sae = TopKSAE(k=2, batch_size=64, max_epochs=8)
    there, here = (sae.fit_bank(x, x.mean(0), [4, 7], 0, device) for device in ("cuda", "cpu"))
    for n in (4, 7):
        assert there[n].losses == pytest.approx(here[n].losses, rel=1e-6)
        for name, tensor in here[n].clusters.tensors().items():
            torch.testing.assert_close(there[n].clusters.tensors()[name], tensor, rtol=0, atol=1e-6)


def test_two_banks_on_the_device_are_the_same_bytes() -> None:
    from reasoning_lab.engine.deterministic import same_bytes_each_time
    from reasoning_lab.taxonomy.sae.topk import TopKSAE
    from tests.taxonomy.sae.test_topk import planted

    x, _ = planted(2000, 16, 5, noise=0.3)
    with same_bytes_each_time():
        one, two = (TopKSAE(k=2, batch_size=64, max_epochs=4).fit_bank(x, x.mean(0), [4, 7], 0, "cuda") for _ in "ab")
    for n in (4, 7):
        for name, tensor in one[n].clusters.tensors().items():
            assert torch.equal(tensor, two[n].clusters.tensors()[name])


def test_one_row_draws_the_same_each_time_from_a_large_vocabulary() -> None:
    """A single row's running sums are scanned in pieces on a device."""
    from reasoning_lab.engine.token import cumulative

    law = torch.rand(1, 200_000, dtype=torch.float64, device="cuda")
    first = cumulative(law)
    assert all(torch.equal(first, cumulative(law)) for _ in range(50))
    assert torch.equal(first, cumulative(law.expand(4, -1))[:1])


@pytest.mark.parametrize(
    "method",
    [
        Venhoff2025(min_tokens=1, min_examples=3, n_train=16, n_heldout=4, minibatch=4, epochs=None, steps=4,
                    eval_every=2, learning_rate=0.1),
        Venhoff2026(min_tokens=1, min_examples=3, learning_rate=0.1, batch=4, epochs=2, hidden=16),
    ],
    ids=["venhoff2025", "venhoff2026"],
)  # fmt: skip
def test_vectors_trained_on_the_device_are_those_of_the_cpu(method) -> None:
    from reasoning_lab.model_pair.residual import Decoder

    found = []
    for device in ("cuda", "cpu"):
        loaded = model(device)
        traces = []
        for trace in written(loaded):
            labels = tuple(span.first % 3 for span in trace.spans)
            scores = tuple(1.0 + span.first for span in trace.spans)
            traces.append(LabelledTrace(trace.prompt, trace.ids, trace.spans, labels, scores, "correct", True))
        found.append(method.fit(Decoder(loaded.policy), traces, 3, 2, 0).vector_set.tensors())
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[1].items():
        torch.testing.assert_close(found[0][name].cpu(), tensor, rtol=0, atol=1e-5)


RULES = {
    "steered": Steering(Given(), 2, Boundary(), Argmax("sentence"), Fixed(1.0), memory="steered"),
    "learned": Steering(Given(), 2, Disagreement(), Argmax("token"), Learned()),
    "judged": Steering(Given(), 2, Disagreement(), Argmax("token"), Candidates((0.5, 1.0), (0, 1))),
    "window": Steering(Given(), 2, Boundary(), Argmax("token"), Fixed(0.5), window=0),
}


def pair_on(device: str, dtype: str = "float64") -> Pair:
    """The shipped models on the device, with random clusters and vectors."""
    base, thinking = (
        load_model(ModelSource(f"package:embedded/{role}"), dtype, device) for role in ("base", "thinking")
    )
    return embedded_pair(dtype, 4).with_(base=base.policy, thinking=thinking.policy)


@pytest.mark.parametrize("name", RULES)
def test_a_hybrid_draws_and_is_annotated_on_the_device_as_on_the_cpu(name: str) -> None:
    found = []
    for device in ("cuda", "cpu"):
        pair = pair_on(device)
        policy = pair.hybrid(RULES[name])
        asked = [Prompt(ids, frozenset({1}), Key(0, str(i))) for i, ids in enumerate(pair.prompts)]
        drawn = dict(run(policy, [(p, Greedy(24).sample(p)) for p in asked], 3, 128))
        items = [Unannotated(p.key.problem, 0, p.ids, drawn[p].chain.tokens) for p in asked]
        notes = list(annotate(policy, items, 3, 128))
        found.append(([item[3] for item in items], [(n.categories, n.steered, n.base_choices) for n in notes]))
        law = policy.next_logits(list(items[0][2] + items[0][3][:3]))
        found[-1] += (law.cpu() if name != "judged" else None,)
    assert found[0][:2] == found[1][:2]
    assert any(any(steered) for _, steered, _ in found[1][1])
    if name != "judged":  # Whose law is a token: checked above.
        torch.testing.assert_close(found[0][2], found[1][2], rtol=0, atol=ROPE)


def test_power_sampling_of_a_hybrid_on_the_device_is_that_on_the_cpu() -> None:
    found = []
    for device in ("cuda", "cpu"):
        pair = pair_on(device)
        ids = next(iter(pair.prompts))
        sampler = Power(32, 4.0, 16, 2)
        prompt = Prompt(ids, frozenset({1}), Key(0, "p"))
        [(_, sample)] = run(pair.hybrid(RULES["steered"]), [(0, sampler.sample(prompt))], 2, 128)
        found.append((sample.chain.tokens, [move.accepted for move in sample.moves]))
    assert found[0] == found[1]


def test_one_shape_is_batch_invariant_for_a_hybrid_on_the_device() -> None:
    pair, sampler = pair_on("cuda", "float32"), Greedy(24)
    policy = pair.hybrid(RULES["steered"])
    prompts = [Prompt(ids, frozenset({1}), Key(0, str(i))) for i, ids in enumerate(pair.prompts)]
    together = dict(run(policy, [(i, sampler.sample(p)) for i, p in enumerate(prompts)], 4, 128))
    for i in (1, 3):
        [(_, alone)] = run(policy, [(i, sampler.sample(prompts[i]))], 4, 128)
        assert alone == together[i]


def test_the_hybrid_experiment_runs_on_the_device(tmp_path: Path) -> None:
    from tests.test_hybrid_stages import KINDS, kept
    from tests.test_hybrid_stages import experiment as hybrid_experiment

    found = hybrid_experiment("runtime.device=cuda", without=["runtime.device=cpu"])
    staged(found, tmp_path)
    assert all(kept(tmp_path, kind) for kind in KINDS)
