"""The Policy contract: a law of the next token given the prefix, and of nothing else.

Base model, thinking model, steered hybrid, enumerable toy: each is a Policy. A sampler asks for continuations by
`Request`s and never sees a model; `scheduler.py` answers the requests of many samplers over the rows of one `Session`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.work import Work

if TYPE_CHECKING:  # Samplers import this module, and an error of theirs must not wait for torch.
    from torch import Tensor
    from transformers import PretrainedConfig

Finish = Literal["stop", "cap", "floor"]
"""Why a request ended: a stop id was drawn, the cap was reached, or its floor was passed."""

State = dict[str, Any]
"""Plain data from which a coroutine goes on; opaque to all but the one that yielded it."""


class Segment(NamedTuple):
    """A saved stretch of a policy's per-position state."""

    start: int
    """First position, prompt included."""
    stop: int
    """One past the last position."""
    state: Any
    """Opaque to all but the kind of session that saved it."""


@dataclass(frozen=True)
class Chain:
    """A continuation of a prompt, with one scalar of each kind per generated token; never changed, only extended.

    All logarithms are natural, in float64, and computed from the very logits that the token was drawn from.
    """

    prompt: tuple[int, ...]
    """Token ids of the prompt."""
    tokens: tuple[int, ...] = ()
    """Generated (or forced) token ids, a stop id included."""
    log_p: tuple[float, ...] = ()
    """log p(token | prefix): the policy at temperature 1, not truncated."""
    log_q: tuple[float, ...] = ()
    """log q(token | prefix): the law it was drawn from (temperature, top-k, top-p, exclusion)."""
    log_z: tuple[float, ...] = ()
    """log Z = log of the sum over q's support of p^(1/temperature), so log q = log p / temperature - log Z."""
    negentropy: tuple[float, ...] = ()
    """sum_v p log p <= 0; filled where a request asks for it, else 0."""
    alternatives: tuple[tuple[tuple[int, float], ...], ...] = ()
    """Per token the most probable (id, log p), where a request asks for them, else ()."""
    finish: Finish | None = None
    """Why the last request ended; None for a bare prompt or a rebuilt chain."""
    n_drawn: int = 0
    """Tokens that the last request drew: its decode cost."""
    inserted: tuple[int, ...] = ()
    """Generated positions, rising, that a sampler put in (budget forcing's "Wait"): conditioning, as the prompt is.
    Their scalars are 0, so that no sum counts them, and a request may not cut at them."""
    cache: tuple[Segment, ...] = field(default=(), repr=False, compare=False)
    """Saved state of the positions before the last token, in order and without gaps; may be empty."""
    log_z_slack: tuple[float, ...] = ()
    """Of an engine that does not see the whole law: per token by how much the true log Z may lie above log_z (and the
    true log q below log_q); () where both are exact."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_scored(self) -> int:
        """Tokens that are no insertions: what a mean over tokens divides by."""
        return len(self) - len(self.inserted)

    def kept(self, n: int) -> "Chain":
        """The chain of the first `n` tokens."""
        if not 0 <= n <= len(self):
            raise ValueError(f"keep={n}: the chain has {len(self)} tokens.")
        return Chain(
            self.prompt, self.tokens[:n], self.log_p[:n], self.log_q[:n], self.log_z[:n],
            self.negentropy[:n], self.alternatives[:n], inserted=self.inserted_before(n), cache=self.cache,
            log_z_slack=self.log_z_slack[:n],
        )  # fmt: skip

    def inserted_before(self, n: int) -> tuple[int, ...]:
        """The inserted positions among the first `n`."""
        return tuple(position for position in self.inserted if position < n)

    def plain(self) -> State:
        """Tokens and scalars as plain data, without prompt and cache: what a checkpoint stores."""
        slack = {"log_z_slack": list(self.log_z_slack)} if self.log_z_slack else {}
        return {name: list(getattr(self, name)) for name in ("tokens", "log_p", "log_q", "log_z", "negentropy")} | {
            "finish": self.finish,
            "inserted": list(self.inserted),
            **slack,
        }

    @classmethod
    def restored(cls, prompt: tuple[int, ...], plain: State) -> "Chain":
        """The chain of `plain`; its cache is rebuilt by the engine when first needed, by forced decoding."""
        columns = (tuple(plain[name]) for name in ("tokens", "log_p", "log_q", "log_z", "negentropy"))
        # States that were saved before there were insertions have none.
        inserted = tuple(plain.get("inserted", ()))
        return cls(
            prompt, *columns, alternatives=((),) * len(plain["tokens"]), finish=plain["finish"], inserted=inserted,
            log_z_slack=tuple(plain.get("log_z_slack", ())),
        )  # fmt: skip


@dataclass(frozen=True)
class Request:
    """Continue `parent.kept(keep)`: append `forced`, then draw until a stop id, the cap or the floor.

    The token at generated position j is the inverse of q's cumulative law (in order of ids) at
    `uniform(key, j, "token")`.
    """

    parent: Chain
    keep: int
    key: Key
    cap: int
    """Generated tokens in all, kept and forced ones included."""
    stop_ids: frozenset[int]
    """A drawn id of these ends the continuation; it is part of it. Forced ids do not end it."""
    temperature: float | tuple[float, ...] = 1.0
    """0 is greedy (ties to the smallest id); a tuple is a schedule over generated positions, its last value held."""
    top_k: int = 0
    """Draw from the k most probable tokens only, ties at the k-th kept (0: from all)."""
    top_p: float = 1.0
    """Draw from the smallest set of most probable tokens whose mass under q, after temperature and top_k, reaches
    top_p; ties with the least probable of them kept (1: from all)."""
    forced: tuple[int, ...] = ()
    """Ids appended before drawing: scored like any token, unless they are insertions."""
    insert: bool = False
    """The forced ids are insertions: marked in Chain.inserted and not scored."""
    excluded: int | frozenset[int] | None = None
    """Id, or ids, that the first drawn token must not be; q is renormalised without them."""
    scores_excluded: bool = False
    """The exclusion says what is drawn and not how it is scored: log q and log Z of the first drawn token are those of
    the law with the excluded ids in it (support by top_k and top_p likewise)."""
    floor: float | None = None
    """Give up (finish 'floor') once r_j - log j < floor: r_j the sum of log Z over the tokens after the kept ones, j
    the generated length so far, kept ones included."""
    floor_per_length: bool = True
    """False: compare r_j alone with the floor."""
    want_negentropy: bool = False
    """Fill Chain.negentropy, a pass over the whole vocabulary per token."""
    n_alternatives: int = 0
    """Most probable ids per token in Chain.alternatives."""
    ahead: "Callable[[], Iterator[Request]] | None" = field(default=None, repr=False, compare=False)
    """What will be asked for next, likeliest first, if this request's answer changes nothing: an engine with rows to
    spare may draw it already. A pure function, so that drawing ahead changes no answer."""

    def __post_init__(self) -> None:
        start = self.keep + len(self.forced)
        if not 0 <= self.keep <= len(self.parent):
            raise ValueError(f"keep={self.keep}: the parent has {len(self.parent)} tokens.")
        if self.keep in self.parent.inserted:
            raise ValueError(f"keep={self.keep}: that token was inserted; cut where one was drawn.")
        if start > self.cap:
            raise ValueError(f"cap={self.cap} is below the {start} tokens kept and forced.")
        if start == self.cap and not self.forced:
            raise ValueError(f"cap={self.cap}: nothing is forced and nothing is left to draw.")

    def temperature_at(self, position: int) -> float:
        """Temperature of generated position `position`."""
        if isinstance(self.temperature, tuple):
            return self.temperature[min(position, len(self.temperature) - 1)]
        return self.temperature


def score(prompt: tuple[int, ...], ids: Sequence[int], key: Key) -> Request:
    """The request that scores given tokens: all forced, nothing drawn (the paper's Figure 4 scores one model's text
    under another)."""
    return Request(
        Chain(prompt), 0, key, cap=len(ids), stop_ids=frozenset(), forced=tuple(ids), want_negentropy=True
    )  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """What a sampler yields at block ends: plain data from which `sample(prompt, resume=state)` goes on."""

    state: State


Result = TypeVar("Result")
Coroutine = Generator[Request | list[Request] | Checkpoint, Any, Result]
"""Yields a Request and receives its Chain, a list of Requests and receives the list of Chains, or a Checkpoint and
receives None; returns its result."""


class Session(ABC):
    """`rows` independent sequences of at most `capacity` positions, advanced together at one physical shape.

    A row's state at a position depends on the tokens at and before it alone. Going back is free: `step` at an earlier
    position overwrites what follows.
    """

    rows: int
    capacity: int
    passed: Work
    """All that was passed through the models so far, with idle rows, padding and what no answer's law depends on."""

    @abstractmethod
    def prompt_work(self, prompt: Sequence[int]) -> Work:
        """What reading all tokens of a prompt but the last takes, without padding."""

    @abstractmethod
    def step_work(self, row: int) -> Work:
        """What the steps so far took on behalf of a row; of meaning are differences alone, between two steps at which
        the row did one and the same work. It depends on the row's own text: no padding, no work for other rows."""

    @abstractmethod
    def prefill(self, row: int, ids: Sequence[int]) -> None:
        """Read `ids` into positions 0 ... len(ids)-1 of `row`; its arithmetic does not depend on other rows."""

    @abstractmethod
    def step(self, ids: Sequence[int], positions: Sequence[int]) -> "Tensor":
        """Read ids[r] at positions[r] in every row r and return the next-token logits, Float[Tensor, "rows vocab"].

        An idle row repeats any id at position 0. All earlier positions of a live row must have been read.
        """

    @abstractmethod
    def save(self, row: int, start: int, stop: int) -> Segment:
        """A copy of the row's state at positions start ... stop-1."""

    @abstractmethod
    def load(self, row: int, segment: Segment, start: int, stop: int) -> None:
        """Put positions start ... stop-1 of `segment` (a sub-range of it) into `row`."""


