"""Policies small enough to enumerate: every sampler meets its exact law on them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from reasoning_lab.engine.policy import Policy, Segment, Session
from reasoning_lab.engine.work import Work


class ToyPolicy(Policy):
    """Next-token laws listed by prefix; for counts of compute a model of one layer.

    Arguments: `laws` maps each prefix (prompt excluded by the caller's choice of prefixes) to the probabilities of the
    next token; a prefix without an entry stops at once: all mass on `stop_id`.
    """

    def __init__(self, laws: Mapping[tuple[int, ...], Sequence[float]], vocab_size: int, stop_id: int) -> None:
        self.laws = dict(laws)
        self.vocab_size = vocab_size
        self.stop_id = stop_id
        self.context_length = 1 + max(map(len, self.laws), default=0) + 64

    @classmethod
    def random(
        cls, seed: int, vocab_size: int = 3, length: int = 5, prompt: tuple[int, ...] = (0,), stop_logit: float = -1.0
    ) -> "ToyPolicy":
        """Normal logits per prefix after `prompt`, keyed by `seed`; id 0 is the stop id, its logits moved by
        `stop_logit` (below 0: longer answers, and power laws that are not one single state)."""
        generator = torch.Generator().manual_seed(seed)
        bias = torch.zeros(vocab_size, dtype=torch.float64)
        bias[0] = stop_logit
        laws = {
            prompt + tail: torch.softmax(
                torch.randn(vocab_size, generator=generator, dtype=torch.float64) + bias, 0
            ).tolist()
            for n in range(length)
            for tail in product(range(1, vocab_size), repeat=n)
        }
        return cls(laws, vocab_size, stop_id=0)

    @classmethod
    def of_sequences(cls, probabilities: Mapping[tuple[int, ...], float], vocab_size: int) -> "ToyPolicy":
        """The policy of a given law over whole sequences (without prompt; normalised here), none a prefix of another.

        The prompt is (0,) and id 0 is the stop id that follows each sequence with probability one.
        """
        mass: dict[tuple[int, ...], list[float]] = {}
        for ids, probability in probabilities.items():
            for n, id in enumerate(ids):
                mass.setdefault((0, *ids[:n]), [0.0] * vocab_size)[id] += probability
        laws = {prefix: [m / sum(masses) for m in masses] for prefix, masses in mass.items() if sum(masses) > 0}
        return cls(laws, vocab_size, stop_id=0)

    def probabilities(self, ids: Sequence[int]) -> Sequence[float]:
        """p(. | ids)."""
        stop = [0.0] * self.vocab_size
        stop[self.stop_id] = 1.0
        return self.laws.get(tuple(ids), stop)

    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """log p(. | ids), float64."""
        return torch.tensor(self.probabilities(ids), dtype=torch.float64).log()

    def open(self, rows: int, capacity: int) -> Session:
        """Rows that remember their tokens and look the law up."""
        return _ToySession(self, rows, capacity)

    def states(self, cap: int, prompt: tuple[int, ...] = (0,)) -> dict[tuple[int, ...], float]:
        """Every sequence that ends at its first stop id or has length `cap`, with log p (those of p > 0)."""
        return dict(self._extend(prompt, (), 0.0, cap))

    def _extend(
        self, prompt: tuple[int, ...], tail: tuple[int, ...], log_p: float, cap: int
    ) -> Iterator[tuple[tuple[int, ...], float]]:
        if len(tail) == cap or (tail and tail[-1] == self.stop_id):
            yield tail, log_p
            return
        for id, p in enumerate(self.probabilities(prompt + tail)):
            if p > 0:
                yield from self._extend(prompt, (*tail, id), log_p + math.log(p), cap)


class _ToySession(Session):
    def __init__(self, policy: ToyPolicy, rows: int, capacity: int) -> None:
        self.policy, self.rows, self.capacity = policy, rows, capacity
        self._ids: list[list[int]] = [[] for _ in range(rows)]
        self._logits: dict[tuple[int, ...], Tensor] = {}
        self._steps = 0
        self.passed = Work()

    def prompt_work(self, prompt: Sequence[int]) -> Work:
        return Work(prefill=len(prompt) - 1)

    def step_work(self, row: int) -> Work:
        return Work(decode=self._steps, heads=self._steps)

    def prefill(self, row: int, ids: Sequence[int]) -> None:
        self._ids[row] = list(ids)
        self.passed += Work(prefill=len(ids))

    def step(self, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        self._steps += 1
        self.passed += Work(decode=self.rows, heads=self.rows)
        for row, (id, position) in enumerate(zip(ids, positions, strict=True)):
            self._ids[row][position:] = [id]
        return torch.stack([self._look_up(tuple(row)) for row in self._ids])

    def _look_up(self, ids: tuple[int, ...]) -> Tensor:
        if ids not in self._logits:
            self._logits[ids] = self.policy.next_logits(ids)
        return self._logits[ids]

    def save(self, row: int, start: int, stop: int) -> Segment:
        return Segment(start, stop, self._ids[row][start:stop])

    def load(self, row: int, segment: Segment, start: int, stop: int) -> None:
        self._ids[row][start:] = segment.state[start - segment.start : stop - segment.start]
