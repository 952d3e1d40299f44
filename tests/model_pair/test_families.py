"""The law of every family's model: rows and caches against an uncached pass with plain attention, in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, GPT2Config, GptOssConfig
from transformers.masking_utils import eager_mask

from reasoning_lab.engine.policy import Request, score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.engine.transformers import PREFILL_WIDTH, HuggingFacePolicy
from reasoning_lab.model_pair.loaded import load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.residual import Decoder
from tests.hub import tiny

FAMILIES = (
    "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-14B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "meta-llama/Llama-3.1-8B",
    "microsoft/Phi-3.5-mini-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-1.7B-Base",
    "google/gemma-2-2b", "google/gemma-3-1b-pt", "allenai/OLMo-2-0425-1B", "allenai/Olmo-3-1025-7B",
)  # fmt: skip
PLAIN = "plain_attention_of_the_tests"


def plain_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """Head by head, as in the papers: softmax(cap(q k' scaling) + mask) v; the cap is Gemma 2's."""
    group = query.shape[1] // key.shape[1]
    mixed = []
    for head in range(query.shape[1]):
        logits = query[:, head] @ key[:, head // group].transpose(1, 2) * scaling
        logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
        mixed.append(torch.softmax(logits + attention_mask[:, 0], -1) @ value[:, head // group])
    return torch.stack(mixed, 2), None


AttentionInterface.register(PLAIN, plain_attention)
AttentionMaskInterface.register(PLAIN, eager_mask)


def load(hub_id: str, folder: Path, **changed: Any) -> HuggingFacePolicy:
    return load_model(ModelSource(str(tiny(hub_id, folder, **changed))), "float64", "cpu").policy


def uncached(policy: HuggingFacePolicy, ids: list[int]) -> Any:
    """transformers' own pass over the whole text: (log p of the next token at every position, hidden states)."""
    ours = policy.model.config._attn_implementation
    policy.model.set_attn_implementation(PLAIN)
    with torch.inference_mode():
        told: Any = policy.model(torch.tensor([ids]), use_cache=False, output_hidden_states=True)
    policy.model.set_attn_implementation(ours)
    return torch.log_softmax(told.logits[0], -1), told.hidden_states


def test_padding_at_full_context_is_read_within_the_table_of_positions() -> None:
    """A model with a learnt position each: the spare position of a session at full context would be one past them."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=72, initializer_range=0.3)
    policy = HuggingFacePolicy(AutoModelForCausalLM.from_config(config).double())
    prompt = text_of(policy, PREFILL_WIDTH + 2, 0)
    session = policy.open(2, policy.context_length)
    session.prefill(1, prompt[:-1])
    logits = session.step([0, prompt[-1]], [0, len(prompt) - 1])[1]
    torch.testing.assert_close(torch.log_softmax(logits, -1), uncached(policy, prompt)[0][-1], rtol=0, atol=1e-9)


def test_attention_sinks_are_refused_and_not_left_out() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GptOssConfig(vocab_size=40, num_key_value_heads=1, head_dim=8, num_local_experts=2, **sizes)
    policy = HuggingFacePolicy(AutoModelForCausalLM.from_config(config))
    with pytest.raises(ValueError, match="attention has sinks, which this engine does not compute"):
        policy.next_logits([1, 2, 3])


def text_of(policy: HuggingFacePolicy, n: int, seed: int) -> list[int]:
    return torch.randint(0, policy.vocab_size, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("hub_id", FAMILIES)
def test_rows_at_their_own_positions_give_the_uncached_law(hub_id: str, tmp_path: Path) -> None:
    """Prompts of one token, of one pass and of more, side by side, and what is drawn goes on from there; the session is
    as long as the part of its positions at which a rope of two sets of angles (longrope) has the first."""
    changed = {"original_max_position_embeddings": 84} if "Phi" in hub_id else {}
    policy, capacity = load(hub_id, tmp_path, **changed), 84
    assert policy.context_length == 84 or not changed
    prompts = [text_of(policy, n, n) for n in (1, PREFILL_WIDTH, PREFILL_WIDTH + 9)]
    texts = [text_of(policy, capacity - len(prompt), 99) for prompt in prompts]

    def scored(number: int) -> Any:
        given = yield score(tuple(prompts[number]), texts[number], Key(0, str(number)))
        drawn = yield Request(given, 7, Key(0, str(number)), cap=10, stop_ids=frozenset())
        return given, drawn

    for _, (given, drawn) in run(policy, [(n, scored(n)) for n in range(3)], 2, capacity):
        for chain in (given, drawn):
            ids = [*chain.prompt, *chain.tokens]
            law, _ = uncached(policy, ids)
            at = torch.arange(len(chain.prompt) - 1, len(ids) - 1)
            expected = law[at, torch.tensor(chain.tokens)]
            torch.testing.assert_close(torch.tensor(chain.log_p, dtype=torch.float64), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("hub_id", FAMILIES)
@torch.inference_mode()
def test_the_decoder_cut_open_is_the_model(hub_id: str, tmp_path: Path) -> None:
    policy = load(hub_id, tmp_path)
    ids = text_of(policy, 40, 3)
    law, streams = uncached(policy, ids)
    decoder = Decoder(policy)
    read = decoder.read(torch.tensor([ids]), (0, 2, 3))
    for layer in (0, 2):
        torch.testing.assert_close(read[layer], streams[layer + 1], rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.log_softmax(decoder.head(read[3])[0], -1), law, rtol=0, atol=1e-9)
