"""Pools of independent answers, and the two ways to choose one: likelihood and vote."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reasoning_lab.policy import Chain, Request
from reasoning_lab.records import Candidate
from reasoning_lab.sampler.base import (
    Draws,
    Prompt,
    Sample,
    Sampler,
    Selection,
    require,
    require_positive,
    require_temperature,
)


@dataclass(frozen=True)
class Pool(Sampler):
    """Independent answers at a temperature: `n` of them, or as many as a budget of decode tokens takes.

    Under a budget candidates are drawn until their tokens reach it, and the one that crosses it is kept, so a pool
    never costs less than its budget (the rule of the entropy-cut MH code's best-of-n).
    """

    max_new_tokens: int
    temperature: float
    n: int | None = None
    """Candidates; None when a budget decides."""
    budget: float | None = None
    """Decode tokens per problem; None when n decides."""
    tokens_matched_to: str | None = None
    """Arm whose mean decode tokens per problem become the budget."""

    def __post_init__(self) -> None:
        require_positive(self, "max_new_tokens")
        require_temperature(self.temperature, 0)
        given = [name for name in ("n", "budget", "tokens_matched_to") if getattr(self, name) is not None]
        require(
            len(given) == 1,
            "pool",
            given,
            "given exactly one of n, budget, tokens_matched_to",
            "set the others to null",
        )
        if given[0] != "tokens_matched_to":
            require_positive(self, given[0])

    def sample(self, prompt: Prompt, resume: dict[str, Any] | None = None) -> Draws:
        """The whole pool; its first candidate stands for it."""
        if self.tokens_matched_to is not None:
            raise ValueError(f"tokens_matched_to={self.tokens_matched_to}: the run must resolve it to a budget first.")
        candidates: list[Chain] = []
        spent = 0
        while len(candidates) < self.n if self.n is not None else spent < (self.budget or 0):
            key = prompt.key._replace(rung=len(candidates))
            chain = yield Request(
                Chain(prompt.ids), 0, key, self.max_new_tokens, prompt.stop_ids,
                temperature=self.temperature, want_negentropy=True,
            )  # fmt: skip
            candidates.append(chain)
            spent += chain.n_drawn
        return Sample(candidates[0], spent, candidates=tuple(candidates))

    def expected_tokens(self, mean_length: float) -> float:
        """The budget, or n answers."""
        return self.budget if self.budget is not None else (self.n or 1) * mean_length


@dataclass(frozen=True)
class BestOfN(Selection):
    """The candidate of highest likelihood under the policy (ties to the first)."""

    pool: Pool
    score: Literal["mean_log_p", "sum_log_p"] = "mean_log_p"
    """Mean or sum over the candidate's tokens; the sum prefers short answers."""

    def choose(self, candidates: Sequence[Candidate]) -> int:
        """argmax of the score."""
        per = [c.log_p / (len(c.ids) if self.score == "mean_log_p" else 1) for c in candidates]
        return max(range(len(per)), key=lambda i: (per[i], -i))


@dataclass(frozen=True)
class Majority(Selection):
    """Self-consistency: the first candidate with the most frequent answer (ties to the answer seen first).

    Candidates without an answer don't vote; where none has one the first candidate stands.
    """

    pool: Pool

    def choose(self, candidates: Sequence[Candidate]) -> int:
        """Index of the first candidate that gives the winning answer."""
        answers = [c.answer for c in candidates]
        votes = Counter(answer for answer in answers if answer is not None)
        if not votes:
            return 0
        (winner, _), *_ = votes.most_common()  # Counter keeps the order of first sight among equals.
        return answers.index(winner)
