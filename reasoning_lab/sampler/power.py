"""Power sampling: Metropolis-Hastings draws from p^alpha of a base model (Karan & Du 2025, section 4 and Alg. 1)."""

from dataclasses import dataclass
from typing import Any, Literal

from reasoning_lab.sampler.base import Draws, Prompt, Sampler, require, require_positive, require_temperature
from reasoning_lab.sampler.metropolis import Ladder, OverlapRule, PowerRule, StopRule, UphillRule

REFERENCE_TOP_K = 50
"""What transformers 4's GenerationConfig put into the reference's proposals without being asked (D9)."""


@dataclass(frozen=True)
class Power(Sampler):
    """Draws from p(x)^alpha over whole answers.

    Per token the target weighs sum_future p^alpha where low temperature weighs (sum_future p)^alpha. The kernel is
    exact for variable lengths; the law of its output tends to the target as n_steps grows. `compat: karan2025` is the
    authors' code instead: proposals never longer than the state, a ratio over the overlap only, no length term, rungs
    that extend from the present length, return at the first end of text, top_k=50 in the proposal (D1-D5, D9 of the
    research notes); it targets another law.
    """

    max_new_tokens: int
    alpha: float
    """Exponent of the target."""
    block_size: int
    """B [tokens]."""
    n_steps: int
    """N: Metropolis-Hastings steps per rung."""
    proposal_temperature: float | None = None
    """None: 1/alpha."""
    stop_rule: StopRule = "full_ladder"
    compat: Literal["none", "karan2025"] = "none"

    def __post_init__(self) -> None:
        require(self.alpha >= 1, "alpha", self.alpha, "at least 1", "below 1 the law is flattened, not sharpened")
        _require_schedule(self)
        require_temperature(self.temperature, 0)

    @property
    def temperature(self) -> float:
        """Of the proposal."""
        return 1 / self.alpha if self.proposal_temperature is None else self.proposal_temperature

    @property
    def ladder(self) -> Ladder:
        """The climb that these parameters describe."""
        if self.compat == "karan2025":
            return Ladder(
                self.max_new_tokens, self.block_size, self.n_steps, self.temperature, REFERENCE_TOP_K,
                OverlapRule(self.alpha), "first_eos", reference_caps=True,
            )  # fmt: skip
        is_tempered_target = abs(self.temperature * self.alpha - 1) < 1e-12
        return Ladder(
            self.max_new_tokens, self.block_size, self.n_steps, self.temperature, 0,
            PowerRule(self.alpha, is_tempered_target), self.stop_rule,
        )  # fmt: skip

    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """Climb the ladder."""
        return self.ladder.climb(prompt, resume)

    def expected_tokens(self, mean_length: float) -> float:
        """Of the ladder."""
        return self.ladder.expected_tokens(mean_length)


@dataclass(frozen=True)
class PowerLimit(Sampler):
    """The limit alpha -> infinity: the same ladder, accepting exactly the proposals that raise log p of the answer."""

    max_new_tokens: int
    block_size: int
    """B [tokens]."""
    n_steps: int
    """N: steps per rung."""
    proposal_temperature: float
    """Any positive temperature: the limit does not fix one."""
    stop_rule: StopRule = "full_ladder"

    def __post_init__(self) -> None:
        _require_schedule(self)
        require_temperature(self.proposal_temperature, 0)

    @property
    def ladder(self) -> Ladder:
        """The climb that these parameters describe."""
        return Ladder(
            self.max_new_tokens,
            self.block_size,
            self.n_steps,
            self.proposal_temperature,
            0,
            UphillRule(),
            self.stop_rule,
        )

    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """Climb the ladder."""
        return self.ladder.climb(prompt, resume)

    def expected_tokens(self, mean_length: float) -> float:
        """Of the ladder."""
        return self.ladder.expected_tokens(mean_length)


def cost_multiple(n_steps: int, max_new_tokens: float, block_size: int, with_plus_one: bool) -> float:
    """Proposal tokens per answer token by Karan & Du's formula.

    sum_k N k B / 2 over k = 1 ... T/B, divided by T. The paper (eq. 12) drops the +1 of K(K+1)/2: N T / (4 B) = 8.84
    at N=10, T=679, B=192; with it: N (T + B) / (4 B) = 11.34 (the slides).
    """
    return n_steps * (max_new_tokens + block_size * with_plus_one) / (4 * block_size)


def _require_schedule(sampler: Any) -> None:
    require_positive(sampler, "max_new_tokens", "block_size", "n_steps")
    require(
        sampler.block_size <= sampler.max_new_tokens, "block_size", sampler.block_size,
        f"at most max_new_tokens={sampler.max_new_tokens}", "lower block_size or raise benchmark.max_new_tokens",
    )  # fmt: skip
