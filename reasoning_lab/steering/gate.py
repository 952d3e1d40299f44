"""When to steer: gates, each a function of one place in one text."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from reasoning_lab.checks import require
from reasoning_lab.engine.rng import Key, uniform


@dataclass(frozen=True)
class Place:
    """All that a gate or a category rule may look at: one position of one text. It follows from the prefix alone."""

    prompt: str
    """Digest of the base prompt's ids."""
    position: int
    """Generated tokens before the one that is to be drawn; 0 at the prompt's last token."""
    ends_sentence: bool
    """Whether the last token read ends a sentence; the prompt's last token does."""
    picked: int
    """Category of the thinking model's stream here: the argmax of the clusters' scores (0 where nothing reads it)."""
    held: int
    """Category in force one position earlier (0 at the prompt's last token)."""
    base_choice: int = -1
    """Most probable id under the unsteered base model; -1 where the gate does not compare."""
    thinking_choice: int = -1
    """Most probable id under the thinking model, in the base model's ids; -1 where there is no such id."""

    def uniform(self, seed: int, role: str) -> float:
        """The random rules' number: keyed by (seed, prompt, position), so never a matter of chain, move or order."""
        return uniform(Key(seed, self.prompt), self.position, role)


class Gate(ABC):
    """Whether the base model is steered at a place."""

    compares: bool = False
    """Whether it looks at the two models' choices: both heads are then read at every token."""
    everywhere: bool = False
    """Whether it fires at all places (only the batch of the steered pass depends on it)."""

    @abstractmethod
    def fires(self, place: Place) -> bool:
        """Whether to steer."""


@final
@dataclass(frozen=True)
class Disagreement(Gate):
    """Fires where the most probable tokens of base and thinking model differ (Venhoff et al. 2025, section 4; both
    versions of the code). A thinking token without counterpart in the base vocabulary differs from every base token."""

    compares = True

    def fires(self, place: Place) -> bool:
        """Base choice ≠ thinking choice."""
        return place.base_choice != place.thinking_choice


@final
@dataclass(frozen=True)
class Always(Gate):
    """Fires at every token."""

    everywhere = True

    def fires(self, place: Place) -> bool:
        return True


@final
@dataclass(frozen=True)
class Never(Gate):
    """Fires nowhere: the base model as it is, seen through the taxonomy."""

    def fires(self, place: Place) -> bool:
        return False


@final
@dataclass(frozen=True)
class Boundary(Gate):
    """Fires where a sentence begins: at the prompt's last token and at tokens that end a sentence."""

    def fires(self, place: Place) -> bool:
        """Whether the token read ends a sentence."""
        return place.ends_sentence


@final
@dataclass(frozen=True)
class RandomPositions(Gate):
    """Fires at each position independently with probability `rate`."""

    rate: float
    """Share of positions."""
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.rate <= 1, "rate", self.rate, "from 0 to 1", "use the steered fraction to be matched")

    def fires(self, place: Place) -> bool:
        """Whether the place's uniform falls below the rate."""
        return place.uniform(self.seed, "gate") < self.rate
