"""The unsteered base model on whole traces: its stream at a layer, the states above it, and its predictions.

What a vector cannot change is computed here, once: everything before the first steered position is as in this pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache, CacheLayerMixin

from reasoning_lab.model_pair.residual import Decoder, causal_mask
from reasoning_lab.steering.vectors.base import Progress
from reasoning_lab.steering.vectors.examples import Example, LabelledTrace

READ_TOKENS = 8192
"""Tokens, padding included, of one unsteered pass over whole traces."""


class PrefixStates(CacheLayerMixin):
    """One layer's keys and values of the positions before the window, put before those that a pass computes.

    Nothing is kept but by `record`.
    """

    is_compileable = False
    is_sliding = False

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None, record: bool = False) -> None:
        super().__init__()
        self.before, self.record = (keys, values), record

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if self.record:
            self.keys, self.values = key_states, value_states
        keys, values = self.before
        if keys is None or values is None:
            return key_states, value_states
        return torch.cat((keys, key_states), dim=2), torch.cat((values, value_states), dim=2)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        before = self.before[0]
        return query_length + (0 if before is None else before.shape[2]), 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class Streams(NamedTuple):
    """The unsteered base model on whole traces, flat over their tokens."""

    layer: int
    """-1: the stream before layer 0."""
    hidden: Float[Tensor, "token d"]
    """Its residual stream after `layer`."""
    states: tuple[tuple[Tensor, Tensor], ...]
    """Per layer above, keys and values [token, kv_head, dim]; empty where they are computed at every step."""
    offsets: Mapping[int, int]
    """Index of each trace's first token."""
    tokens: Mapping[int, tuple[int, ...]]


def _padded(
    decoder: Decoder, traces: Mapping[int, tuple[int, ...]], on_progress: Progress, phase: str
) -> Iterator[tuple[list[int], Int[Tensor, "row width"]]]:
    """Batches of right-padded traces of like lengths: their indices and ids."""
    order = sorted(traces, key=lambda index: (len(traces[index]), index))
    done = 0
    while order:
        width = len(traces[order[-1]])
        batch = [order.pop() for _ in range(min(len(order), max(1, READ_TOKENS // width)))]
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        for row, index in enumerate(batch):
            ids[row, : len(traces[index])] = torch.tensor(traces[index])
        yield batch, ids.to(decoder.policy.device)
        done += len(batch)
        on_progress(phase, done, len(traces))


def tokens_of(
    decoder: Decoder, traces: Sequence[LabelledTrace], stops: Mapping[int, int]
) -> dict[int, tuple[int, ...]]:
    """The first `stops[index]` tokens of each trace; ValueError if one is beyond the base model's vocabulary."""
    cut = {index: traces[index].tokens[:stop] for index, stop in stops.items()}
    for index, tokens in cut.items():
        if max(tokens) >= decoder.policy.vocab_size:
            raise ValueError(
                f"trace {index} holds id {max(tokens)}: the base model has {decoder.policy.vocab_size} ids; map the "
                "thinking model's ids to the base model's first."
            )
    return cut


@torch.no_grad()
def read_streams(
    decoder: Decoder,
    layer: int,
    traces: Mapping[int, tuple[int, ...]],
    cache_context: bool,
    on_progress: Progress = lambda *_: None,
) -> Streams:
    """Run every trace once, unsteered, and keep its stream at `layer` and, with `cache_context`, the states above.

    Memory per token: d numbers, and with `cache_context` 2 · kv_heads · dim numbers per layer above. ValueError names
    layer and trace where a stream is not finite.
    """
    order: list[int] = []
    streams: list[Tensor] = []
    n_above = decoder.n_layers - 1 - layer
    states: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in range(n_above if cache_context else 0)]
    for batch, ids in _padded(decoder, traces, on_progress, "streams"):
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        mask = causal_mask(ids.shape[1], decoder.policy.dtype, ids.device)
        hidden = decoder.layers(decoder.embed(ids), 0, layer, positions, mask)
        lengths = [len(traces[index]) for index in batch]
        for row, index in enumerate(batch):
            if not hidden[row, : lengths[row]].isfinite().all():
                raise ValueError(f"the base model's stream at layer {layer} is not finite in trace {index}; drop it.")
        order += batch
        streams += _unpadded(hidden, lengths)
        if cache_context:
            new = record_states(decoder, layer, hidden, positions, mask)
            for (keys, values), (new_keys, new_values) in zip(states, new, strict=True):
                keys += _unpadded(new_keys.transpose(1, 2), lengths)
                values += _unpadded(new_values.transpose(1, 2), lengths)
    starts = torch.tensor([0, *(len(traces[index]) for index in order)]).cumsum(0).tolist()
    return Streams(
        layer, _joined(streams), tuple((_joined(keys), _joined(values)) for keys, values in states),
        dict(zip(order, starts, strict=False)), dict(traces),
    )  # fmt: skip


def _joined(pieces: list[Tensor]) -> Tensor:
    """The pieces as one, which are let go: what is kept of all layers is never held twice at once."""
    whole = torch.cat(pieces)
    pieces.clear()
    return whole


def _unpadded(rows: Tensor, lengths: list[int]) -> list[Tensor]:
    return [row[:length].clone() for row, length in zip(rows, lengths, strict=True)]


def record_states(
    decoder: Decoder, layer: int, hidden: Tensor, positions: Tensor, mask: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values [row, kv_head, width, dim] of the layers above `layer`."""
    layers = [PrefixStates(record=True) for _ in range(decoder.n_layers)]
    decoder.layers(hidden, layer + 1, decoder.n_layers - 1, positions, mask, Cache(layers=list(layers)))
    states = [(above.keys, above.values) for above in layers[layer + 1 :]]
    return [(keys, values) for keys, values in states if keys is not None and values is not None]


class Predictions(NamedTuple):
    """What the unsteered base model makes of one trace, by position."""

    losses: tuple[float, ...]
    """-log p of the token after each position but the last [nats]."""
    choices: tuple[int, ...]
    """Its most probable id after each position but the last (ties to the smallest id)."""


@torch.no_grad()
def read_predictions(
    decoder: Decoder, traces: Mapping[int, tuple[int, ...]], on_progress: Progress = lambda *_: None
) -> dict[int, Predictions]:
    """One teacher-forced pass over each trace: it gives the loss of all of its sentences, each given its context."""
    predictions = {}
    last = decoder.n_layers - 1
    for batch, ids in _padded(decoder, traces, on_progress, "base model's predictions"):
        hidden = decoder.read(ids, (last,))[last]
        for row, index in enumerate(batch):
            n = len(traces[index]) - 1
            logits = decoder.head(hidden[row : row + 1, :n])[0]
            losses = functional.cross_entropy(logits, ids[row, 1 : n + 1], reduction="none")
            predictions[index] = Predictions(tuple(losses.tolist()), tuple(logits.argmax(-1).tolist()))
    return predictions


def residual_norm(streams: Streams, examples: Sequence[Example]) -> float:
    """Mean length of the stream over the scored positions, each counted once.

    Prompt positions are left out: the first position's residual is orders of magnitude longer in many models.
    """
    positions = sorted({(e.trace, p) for e in examples for p, _ in e.scored})
    index = torch.tensor([streams.offsets[trace] + p for trace, p in positions], device=streams.hidden.device)
    return float(streams.hidden[index].double().norm(dim=1).mean())
