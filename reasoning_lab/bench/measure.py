"""How fast the engine is on this machine: beside the published algorithm, in turns, and beside the memory's floor."""

import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from reasoning_lab.bench.floor import copy_bandwidth, step_floor, wait_for
from reasoning_lab.bench.published import PublishedStream
from reasoning_lab.engine.policy import Coroutine, Policy
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.size import Footprint
from reasoning_lab.sampler.base import Prompt, Sample
from reasoning_lab.sampler.metropolis import Ladder, PowerRule
from reasoning_lab.sampler.power import Power

ROUNDS = 3
SECONDS = 20.0
"""Most seconds of each measurement of a round."""
CHAINS_PER_ROW = 4


@dataclass(frozen=True)
class Measured:
    """One way of drawing, in one round."""

    way: str
    rows: int
    chains: int
    """Answers asked for."""
    finished: int
    """Answers that ended within the time given."""
    drawn: int
    """Decode tokens."""
    answer_tokens: int
    """Of the finished answers."""
    seconds: float
    """Of CPU on a CPU, by the clock on a GPU."""
    steps: int
    ahead: int = 0
    """Tokens drawn ahead in vain."""

    @property
    def per_token(self) -> float:
        """Seconds per decode token."""
        return self.seconds / max(1, self.drawn)

    @property
    def occupancy(self) -> float | None:
        """Decode tokens per row and step; None where the time ended first, for the thin end is not in it then."""
        return self.drawn / max(1, self.steps * self.rows) if self.finished == self.chains else None


@dataclass(frozen=True)
class Round:
    """What was measured in turns."""

    published: Measured
    many: Measured
    """Ours, with all rows."""
    one: Measured
    """Ours, one row, one chain at a time."""


@dataclass(frozen=True)
class Saving:
    """What the exact chain draws with some of its savings."""

    redraw: str
    early_rejection: bool
    draws_ahead: bool
    measured: Measured


@dataclass(frozen=True)
class Bench:
    """All of it."""

    rounds: tuple[Round, ...]
    savings: tuple[Saving, ...]
    bandwidth: float
    """Of a copy, bytes per second."""
    floors: dict[int, float]
    """Least seconds of a step, by rows."""
    context: float
    """Tokens per row that the floors take."""

    def ratios(self, ours: Callable[[Round], Measured]) -> tuple[float, float, float]:
        """Median, least and most over the rounds of the published algorithm's seconds per decode token by ours."""
        each = [round.published.per_token / ours(round).per_token for round in self.rounds]
        return statistics.median(each), min(each), max(each)

    def share_of_floor(self, ours: Callable[[Round], Measured]) -> float:
        """Least step by the median step."""
        steps = [ours(round).seconds / max(1, ours(round).steps) for round in self.rounds]
        return self.floors[ours(self.rounds[0]).rows] / statistics.median(steps)


class _SpentError(Exception):
    """The time given is over."""


