"""One vector per sentence and layer: the mean of the residual stream over the sentence's tokens.

Venhoff et al. 2025 run each response alone, once per layer, through the whole model and keep all
vectors in memory. Here one pass over a batch of responses reads all layers and ends after the deepest, and sentences
leave in shards, so that memory is bounded by a window of traces, a batch and a shard, whatever the number of traces.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag

from reasoning_lab.checks import require, require_one_of
from reasoning_lab.engine.policy import Policy
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.records import Trace
from reasoning_lab.taxonomy.spans import Pooling

WINDOW = 16
"""Batches whose traces are sorted by length together, so that rows of one batch need little padding."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Some sentences' vectors, and the part of the centring means that belongs to the traces read meanwhile."""

    layers: dict[int, Float[Tensor, "sentence d"]]
    index: Int64[Tensor, "sentence 2"]
    """(number of the trace, number of its span) of each row; traces come in any order."""
    sums: dict[int, Float64[Tensor, " d"]]
    """Per layer the sum over responses of each one's mean (see `collect`)."""
    n_responses: int
    """How many responses the sums are over."""

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file of tensors; `shard_from` reads it back."""
        named = {f"layer{layer}": vectors for layer, vectors in self.layers.items()}
        named |= {f"sum{layer}": total for layer, total in self.sums.items()}
        return named | {"index": self.index, "n_responses": torch.tensor(self.n_responses)}


def shard_from(tensors: dict[str, Tensor]) -> Shard:
    """The shard of `Shard.tensors`, or a part of it: a layer that is left out need not be loaded."""
    layers = {int(name.removeprefix("layer")): rows for name, rows in tensors.items() if name.startswith("layer")}
    sums = {layer: tensors[f"sum{layer}"] for layer in layers}
    return Shard(layers, tensors["index"], sums, int(tensors["n_responses"]))


@dataclass(frozen=True, eq=False)
class Activations:
    """All sentences' vectors, in the order of traces, then spans, and the centring mean of each layer."""

    layers: dict[int, Float[Tensor, "m d"]]
    means: dict[int, Float[Tensor, " d"]]
    """Mean over responses of each one's mean: what is subtracted before a vector is scaled to unit length."""
    index: Int64[Tensor, "m 2"]
    """(number of the trace, number of its span) of each row."""


def merge(shards: Iterable[Shard]) -> Activations:
    """The shards of one `collect` as one, in an order that batch and shard sizes do not change.

    ValueError if there is no sentence, if shards differ in their layers, or if a sentence comes twice.
    """
    parts = list(shards)
    if not any(len(shard.index) for shard in parts):
        raise ValueError("there is no sentence in any trace; draw more traces, or check the tags of the thinking part.")
    layers = list(parts[0].layers)
    for shard in parts:
        if list(shard.layers) != layers:
            raise ValueError(f"a shard has layers {list(shard.layers)}, the first has {layers}; they are of two runs.")
    index = torch.cat([shard.index for shard in parts])
    place = index[:, 0] * (int(index[:, 1].max()) + 1) + index[:, 1]
    order = place.argsort()
    index = index[order]
    if len(place.unique()) < len(place):
        raise ValueError("a sentence is in two shards; merge the shards of one run, each once.")
    n = sum(shard.n_responses for shard in parts)
    means = {layer: torch.stack([shard.sums[layer] for shard in parts]).sum(0) / n for layer in layers}
    vectors = {layer: torch.cat([shard.layers[layer] for shard in parts])[order] for layer in layers}
    return Activations(vectors, {layer: means[layer].to(vectors[layer].dtype) for layer in layers}, index)


