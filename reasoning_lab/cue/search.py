"""Which one or two opening tokens make a model most sure of its answers, found without labels (arXiv:2610.06851).

1. Openings: a beam over the model's first tokens. At each depth the `width` openings of the highest mean probability
   over the problems, (1/n) Σ_i p(opening | prompt_i), are kept and extended; of all depths together the `width` most
   probable are the candidates. An extension with at least SAME of its opening's probability is that opening again and
   is left out.
2. Entropy: for each candidate, and for none, `n_samples` answers to each problem. Per problem the Shannon entropy
   [nats] of the answers in the form in which they vote; the candidate's score is its mean over the problems.
3. The candidate of the least mean entropy is the cue (ties to the more probable).

An answer that can't be read agrees with nothing, so each counts as a kind of its own: n answers of which none can be
read have the greatest entropy, log n, and a cue that makes a model say nothing can't win. (The authors' code takes all
unread answers for one kind, and drops candidates whose share of them exceeds that without a cue by more than .10.)

Nothing here looks at a gold answer. That a model is sure does not make it right: what a cue is worth is measured on
other problems, which the run sees to.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.policy import Chain, Policy, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.records import Record
from reasoning_lab.sampler.base import AnyPool, Sampler, Selection
from reasoning_lab.sampler.cue import Cued

MOST_PROBABLE = 256
"""Next tokens of each problem whose probability is looked at; the rest count as 0 in the mean."""
DEPTHS = (1, 2)
SAME = 0.99
"""Share of an opening's probability from which on its extension is no other opening: the model writes it anyway."""


class CueChoice:
    """What the group `cue` builds."""


@dataclass(frozen=True)
class NoCue(CueChoice):
    """No search: an arm's cue is given, or there is none."""


@dataclass(frozen=True)
class CueSearch(CueChoice):
    """How a cue is found; the paper has 20 candidates of up to two tokens, 30 problems and 16 answers to each."""

    benchmark: Benchmark
    """Whose problems are answered; disjoint from the problems that the arms are measured on."""
    sampler: Sampler
    """How what follows an opening is drawn."""
    width: int
    """Openings kept at each depth, and candidates in all."""
    depth: int
    """Most tokens of an opening, 1 or 2."""
    n_samples: int
    """Answers per problem and candidate, at least 2."""

    def __post_init__(self) -> None:
        require_count(self, "width")
        require(self.width <= MOST_PROBABLE, "width", self.width, f"at most {MOST_PROBABLE}", "the paper has 20")
        require(self.depth in DEPTHS, "depth", self.depth, "1 or 2", "the paper has 2")
        require(self.n_samples >= 2, "n_samples", self.n_samples, "at least 2", "one answer alone has no entropy")
        name = type(self.sampler).__name__
        is_plain = not isinstance(self.sampler, (AnyPool, Selection, Cued))
        require(is_plain, "sampler", name, "a sampler of single answers without a cue", "sampler=temperature is usual")
        bound = "one whose answers differ"
        require(not self.sampler.is_deterministic, "sampler", name, bound, "their entropy is what is looked at")


@dataclass(frozen=True)
class Opening(Record):
    """First tokens of an answer, and how probable they are."""

    ids: tuple[int, ...]
    text: str
    probability: float
    """Mean over the problems of p(ids | prompt)."""


@dataclass(frozen=True)
class CueCandidate(Record):
    """An opening, and what the answers behind it are like; no ids: no opening."""

    ids: tuple[int, ...]
    text: str
    probability: float
    """As Opening.probability; 1 for no opening."""
    entropy: float
    """Mean over the problems of the entropy of their answers [nats]."""
    unread: float
    """Share of the answers that could not be read."""
    tokens: int
    """Drawn for its answers."""


