"""How large models are: counted without weights, as loaded."""

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from reasoning_lab.model_pair.loaded import load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.size import load_size, size_of
from reasoning_lab.records import ModelSize, Passes

SHAPE: dict[str, Any] = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize("role", ["base", "thinking", "grpo"])
def test_the_size_without_weights_is_that_of_the_loaded_model(role: str) -> None:
    source = ModelSource(f"package:embedded/{role}")
    model = load_model(source, "float32", "cpu").policy.model
    size = load_size(source)
    assert size == size_of(model)
    layers = sum(parameter.numel() for parameter in model.model.layers.parameters())
    assert size.body == layers + model.model.norm.weight.numel()
    assert size.head == model.lm_head.weight.numel()
    assert size.n_layers == len(model.model.layers)


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_counts_once_whether_it_is_tied_or_not_and_tables_never(tied: bool) -> None:
    config = transformers.LlamaConfig(**SHAPE, intermediate_size=48, tie_word_embeddings=tied)
    with torch.device("meta"):
        size = size_of(transformers.LlamaForCausalLM(config))
    assert size.head == 40 * 32
    assert size.body == 2 * (4 * 32 * 32 + 3 * 32 * 48 + 2 * 32) + 32


def test_tables_of_positions_are_looked_up_too() -> None:
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=4))
    blocks = sum(parameter.numel() for parameter in model.transformer.h.parameters())
    assert size_of(model) == ModelSize(2, blocks + 2 * 32, 40 * 32)


def test_of_a_mixture_of_experts_those_count_that_a_token_meets() -> None:
    one, three = (
        transformers.MixtralForCausalLM(
            transformers.MixtralConfig(
                **SHAPE, intermediate_size=48, num_key_value_heads=4, num_local_experts=4, num_experts_per_tok=n
            )
        )
        for n in (1, 3)
    )
    assert size_of(three).body - size_of(one).body == 2 * 2 * (3 * 32 * 48)


def test_flops_are_twice_the_parameters_that_every_token_meets() -> None:
    """A linear stack's own multiplications, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    body = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(4)))
    head = nn.Linear(32, 40, bias=False)
    size = ModelSize(4, 4 * 32 * 32, 32 * 40)
    with FlopCounterMode(display=False) as counter:
        hidden = body(torch.zeros(7, 32))
        body[2:](hidden[:3])
        head(hidden[:2])
    passes = Passes(decode=7 * 4 + 3 * 2, heads=2)
    assert size.flops(passes) == counter.get_total_flops()
    assert size.tokens(passes) == 7 + 3 / 2
