"""The Sampler contract: one problem, one coroutine, no model in sight.

Three abstract classes: a Sampler draws an answer, an AnyPool draws several, a Selection chooses one of a pool.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import NamedTuple

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Need
from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Request, State
from reasoning_lab.engine.rng import Key
from reasoning_lab.records import Candidate, Move


@dataclass(frozen=True)
class Prompt:
    """What a sampler is given of a problem."""

    ids: tuple[int, ...]
    """Token ids of the prompt, at least one."""
    stop_ids: frozenset[int]
    """Ids that end an answer: part of the target law, the same set for every sampler (departures D6)."""
    key: Key
    """Seed, problem and chain; samplers fill in rung and step."""
    candidate: Callable[[Chain], Candidate] | None = None
    """Reads a chain for best-of-n and votes (text, answer); given by the caller, who knows tokenizer and benchmark."""
    encode: Callable[[str], tuple[int, ...]] | None = None
    """Token ids of a text that a sampler puts into an answer, without special tokens; given by the caller likewise."""


class Words(NamedTuple):
    """What is known of a model's tokens before anything is drawn."""

    encode: Callable[[str], tuple[int, ...]]
    """As Prompt.encode; ValueError for a text that the vocabulary lacks."""
    stop_ids: frozenset[int]
    n_ids: int
    """Size of the tokenizer's vocabulary."""


@dataclass(frozen=True)
class Sample:
    """One answer and what it cost."""

    chain: Chain
    decode_tokens: int
    """All tokens drawn for it."""
    moves: tuple[Move, ...] = ()
    """A Markov chain's proposals, in order."""
    candidates: tuple[Chain, ...] = ()
    """Of a pool, in the order in which they were drawn."""


class Sampler(ABC):
    """A frozen dataclass of parameters with one method; every yaml of conf/sampler builds one."""

    max_new_tokens: int
    """T: most generated tokens of an answer, the stop id included."""

    @property
    def is_deterministic(self) -> bool:
        """Whether every chain of a problem is the same answer."""
        return False

    @property
    def is_greedy(self) -> bool:
        """Whether every token is the most probable one."""
        return False

    @property
    def is_plain(self) -> bool:
        """Whether its answers are draws from the model's own law p."""
        return False

    @property
    def is_chain(self) -> bool:
        """Whether an answer is the last state of a Markov chain, whose moves its Sample holds."""
        return False

    @property
    def inserts(self) -> bool:
        """Whether its answers hold tokens that it put in (Chain.inserted)."""
        return False

    @property
    def reads_answers(self) -> bool:
        """Whether a benchmark's reading of the answers enters its result: a pool's candidates carry the answer that
        votes."""
        return False

    @property
    def n_held(self) -> int:
        """Chains of a problem whose states stay saved while it is worked on: 0 where nothing goes on from one."""
        return 1

    @property
    def needs(self) -> frozenset[Need]:
        """What its law rests on beside draws at a temperature: an engine may not give it."""
        return frozenset()

    @property
    def matched_to(self) -> str | None:
        """Arm whose mean decode tokens per problem set this sampler's budget."""
        return None

    def with_budget(self, tokens: float) -> "Sampler":
        """The same sampler with a budget of decode tokens per problem; itself where it takes none."""
        return self

    @property
    def waits_for_cue(self) -> bool:
        """Whether opening tokens that the run finds (stage=cue) are part of it."""
        return False

    def with_cue(self, cue: tuple[int, ...]) -> "Sampler":
        """The same sampler with these opening tokens where it waits for some; else itself."""
        return self

    def check(self, words: Words) -> None:  # noqa: B027
        """ValueError for a text of its own that can't be put into the model's answers; most have none."""

    @abstractmethod
    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """Draw one answer. `resume` is the state of a Checkpoint that this sampler yielded for the same prompt."""

    @abstractmethod
    def expected_tokens(self, mean_length: float) -> float:
        """Decode tokens that an answer of `mean_length` tokens is expected to cost; for the plan that a run prints."""


