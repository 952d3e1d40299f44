"""What is added to the base model's stream: where, when, which vector, how strongly; and who may sample from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

from reasoning_lab.checks import require, require_one_of
from reasoning_lab.sampler.base import Sampler
from reasoning_lab.steering.category import CategoryRule
from reasoning_lab.steering.coefficient import Candidates, CoefficientRule, check_window
from reasoning_lab.steering.gate import Gate
from reasoning_lab.steering.vectors.base import VectorMethod, VectorSet

Memory = Literal["plain", "steered"]
Vocabulary = Literal["ids", "strings"]


class SteeringRule(ABC):
    """A steering, or a control that stands beside one: what a HybridPolicy runs."""

    n_draws: int = 1
    """Draws of a random control that make up its row of the table."""
    rate_matched_to: str | None = None
    """Arm whose steered fraction is the rate of a random gate."""

    @abstractmethod
    def resolve(self) -> Steering:
        """The steering that is run."""

    @property
    def inner(self) -> Steering:
        """The steering itself, without the control around it."""
        return self.resolve()

    def draws(self) -> tuple[SteeringRule, ...]:
        """The rules whose answers make up one row of the table."""
        return (self,)

    def matched(self, rate: float) -> SteeringRule:
        """The rule where another arm's steered fraction is `rate`: itself, unless it steers at random places."""
        return self

    def transform(self, vectors: VectorSet) -> VectorSet:
        """The vectors that are added, from the trained ones."""
        return vectors

    @property
    def thinking_top_k(self) -> int:
        """k > 0: at fired places the thinking model's law on the base model's k most probable ids takes the place of
        the steered law."""
        return 0

    def check_sampler(self, sampler: Sampler) -> None:
        """ValueError if the steering chooses tokens and the sampler does not take the most probable one."""
        require(
            sampler.is_greedy or not self.inner.chooses_tokens,
            "sampler",
            type(sampler).__name__.lower(),
            "greedy: the thinking model chooses among this steering's candidates, which gives a token and no law to "
            "sample from",
            "use sampler=greedy, or steering.coefficient=fixed or learned",
        )


@final
@dataclass(frozen=True)
class NoSteering(SteeringRule):
    """The policy as it is."""

    def resolve(self) -> Steering:
        """Refused: there is nothing to run."""
        raise ValueError("steering=none: there is no steering; choose steering=embedded or venhoff2025.")

    def check_sampler(self, sampler: Sampler) -> None:
        """Every sampler may draw from an unsteered model."""


@final
@dataclass(frozen=True)
class Steering(SteeringRule):
    """At places where the gate fires, the base model's stream at `layer` gets coefficient · (v_category + bias)."""

    vectors: VectorMethod
    """How the vectors were found."""
    layer: int
    """Decoder layer, counted from 0, to whose output the vector is added: in training and here the same (departures
    B2)."""
    gate: Gate
    category: CategoryRule
    coefficient: CoefficientRule
    window: int = 1
    """Positions that a steered pass adds the vector to: the last w, 0 all, prompt included. More than the last one are
    run again above `layer` for every steered token."""
    memory: Memory = "plain"
    """What later positions see of a steered one. plain: its unsteered states, as in the authors' code. steered: what
    the steered pass wrote, as in training."""
    normalise: bool = True
    """False: the clusters read raw activations, though fitted on centred unit vectors (departures B1)."""
    use_bias: bool = True
    """Add the bias vector, where the vectors have one, to every category's."""
    vocabulary: Vocabulary = "ids"
    """How the models read each other's tokens. ids: by a map of equal tokens. strings: each token's text anew, and ids
    compared as numbers (departures B7)."""

    def __post_init__(self) -> None:
        check_window(self.window, "window")
        require(self.layer >= 0, "layer", self.layer, "at least 0", "layers count from 0")
        require_one_of(Memory, "memory", self.memory)
        require_one_of(Vocabulary, "vocabulary", self.vocabulary)
        if self.memory == "steered":
            bound = "1 with memory=steered, for wider windows are run anew at every steered token"
            require(self.window == 1, "window", self.window, bound, "set memory=plain")
            bound = "plain: candidates are tried and dropped"
            require(not self.chooses_tokens, "memory", self.memory, bound, "set memory=plain")
        if isinstance(self.coefficient, Candidates):
            bound = "1: candidates have their own windows"
            require(self.window == 1, "window", self.window, bound, "set coefficient.windows and window=1")

    def resolve(self) -> Steering:
        return self

    @property
    def chooses_tokens(self) -> bool:
        """Whether it ends in a token and not in a law."""
        return self.coefficient.chooses_tokens
