"""What is added to the base model's stream: where, when, which vector, how strongly; and who may sample from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from reasoning_lab.steering.category import CategoryRule
from reasoning_lab.steering.coefficient import Candidates, CoefficientRule, check_window
from reasoning_lab.steering.gate import Gate
from reasoning_lab.steering.vectors.base import VectorMethod, VectorSet

MEMORIES = ("plain", "steered")
VOCABULARIES = ("ids", "strings")


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

    def transform(self, vectors: VectorSet) -> VectorSet:
        """The vectors that are added, from the trained ones."""
        return vectors

    @property
    def thinking_top_k(self) -> int:
        """k > 0: at fired places the thinking model's law on the base model's k most probable ids takes the place of
        the steered law."""
        return 0


@dataclass(frozen=True)
class NoSteering(SteeringRule):
    """The policy as it is."""

    def resolve(self) -> Steering:
        """Refused: there is nothing to run."""
        raise ValueError("steering=none: there is no steering; choose steering=embedded or venhoff2025.")


@dataclass(frozen=True)
class Steering(SteeringRule):
    """At places where the gate fires, the base model's stream at `layer` gets coefficient · (v_category + bias)."""

    vectors: VectorMethod
    """How the vectors were found."""
    layer: int
    """Decoder layer, counted from 0, to whose output the vector is added: in training and here the same (B2)."""
    gate: Gate
    category: CategoryRule
    coefficient: CoefficientRule
    window: int = 1
    """Positions that a steered pass adds the vector to: the last w, 0 all, prompt included. More than the last one are
    run again above `layer` for every steered token."""
    memory: Literal["plain", "steered"] = "plain"
    """What later positions see of a steered one. plain: its unsteered states, as in the authors' code. steered: what
    the steered pass wrote, as in training."""
    normalise: bool = True
    """False: the clusters read raw activations, though fitted on centred unit vectors (the authors' B1)."""
    use_bias: bool = True
    """Add the bias vector, where the vectors have one, to every category's."""
    vocabulary: Literal["ids", "strings"] = "ids"
    """How the models read each other's tokens. ids: by a map of equal tokens. strings: each token's text anew, and ids
    compared as numbers (the authors' B7)."""

    def __post_init__(self) -> None:
        check_window(self.window, "window")
        if self.layer < 0:
            raise ValueError(f"layer={self.layer}: must be at least 0; layers count from 0.")
        if self.memory not in MEMORIES:
            raise ValueError(f"memory={self.memory}: must be plain or steered; plain is the authors'.")
        if self.vocabulary not in VOCABULARIES:
            raise ValueError(f"vocabulary={self.vocabulary}: must be ids or strings; strings is the authors'.")
        if self.memory == "steered" and self.window != 1:
            raise ValueError(
                f"window={self.window}: must be 1 with memory=steered, for wider windows are run anew at every steered "
                "token; set memory=plain."
            )
        if self.memory == "steered" and self.chooses_tokens:
            raise ValueError("memory=steered: candidates are tried and dropped; set memory=plain.")
        if isinstance(self.coefficient, Candidates) and self.window != 1:
            raise ValueError(f"window={self.window}: candidates have their own; set coefficient.windows and window=1.")

    def resolve(self) -> Steering:
        """Itself."""
        return self

    @property
    def chooses_tokens(self) -> bool:
        """Whether it ends in a token and not in a law."""
        return self.coefficient.chooses_tokens


def check_sampler(steering: SteeringRule, sampler: Any) -> None:
    """ValueError if the steering chooses tokens and the sampler (an object, or its name) is anything but greedy."""
    name = sampler if isinstance(sampler, str) else type(sampler).__name__
    if steering.inner.chooses_tokens and name.lower() != "greedy":
        raise ValueError(
            f"sampler={name.lower()}: this steering's candidates are judged by the thinking model, which chooses a "
            "token and gives no law to sample from; use sampler=greedy, or steering.coefficient=fixed or learned."
        )
