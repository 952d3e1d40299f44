"""Controls: each stands beside a steering and differs from it in one thing.

The random ones are keyed by their `draw`; several draws of a control are several controls (`draws`), whose answers make
up one row of the table.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from reasoning_lab.checks import require, require_count, require_one_of
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.steering.category import RandomCategory
from reasoning_lab.steering.coefficient import Fixed
from reasoning_lab.steering.gate import RandomPositions
from reasoning_lab.steering.steering import Steering, SteeringRule
from reasoning_lab.steering.vectors.base import VectorSet

Norm = Literal["matched", "unit"]


class Control(SteeringRule):
    """A frozen dataclass around the steering that it controls."""

    of: Steering

    @property
    def inner(self) -> Steering:
        """What it controls."""
        return self.of

    @abstractmethod
    def resolve(self) -> Steering:
        """The steering that is run in its place."""


@dataclass(frozen=True)
class RandomControl(Control):
    """A control that is drawn: number `draw` of it, or `n_draws` of them from there on."""

    of: Steering
    draw: int = 0
    n_draws: int = 1

    def __post_init__(self) -> None:
        require_count(self, "n_draws")

    def draws(self) -> tuple[SteeringRule, ...]:
        """One rule per draw."""
        return tuple(replace(self, draw=self.draw + number, n_draws=1) for number in range(self.n_draws))


@final
@dataclass(frozen=True)
class BiasOnly(Control):
    """Same gate and coefficient, but all categories get the bias alone: is it the category that helps?"""

    of: Steering

    def resolve(self) -> Steering:
        """The steering, its bias switched on."""
        return replace(self.of, use_bias=True)

    def transform(self, vectors: VectorSet) -> VectorSet:
        """Zero vectors beside the bias; ValueError where there is none."""
        if vectors.bias is None:
            raise ValueError("control bias_only: these vectors have no bias; train them with one, or drop the arm.")
        return replace(vectors, vectors=vectors.vectors * 0)


@final
@dataclass(frozen=True)
class RandomVectors(RandomControl):
    """Vectors of random direction, independent of each other; the bias stays: is it the direction that helps?

    What is added is v + b, and the bias b is long and not orthogonal to a vector v: a free direction of length |v|
    would make the sum another length. Matched, r is v with its part orthogonal to b turned,

        r = (v·b) b/|b|² + |v − (v·b) b/|b|²| u,    u uniform on the unit sphere orthogonal to b,

    so that |r + b| = |v + b|, (r + b)·b = (v + b)·b and |r| = |v|. Where no bias is added (none trained, zero, or
    use_bias=false) u is uniform on the whole sphere and |r| = |v|. A v parallel to b (any v in one dimension) has
    nothing to turn: r = v, and the control is the steering itself there.
    """

    version: ClassVar[int] = 2
    norm: Norm = "matched"
    """matched: what is added is as long, and as long along the bias, as with the vector that it stands for. unit: of
    length 1, which beside learned norms of 40 and a bias of 151 is hardly there at all (departures B5)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(Norm, "norm", self.norm)

    def resolve(self) -> Steering:
        """The steering as it is."""
        return self.of

    def transform(self, vectors: VectorSet) -> VectorSet:
        """Gaussian directions at the wanted lengths; a category without a vector gets none."""
        drawn, learned = _gaussian(self.draw, vectors.vectors), vectors.vectors.double()
        if self.norm == "unit":
            return replace(vectors, vectors=(_unit(drawn) * (vectors.norms > 0)[:, None]).to(vectors.vectors))
        bias = vectors.bias if vectors.bias is not None and self.of.use_bias else torch.zeros_like(learned[0])
        axis = _unit(bias.double())
        along, free = (learned @ axis).outer(axis), drawn - (drawn @ axis).outer(axis)
        turned = along + _unit(free) * (learned - along).norm(dim=1, keepdim=True)
        return replace(vectors, vectors=turned.to(vectors.vectors))


def _unit(vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """At length 1; zero stays zero."""
    return functional.normalize(vectors, dim=-1, eps=torch.finfo(vectors.dtype).tiny)


def _gaussian(draw: int, like: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Independent standard normal entries in the shape of `like`, in double precision, the same on every device."""
    seed = int(uniform(Key(draw, ""), 0, "random vectors") * 2**52)
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(like.device)


@final
@dataclass(frozen=True)
class RandomCategories(RandomControl):
    """The trained vectors, but a random one at each choice: is it the right category that helps?"""

    def resolve(self) -> Steering:
        """Random category, held as the steering's is."""
        return replace(self.of, category=RandomCategory(self.draw, self.of.category.hold))


@final
@dataclass(frozen=True)
class RandomFiring(RandomControl):
    """The trained vectors at random positions: is it the moment that helps?"""

    rate: float | None = None
    """Share of positions; null: that of the arm rate_matched_to."""
    rate_matched_to: str | None = None
    """Arm whose steered fraction is the rate."""

    def matched(self, rate: float) -> RandomFiring:
        """At a measured steered fraction, unless a rate is given."""
        return self if self.rate is not None else replace(self, rate=rate)

    def resolve(self) -> Steering:
        """Random gate."""
        if self.rate is None:
            raise ValueError("rate=null: measure the steering's steered fraction first and pass it to matched().")
        return replace(self.of, gate=RandomPositions(self.rate, self.draw))


@final
@dataclass(frozen=True)
class NoVector(Control):
    """The gate fires and nothing is added: the base model, by the steered path."""

    of: Steering

    def resolve(self) -> Steering:
        """The steering without its bias."""
        return replace(self.of, use_bias=False)

    def transform(self, vectors: VectorSet) -> VectorSet:
        """Zero vectors."""
        return replace(vectors, vectors=vectors.vectors * 0)


@final
@dataclass(frozen=True)
class ThinkingChoice(Control):
    """No steering: where the gate fires, the thinking model's law on the base model's `top_k` most probable ids.

    The published method lets the thinking model choose among steered candidates; this is what that choice is worth
    alone (departures B4), and no null control but a competitor.
    """

    of: Steering
    top_k: int

    def __post_init__(self) -> None:
        require(self.top_k >= 1, "top_k", self.top_k, "at least 1", "1 leaves the base model's own choice")

    def resolve(self) -> Steering:
        """The steering's gate and category; of a coefficient or a window nothing is used."""
        return replace(self.of, coefficient=Fixed(0.0), window=1, memory="plain")

    @property
    def thinking_top_k(self) -> int:
        """As SteeringRule.thinking_top_k."""
        return self.top_k
