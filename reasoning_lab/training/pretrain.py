"""Pretraining of the embedded base model on the corpus, scheduled by steps so that a seed reproduces it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reasoning_lab.benchmark.grammar import Grammar, training_documents

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

IGNORED = -100
"""Label of padding, as cross_entropy ignores it."""


@dataclass(frozen=True)
class Architecture:
    """Shape of the model: a small Llama with tied embeddings."""

    width: int = 128
    """hidden size"""
    layers: int = 4
    """decoder layers"""
    heads: int = 4
    """attention heads, all with their own keys and values"""
    feed_forward: int = 384
    """inner width of the gated MLP"""
    context: int = 512
    """most positions"""


@dataclass(frozen=True)
class PretrainHyperparameters:
    """Everything that determines the weights, beside the grammar, the thread count and the machine's arithmetic."""

    steps: int = 4200
    """optimiser steps; the schedule's length as well"""
    batch_tokens: int = 4000
    """most padded tokens in a batch"""
    pool: int = 1024
    """documents sorted by length together, so that batches pad little"""
    learning_rate: float = 3e-3
    """peak of the schedule"""
    warmup: int = 100
    """steps of linear warm-up"""
    floor: float = 0.03
    """final learning rate as a share of the peak; cosine in between"""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW moments"""
    weight_decay: float = 0.05
    """on matrices only"""
    clip: float = 1.0
    """gradient norm"""
    bfloat16: bool = True
    """autocast the forward pass; weights and optimiser stay in float32"""
    seed: int = 0
    """of the initial weights and of the corpus stream"""


def single_id(id: object) -> int:
    """A tokenizer's special id, of which transformers' types say less."""
    assert isinstance(id, int), id
    return id


def new_model(tokenizer: PreTrainedTokenizerFast, architecture: Architecture, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model in float32.

    Llama and not Qwen2: a folder with model_type=qwen2 makes AutoTokenizer ignore the saved pre-tokenizer.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.width,
        intermediate_size=architecture.feed_forward,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.heads,
        max_position_embeddings=architecture.context,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=single_id(tokenizer.eos_token_id),
        pad_token_id=single_id(tokenizer.pad_token_id),
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def learning_rate(step: int, hyper: PretrainHyperparameters) -> float:
    """Linear warm-up, then a cosine from the peak to the floor at the last step."""
    warm = min((step + 1) / hyper.warmup, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * step / hyper.steps))
    return hyper.learning_rate * warm * (hyper.floor + (1 - hyper.floor) * cosine)


def batches(
    tokenizer: PreTrainedTokenizerFast, grammar: Grammar, hyper: PretrainHyperparameters
) -> Iterator[Int[Tensor, "document token"]]:
    """Endless batches of token ids, padded on the right with the pad id.

    Documents of a pool are grouped by length and the groups shuffled, all as a function of the seed.
    """
    documents = training_documents(hyper.seed, grammar)
    rng = random.Random(f"batch order {hyper.seed}")
    eos = tokenizer.eos_token_id
    while True:
        encoded = [[*ids, eos] for ids in tokenizer(list(islice(documents, hyper.pool)))["input_ids"]]
        groups = list(_groups_by_length(encoded, hyper.batch_tokens))
        rng.shuffle(groups)
        for group in groups:
            yield _padded(group, single_id(tokenizer.pad_token_id))


def _groups_by_length(encoded: list[list[int]], batch_tokens: int) -> Iterator[list[list[int]]]:
    """Runs of the length-sorted documents whose padded size stays within `batch_tokens`."""
    group: list[list[int]] = []
    for ids in sorted(encoded, key=len):
        if group and (len(group) + 1) * len(ids) > batch_tokens:
            yield group
            group = []
        group.append(ids)
    yield group


def _padded(group: list[list[int]], pad: int) -> Int[Tensor, "document token"]:
    longest = max(map(len, group))
    return torch.tensor([ids + [pad] * (longest - len(ids)) for ids in group])


def _optimizer(model: nn.Module, hyper: PretrainHyperparameters) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": hyper.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=hyper.learning_rate, betas=hyper.betas)


def language_model_loss(model: nn.Module, ids: Int[Tensor, "document token"], pad: int) -> Float[Tensor, ""]:
    """Mean cross-entropy of each next token, prompt included, in nats; padding on the right needs no mask."""
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == pad, IGNORED)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def pretrain(
    tokenizer: PreTrainedTokenizerFast,
    grammar: Grammar | None = None,
    architecture: Architecture | None = None,
    hyper: PretrainHyperparameters | None = None,
    report: Callable[[str], None] = print,
    stop_after: int | None = None,
    device: str = "cpu",
) -> tuple[LlamaForCausalLM, list[float]]:
    """Train a new model; returns it in eval mode with the loss of every step.

    `stop_after` ends a run early on the unchanged schedule, so that a short run repeats the start of a long one.
    """
    grammar, hyper = grammar or Grammar(), hyper or PretrainHyperparameters()
    model = new_model(tokenizer, architecture or Architecture(), hyper.seed).train()
    model.to(torch.device(device))  # pyright: ignore[reportArgumentType] -- transformers' own wrapper of `to`
    optimizer = _optimizer(model, hyper)
    losses: list[float] = []
    started, n_tokens = time.perf_counter(), 0
    for step, ids in enumerate(islice(batches(tokenizer, grammar, hyper), stop_after or hyper.steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, hyper)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=hyper.bfloat16):
            loss = language_model_loss(model, ids.to(device), single_id(tokenizer.pad_token_id))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), hyper.clip)
        optimizer.step()
        losses.append(loss.item())
        n_tokens += ids.numel()
        if (step + 1) % 100 == 0:
            mean, seconds = sum(losses[-100:]) / 100, time.perf_counter() - started
            report(f"pretrain step {step + 1}: loss {mean:.4f}, {n_tokens / seconds:.0f} tokens/s, {seconds:.0f} s")
    return model.eval(), losses
