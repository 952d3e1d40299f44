"""Ancestral sampling: token by token, at a temperature, from the whole law or its most probable tokens, or greedily."""

from dataclasses import dataclass

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Need
from reasoning_lab.engine.policy import Chain, Coroutine, Request, State
from reasoning_lab.sampler.base import Prompt, Sample, Sampler, require_temperature


@dataclass(frozen=True)
class Temperature(Sampler):
    """x_t ~ p(. | x_<t)^(1/temperature), normalised per token: low temperature is *not* the power law, for it
    averages the futures of a token before it sharpens them (Karan & Du 2025, eq. 7-8).

    top_k and top_p (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751) cut the law and normalise it again: first
    the temperature, then top_k, then top_p of what is left. Ties at either edge are kept, so the cut does not depend on
    the order of ids. log q and log Z are those of the cut law, log p is the model's own.
    """

    max_new_tokens: int
    temperature: float
    top_k: int = 0
    """Draw from the k most probable tokens (0: all)."""
    top_p: float = 1.0
    """Draw from the smallest set of most probable tokens whose mass reaches top_p (1: all)."""

    def __post_init__(self) -> None:
        require_count(self, "max_new_tokens")
        require_temperature(self.temperature, self.top_k)
        require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1", "1 draws from the whole vocabulary")

    @property
    def is_plain(self) -> bool:
        return self.temperature == 1 and not self.top_k and self.top_p == 1

    @property
    def n_held(self) -> int:
        return 0

    @property
    def needs(self) -> frozenset[Need]:
        """The cuts that it makes."""
        return cuts(self.top_k, self.top_p)

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """One request."""
        chain = yield Request(
            Chain(prompt.ids),
            0,
            prompt.key,
            self.max_new_tokens,
            prompt.stop_ids,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            want_negentropy=True,
        )
        return Sample(chain, chain.n_drawn)

    def expected_tokens(self, mean_length: float) -> float:
        """The answer's own length."""
        return mean_length


@dataclass(frozen=True)
class Greedy(Sampler):
    """The most probable token at every step; ties go to the smallest id."""

    max_new_tokens: int

    def __post_init__(self) -> None:
        require_count(self, "max_new_tokens")

    @property
    def is_deterministic(self) -> bool:
        return True

    @property
    def is_greedy(self) -> bool:
        return True

    @property
    def n_held(self) -> int:
        return 0

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
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
        """The answer's own length."""
        return mean_length


def cuts(top_k: int, top_p: float = 1.0) -> frozenset[Need]:
    """What draws from a law that is cut so need of an engine."""
    made: dict[Need, bool] = {"top_k": top_k > 0, "top_p": top_p < 1}
    return frozenset(need for need, is_made in made.items() if is_made)
