"""The Sampler contract: one problem, one coroutine, no model in sight."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_lab.engine.policy import Chain, Checkpoint, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.records import Candidate, Move

Draws = Generator[Request | list[Request] | Checkpoint, Any, "Sample"]
"""Yields requests, receives their chains, returns the Sample."""


@dataclass(frozen=True)
class Prompt:
    """What a sampler is given of a problem."""

    ids: tuple[int, ...]
    """Token ids of the prompt, at least one."""
    stop_ids: frozenset[int]
    """Ids that end an answer: part of the target law, the same set for every sampler."""
    key: Key
    """Seed, problem and chain; samplers fill in rung and step."""
    candidate: Callable[[Chain], Candidate] | None = None
    """Reads a chain for best-of-n and votes (text, answer); given by the caller, who knows tokenizer and benchmark."""
    encode: Callable[[str], tuple[int, ...]] | None = None
    """Token ids of a text that a sampler puts into an answer, without special tokens; given by the caller likewise."""


@dataclass(frozen=True)
class Sample:
    """One answer and what it cost."""

    chain: Chain
    decode_tokens: int
    """All tokens drawn for it."""
    moves: tuple[Move, ...] = ()
    candidates: tuple[Chain, ...] = ()


class Sampler(ABC):
    """A frozen dataclass of parameters with one method; every yaml of conf/sampler builds one."""

    max_new_tokens: int
    """T: most generated tokens of an answer, the stop id included."""

    @property
    def is_deterministic(self) -> bool:
        """Whether every chain of a problem is the same answer."""
        return False

    @property
    def is_greedy(self) -> bool:
        """Whether every token is the most probable one."""
        return False

    @property
    def inserts(self) -> bool:
        """Whether its answers hold tokens that it put in (Chain.inserted)."""
        return False

    @abstractmethod
    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """Draw one answer. `resume` is the state of a Checkpoint that this sampler yielded for the same prompt."""

    @abstractmethod
    def expected_tokens(self, mean_length: float) -> float:
        """Decode tokens that an answer of `mean_length` tokens is expected to cost; for the plan that a run prints."""


class Selection(Sampler):
    """Draws a pool of candidates, then chooses one: the pool is a sampler of its own, so that several selections
    share one pool's draws."""

    pool: Any

    @property
    def max_new_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The pool's."""
        return self.pool.max_new_tokens

    @abstractmethod
    def choose(self, candidates: Sequence[Candidate]) -> int:
        """Index of the chosen candidate, of one at least."""

    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """The pool's sample with the chosen candidate as its chain."""
        if prompt.candidate is None:
            raise ValueError(f"{type(self).__name__} needs prompt.candidate to read its pool's answers.")
        drawn = yield from self.pool.sample(prompt, resume)
        chosen = self.choose([prompt.candidate(chain) for chain in drawn.candidates])
        return Sample(drawn.candidates[chosen], drawn.decode_tokens, candidates=drawn.candidates)

    def expected_tokens(self, mean_length: float) -> float:
        """The pool's."""
        return self.pool.expected_tokens(mean_length)


def require(condition: bool, name: str, value: object, bound: str, advice: str) -> None:
    """Raise the ValueError that every bad parameter gets: name, value, bound, next move."""
    if not condition:
        raise ValueError(f"{name}={value}: must be {bound}; {advice}.")


def require_positive(owner: Any, *names: str) -> None:
    """Each named field is at least 1."""
    for name in names:
        value = getattr(owner, name)
        require(value >= 1, name, value, "at least 1", f"set {name} to a positive number")


def require_temperature(temperature: float, top_k: int) -> None:
    """A temperature above 0 and a top_k of at least 0."""
    require(temperature > 0, "temperature", temperature, "above 0", "use sampler=greedy for the limit at 0")
    require(top_k >= 0, "top_k", top_k, "at least 0", "0 draws from the whole vocabulary")
