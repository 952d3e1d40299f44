"""The cheap baseline: a category's mean residual less the mean over all sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reasoning_lab.checks import require_positive
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.steering.vectors.base import (
    CategoryLog,
    Progress,
    VectorFit,
    VectorLog,
    VectorMethod,
    VectorSet,
    refuse_if_empty,
)
from reasoning_lab.steering.vectors.examples import (
    Example,
    LabelledTrace,
    Positions,
    Sentence,
    by_trace,
    check_labels,
    heldout_traces,
    sentence_example,
)
from reasoning_lab.steering.vectors.optimise import Packed, VectorTask, frozen, loss_pairs, vector_dtype
from reasoning_lab.steering.vectors.streams import Streams, read_streams, residual_norm, tokens_of


@final
@dataclass(frozen=True, kw_only=True)
class DiffOfMeans(VectorMethod):
    """v_c = mean of the base model's residual over the steered positions of category c's sentences, less the mean over
    those of all sentences, scaled to one length. Nothing is trained; held-out sentences are scored, not averaged.
    """

    positions: Positions = "sentence"
    """Of each sentence: those that the other methods would steer."""
    norm: float = 0.5
    """Length of every vector, as a multiple of the mean length of the residual."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "norm")

    def fit(
        self,
        decoder: Decoder,
        traces: Sequence[LabelledTrace],
        n_categories: int,
        layer: int,
        seed: int,
        on_progress: Progress = lambda *_: None,
    ) -> VectorFit:
        """As VectorMethod.fit."""
        decoder.check_layer(layer)
        check_labels(traces, n_categories)
        usable = self.usable(decoder, traces, max(self.min_tokens, 2 if self.positions == "targets" else 1))
        kept_back = heldout_traces(traces, {s.trace for s in usable}, self.heldout_share, seed)
        stops = {index: own[-1].last for index, own in by_trace(usable).items()}
        with frozen(decoder):
            streams = read_streams(decoder, layer, tokens_of(decoder, traces, stops), False, on_progress)
            examples = [sentence_example(s, self.positions, s.category) for s in usable]
            length = residual_norm(streams, examples)
            tasks = [_task(usable, kept_back, category) for category in range(n_categories)]
            logs = [self._planned(task) for task in tasks]
            refuse_if_empty(logs)
            vectors = self._vectors(streams, examples, tasks, logs, length)
            pairs = loss_pairs(
                decoder, streams, Packed(examples, streams), {task.row: task.heldout for task in tasks}, vectors, None
            )
        norms = vectors.norm(dim=1).tolist()
        done = (log if log.skipped else _done(log, *pairs[c], norms[c]) for c, log in enumerate(logs))
        return VectorFit(VectorSet(layer, vectors), VectorLog(type(self).__name__, layer, length, 0.0, tuple(done)))

    def _planned(self, task: VectorTask) -> CategoryLog:
        n_train, n_heldout = len(task.train), len(task.heldout)
        few = n_train < self.min_examples
        skipped = f"{n_train} training sentences, below min_examples={self.min_examples}" if few else ""
        return CategoryLog(task.row, n_train + n_heldout, n_train, n_heldout, skipped)

    def _vectors(
        self, streams: Streams, examples: Sequence[Example], tasks: Sequence[VectorTask], logs: Sequence[CategoryLog],
        length: float,
    ) -> Float[Tensor, "n d"]:  # fmt: skip
        """Differences of the means, in the vectors' dtype, each of the one length."""

        def mean(rows: Iterable[int]) -> Tensor:
            at = [streams.offsets[examples[row].trace] + p for row in rows for p, _ in examples[row].steered]
            return streams.hidden[torch.tensor(at, device=streams.hidden.device)].double().mean(0)

        overall = mean(row for task in tasks for row in task.train)
        table = torch.zeros(len(tasks), streams.hidden.shape[1], dtype=torch.float64, device=streams.hidden.device)
        for task, log in zip(tasks, logs, strict=True):
            if not log.skipped:
                table[task.row] = mean(task.train) - overall
        directions = torch.nn.functional.normalize(table, dim=1)
        return (self.norm * length * directions).to(vector_dtype(streams.hidden.dtype))


def _done(log: CategoryLog, without: float | None, given: float | None, norm: float) -> CategoryLog:
    """Held-out sentences pick nothing here, so that all of them test."""
    return replace(
        log, heldout_without=without, heldout_with=given, n_test=log.n_heldout, test_without=without, test_with=given,
        norm=norm,
    )  # fmt: skip


def _task(usable: Sequence[Sentence], kept_back: frozenset[int], category: int) -> VectorTask:
    own = [row for row, sentence in enumerate(usable) if sentence.category == category]
    held = tuple(row for row in own if usable[row].trace in kept_back)
    return VectorTask(category, tuple(row for row in own if usable[row].trace not in kept_back), held)
