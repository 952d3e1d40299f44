"""Vectors that correct a base model where it disagrees with the thinking model, scaled by a small network.

The later form of the method (ICML 2026 code of Venhoff et al.).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor

from reasoning_lab.checks import require_count, require_one_of, require_positive
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.steering.vectors.base import (
    CategoryLog,
    Progress,
    VectorFit,
    VectorLog,
    VectorMethod,
    VectorSet,
    coefficients,
    refuse_if_empty,
)
from reasoning_lab.steering.vectors.examples import (
    Example,
    LabelledTrace,
    by_trace,
    check_labels,
    disagreements,
    heldout_traces,
    sampled,
    selection_and_test,
)
from reasoning_lab.steering.vectors.optimise import (
    NO_ROW,
    Adder,
    ExampleBatch,
    Packed,
    frozen,
    mean_losses,
    position_losses,
    vector_dtype,
)
from reasoning_lab.steering.vectors.streams import (
    Streams,
    read_predictions,
    read_streams,
    residual_norm,
    tokens_of,
)

Memory = Literal["steered", "plain"]
INITIAL_BIAS = 0.5
"""Of both layers of the coefficient network."""


@final
@dataclass(frozen=True, kw_only=True)
class Venhoff2026(VectorMethod):
    """One vector per category and a network of coefficients, trained where the base model's choice is not the trace's.

    At such positions alpha(h, c) V[c] is added to the residual h, alpha = softplus of a two-layer network that sees
    the unsteered h. Loss: cross-entropy [nats] of the trace's next token, averaged within each category of a batch,
    then over its categories. There is no bias. AdamW; the vectors start at zero, and vectors and network are kept from
    one moment, that of the lowest held-out loss (the authors keep each category's vector of its own best epoch beside
    the network of the last).
    """

    reads_tokens: ClassVar[bool] = True
    heldout_share: float = 0.1
    """Share of the problems that are held out; the paper has 995 of 10,789."""
    most_per_trace: int = 64
    """Positions of each category and trace that are sampled."""
    memory: Memory = "steered"
    """steered: all sampled positions of a trace are steered in one pass, and later ones see it; plain: each by itself
    in an unsteered context, as generation with memory=plain does."""
    hidden: int = 512
    """Width of the coefficient network."""
    learning_rate: float = 1e-2
    """Of the vectors, per coordinate; unused when learning_rate_of_norm is given."""
    learning_rate_of_norm: float | None = None
    """Learning rate of the vectors as a multiple of the mean length of the residual."""
    mlp_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    batch: int = 8
    """Traces per step."""
    epochs: int = 10
    patience: int = 5
    """Epochs without improvement that end the training."""
    cache_context: bool = True
    """Keep keys and values of the contexts above the layer; without, each step computes them anew."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "most_per_trace", "hidden", "batch", "epochs", "patience")
        require_positive(self, "learning_rate", "mlp_learning_rate", "clip")
        require_one_of(Memory, "memory", self.memory)
        if self.learning_rate_of_norm is not None:
            require_positive(self, "learning_rate_of_norm")

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
        with frozen(decoder):
            picked, kept_back, counts = self._positions(decoder, traces, seed, on_progress)
            halves = selection_and_test(traces, kept_back, seed)
            logs = [self._planned(category, picked, halves, counts) for category in range(n_categories)]
            refuse_if_empty(logs)
            kept = {log.category for log in logs if not log.skipped}
            groups = {index: own for index in picked if (own := self._examples(index, picked[index], kept))}
            stops = {index: own[-1].stop + 1 for index, own in groups.items()}
            streams = read_streams(decoder, layer, tokens_of(decoder, traces, stops), self.cache_context, on_progress)
            examples = [example for own in groups.values() for example in own]
            norm = residual_norm(streams, examples)
            of_norm = self.learning_rate_of_norm
            rate = float(self.learning_rate if of_norm is None else of_norm * norm)
            packed, rows = Packed(examples, streams), _rows(groups)
            run = _Run(self, decoder, streams, packed, rows, traces, halves, logs, rate, seed)
            best, done = run.train(on_progress)
        vector_set = VectorSet(layer, best["vectors"], mlp={name: t for name, t in best.items() if name != "vectors"})
        return VectorFit(vector_set, VectorLog(type(self).__name__, layer, norm, rate, done))

    def _positions(
        self, decoder: Decoder, traces: Sequence[LabelledTrace], seed: int, on_progress: Progress
    ) -> tuple[dict[int, tuple[tuple[int, int], ...]], frozenset[int], dict[int, int]]:
        """Sampled (position, category) by trace, the traces held out, and the number of disagreements by category."""
        usable = self.usable(decoder, traces, self.min_tokens)
        own = by_trace(usable)
        kept_back = heldout_traces(traces, own, self.heldout_share, seed)
        stops = {index: sentences[-1].last for index, sentences in own.items()}
        read = read_predictions(decoder, tokens_of(decoder, traces, stops), on_progress)
        disagreeing = disagreements(traces, usable, {index: each.choices for index, each in read.items()})
        counts: dict[int, int] = {}
        for positions in disagreeing.values():
            for _, category in positions:
                counts[category] = counts.get(category, 0) + 1
        picked = {i: sampled(positions, self.most_per_trace, traces[i], seed) for i, positions in disagreeing.items()}
        return picked, kept_back, counts

    def _planned(
        self, category: int, picked: Mapping[int, tuple[tuple[int, int], ...]],
        halves: tuple[frozenset[int], frozenset[int]], counts: Mapping[int, int],
    ) -> CategoryLog:  # fmt: skip
        """The log before training: counts, and whether there will be any."""
        n = {index: sum(c == category for _, c in positions) for index, positions in picked.items()}
        n_heldout, n_test = (sum(count for index, count in n.items() if index in half) for half in halves)
        n_train = sum(n.values()) - n_heldout - n_test
        skipped = ""
        if n_train < self.min_examples:
            skipped = f"{n_train} training positions, below min_examples={self.min_examples}"
        elif not n_heldout:
            skipped = "no held-out position to select on"
        return CategoryLog(category, counts.get(category, 0), n_train, n_heldout, skipped, n_test=n_test)

    def _examples(self, trace: int, positions: Sequence[tuple[int, int]], kept: set[int]) -> list[Example]:
        """The trace's positions of trained categories, together or one by one."""
        own = tuple(pair for pair in positions if pair[1] in kept)
        if not own:
            return []
        groups = [own] if self.memory == "steered" else [(pair,) for pair in own]
        return [Example(trace, group, group) for group in groups]


