"""The category at every token of a trace, for what is trained or shown token by token.

The output at position p predicts the token at p + 1, so the label of a generated token is read one position before it.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from reasoning_lab.checks import require
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.records import Trace
from reasoning_lab.taxonomy.clusters import Clusters

PASS_TOKENS = 8192
"""Tokens of one pass, padding included; a trace longer than that has a pass of its own."""
SHORTEST = 64
"""Least width of a pass; widths double from there, so that padding at most doubles the work."""


@torch.no_grad()
def token_labels(
    decoder: Decoder,
    traces: Sequence[Trace],
    clusters: Clusters,
    layer: int,
    normalise: bool = True,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[tuple[int, ...]]:
    """Per trace the label at the position that predicts each of its ids: argmax of the clusters' scores of the stream
    at `layer` of the model that wrote the traces.

    Every trace is in one pass, whose shape follows from the trace's own length: a label does not depend on which other
    traces there are. Arguments: `normalise` as of Clusters.scores; `on_progress` hears how many traces of how many are
    read. ValueError for a layer that the model does not have, and for a trace without a prompt or longer than the
    model's context.
    """
    decoder.check_layer(layer)
    for number, trace in enumerate(traces):
        require(len(trace.prompt) > 0, f"prompt of trace {number}", (), "at least one id", "the first id follows it")
        bound = f"at most the model's context of {decoder.policy.context_length} positions"
        require(_length(trace) <= decoder.policy.context_length, f"length of trace {number}", _length(trace), bound,
                "draw shorter traces, or read them with the model that wrote them")  # fmt: skip
    labels: list[tuple[int, ...]] = [()] * len(traces)
    done = 0
    for batch, ids in _passes(traces, decoder.policy.context_length):
        stream = decoder.read(ids.to(decoder.policy.device), (layer,))[layer]
        stream = stream.to(torch.promote_types(stream.dtype, torch.float32))
        for row, number in enumerate(batch):
            own = stream[row, len(traces[number].prompt) - 1 : _length(traces[number])]
            labels[number] = tuple(clusters.labels(own, normalise).tolist())
        done += len(batch)
        on_progress(done, len(traces))
    return labels


def _length(trace: Trace) -> int:
    """Positions that are read: the last id is predicted and predicts nothing."""
    return len(trace.prompt) + len(trace.ids) - 1


def _width(length: int, most: int) -> int:
    """The least SHORTEST · 2^n that holds a trace, but no more than the model's context."""
    return min(max(SHORTEST, 1 << (length - 1).bit_length()), most)


def _passes(traces: Sequence[Trace], most: int) -> Iterator[tuple[list[int], Int[Tensor, "row width"]]]:
    """Numbers of the traces of each pass, and their ids, padded on the right and by empty rows."""
    by_width: dict[int, list[int]] = {}
    for number, trace in enumerate(traces):
        by_width.setdefault(_width(_length(trace), most), []).append(number)
    for width, numbers in sorted(by_width.items()):
        n_rows = max(1, PASS_TOKENS // width)
        for start in range(0, len(numbers), n_rows):
            batch = numbers[start : start + n_rows]
            ids = torch.zeros(n_rows, width, dtype=torch.long)
            for row, number in enumerate(batch):
                read = (traces[number].prompt + traces[number].ids)[: _length(traces[number])]
                ids[row, : len(read)] = torch.tensor(read)
            yield batch, ids
