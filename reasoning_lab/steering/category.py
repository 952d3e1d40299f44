"""Which vector to add: rules that choose a category, each a function of one place in one text."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from reasoning_lab.steering.gate import Place

Hold = Literal["token", "sentence"]
HOLDS = ("token", "sentence")


class CategoryRule(ABC):
    """The category in force at a place."""

    hold: Hold = "token"
    """token: chosen at every position (Venhoff et al. 2025). sentence: chosen where a sentence begins and held until
    the next one begins."""
    scored: bool = False
    """Whether it looks at the clusters' scores: the thinking model is then read at every token."""

    def category(self, place: Place, n: int) -> int:
        """One of 0 ... n-1."""
        if self.hold == "sentence" and not place.ends_sentence:
            return place.held
        return self.choose(place, n)

    @abstractmethod
    def choose(self, place: Place, n: int) -> int:
        """A new choice at this place."""


def _check_hold(hold: str) -> None:
    if hold not in HOLDS:
        raise ValueError(f"hold={hold}: must be token or sentence; token is the paper's.")


@dataclass(frozen=True)
class Argmax(CategoryRule):
    """The category of the thinking model's stream: the argmax of the clusters' scores, always one (no threshold)."""

    hold: Hold = "token"
    scored = True

    def __post_init__(self) -> None:
        _check_hold(self.hold)

    def choose(self, place: Place, n: int) -> int:
        """The place's argmax."""
        return place.picked


@dataclass(frozen=True)
class RandomCategory(CategoryRule):
    """Each category with probability 1/n, keyed by (seed, prompt, position)."""

    seed: int = 0
    hold: Hold = "token"

    def __post_init__(self) -> None:
        _check_hold(self.hold)

    def choose(self, place: Place, n: int) -> int:
        """floor(n u) of the place's uniform u."""
        return int(place.uniform(self.seed, "category") * n)


@dataclass(frozen=True)
class FixedCategory(CategoryRule):
    """The same category everywhere."""

    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f"index={self.index}: must be at least 0; categories count from 0.")

    def choose(self, place: Place, n: int) -> int:
        """The index; ValueError beyond the last category."""
        if self.index >= n:
            raise ValueError(f"index={self.index}: the taxonomy has categories 0 ... {n - 1}; choose one of them.")
        return self.index