@dataclass(frozen=True)
class FoundCue(Record):
    """A finished search."""

    candidates: tuple[CueCandidate, ...]
    """By rising entropy, ties to the more probable: the first is the cue."""
    without: CueCandidate
    """The same problems without an opening: no candidate."""
    n_problems: int
    n_samples: int

    @property
    def chosen(self) -> CueCandidate:
        """The candidate of the least entropy."""
        return self.candidates[0]

    @property
    def tokens(self) -> int:
        """Drawn in all, those without an opening included."""
        return self.without.tokens + sum(candidate.tokens for candidate in self.candidates)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "FoundCue":
        """As Record.from_json, with the nested records restored."""
        candidates = tuple(CueCandidate.from_json(each) for each in data["candidates"])
        without = CueCandidate.from_json(data["without"])
        return cls(candidates, without, data["n_problems"], data["n_samples"])


def ranked(candidates: Sequence[CueCandidate]) -> tuple[CueCandidate, ...]:
    """By rising entropy; ties to the more probable, then to the smaller ids."""
    return tuple(sorted(candidates, key=lambda each: (each.entropy, -each.probability, each.ids)))


def answer_entropy(answers: Sequence[str | None]) -> float:
    """Shannon entropy [nats] of the answers' relative frequencies; each unread one (None) is a kind of its own."""
    n = len(answers)
    read = Counter(answer for answer in answers if answer is not None)
    counts = [*read.values(), *[1] * (n - read.total())]
    return sum(count / n * math.log(n / count) for count in counts)


# --- openings ---------------------------------------------------------------------------------------------------------

Laws = Mapping[str, Mapping[int, float]]
"""By problem the probabilities of the most probable next tokens."""


def find_openings(
    policy: Policy,
    prompts: Mapping[str, tuple[int, ...]],
    stop_ids: frozenset[int],
    width: int,
    depth: int,
    rows: int,
    capacity: int,
    counts: Counts,
) -> list[tuple[tuple[int, ...], float]]:
    """(ids, mean probability) of the `width` most probable openings of 1 to `depth` tokens, by falling probability.

    Arguments: `prompts` maps problems to prompt ids; `rows` and `capacity` are the physical shape; `counts` is filled.
    """
    live: dict[tuple[int, ...], dict[str, float]] = {(): dict.fromkeys(prompts, 1.0)}
    kept: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(depth):
        laws = _next_laws(policy, prompts, list(live), rows, capacity, counts)
        grown = {
            (*opening, id): {problem: p * laws[opening][problem].get(id, 0.0) for problem, p in before.items()}
            for opening, before in live.items()
            for id in sorted({id for law in laws[opening].values() for id in law} - stop_ids)
        }
        means = {ids: sum(each.values()) / len(each) for ids, each in grown.items()}
        best = sorted((ids for ids in means if means[ids] > 0), key=lambda ids: (-means[ids], ids))[:width]
        live = {ids: grown[ids] for ids in best}
        kept |= {ids: means[ids] for ids in best}
    others = [(ids, p) for ids, p in kept.items() if ids and (len(ids) == 1 or p < SAME * kept[ids[:-1]])]
    return sorted(others, key=lambda pair: (-pair[1], pair[0]))[:width]


def _next_laws(
    policy: Policy,
    prompts: Mapping[str, tuple[int, ...]],
    openings: Sequence[tuple[int, ...]],
    rows: int,
    capacity: int,
    counts: Counts,
) -> Mapping[tuple[int, ...], Laws]:
    """By opening and problem the law of the next token, of its most probable tokens."""
    tasks = [((opening, problem), _peek(prompts[problem], opening)) for problem in prompts for opening in openings]
    laws: dict[tuple[int, ...], dict[str, dict[int, float]]] = {opening: {} for opening in openings}
    for (opening, problem), chain in run(policy, tasks, rows, capacity, counts=counts):
        laws[opening][problem] = {id: math.exp(log_p) for id, log_p in chain.alternatives[-1]}
    return laws


def _peek(prompt: tuple[int, ...], opening: tuple[int, ...]) -> Any:
    """One pass behind the opening."""
    n = len(opening)
    return (
        yield Request(
            Chain(prompt), 0, Key(0, "opening"), n + 1, frozenset(), temperature=0.0, forced=opening, insert=True,
            n_alternatives=MOST_PROBABLE,
        )
    )  # fmt: skip