class _Allowance:
    """Some seconds of a device's clock."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self._device, self._seconds = device, seconds
        self._clock = time.process_time if device.type == "cpu" else time.perf_counter
        wait_for(device)
        self._started = self._clock()

    def spent(self) -> float:
        """Seconds so far, with what the device was told to do and has not done."""
        wait_for(self._device)
        return self._clock() - self._started

    def check(self) -> None:
        """_SpentError once they are over."""
        if self._clock() - self._started > self._seconds:
            raise _SpentError


def measure(
    model: LoadedModel[HuggingFacePolicy],
    plain: Any,
    sampler: Power,
    prompts: Sequence[tuple[int, ...]],
    rows: int,
    capacity: int,
    footprint: Footprint,
    dtype: str,
    seed: int,
    tell: Callable[[str], None],
    seconds: float = SECONDS,
) -> Bench:
    """Published and ours in turns, on the same problems and with the authors' kernel in both; then what the exact
    chain saves.

    Arguments: `plain` is the same model with transformers' own attention; `seconds` are the most that each measurement
    of a round takes.
    """
    theirs = replace(sampler, compat="karan2025", redraw="from_cut", stop_rule="first_eos")
    rounds = []
    for number in range(ROUNDS):
        turn = [prompts[(number + i) % len(prompts)] for i in range(len(prompts))]
        rounds.append(
            Round(
                _published(plain, theirs, turn, model, seed + number, seconds),
                _ours(model, theirs.ladder, turn, rows, CHAINS_PER_ROW * rows, capacity, seed + number, seconds),
                _ours(model, theirs.ladder, turn, 1, 1, capacity, seed + number, seconds),
            )
        )
        tell(f"round {number + 1} of {ROUNDS}: {_line(rounds[-1])}")
    savings = tuple(_savings(model, sampler, prompts, rows, capacity, seed, seconds))
    device, context = model.policy.device, _mean_context(prompts, rounds)
    bandwidth = copy_bandwidth(device)
    floors = {n: step_floor(footprint, dtype, n, context, bandwidth) for n in {1, rows}}
    return Bench(tuple(rounds), savings, bandwidth, floors, context)


def _line(round: Round) -> str:
    ways = (round.published, round.many, round.one)
    return ", ".join(f"{each.way} {1e3 * each.per_token:.3g} ms per decode token" for each in ways)


def _mean_context(prompts: Sequence[tuple[int, ...]], rounds: Sequence[Round]) -> float:
    """Mean prompt and half a mean answer."""
    many = [round.many for round in rounds if round.many.finished]
    answers = sum(each.answer_tokens for each in many) / max(1, sum(each.finished for each in many))
    return sum(map(len, prompts)) / len(prompts) + answers / 2


def _published(
    plain: Any, sampler: Power, prompts: Sequence[tuple[int, ...]], model: LoadedModel, seed: int, seconds: float
) -> Measured:
    """Answers one after the other, until the time is over."""
    stream = PublishedStream(plain, sampler.ladder, sampler.alpha, model.stop_ids, seed)
    allowance, lengths = _Allowance(model.policy.device, seconds), []
    stream.before_call = allowance.check
    try:
        for prompt in prompts:
            lengths.append(len(stream.answer(prompt)))
    except _SpentError:
        pass
    return Measured(
        "published", 1, len(prompts), len(lengths), stream.drawn, sum(lengths), allowance.spent(), stream.drawn
    )  # fmt: skip


def _ours(
    model: LoadedModel,
    ladder: Ladder,
    prompts: Sequence[tuple[int, ...]],
    rows: int,
    chains: int,
    capacity: int,
    seed: int,
    seconds: float,
    draws_ahead: bool = True,
) -> Measured:
    """So many chains on so many rows, until they end or the time does."""
    allowance, counts, found = _Allowance(model.policy.device, seconds), Counts(), list[Sample]()
    asked = [Prompt(prompts[i % len(prompts)], model.stop_ids, Key(seed, "bench", i)) for i in range(chains)]
    tasks = ((i, _within(allowance, ladder.climb(prompt, None))) for i, prompt in enumerate(asked))
    policy: Policy = model.policy
    try:
        for _, sample in run(policy, tasks, rows, capacity, counts=counts, draws_ahead=draws_ahead):
            found.append(sample)
    except _SpentError:
        pass
    answer_tokens = sum(len(sample.chain) for sample in found)
    way = "one chain" if rows == 1 else f"{rows} rows"
    return Measured(
        way, rows, chains, len(found), counts.drawn, answer_tokens, allowance.spent(), counts.steps, counts.ahead
    )  # fmt: skip


def _within(allowance: _Allowance, coroutine: Coroutine[Sample]) -> Generator[Any, Any, Sample]:
    answer = None
    while True:
        allowance.check()
        try:
            asked = coroutine.send(answer)
        except StopIteration as end:
            return end.value
        answer = yield asked


def _savings(
    model: LoadedModel,
    sampler: Power,
    prompts: Sequence[tuple[int, ...]],
    rows: int,
    capacity: int,
    seed: int,
    seconds: float,
) -> Iterator[Saving]:
    """The exact chain on the same problems, with and without each of its savings."""
    exact = replace(sampler, compat="none", stop_rule="jump_to_final_cap")
    for redraw, early, ahead in (
        ("from_cut", False, False), ("from_cut", True, False), ("from_cut", True, True),
        ("from_difference", True, False), ("from_difference", True, True),
    ):  # fmt: skip
        ladder = replace(exact, redraw=redraw).ladder
        if not early:
            ladder = replace(ladder, rule=PowerRule(exact.alpha, is_tempered_target=False))
        yield Saving(
            redraw, early, ahead, _ours(model, ladder, prompts, rows, rows, capacity, seed, 3 * seconds, ahead)
        )