class AnyPool(Sampler):
    """Independent answers: `n` of them, or as many as a budget of decode tokens takes.

    Under a budget candidates are drawn until their tokens reach it, and the one that crosses it is kept, so a pool
    never costs less than its budget (the rule of the entropy-cut MH code's best-of-n). A budget is how any sampler of
    single answers is matched to another arm's decode tokens: by a vote or a choice over as many answers as it buys.
    """

    n: int | None
    """Candidates; None when a budget decides."""
    budget: float | None
    """Decode tokens per problem; None when n decides."""
    tokens_matched_to: str | None
    """Arm whose mean decode tokens per problem become the budget."""

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def matched_to(self) -> str | None:
        """As tokens_matched_to says."""
        return self.tokens_matched_to

    def with_budget(self, tokens: float) -> "AnyPool":
        """The same pool with this budget in place of its own size."""
        # Every pool is a dataclass, which its annotation here can't say.
        return replace(self, n=None, tokens_matched_to=None, budget=tokens)  # pyright: ignore[reportArgumentType]

    @property
    def needs(self) -> frozenset[Need]:
        """As the sampler of one candidate."""
        return self.drawn_by().needs

    @property
    def waits_for_cue(self) -> bool:
        """As the sampler of one candidate."""
        return self.drawn_by().waits_for_cue

    def check(self, words: Words) -> None:
        """As the sampler of one candidate."""
        self.drawn_by().check(words)

    @property
    def n_held(self) -> int:
        """As the sampler of one candidate."""
        return self.drawn_by().n_held

    @abstractmethod
    def drawn_by(self) -> Sampler:
        """The sampler of one candidate."""

    @abstractmethod
    def prompt_of(self, prompt: Prompt, candidate: int) -> Prompt:
        """The prompt with the key of one candidate."""

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """The whole pool; its first candidate stands for it."""
        if self.tokens_matched_to is not None:
            raise ValueError(f"tokens_matched_to={self.tokens_matched_to}: the run must resolve it to a budget first.")
        state = {"candidates": [], "spent": 0, "within": None} if resume is None else resume
        candidates = [Chain.restored(prompt.ids, plain) for plain in state["candidates"]]
        while len(candidates) < self.n if self.n is not None else state["spent"] < (self.budget or 0):
            first = len(candidates) + 1
            one = self.drawn_by().sample(self.prompt_of(prompt, len(candidates)), state["within"])
            drawn = yield from _saved_within(one, state, lambda first=first: self._openings(prompt, first))
            # Nothing goes on from a candidate: its saved states would fill the memory, n times over.
            candidates.append(replace(drawn.chain, cache=()))
            state = {
                "candidates": [*state["candidates"], drawn.chain.plain()],
                "spent": state["spent"] + drawn.decode_tokens,
                "within": None,
            }
            yield Checkpoint(state)
        return Sample(candidates[0], state["spent"], candidates=tuple(candidates))

    def _openings(self, prompt: Prompt, first: int) -> Iterator[Request]:
        """What candidates from the `first` on ask for at once; where a budget decides, more than will be drawn."""
        for candidate in range(first, self.n) if self.n is not None else count(first):
            asked = next(self.drawn_by().sample(self.prompt_of(prompt, candidate)))
            if not isinstance(asked, Request):
                return
            yield asked

    def expected_tokens(self, mean_length: float) -> float:
        """The budget, or n answers."""
        if self.budget is not None:
            return self.budget
        return (self.n or 1) * self.drawn_by().expected_tokens(mean_length)

    def require_one_size(self) -> None:
        """ValueError unless exactly one of n, budget and tokens_matched_to is given."""
        given = [name for name in ("n", "budget", "tokens_matched_to") if getattr(self, name) is not None]
        bound = "given exactly one of n, budget, tokens_matched_to"
        require(len(given) == 1, "pool", given, bound, "set the others to null")
        if self.n is not None:
            require_count(self, "n")
        if self.budget is not None:
            require(self.budget >= 1, "budget", self.budget, "at least 1", "set budget to the tokens of some answers")


def _saved_within(one: Coroutine[Sample], state: State, ahead: Callable[[], Iterator[Request]]) -> Coroutine[Sample]:
    """The candidate's sample; its own checkpoints become those of the pool, whose state is `state` so far, and what it
    says of what comes next is followed by `ahead`."""
    answer = None
    while True:
        try:
            asked = one.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(asked, Checkpoint):
            asked = Checkpoint(state | {"within": asked.state})
        elif isinstance(asked, Request):
            asked = replace(asked, ahead=lambda own=asked.ahead: chain((own or tuple)(), ahead()))
        answer = yield asked


class Selection(Sampler):
    """Draws a pool of candidates, then chooses one: the pool is a sampler of its own, so that several selections
    share one pool's answers."""

    pool: AnyPool

    @property
    def max_new_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """T of each candidate."""
        return self.pool.max_new_tokens

    @property
    def reads_answers(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[Need]:
        """As the pool."""
        return self.pool.needs

    @property
    def matched_to(self) -> str | None:
        """As the pool."""
        return self.pool.matched_to

    def with_budget(self, tokens: float) -> "Selection":
        """The same choice from a pool with this budget."""
        return replace(self, pool=self.pool.with_budget(tokens))  # pyright: ignore[reportArgumentType]

    @property
    def waits_for_cue(self) -> bool:
        """As the pool."""
        return self.pool.waits_for_cue

    def with_cue(self, cue: tuple[int, ...]) -> "Selection":
        """The same choice from a pool of answers with this cue."""
        return replace(self, pool=self.pool.with_cue(cue))  # pyright: ignore[reportArgumentType]

    def check(self, words: Words) -> None:
        """As the pool."""
        self.pool.check(words)

    @abstractmethod
    def choose(self, candidates: Sequence[Candidate]) -> int:
        """Index of the chosen candidate, of one at least."""

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """The pool's sample with the chosen candidate as its chain."""
        if prompt.candidate is None:
            raise ValueError(f"{type(self).__name__} needs prompt.candidate to read its pool's answers.")
        drawn = yield from self.pool.sample(prompt, resume)
        chosen = self.choose([prompt.candidate(chain) for chain in drawn.candidates])
        return Sample(drawn.candidates[chosen], drawn.decode_tokens, candidates=drawn.candidates)

    def expected_tokens(self, mean_length: float) -> float:
        """Those of the pool: a choice draws nothing."""
        return self.pool.expected_tokens(mean_length)


def require_temperature(temperature: float, top_k: int) -> None:
    """A temperature above 0 and a top_k of at least 0."""
    require(temperature > 0, "temperature", temperature, "above 0", "use sampler=greedy for the limit at 0")
    require(top_k >= 0, "top_k", top_k, "at least 0", "0 draws from the whole vocabulary")