class Policy(ABC):
    """A law of the next token given the prefix."""

    vocab_size: int
    context_length: int
    """Most positions, prompt included."""

    @abstractmethod
    def next_logits(self, ids: Sequence[int]) -> "Tensor":
        """Logits of the token after `ids`, Float[Tensor, "vocab"]: the slow, obvious form of the law, without any
        cache; the oracle of every faster path."""

    @abstractmethod
    def open(self, rows: int, capacity: int) -> Session:
        """A session of `rows` rows of `capacity` positions."""


def context_length(config: "PretrainedConfig") -> int:
    """Most positions at which a model has one law: the least of its position limit, its sliding window, within which
    full attention is that law, and the length at which its rope changes all angles (longrope, dynamic scaling): beyond
    it every cached key would have to be turned anew, and a row's numbers would hang on its neighbours' lengths."""
    window: int | None = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        window = None
    return min([config.max_position_embeddings, *([] if window is None else [window]), *_rope_changes(config)])


def _rope_changes(config: "PretrainedConfig") -> list[int]:
    """Lengths at which the angles of a position depend on the text's length."""
    told: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    # Models with layers of two kinds have a rope for each.
    ropes = [told, *(each for each in told.values() if isinstance(each, dict))]
    switching = [rope for rope in ropes if rope.get("rope_type") in ("longrope", "dynamic")]
    return [rope.get("original_max_position_embeddings", config.max_position_embeddings) for rope in switching]
