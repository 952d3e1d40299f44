"""Power sampling: Metropolis-Hastings draws from p^alpha of a base model (Karan & Du 2025, section 4 and Alg. 1)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Need
from reasoning_lab.engine.policy import Coroutine, State
from reasoning_lab.sampler.ancestral import cuts
from reasoning_lab.sampler.base import Prompt, Sample, Sampler, require_temperature
from reasoning_lab.sampler.metropolis import Ladder, OverlapRule, PowerRule, Redraw, StopRule, UphillRule

COMPAT_TOP_K = 50
"""What transformers 4's GenerationConfig puts into the proposals of Karan & Du's code unasked (departures D9)."""


@dataclass(frozen=True)
class Power(Sampler):
    """Draws from p(x)^alpha over whole answers.

    Per token the target weighs sum_future p^alpha where low temperature weighs (sum_future p)^alpha. The kernel is
    exact for variable lengths; the law of its output tends to the target as n_steps grows. `compat: karan2025` is the
    authors' code instead: proposals never longer than the state, a ratio over the overlap only, no length term, rungs
    that extend from the present length, return at the first end of text, top_k=50 in the proposal (departures D1 to D5
    and D9); it targets another law.
    """

    version: ClassVar[int] = 2
    """Of the numbers that a key draws: 1 drew all of every proposal."""
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
    redraw: Redraw = "from_difference"
    """Which tokens of a proposal are drawn; the law is the same. compat=karan2025 draws all behind the cut."""

    def __post_init__(self) -> None:
        require(self.alpha >= 1, "alpha", self.alpha, "at least 1", "below 1 the law is flattened, not sharpened")
        _require_schedule(self)
        require_temperature(self.temperature, 0)

    @property
    def temperature(self) -> float:
        """Of the proposal."""
        return 1 / self.alpha if self.proposal_temperature is None else self.proposal_temperature

    @property
    def tends_to_power_law(self) -> bool:
        """Whether the law of its answers tends to p^alpha as n_steps grows."""
        return self.compat == "none" and self.stop_rule != "first_eos"

    @property
    def ladder(self) -> Ladder:
        """The climb that these parameters describe."""
        if self.compat == "karan2025":
            return Ladder(
                self.max_new_tokens, self.block_size, self.n_steps, self.temperature, COMPAT_TOP_K,
                OverlapRule(self.alpha), "first_eos", has_compat_caps=True,
            )  # fmt: skip
        is_tempered_target = abs(self.temperature * self.alpha - 1) < 1e-12
        return Ladder(
            self.max_new_tokens, self.block_size, self.n_steps, self.temperature, 0,
            PowerRule(self.alpha, is_tempered_target), self.stop_rule, self.redraw,
        )  # fmt: skip

    @property
    def needs(self) -> frozenset[Need]:
        """The cut of the proposal, its log Z, and a first token that differs."""
        hot: frozenset[Need] = frozenset({"hot"} if self.temperature > 1 else ())
        return cuts(self.ladder.top_k) | hot | _differing(self.redraw)

    @property
    def is_chain(self) -> bool:
        return True

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """Climb the ladder."""
        return self.ladder.climb(prompt, resume)

    def expected_tokens(self, mean_length: float) -> float:
        """Those of the ladder."""
        return self.ladder.expected_tokens(mean_length)


@dataclass(frozen=True)
class PowerLimit(Sampler):
    """The limit alpha -> infinity: the same ladder, accepting exactly the proposals that raise log p of the answer."""

    version: ClassVar[int] = 2
    """As Power's."""
    max_new_tokens: int
    block_size: int
    """B [tokens]."""
    n_steps: int
    """N: steps per rung."""
    proposal_temperature: float
    """Any positive temperature: the limit does not fix one."""
    stop_rule: StopRule = "full_ladder"
    redraw: Redraw = "from_difference"
    """As Power's."""

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
            self.redraw,
        )

    @property
    def needs(self) -> frozenset[Need]:
        """A first token that differs."""
        return _differing(self.redraw)

    @property
    def is_chain(self) -> bool:
        return True

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """Climb the ladder."""
        return self.ladder.climb(prompt, resume)

    def expected_tokens(self, mean_length: float) -> float:
        """Those of the ladder."""
        return self.ladder.expected_tokens(mean_length)


def _differing(redraw: Redraw) -> frozenset[Need]:
    """What drawing from the first difference on needs: a token that is not the state's."""
    return frozenset({"excluded"} if redraw == "from_difference" else ())


def _require_schedule(sampler: Power | PowerLimit) -> None:
    require_count(sampler, "max_new_tokens", "block_size", "n_steps")
    require(
        sampler.block_size <= sampler.max_new_tokens, "block_size", sampler.block_size,
        f"at most max_new_tokens={sampler.max_new_tokens}", "lower block_size or raise benchmark.max_new_tokens",
    )  # fmt: skip