def _rows(groups: Mapping[int, Sequence[Example]]) -> dict[int, list[int]]:
    """Indices of each trace's examples in the flat list."""
    rows, n = {}, 0
    for index, own in groups.items():
        rows[index], n = list(range(n, n + len(own))), n + len(own)
    return rows


def initial_mlp(seed: int, width: int, hidden: int, n_categories: int) -> dict[str, Tensor]:
    """Xavier-uniform weights by keyed draws, each category's head a layer of one output; biases 0.5."""

    def xavier(name: str, rows: int, columns: int, fan_out: int) -> Tensor:
        key, bound = Key(seed, name), sqrt(6 / (columns + fan_out))
        drawn = [uniform(key, i, "xavier") for i in range(rows * columns)]
        return (2 * torch.tensor(drawn, dtype=torch.float64).view(rows, columns) - 1) * bound

    return {
        "trunk.weight": xavier("trunk", hidden, width, hidden),
        "trunk.bias": torch.full((hidden,), INITIAL_BIAS, dtype=torch.float64),
        "heads.weight": xavier("heads", n_categories, hidden, 1),
        "heads.bias": torch.full((n_categories,), INITIAL_BIAS, dtype=torch.float64),
    }


def scaled_vectors(weights: Mapping[str, Tensor]) -> Adder:
    """alpha(h, c) V[c] at the steered positions, h the unsteered residual there."""

    def adder(streams: Streams, batch: ExampleBatch) -> Tensor:
        at = batch.steered != NO_ROW
        categories, vectors = batch.steered[at], weights["vectors"]
        factors = coefficients(weights, streams.hidden[batch.window[at]], categories)
        added = vectors.new_zeros(*batch.window.shape, vectors.shape[1])
        return added.index_put((at,), factors[:, None] * vectors[categories])

    return adder


class _Best(NamedTuple):
    loss: float
    step: int
    weights: dict[str, Tensor]


