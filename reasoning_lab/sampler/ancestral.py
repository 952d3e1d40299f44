"""Ancestral sampling: token by token, at a temperature or greedily."""

from dataclasses import dataclass
from typing import Any

from reasoning_lab.policy import Chain, Request
from reasoning_lab.sampler.base import Draws, Prompt, Sample, Sampler, require_positive, require_temperature


@dataclass(frozen=True)
class Temperature(Sampler):
    """x_t ~ p(. | x_<t)^(1/temperature), normalised per token: low temperature is *not* the power law, for it
    averages the futures of a token before it sharpens them (Karan & Du 2025, eq. 7-8)."""

    max_new_tokens: int
    temperature: float
    top_k: int = 0
    """Draw from the k most probable tokens (0: all)."""

    def __post_init__(self) -> None:
        require_positive(self, "max_new_tokens")
        require_temperature(self.temperature, self.top_k)

    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """One request."""
        chain = yield Request(
            Chain(prompt.ids),
            0,
            prompt.key,
            self.max_new_tokens,
            prompt.stop_ids,
            temperature=self.temperature,
            top_k=self.top_k,
            want_negentropy=True,
        )
        return Sample(chain, chain.n_drawn)

    def expected_tokens(self, mean_length: float) -> float:
        """The answer's own."""
        return mean_length


@dataclass(frozen=True)
class Greedy(Sampler):
    """The most probable token at every step; ties go to the smallest id."""

    max_new_tokens: int

    def __post_init__(self) -> None:
        require_positive(self, "max_new_tokens")

    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """One request at temperature 0."""
        chain = yield Request(
            Chain(prompt.ids),
            0,
            prompt.key,
            self.max_new_tokens,
            prompt.stop_ids,
            temperature=0.0,
            want_negentropy=True,
        )
        return Sample(chain, chain.n_drawn)

    def expected_tokens(self, mean_length: float) -> float:
        """The answer's own."""
        return mean_length
