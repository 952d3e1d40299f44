"""How large a model is, from its config alone: built without weights and counted."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from reasoning_lab.engine.transformers import cached_numbers
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import not_found, where_of
from reasoning_lab.records import ModelSize


@dataclass(frozen=True)
class Footprint:
    """What a model takes of a device's memory, in numbers: a dtype says how many bytes each has."""

    weights: int
    """Parameters, all of them: tables and every expert too; what is tied counts once."""
    cached: int
    """Keys and values of a position of a row: 2 x layers x key-value heads x their width."""
    layers: int
    width: int
    """d, of the residual stream."""
    heads: int
    """Query heads of a layer."""
    inner: int
    """Numbers between the two products of a layer's MLP."""
    vocab: int
    """Logits of a position."""

    def bytes(self, dtype: str, positions: int) -> int:
        """Of weights and a cache of so many positions, those of all rows together."""
        return getattr(torch, dtype).itemsize * (self.weights + self.cached * positions)


def load_size(source: ModelSource) -> ModelSize:
    """The size of a source's model; no weights are read."""
    return size_of(without_weights(source))


@cache
def load_footprint(source: ModelSource) -> Footprint:
    """The footprint of a source's model; no weights are read. ValueError where its config can't be had."""
    model = without_weights(source)
    weights, config = sum(parameter.numel() for parameter in model.parameters()), model.config
    return Footprint(
        weights, cached_numbers(config), config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
        # Models without such a number have four times the width there (GPT-2's).
        getattr(config, "intermediate_size", None) or 4 * config.hidden_size, config.vocab_size,
    )  # fmt: skip


def without_weights(source: ModelSource) -> PreTrainedModel:
    """The model on torch's meta device: shapes alone. ValueError where its config can't be had."""
    where, options = where_of(source)
    try:
        config = AutoConfig.from_pretrained(where, **options)
    except OSError as error:
        raise not_found(where, error) from error
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def size_of(model: PreTrainedModel) -> ModelSize:
    """The size of a model: every parameter that is in no embedding table and not in the head is of the body."""
    lm_head: Any = model.get_output_embeddings()
    head = _ids(lm_head)
    tables = {id for module in model.modules() if isinstance(module, nn.Embedding) for id in _ids(module)}
    config = model.config.get_text_config()
    active = _active_share(config)
    body = sum(
        parameter.numel() * (active if ".experts." in name else 1)
        for name, parameter in model.named_parameters()
        if id(parameter) not in head | tables
    )
    n_head = sum(parameter.numel() for parameter in lm_head.parameters())
    return ModelSize(config.num_hidden_layers, round(body), n_head)


def _ids(module: nn.Module) -> set[int]:
    return set(map(id, module.parameters()))


def _active_share(config: object) -> float:
    """Share of its experts that a mixture's router gives a token; 1 for other models."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    n_experts = next((getattr(config, name) for name in names if getattr(config, name, None)), None)
    return getattr(config, "num_experts_per_tok", n_experts) / n_experts if n_experts else 1.0
