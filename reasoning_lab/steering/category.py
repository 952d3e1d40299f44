"""Which vector to add: rules that choose a category, each a function of one place in one text."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

from reasoning_lab.checks import require_one_of
from reasoning_lab.steering.gate import Place

Hold = Literal["token", "sentence"]


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


@final
@dataclass(frozen=True)
class Argmax(CategoryRule):
    """The category of the thinking model's stream: the argmax of the clusters' scores, always one (no threshold)."""

    hold: Hold = "token"
    scored = True

    def __post_init__(self) -> None:
        require_one_of(Hold, "hold", self.hold)

    def choose(self, place: Place, n: int) -> int:
        """The argmax itself, whatever n is: the clusters have no more."""
        return place.picked


@final
@dataclass(frozen=True)
class RandomCategory(CategoryRule):
    """Each category with probability 1/n, keyed by (seed, prompt, position)."""

    seed: int = 0
    hold: Hold = "token"

    def __post_init__(self) -> None:
        require_one_of(Hold, "hold", self.hold)

    def choose(self, place: Place, n: int) -> int:
        """floor(n u) of the place's uniform u."""
        return int(place.uniform(self.seed, "category") * n)
