"""How strongly to steer: the factor of the vector that is added."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product
from typing import final

from reasoning_lab.checks import require

AUTHORS_VALUES = tuple(round(0.1 * n, 1) for n in range(1, 11))
"""Coefficients that the published runs of the small pairs try (released code)."""
AUTHORS_WINDOWS = (0, 1, 15, 50, 100)
"""Windows that they try, 0 being all positions."""


class CoefficientRule(ABC):
    """Where the factor comes from."""

    @property
    @abstractmethod
    def chooses_tokens(self) -> bool:
        """Whether the rule ends in a token and not in a law: greedy only."""


@final
@dataclass(frozen=True)
class Fixed(CoefficientRule):
    """One number for all places."""

    value: float
    """Factor of vector (and bias)."""

    @property
    def chooses_tokens(self) -> bool:
        return False


@final
@dataclass(frozen=True)
class Learned(CoefficientRule):
    """alpha(h, c) = softplus(head_c(GELU(trunk(h)))) of the base model's unsteered residual h at the steering layer:
    the coefficient network of venhoff2026 vectors (released 2026 code)."""

    @property
    def chooses_tokens(self) -> bool:
        return False


@final
@dataclass(frozen=True)
class Candidates(CoefficientRule):
    """Every (value, window) gives a candidate, the greedy token of the base model steered so; the thinking model takes
    the one that it finds most probable (Venhoff et al. 2025, released code: the perplexity guardrail).

    Candidates are ordered: the unsteered token, then values, within a value windows; ties go to the earliest. A rule
    that chooses a token is no law of tokens, so greedy alone may use it.
    """

    values: tuple[float, ...] = AUTHORS_VALUES
    """Factors of vector and bias."""
    windows: tuple[int, ...] = AUTHORS_WINDOWS
    """Steered positions: the last w, 0 all."""
    include_unsteered: bool = True
    """False: the base model's own token is no candidate, as in the authors' code (departures B4)."""

    def __post_init__(self) -> None:
        # A config's lists become tuples, so that the object can be hashed.
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        object.__setattr__(self, "windows", tuple(self.windows))
        for name in ("values", "windows"):
            held = getattr(self, name)
            require(len(held) > 0, f"coefficient.{name}", held, "at least one number", "the authors' are the default")
        for window in self.windows:
            check_window(window, "coefficient.windows")

    @property
    def chooses_tokens(self) -> bool:
        return True

    @property
    def pairs(self) -> tuple[tuple[float, int], ...]:
        """The steered candidates, in order."""
        return tuple(product(self.values, self.windows))

    @property
    def wide(self) -> bool:
        """Whether any window holds more than the last position."""
        return any(window != 1 for window in self.windows)


def check_window(window: int, name: str) -> None:
    """ValueError unless a window is a number of last positions, or 0."""
    advice = f"0 steers all positions and w the last w; the authors write {window} for {-window}"
    require(window >= 0, name, window, "at least 0", advice)
