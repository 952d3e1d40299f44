"""What flows between the rooms: frozen records, as JSON lines on disk."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

R = TypeVar("R", bound="Record")

NO_RULE = "none"
"""Rule of a grade whose text states no answer that a rule finds."""
Verdict = Literal["correct", "wrong", "ungradable", "timeout"]
Settled = Literal["exact", "rescored", "undecided"]
"""exact: no value within the bounds would have changed the verdict; rescored: it took narrower bounds; undecided: those
left it open too, and the middle of the interval decided."""


class Record:
    """A frozen dataclass that goes to JSON and comes back equal (tuples become lists and back)."""

    def to_json(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self)  # pyright: ignore[reportArgumentType] -- every subclass is a dataclass

    def dumps(self) -> str:
        """One JSON line, keys sorted."""
        return json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls: type[R], data: dict[str, Any]) -> R:
        """The record of `to_json`'s data; an unknown field is a KeyError, for it means another version."""
        known = {f.name for f in fields(cls)}  # pyright: ignore[reportArgumentType]
        if unknown := sorted(set(data) - known):
            raise KeyError(f"{cls.__name__} has no field {unknown[0]!r}; the file was written by another version.")
        return cls(**{name: _tuples(value) for name, value in data.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Problem(Record):
    """One item of a benchmark."""

    id: str
    """Unique and stable within the benchmark's version."""
    question: str
    """The problem's text, as the benchmark states it."""
    gold: str
    """The right answer, in the benchmark's own notation."""
    tags: dict[str, str] = field(default_factory=dict)
    """Strata to report by (level, subject, long_tail ...)."""


@dataclass(frozen=True)
class Move(Record):
    """One Metropolis-Hastings proposal, as the page shows it."""

    rung: int
    step: int
    cut: int
    """Generated tokens kept."""
    old: tuple[int, ...]
    """Suffix of the state before the move, from the cut on."""
    new: tuple[int, ...]
    """Proposed suffix; of a proposal given up early, what had been drawn of it."""
    log_ratio: float | None
    """log acceptance ratio [nats]; None when the proposal was given up early (its rejection was certain)."""
    accepted: bool
    settled: Settled = "exact"
    """How the verdict came about where an engine knows log Z within bounds alone."""

    @property
    def moved(self) -> bool:
        """Accepted and different: low-temperature proposals often redraw the same text, which inflates acceptance."""
        return self.accepted and self.old != self.new


@dataclass(frozen=True)
class Passes(Record):
    """Tokens passed through one model. The unit is a token through a single layer, so that a pass through some of the
    layers counts for what it is; divided by the model's layers it is a number of tokens."""

    prefill: int = 0
    """Token-layer passes that read prompts."""
    decode: int = 0
    """Token-layer passes of decode steps and of what is run again within them."""
    heads: int = 0
    """Tokens whose logits were computed."""

    @property
    def layers(self) -> int:
        """Token-layer passes in all."""
        return self.prefill + self.decode


@dataclass(frozen=True)
class Compute(Record):
    """What an answer passed through the models that it took."""

    own: Passes = field(default_factory=Passes)
    """Through the model that writes; of a hybrid its base model."""
    thinking: Passes = field(default_factory=Passes)
    """Through the thinking model that steers it; nothing where none does."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Compute":
        """As Record.from_json, with the passes restored."""
        return cls(**{name: Passes.from_json(passes) for name, passes in data.items()})


@dataclass(frozen=True)
class ModelSize(Record):
    """How large a model is, as far as a token's arithmetic goes."""

    n_layers: int
    """Decoder layers."""
    body: int
    """Parameters of the layers and of what is between them and the head; of a mixture of experts, those that a token
    meets. Embedding tables are looked up, not multiplied by, and are no part of it."""
    head: int
    """Parameters of the head, tied to an embedding table or not."""

    def tokens(self, passes: Passes) -> float:
        """Whole tokens that the passes amount to: a pass through a share of the layers counts as that share."""
        return passes.layers / self.n_layers

    def flops(self, passes: Passes) -> float:
        """2 x parameters x tokens: a multiplication and an addition per parameter and token, by body and head (Kaplan
        et al. 2020, arXiv:2001.08361, table 1). Without attention's own products over the context, which the formula
        leaves out while contexts are short beside 12 widths."""
        return 2.0 * (self.body * self.tokens(passes) + self.head * passes.heads)


@dataclass(frozen=True)
class Candidate(Record):
    """One member of a pool from which best-of-n or a vote chooses."""

    text: str
    ids: tuple[int, ...]
    """Generated token ids, the stop id included."""
    finish: Literal["stop", "cap"]
    log_p: float
    """Sum of log p over its tokens under the policy it was drawn from [nats]."""
    negentropy: float
    """Mean over the positions of sum_v p log p [nats]."""
    answer: str | None
    """Answer read off by the benchmark in the form in which it votes, None when there is none."""
    inserted: tuple[int, ...] = ()
    """Positions of `ids` that a sampler put in: part of the text, no part of log_p and negentropy."""


@dataclass(frozen=True)
class Completion(Record):
    """One final answer to one problem."""

    problem: str
    chain: int
    text: str
    ids: tuple[int, ...]
    """Generated token ids, the stop id included."""
    finish: Literal["stop", "cap"]
    log_p: float
    """Sum of log p over the tokens under the policy it was drawn from [nats]."""
    negentropy: float
    """Mean over the positions of sum_v p log p [nats]: Karan & Du's confidence (eq. 13)."""
    decode_tokens: int
    """All tokens drawn for it, rejected ones and pool candidates included."""
    n_proposals: int = 0
    n_accepted: int = 0
    n_moved: int = 0
    moves: tuple[Move, ...] = ()
    """The chain move by move, kept for chain 0 of each problem (the counts above are kept for all)."""
    candidates: tuple[Candidate, ...] = ()
    inserted: tuple[int, ...] = ()
    """As Candidate.inserted."""
    compute: Compute | None = None
    """What was passed through the models for it: its prompt once, and every decode step, those of rejected proposals
    and of pool candidates included; None where nobody counted. It follows from the answer and from what was tried for
    it: no part of it are the padding of a fixed shape, what is read again after a resume, and that chains of one
    problem may share their prompt's state."""
    n_rescored: int = 0
    """Proposals whose verdict took narrower bounds on log Z; 0 with an engine that sees the whole law."""
    n_undecided: int = 0
    """Proposals whose verdict no bounds settled."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Completion":
        """As Record.from_json, with the nested records restored."""
        nested = {
            "moves": tuple(Move.from_json(move) for move in data.get("moves", ())),
            "candidates": tuple(Candidate.from_json(candidate) for candidate in data.get("candidates", ())),
            "compute": Compute.from_json(data["compute"]) if data.get("compute") else None,
        }
        return super().from_json({name: value for name, value in data.items() if name not in nested} | nested)


@dataclass(frozen=True)
class ChainState(Record):
    """A state that a Markov chain went through, read and graded like an answer."""

    problem: str
    chain: int
    rung: int
    step: int
    """Steps made on the rung; 0 before the first."""
    length: int
    """Generated tokens."""
    verdict: Verdict | None
    """None where the answers are graded by a judge, who was not asked about states."""
    answer: str | None
    """The answer read off the text, in the form in which it votes."""


@dataclass(frozen=True)
class Span(Record):
    """One sentence of a generated text: the spans of a trace partition its text (or its thinking part) and the tokens
    that write it, in order; the stop id is in none."""

    start: int
    """First character."""
    stop: int
    """One past the last character."""
    first: int
    """First generated token; a token on the border belongs to the sentence of its first visible character."""
    last: int
    """One past the last generated token."""


@dataclass(frozen=True)
class Trace(Record):
    """What a thinking model wrote for one problem, cut into sentences."""

    problem: str
    chain: int
    text: str
    prompt: tuple[int, ...]
    """Prompt ids as the thinking model read them."""
    ids: tuple[int, ...]
    """Generated ids, the stop id included."""
    spans: tuple[Span, ...]
    verdict: Verdict
    """The benchmark's, for vectors that are trained on correct traces alone."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Trace":
        """As Record.from_json, with the spans restored."""
        flat = super().from_json({name: value for name, value in data.items() if name != "spans"} | {"spans": ()})
        return replace(flat, spans=tuple(Span.from_json(span) for span in data["spans"]))


@dataclass(frozen=True)
class Annotation(Record):
    """A completion seen through base model, thinking model and taxonomy, one entry per generated token."""

    problem: str
    chain: int
    categories: tuple[int, ...]
    """Category in force when the token was drawn."""
    steered: tuple[bool, ...]
    """Whether the gate fired at the token."""
    coefficients: tuple[float, ...]
    """Factor of the vector that was added; 0 where none was."""
    base_choices: tuple[int, ...]
    """Most probable id under the unsteered base model."""
    thinking_choices: tuple[int, ...]
    """Most probable id under the thinking model, in the base model's ids."""

    @property
    def steered_fraction(self) -> float:
        """Share of tokens at which the gate fired."""
        return sum(self.steered) / max(1, len(self.steered))


@dataclass(frozen=True)
class Grade(Record):
    """A verdict, with the answer that it rests on."""

    problem: str
    chain: int
    verdict: Verdict
    answer: str | None
    """The answer read off the text, None when none was found."""
    reason: str
    """What decided ('boxed, types', 'no answer' ...)."""
    rule: str = NO_RULE
    """By which rule of the grader the answer was found in the text ('boxed', 'answer is', 'last number' ...)."""

    @property
    def correct(self) -> bool:
        """Only `correct` counts; ungradable answers and timeouts are wrong, and shown beside the accuracy."""
        return self.verdict == "correct"