class _Run:
    """One training of vectors and network."""

    def __init__(
        self, method: Venhoff2026, decoder: Decoder, streams: Streams, packed: Packed, rows: Mapping[int, list[int]],
        traces: Sequence[LabelledTrace], halves: tuple[frozenset[int], frozenset[int]], logs: Sequence[CategoryLog],
        rate: float, seed: int,
    ) -> None:  # fmt: skip
        self.method, self.decoder, self.streams, self.packed, self.logs = method, decoder, streams, packed, logs
        self.n, self.seed, self.rows = len(logs), seed, rows
        self.train_traces = [index for index in rows if index not in halves[0] | halves[1]]
        self.names = {index: traces[index].name for index in self.train_traces}
        self.heldout_rows, self.test_rows = (
            [row for index, own in rows.items() if index in half for row in own] for half in halves
        )
        mlp = initial_mlp(seed, decoder.width, method.hidden, self.n)
        start = {"vectors": torch.zeros(self.n, decoder.width), **mlp}
        placed = {name: t.to(streams.hidden.device, vector_dtype(streams.hidden.dtype)) for name, t in start.items()}
        self.weights = {name: torch.nn.Parameter(tensor) for name, tensor in placed.items()}
        own = [
            {"params": [weight], "lr": rate if name == "vectors" else method.mlp_learning_rate}
            for name, weight in self.weights.items()
        ]
        self.optimiser = torch.optim.AdamW(own, weight_decay=method.weight_decay)
        self.train_losses: list[list[float]] = [[] for _ in logs]
        self.heldout_losses: list[list[tuple[int, float]]] = [[] for _ in logs]
        self.steps = 0

    def train(self, on_progress: Progress) -> tuple[dict[str, Tensor], tuple[CategoryLog, ...]]:
        """The weights of the best moment, the start included, and what happened."""
        best, waited, size = self._moment(), 0, self.method.batch
        without = self._test(best.weights)
        for epoch in range(self.method.epochs):
            order = self._order(epoch)
            for first in range(0, len(order), size):
                self._step(order[first : first + size])
            now = self._moment()
            on_progress("epochs", epoch + 1, self.method.epochs, {"heldout_loss": now.loss})
            best, waited = (now, 0) if now.loss < best.loss else (best, waited + 1)
            if waited == self.method.patience:
                break
        given = self._test(best.weights)
        return best.weights, tuple(self._log(log, best, without, given) for log in self.logs)

    def _test(self, weights: dict[str, Tensor]) -> list[float | None]:
        """Loss on the problems that pick nothing, by category."""
        adder = scaled_vectors(weights)
        return mean_losses(self.decoder, self.streams, self.packed, self.test_rows, self.n, adder)

    def _order(self, epoch: int) -> list[int]:
        keys = {index: Key(self.seed, name, step=epoch) for index, name in self.names.items()}
        return sorted(self.train_traces, key=lambda index: (uniform(keys[index], 0, "order of traces"), index))

    def _step(self, indices: Sequence[int]) -> None:
        """One step on the balanced loss of a batch of traces."""
        chosen = [row for index in indices for row in self.rows[index]]
        scored = [0] * self.n
        for row in chosen:
            for _, category in self.packed.examples[row].scored:
                scored[category] += 1
        counts = torch.tensor(scored, device=self.streams.hidden.device)
        present = sum(count > 0 for count in scored)
        sums = torch.zeros(self.n, dtype=self.weights["vectors"].dtype, device=counts.device)
        self.optimiser.zero_grad()
        for group in self.packed.passes(chosen):
            batch = self.packed.batch(group)
            added = scaled_vectors(self.weights)(self.streams, batch)
            losses = position_losses(self.decoder, self.streams, batch, added).to(sums.dtype)
            (losses / (present * counts[batch.booked])).sum().backward()
            sums.index_add_(0, batch.booked, losses.detach())
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.method.clip)
        self.optimiser.step()
        self.steps += 1
        for category, total in enumerate(sums.tolist()):
            if scored[category]:
                self.train_losses[category].append(total / scored[category])

    def _moment(self) -> _Best:
        """The held-out loss, balanced over the trained categories, and a copy of the weights."""
        weights = {name: weight.detach().clone() for name, weight in self.weights.items()}
        adder = scaled_vectors(weights)
        means = mean_losses(self.decoder, self.streams, self.packed, self.heldout_rows, self.n, adder)
        losses = {category: loss for category, loss in enumerate(means) if loss is not None}
        for category, loss in losses.items():
            self.heldout_losses[category].append((self.steps, loss))
        return _Best(sum(losses.values()) / len(losses), self.steps, weights)

    def _log(
        self, log: CategoryLog, best: _Best, without: Sequence[float | None], given: Sequence[float | None]
    ) -> CategoryLog:
        if log.skipped:
            return log
        heldout = self.heldout_losses[log.category]
        # The vectors start at zero: the first evaluation is the unsteered model's.
        return replace(
            log, train_losses=tuple(self.train_losses[log.category]), heldout_losses=tuple(heldout),
            heldout_without=heldout[0][1], heldout_with=dict(heldout)[best.step], best_step=best.step,
            test_without=without[log.category], test_with=given[log.category],
            norm=float(best.weights["vectors"][log.category].norm()),
        )  # fmt: skip