def collect(
    policy: Policy,
    traces: Iterable[Trace],
    layers: tuple[int, ...],
    pooling: Pooling,
    rows: int,
    shard_sentences: int,
) -> Iterator[Shard]:
    """Vectors of all sentences of `traces` at `layers`, in shards of `shard_sentences` (the last one holds the rest).

    vector(L, sentence) = mean over the positions that `pooling` names of the residual stream at layer L (the output of
    decoder layer L) over prompt and generated ids as they were drawn, in float32 (float64 for a float64 model). It does
    not depend on `rows` and `shard_sentences` beyond rounding; the order of sentences does (see `merge`).

    Centring mean of layer L = mean over responses of the mean over the positions of all their sentences' tokens, each
    once (Venhoff et al. 2025). With pooling "boundary" those positions are never looked at again, so it is the mean
    over responses of the mean over a response's sentence vectors.

    Arguments: `rows` is the most traces in one pass; a pass that runs out of memory is made again in two halves.
    `traces` are read as they are needed, `rows` x WINDOW at a time.

    Raises, before any work: ValueError for a layer that the model does not have, an unknown pooling, or sizes below 1.
    While running: ValueError for a trace longer than the model's context or without a prompt before its first sentence;
    torch.OutOfMemoryError for one trace that alone does not fit; FloatingPointError for a vector that is not finite, at
    the first such layer that is read (attention carries a NaN over the whole trace in deeper ones). Each names the
    trace.

    Source: Venhoff et al. 2025, section 3 and released code. Departures: the ids that were drawn, not those of
    tokenising the text again; each sentence at its own place, repeated ones and the last one too; its last token
    exactly.
    """
    decoder = Decoder(policy)
    chosen = tuple(sorted({decoder.check_layer(layer) for layer in layers}))
    require(len(chosen) > 0, "layers", layers, "at least one layer", "name those to read")
    require_one_of(Pooling, "pooling", pooling)
    for name, value in (("rows", rows), ("shard_sentences", shard_sentences)):
        require(value >= 1, name, value, "at least 1", f"raise {name}")
    return _shards((_read(decoder, batch, chosen, pooling) for batch in _batches(traces, rows)), shard_sentences)


# --- batches ----------------------------------------------------------------------------------------------------

_Numbered = tuple[int, Trace]


def _batches(traces: Iterable[Trace], rows: int) -> Iterator[list[_Numbered]]:
    """Traces with their numbers, at most `rows` of similar length together; those without a sentence are left out."""
    numbered = ((number, trace) for number, trace in enumerate(traces) if trace.spans)
    while window := list(islice(numbered, rows * WINDOW)):
        window.sort(key=lambda pair: _length(pair[1]))
        for start in range(0, len(window), rows):
            yield window[start : start + rows]


def _length(trace: Trace) -> int:
    """Positions that must be read: those after the last sentence can't change it."""
    return len(trace.prompt) + trace.spans[-1].last


def _read(decoder: Decoder, batch: Sequence[_Numbered], layers: tuple[int, ...], pooling: Pooling) -> list[Shard]:
    """The batch's sentences; in two halves, and so on, where one pass runs out of memory."""
    for number, trace in batch:
        _check(trace, _name(number, trace), decoder.policy.context_length, pooling)
    try:
        return [_pooled(decoder, batch, layers, pooling)]
    except torch.OutOfMemoryError as error:
        if len(batch) == 1:
            number, trace = batch[0]
            raise torch.OutOfMemoryError(
                f"{_name(number, trace)} has {_length(trace)} positions, too many for one pass in this memory; draw "
                f"shorter traces or use another device. ({error})"
            ) from error
    half = len(batch) // 2
    return [shard for part in (batch[:half], batch[half:]) for shard in _read(decoder, part, layers, pooling)]


def _check(trace: Trace, name: str, context_length: int, pooling: Pooling) -> None:
    if (length := _length(trace)) > context_length:
        raise ValueError(
            f"{name} has {length} positions, the model's context {context_length}; draw shorter traces, or read them "
            "with the model that wrote them."
        )
    if pooling != "mean" and not trace.prompt and trace.spans[0].first == 0:
        raise ValueError(f"{name} has no prompt: pooling={pooling} needs the position before the first sentence.")


def _name(number: int, trace: Trace) -> str:
    return f"trace {number} (problem {trace.problem!r}, chain {trace.chain})"


# --- one pass ---------------------------------------------------------------------------------------------------


