"""Teacher-forced passes with vectors added to the residual stream, and the training of a table of vectors.

The base model is frozen, and everything before a steered position is as in the unsteered pass. So the stream at the
layer is read once, the keys and values of the layers above it once more, and a training step runs the steered
positions alone through the layers above. All categories train in one batch: each row of the batch is an example of
one category, to which its own vector is added, so a vector's gradient does not depend on the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, cos, pi
from statistics import NormalDist
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache

from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.model_pair.residual import Decoder, causal_mask
from reasoning_lab.steering.vectors.base import Progress
from reasoning_lab.steering.vectors.examples import Example
from reasoning_lab.steering.vectors.streams import PrefixStates, Streams, record_states

NO_ROW = -1
"""Where no vector is added, or no prediction is scored."""
SelectOn = Literal["heldout", "train"]
"""The loss that picks the moment whose vector is kept."""
PASS_CELLS = {"cpu": 2**18, "cuda": 2**22}
"""Largest pass (`Packed.passes`) by kind of device: on a CPU larger ones fall out of its cache and are slower."""


@contextmanager
def frozen(decoder: Decoder) -> Iterator[None]:
    """No gradients for the base model's weights, which get their own settings back."""
    weights = [weight for weight in decoder.policy.model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def vector_dtype(model: torch.dtype) -> torch.dtype:
    """Vectors are kept and trained in float32, for a float64 model in float64."""
    return torch.float64 if model == torch.float64 else torch.float32


def random_direction(seed: int, name: str, width: int) -> Float[Tensor, " d"]:
    """A keyed direction, uniform on the unit sphere."""
    normal, key = NormalDist(), Key(seed, name)
    drawn = torch.tensor([normal.inv_cdf(uniform(key, i, "direction")) for i in range(width)], dtype=torch.float64)
    return drawn / drawn.norm()


# --- batches of examples and their losses ---------------------------------------------------------------------


class ExampleBatch(NamedTuple):
    """Examples side by side; a row's window holds every position that its vectors can change and that counts."""

    context: Int[Tensor, "row context"]
    """Indices into the streams of the positions before the window, padded on the right."""
    window: Int[Tensor, "row width"]
    start: Int[Tensor, " row"]
    """Position of the window's first column, and length of the context."""
    positions: Int[Tensor, "row width"]
    """Of the window; its padding repeats the last, for some rotary embeddings change with the greatest position."""
    steered: Int[Tensor, "row width"]
    """Row of the table that is added, or NO_ROW."""
    scored: Int[Tensor, "row width"]
    """Row of the table that the prediction's loss is booked to, or NO_ROW."""
    targets: Int[Tensor, "row width"]
    """Next ids."""

    @property
    def booked(self) -> Int[Tensor, " scored"]:
        """Row of the table of each scored prediction, in the order of `position_losses`."""
        return self.scored[self.scored != NO_ROW]


class Packed:
    """Examples as tensors, from which batches are cut without a Python loop over tokens."""

    def __init__(self, examples: Sequence[Example], streams: Streams) -> None:
        self.examples = examples
        device = streams.hidden.device
        self.starts = [example.start for example in examples]
        self.widths = [example.stop - example.start for example in examples]
        self._offset = torch.tensor([streams.offsets[e.trace] for e in examples], device=device)
        self._start = torch.tensor(self.starts, device=device)
        self._width = torch.tensor(self.widths, device=device)
        shape = (len(examples), max(self.widths))
        steered, scored = torch.full(shape, NO_ROW), torch.full(shape, NO_ROW)
        targets = torch.zeros(shape, dtype=torch.long)
        for row, example in enumerate(examples):
            tokens = streams.tokens[example.trace]
            for table, pairs in ((steered, example.steered), (scored, example.scored)):
                at = torch.tensor([position - example.start for position, _ in pairs])
                table[row, at] = torch.tensor([which for _, which in pairs])
            following = tokens[example.start + 1 : example.stop + 1]
            targets[row, : len(following)] = torch.tensor(following)
        self._steered, self._scored, self._targets = steered.to(device), scored.to(device), targets.to(device)

    def batch(self, rows: Sequence[int]) -> ExampleBatch:
        """The examples `rows`, padded no further than they need."""
        device = self._start.device
        index = torch.tensor(list(rows), device=device)
        width, longest = max(self.widths[row] for row in rows), max(self.starts[row] for row in rows)
        offset, start = self._offset[index, None], self._start[index]
        context = torch.arange(longest, device=device)
        columns = torch.arange(width, device=device)
        positions = start[:, None] + torch.minimum(columns, self._width[index, None] - 1)
        return ExampleBatch(
            offset + torch.minimum(context, (start[:, None] - 1).clamp(min=0)),
            offset + positions,
            start,
            positions,
            self._steered[index, :width],
            self._scored[index, :width],
            self._targets[index, :width],
        )

    def passes(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """`rows` in groups of like size, each with examples · (context + window) · max(window, 64) ≤ PASS_CELLS.

        The product bounds the attention weights, and by the 64 the gathered keys and values too. Sums of losses and
        gradients over the groups are those of one pass.
        """
        cells = PASS_CELLS.get(self._start.device.type, PASS_CELLS["cuda"])
        group: list[int] = []
        longest = 0
        for row in sorted(rows, key=lambda row: (self.widths[row], self.starts[row])):
            width, longest = self.widths[row], max(longest, self.starts[row])
            if group and (len(group) + 1) * (longest + width) * max(width, 64) > cells:
                yield group
                group, longest = [], self.starts[row]
            group.append(row)
        if group:
            yield group


def position_losses(
    decoder: Decoder, streams: Streams, batch: ExampleBatch, added: Float[Tensor, "row width d"]
) -> Float[Tensor, " scored"]:
    """-log p of the next token [nats] at the scored positions, row by row, with `added` put on the window's stream."""
    width, device = batch.window.shape[1], batch.window.device
    in_window = causal_mask(width, decoder.policy.dtype, device).expand(len(batch.start), -1, -1, -1)
    behind = torch.arange(batch.context.shape[1], device=device) >= batch.start[:, None, None, None]
    in_context = torch.zeros(behind.shape, dtype=decoder.policy.dtype, device=device)
    in_context.masked_fill_(behind, torch.finfo(decoder.policy.dtype).min)
    mask = torch.cat((in_context.expand(-1, -1, width, -1), in_window), dim=-1)
    cache = Cache(layers=list(_contexts(decoder, streams, batch)))
    window = streams.hidden[batch.window]
    steered = window + added.to(window.dtype)
    last = decoder.n_layers - 1
    hidden = decoder.layers(steered, streams.layer + 1, last, batch.positions, mask, cache)
    counts = batch.scored != NO_ROW
    logits = decoder.head(hidden[counts][None])[0]
    return functional.cross_entropy(logits, batch.targets[counts], reduction="none")


@torch.no_grad()
def _contexts(decoder: Decoder, streams: Streams, batch: ExampleBatch) -> list[PrefixStates]:
    """Keys and values of the contexts: from the store, or from one more unsteered pass over them."""
    below = [PrefixStates() for _ in range(streams.layer + 1)]
    if streams.states:
        states = [(k[batch.context].transpose(1, 2), v[batch.context].transpose(1, 2)) for k, v in streams.states]
    else:
        length = batch.context.shape[1]
        positions = torch.arange(length, device=batch.context.device).expand_as(batch.context)
        mask = causal_mask(length, decoder.policy.dtype, batch.context.device)
        states = record_states(decoder, streams.layer, streams.hidden[batch.context], positions, mask) if length else []
    above = [PrefixStates(keys, values) for keys, values in states]
    return below + (above or [PrefixStates() for _ in range(decoder.n_layers - len(below))])


Adder = Callable[[Streams, ExampleBatch], Tensor]
"""What is added to a batch's windows, [row, width, d]."""


def from_table(table: Float[Tensor, "n d"], fixed: Float[Tensor, " d"] | None = None) -> Adder:
    """Row steered[r, w] of the table, and `fixed` wherever one is added."""
    rows = table if fixed is None else table + fixed
    rows = torch.cat((rows, rows.new_zeros(1, rows.shape[1])))  # NO_ROW, -1, is the last row.
    return lambda _streams, batch: rows[batch.steered]


@torch.no_grad()
def mean_losses(
    decoder: Decoder, streams: Streams, packed: Packed, rows: Sequence[int], n: int, adder: Adder
) -> list[float | None]:
    """Mean loss per scored token [nats] by row of the table; None where no example of `rows` is booked to it."""
    sums = torch.zeros(n, dtype=torch.float64, device=streams.hidden.device)
    counts = torch.zeros_like(sums)
    for group in packed.passes(rows):
        batch = packed.batch(group)
        losses = position_losses(decoder, streams, batch, adder(streams, batch)).double()
        sums.index_add_(0, batch.booked, losses)
        counts.index_add_(0, batch.booked, torch.ones_like(losses))
    return [s / c if c else None for s, c in zip(sums.tolist(), counts.tolist(), strict=True)]


# --- training a table of vectors ------------------------------------------------------------------------------


class VectorTask(NamedTuple):
    """One vector to train."""

    row: int
    """Of the table."""
    train: tuple[int, ...]
    """Indices of its examples."""
    heldout: tuple[int, ...]
    """Those that pick its moment."""
    test: tuple[int, ...] = ()
    """Those on which it is reported."""


@dataclass(frozen=True)
class Schedule:
    """How a table is trained: Adam, cosine to 0, early stop, each vector by itself."""

    learning_rate: float
    """At the start, per coordinate."""
    minibatch: int
    """Examples per step and vector."""
    epochs: float | None
    """Passes over a vector's examples; None when steps decides."""
    steps: int | None
    eval_every: int | None
    """Steps between evaluations; None: one pass over the vector's examples."""
    patience: int
    """Evaluations without an improvement of `min_delta` after which a vector's training ends."""
    min_delta: float
    """[nats per token]"""
    select_on: SelectOn
    max_norm: float | None

    def steps_of(self, task: VectorTask) -> int:
        """Steps that the task may take."""
        if self.steps is not None:
            return self.steps
        return ceil((self.epochs or 0) * len(task.train) / self.size_of(task))

    def size_of(self, task: VectorTask) -> int:
        """Examples of each of its minibatches."""
        return min(self.minibatch, len(task.train))

    def every(self, task: VectorTask) -> int:
        """Steps between its evaluations."""
        return self.eval_every or ceil(len(task.train) / self.size_of(task))


class _Training:
    """One vector's course: its optimiser, its order of examples, its losses, and the best moment so far."""

    def __init__(self, task: VectorTask, start: Tensor, schedule: Schedule, key: Key) -> None:
        self.task, self.schedule, self.key = task, schedule, key
        self.parameter = torch.nn.Parameter(start.clone())
        self.optimiser = torch.optim.Adam([self.parameter], lr=schedule.learning_rate)
        self.n_steps, self.size = schedule.steps_of(task), schedule.size_of(task)
        self.done = 0
        self.train_losses: list[Tensor] = []
        self.heldout_losses: list[tuple[int, float]] = []
        self.best: tuple[float, int, Tensor] | None = None
        self.lowest, self.waited = float("inf"), 0
        self._orders: dict[int, list[int]] = {}

    @property
    def active(self) -> bool:
        return self.done < self.n_steps and self.waited < self.schedule.patience

    @property
    def due(self) -> bool:
        """Whether an evaluation stands at the number of steps done."""
        return self.done == self.n_steps or self.done % self.schedule.every(self.task) == 0

    def update(self, train_loss: Tensor) -> None:
        """One step of Adam on the gradient that the pass has left, at the cosine's rate."""
        rate = self.schedule.learning_rate * 0.5 * (1 + cos(pi * self.done / self.n_steps))
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.schedule.max_norm is not None:
            with torch.no_grad():
                self.parameter.mul_((self.schedule.max_norm / self.parameter.norm()).clamp(max=1))
        self.train_losses.append(train_loss)
        self.done += 1

    def minibatch(self) -> list[int]:
        """The next examples: keyed shuffles of all of them, laid end to end."""
        n = len(self.task.train)
        first = self.done * self.size
        return [self.task.train[self._order(at // n)[at % n]] for at in range(first, first + self.size)]

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            key = self.key._replace(step=epoch)
            shuffled = sorted(range(len(self.task.train)), key=lambda i: uniform(key, i, "order of examples"))
            self._orders = {known: order for known, order in self._orders.items() if known == epoch - 1}
            self._orders[epoch] = shuffled
        return self._orders[epoch]

    def compare(self, heldout: float | None) -> None:
        """Compare this moment with the best one."""
        if heldout is not None:
            self.heldout_losses.append((self.done, heldout))
        if self.schedule.select_on == "heldout":
            assert heldout is not None, "callers leave out vectors without held-out examples"
            loss = heldout
        elif self.done == 0:
            return
        else:
            recent = self.train_losses[-self.schedule.every(self.task) :]
            loss = float(torch.stack(recent).mean())
        if self.best is None or loss < self.best[0]:
            self.best = (loss, self.done, self.parameter.detach().clone())
        if loss < self.lowest - self.schedule.min_delta:
            self.lowest, self.waited = loss, 0
        else:
            self.waited += 1


class Trained(NamedTuple):
    """One vector's result."""

    vector: Float[Tensor, " d"]
    """That of the best moment."""
    best_step: int
    train_losses: tuple[float, ...]
    heldout_losses: tuple[tuple[int, float], ...]


def train_table(
    decoder: Decoder,
    streams: Streams,
    packed: Packed,
    tasks: Sequence[VectorTask],
    start: Float[Tensor, "n d"],
    fixed: Float[Tensor, " d"] | None,
    schedule: Schedule,
    seed: int,
    name: str,
    on_progress: Progress = lambda *_: None,
) -> list[Trained]:
    """Train the rows of `tasks` from `start`, with `fixed` added beside them; minimise each one's mean token loss.

    Every step is one pass (or, beyond PASS_CELLS, a few) over all tasks' minibatches. Orders, optimiser states, rates
    and early stops are each task's own, so that training tasks together or one by one is the same.
    """
    rows = start.shape[0]
    courses = [_Training(task, start[task.row], schedule, Key(seed, f"{name} {task.row}")) for task in tasks]
    _evaluate(decoder, streams, packed, courses, rows, fixed)
    total = max(course.n_steps for course in courses)
    while active := [course for course in courses if course.active]:
        _step(decoder, streams, packed, active, rows, fixed)
        due = [course for course in active if course.due]
        _evaluate(decoder, streams, packed, due, rows, fixed)
        on_progress(name, active[0].done, total, _losses(courses) if due else {})
    return [_trained(course) for course in courses]


def _losses(courses: Sequence[_Training]) -> dict[str, float]:
    """Means over the vectors of their newest losses, train and held out [nats per token]."""
    train = [float(course.train_losses[-1]) for course in courses if course.train_losses]
    heldout = [course.heldout_losses[-1][1] for course in courses if course.heldout_losses]
    named = {"train_loss": train, "heldout_loss": heldout}
    return {name: sum(losses) / len(losses) for name, losses in named.items() if losses}


def _table(courses: Sequence[_Training], rows: int) -> Tensor:
    """The courses' vectors as a table; other rows are zero."""
    zero = torch.zeros_like(courses[0].parameter)
    held = {course.task.row: course.parameter for course in courses}
    return torch.stack([held.get(row, zero) for row in range(rows)])


def _step(
    decoder: Decoder, streams: Streams, packed: Packed, active: Sequence[_Training], rows: int,
    fixed: Tensor | None,
) -> None:  # fmt: skip
    chosen, scored = [], [0] * rows
    for course in active:
        own = course.minibatch()
        chosen += own
        scored[course.task.row] = sum(len(packed.examples[row].scored) for row in own)
    counts = torch.tensor(scored, dtype=vector_dtype(decoder.policy.dtype), device=streams.hidden.device)
    sums = torch.zeros_like(counts)
    for group in packed.passes(chosen):
        batch = packed.batch(group)
        added = from_table(_table(active, rows), fixed)(streams, batch)
        losses = position_losses(decoder, streams, batch, added).to(counts.dtype)
        (losses / counts[batch.booked]).sum().backward()
        sums.index_add_(0, batch.booked, losses.detach())
    for course in active:
        course.update(sums[course.task.row] / counts[course.task.row])


def _evaluate(
    decoder: Decoder, streams: Streams, packed: Packed, courses: Sequence[_Training], rows: int,
    fixed: Tensor | None,
) -> None:  # fmt: skip
    if not courses:
        return
    adder = from_table(_table(courses, rows).detach(), fixed)
    heldout = [row for course in courses for row in course.task.heldout]
    losses = mean_losses(decoder, streams, packed, heldout, rows, adder)
    for course in courses:
        course.compare(losses[course.task.row])


def _trained(course: _Training) -> Trained:
    assert course.best is not None
    losses = torch.stack(course.train_losses).tolist() if course.train_losses else []
    return Trained(course.best[2], course.best[1], tuple(losses), tuple(course.heldout_losses))


def loss_pairs(
    decoder: Decoder, streams: Streams, packed: Packed, examples: Mapping[int, Sequence[int]],
    table: Float[Tensor, "n d"], fixed: Float[Tensor, " d"] | None,
) -> dict[int, tuple[float | None, float | None]]:  # fmt: skip
    """Loss of each row's `examples` by row of the table, without its vector (`fixed` stays) and with it; None for a row
    without examples."""
    rows, n = [row for own in examples.values() for row in own], table.shape[0]
    adders = (from_table(torch.zeros_like(table), fixed), from_table(table, fixed))
    without, given = (mean_losses(decoder, streams, packed, rows, n, adder) for adder in adders)
    return {row: (without[row], given[row]) for row in examples}
