"""Pools of independent answers, and the ways to choose one: likelihood, confidence, vote, weighted vote."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Need
from reasoning_lab.records import Candidate
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import AnyPool, Prompt, Sampler, Selection, require_temperature

Score = Literal["mean_log_p", "sum_log_p", "confidence"]


@dataclass(frozen=True)
class Pool(AnyPool):
    """Independent answers at a temperature."""

    max_new_tokens: int
    temperature: float
    n: int | None = None
    """Candidates; None when a budget decides."""
    budget: float | None = None
    """Decode tokens per problem; None when n decides."""
    tokens_matched_to: str | None = None
    """Arm whose mean decode tokens per problem become the budget."""

    def __post_init__(self) -> None:
        require_count(self, "max_new_tokens")
        require_temperature(self.temperature, 0)
        self.require_one_size()

    def drawn_by(self) -> Temperature:
        """Ancestral sampling at the temperature."""
        return Temperature(self.max_new_tokens, self.temperature)

    def prompt_of(self, prompt: Prompt, candidate: int) -> Prompt:
        """The rung counts the candidates: ancestral sampling has none of its own."""
        return replace(prompt, key=prompt.key._replace(rung=candidate))


@dataclass(frozen=True)
class PoolOf(AnyPool):
    """Independent answers of any sampler of single answers: nucleus, budget forcing, power sampling."""

    sampler: Sampler
    """Draws one candidate."""
    n: int | None = None
    """Candidates; None when a budget decides."""
    budget: float | None = None
    """Decode tokens per problem; None when n decides."""
    tokens_matched_to: str | None = None
    """Arm whose mean decode tokens per problem become the budget."""

    def __post_init__(self) -> None:
        name = type(self.sampler).__name__
        is_pool = isinstance(self.sampler, (AnyPool, Selection))
        require(not is_pool, "sampler", name, "a sampler of single answers", "choose from one pool, not from pools")
        require(
            not self.sampler.is_deterministic, "sampler", name, "one whose answers differ",
            "set a temperature above 0; greedy and beam search give one answer however often they are asked",
        )  # fmt: skip
        self.require_one_size()

    @property
    def max_new_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """T of each candidate."""
        return self.sampler.max_new_tokens

    @property
    def inserts(self) -> bool:
        """As the given sampler."""
        return self.sampler.inserts

    def with_cue(self, cue: tuple[int, ...]) -> "PoolOf":
        """The same pool of answers with this cue."""
        return replace(self, sampler=self.sampler.with_cue(cue))

    def drawn_by(self) -> Sampler:
        """The given sampler."""
        return self.sampler

    def prompt_of(self, prompt: Prompt, candidate: int) -> Prompt:
        """Rung and step are the sampler's own, so the problem's name counts the candidates."""
        return replace(prompt, key=prompt.key._replace(problem=f"{prompt.key.problem} / candidate {candidate}"))


# -- choices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BestOfN(Selection):
    """The candidate of the highest score under the policy that drew it (ties to the first)."""

    pool: AnyPool
    score: Score = "mean_log_p"
    """mean_log_p or sum_log_p over the candidate's tokens, the sum preferring short answers; confidence: the mean over
    its positions of sum_v p log p (Karan & Du 2025, eq. 13)."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the score rests on, too."""
        return self.pool.needs | _read_by(self.score)

    def choose(self, candidates: Sequence[Candidate]) -> int:
        """argmax of the score."""
        per = [_score(candidate, self.score) for candidate in candidates]
        return max(range(len(per)), key=lambda i: (per[i], -i))


@dataclass(frozen=True)
class Majority(Selection):
    """Self-consistency: the first candidate with the most frequent answer (ties to the answer seen first).

    Candidates without an answer don't vote; where none has one the first candidate stands.
    """

    pool: AnyPool

    def choose(self, candidates: Sequence[Candidate]) -> int:
        """Index of the first candidate that gives the winning answer."""
        answers = [c.answer for c in candidates]
        votes = Counter(answer for answer in answers if answer is not None)
        if not votes:
            return 0
        (winner, _), *_ = votes.most_common()  # Counter keeps the order of first sight among equals.
        return answers.index(winner)


@dataclass(frozen=True)
class WeightedVote(Selection):
    """Self-consistency in which a candidate's vote weighs exp((alpha - 1) x score).

    The answer of the largest total weight wins (ties to the answer seen first), and its candidate of the highest weight
    stands for it (ties to the first). alpha 1 is the plain vote, alpha 2 weighs by exp(score). With a pool at
    temperature 1 and score sum_log_p the weights are p^alpha / p: the self-normalised importance estimate of each
    answer's mass under the power law, for which Karan & Du (2025) run Markov chains. Missing answers as in Majority.
    """

    pool: AnyPool
    score: Score = "mean_log_p"
    """As in BestOfN."""
    alpha: float = 2.0
    """At least 1: the exponent of the power law that sum_log_p aims at."""

    def __post_init__(self) -> None:
        holds = 1 <= self.alpha < math.inf
        require(holds, "alpha", self.alpha, "at least 1 and finite", "1 is the plain vote")

    @property
    def needs(self) -> frozenset[Need]:
        """What the score rests on, too."""
        return self.pool.needs | _read_by(self.score)

    def choose(self, candidates: Sequence[Candidate]) -> int:
        """Index of the best candidate that gives the winning answer."""
        voters = [i for i, candidate in enumerate(candidates) if candidate.answer is not None]
        if not voters:
            return 0
        exponents = {i: (self.alpha - 1) * _score(candidates[i], self.score) for i in voters}
        top = max(exponents.values())
        weights: dict[str | None, float] = {}
        for i in voters:
            answer = candidates[i].answer
            weights[answer] = weights.get(answer, 0.0) + math.exp(exponents[i] - top)
        winner = max(weights, key=lambda answer: weights[answer])  # A dict keeps the order of first sight.
        return max((i for i in voters if candidates[i].answer == winner), key=lambda i: (exponents[i], -i))


def _read_by(score: Score) -> frozenset[Need]:
    return frozenset({"negentropy"}) if score == "confidence" else frozenset()


def _score(candidate: Candidate, score: Score) -> float:
    """Score of one candidate [nats, or nats per token]."""
    if score == "confidence":
        return candidate.negentropy
    return candidate.log_p / (len(candidate.ids) - len(candidate.inserted) if score == "mean_log_p" else 1)