@torch.no_grad()  # Inference tensors could not be trained on.
def _pooled(decoder: Decoder, batch: Sequence[_Numbered], layers: tuple[int, ...], pooling: Pooling) -> Shard:
    """The batch's sentences from one pass over its right-padded traces."""
    device, width = decoder.policy.device, max(_length(trace) for _, trace in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    for row, (_, trace) in enumerate(batch):
        ids[row, : _length(trace)] = torch.tensor((trace.prompt + trace.ids)[: _length(trace)])
    sentences, responses = _ranges([trace for _, trace in batch], width, pooling)
    index = torch.tensor([(number, span) for number, trace in batch for span in range(len(trace.spans))])
    vectors, sums = {}, {}
    for layer, stream in decoder.read(ids.to(device), layers).items():
        flat = stream.flatten(0, 1).to(torch.promote_types(stream.dtype, torch.float32))
        pooled = _means(flat, sentences)
        _check_finite(pooled, layer, batch, index)
        sums[layer] = _means(pooled if pooling == "boundary" else flat, responses).double().sum(0).cpu()
        vectors[layer] = pooled.cpu()
    return Shard(vectors, index, sums, len(batch))


_Ranges = list[tuple[int, int]]


def _ranges(traces: Sequence[Trace], width: int, pooling: Pooling) -> tuple[_Ranges, _Ranges]:
    """Sentences as ranges of positions of the flattened batch, and responses as such ranges, or as ranges of sentences
    where they are means of those."""
    before, behind = {"mean_with_previous": (1, 0), "mean": (0, 0), "boundary": (1, None)}[pooling]
    sentences: _Ranges = []
    responses: _Ranges = []
    for row, trace in enumerate(traces):
        start, first = row * width + len(trace.prompt), len(sentences)
        for span in trace.spans:
            stop = span.first if behind is None else span.last
            sentences.append((start + span.first - before, start + stop))
        whole = (start + trace.spans[0].first, start + trace.spans[-1].last)
        responses.append((first, len(sentences)) if pooling == "boundary" else whole)
    return sentences, responses


def _means(values: Float[Tensor, "n d"], ranges: _Ranges) -> Float[Tensor, "range d"]:
    """Mean of the rows of each range; rows outside of it, padding for one, are not touched, finite or not."""
    index = torch.cat([torch.arange(start, stop) for start, stop in ranges])
    lengths = torch.tensor([stop - start for start, stop in ranges])
    offsets = lengths.cumsum(0) - lengths
    return embedding_bag(index.to(values.device), values, offsets.to(values.device), mode="mean")


def _check_finite(
    vectors: Float[Tensor, "sentence d"], layer: int, batch: Sequence[_Numbered], index: Int[Tensor, "sentence 2"]
) -> None:
    finite = vectors.isfinite().all(1)
    if finite.all():
        return
    number, span = index[int(finite.int().argmin())].tolist()
    raise FloatingPointError(
        f"{_name(number, dict(batch)[number])}, span {span}: its vector at layer {layer} is not finite; load the model "
        "in float32 or bfloat16 (float16 overflows), or check its weights."
    )


# --- shards -----------------------------------------------------------------------------------------------------


def _shards(parts: Iterable[list[Shard]], size: int) -> Iterator[Shard]:
    """The same sentences in pieces of `size`; sums go with the piece that is cut next."""
    held: list[Shard] = []
    for part in parts:
        held += part
        while sum(len(shard.index) for shard in held) >= size:
            whole = _joined(held)
            yield _cut(whole, 0, size, keep_sums=True)
            held = [_cut(whole, size, len(whole.index), keep_sums=False)]
    if sum(len(shard.index) for shard in held):
        yield _joined(held)


def _joined(shards: Sequence[Shard]) -> Shard:
    layers = list(shards[0].layers)
    return Shard(
        {layer: torch.cat([shard.layers[layer] for shard in shards]) for layer in layers},
        torch.cat([shard.index for shard in shards]),
        {layer: torch.stack([shard.sums[layer] for shard in shards]).sum(0) for layer in layers},
        sum(shard.n_responses for shard in shards),
    )


def _cut(shard: Shard, start: int, stop: int, keep_sums: bool) -> Shard:
    """Its rows start ... stop-1 as copies, which do not hold the whole in memory."""
    return Shard(
        {layer: vectors[start:stop].clone() for layer, vectors in shard.layers.items()},
        shard.index[start:stop].clone(),
        {layer: total if keep_sums else torch.zeros_like(total) for layer, total in shard.sums.items()},
        shard.n_responses if keep_sums else 0,
    )
