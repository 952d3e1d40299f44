"""What vectors are trained on: sentences and positions of labelled traces, their filters, choice and held-out split.

Plain data and no torch. Positions count prompt and generated tokens together; the output at position p predicts the
token at p + 1, so the sentence of tokens first ... last-1 is predicted at positions first-1 ... last-2.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.records import Span, Verdict

Positions = Literal["sentence", "targets", "boundary"]
"""Where a sentence's vector is added: at every position that predicts one of its tokens; from its first token on, which
leaves the prediction of that token unsteered (departures B3); or at the position before its first token alone."""

ACTIVATION_POOL = 4
"""Sentences kept by activation, as a multiple of those wanted, before perplexity ranks them (Venhoff et al. 2025)."""


@dataclass(frozen=True)
class LabelledTrace:
    """A thinking model's text in the base model's tokens, each sentence with its category."""

    prompt: tuple[int, ...]
    """Prompt ids as the base model reads them; equal prompts are one problem."""
    ids: tuple[int, ...]
    """Generated ids in the base model's vocabulary."""
    spans: tuple[Span, ...]
    """Sentences; of each only the tokens are read."""
    labels: tuple[int, ...]
    """Category of each sentence."""
    scores: tuple[float, ...]
    """Activation of each sentence's category."""
    verdict: Verdict
    cut: bool = False
    """Whether the text ended at its cap: its last sentence may be half of one and is not used."""
    token_labels: tuple[int, ...] = ()
    """Category at the position that predicts ids[j], for categories picked token by token; empty: its sentence's."""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("prompt=(): the first sentence is predicted at the prompt's last position; give one id.")
        for name in ("labels", "scores"):
            if len(getattr(self, name)) != len(self.spans):
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {len(self.spans)} spans.")
        if self.token_labels and len(self.token_labels) != len(self.ids):
            raise ValueError(f"token_labels has {len(self.token_labels)} entries for {len(self.ids)} ids.")
        if self.spans and max(span.last for span in self.spans) > len(self.ids):
            raise ValueError(f"a span ends after the {len(self.ids)} ids; were they mapped from another vocabulary?")

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and generated ids."""
        return self.prompt + self.ids

    @property
    def name(self) -> str:
        """Identity of the text, for keyed draws."""
        return hashlib.sha256(repr((self.prompt, self.ids)).encode()).hexdigest()


@dataclass(frozen=True)
class Sentence:
    """One sentence of one trace."""

    trace: int
    """Index of the trace."""
    span: int
    category: int
    score: float
    first: int
    """Position of its first token."""
    last: int
    """One past the position of its last token."""


@dataclass(frozen=True)
class Example:
    """Where vectors are added to one trace, and which predictions count."""

    trace: int
    steered: tuple[tuple[int, int], ...]
    """(position, row of the table of vectors) in order."""
    scored: tuple[tuple[int, int], ...]
    """(position whose prediction of the next token is scored, row that the loss is booked to) in order."""

    @property
    def start(self) -> int:
        """First position that a vector can change; all before it are as in the unsteered pass."""
        return min(self.steered[0][0], self.scored[0][0])

    @property
    def stop(self) -> int:
        """One past the last position that counts."""
        return max(self.steered[-1][0], self.scored[-1][0]) + 1


def check_labels(traces: Sequence[LabelledTrace], n_categories: int) -> None:
    """ValueError if there is no trace, or a label that is no category."""
    if not traces:
        raise ValueError("no traces to train vectors on; draw some first (stage traces).")
    for index, trace in enumerate(traces):
        for label in (*trace.labels, *trace.token_labels):
            if not 0 <= label < n_categories:
                raise ValueError(
                    f"trace {index} has label {label}: categories are 0 ... {n_categories - 1}; label the traces with "
                    "the taxonomy whose size is given."
                )


def usable_sentences(
    traces: Sequence[LabelledTrace], min_tokens: int, correct_only: bool, max_positions: int
) -> list[Sentence]:
    """All sentences that may be used: long enough, of a trace that may be used, and ending within `max_positions`.

    ValueError if the filters leave none.
    """
    usable: list[Sentence] = []
    for index, trace in enumerate(traces):
        if correct_only and trace.verdict != "correct":
            continue
        offset = len(trace.prompt)
        spans = list(enumerate(trace.spans))[: -1 if trace.cut else None]
        usable += [
            Sentence(index, n, trace.labels[n], trace.scores[n], offset + span.first, offset + span.last)
            for n, span in spans
            if span.last - span.first >= min_tokens and offset + span.last <= max_positions
        ]
    if not usable:
        n_correct = sum(trace.verdict == "correct" for trace in traces)
        raise ValueError(
            f"min_tokens={min_tokens}, correct_only={correct_only}, max_positions={max_positions} leave no sentence of "
            f"{len(traces)} traces ({n_correct} correct); loosen them or draw more traces."
        )
    return usable


def by_trace(usable: Sequence[Sentence]) -> dict[int, list[Sentence]]:
    """The sentences of each trace, in order."""
    own: dict[int, list[Sentence]] = {}
    for sentence in sorted(usable, key=lambda sentence: (sentence.trace, sentence.first)):
        own.setdefault(sentence.trace, []).append(sentence)
    return own


def heldout_traces(traces: Sequence[LabelledTrace], used: Collection[int], share: float, seed: int) -> frozenset[int]:
    """Indices of the traces held out: all of a keyed draw of `share` of the problems, at least one problem.

    Whole problems, so that no context of a held-out sentence has been trained on. Whether a problem is held out
    depends on `seed` and on the problems among the `used` traces, not on their order or number of traces.
    """
    problems = sorted({traces[index].prompt for index in used})
    if len(problems) < 2:
        raise ValueError(
            f"the traces are of {len(problems)} problem: at least 2 are needed to hold one out; draw more traces."
        )
    problems.sort(key=lambda prompt: uniform(Key(seed, repr(prompt)), 0, "held out"))
    n = min(max(1, round(share * len(problems))), len(problems) - 1)
    kept_back = set(problems[:n])
    return frozenset(index for index in used if traces[index].prompt in kept_back)


def selection_and_test(
    traces: Sequence[LabelledTrace], heldout: Collection[int], seed: int
) -> tuple[frozenset[int], frozenset[int]]:
    """The held-out traces in two: those whose loss picks the moment of training, and those on which it is reported, for
    the least of many losses flatters. Whole problems by a keyed draw, half each; of one problem nothing is reported."""
    problems = sorted({traces[index].prompt for index in heldout})
    problems.sort(key=lambda prompt: uniform(Key(seed, repr(prompt)), 0, "test"))
    test = set(problems[: len(problems) // 2])
    tested = frozenset(index for index in heldout if traces[index].prompt in test)
    return frozenset(heldout) - tested, tested


# --- choosing sentences (Venhoff et al. 2025) ------------------------------------------------------------------


def by_activation(candidates: Sequence[Sentence], n: int) -> list[Sentence]:
    """The `n` sentences of highest activation, ties in order of the traces."""
    return sorted(candidates, key=lambda sentence: (-sentence.score, sentence.trace, sentence.span))[:n]


def by_perplexity(candidates: Sequence[Sentence], losses: Mapping[Sentence, float], n: int) -> list[Sentence]:
    """The `n` sentences of highest mean loss [nats per token], hence perplexity, ties in order of the traces."""
    return sorted(candidates, key=lambda sentence: (-losses[sentence], sentence.trace, sentence.span))[:n]


def at_random(candidates: Sequence[Sentence], n: int, traces: Sequence[LabelledTrace], seed: int) -> list[Sentence]:
    """`n` sentences by a keyed draw without replacement."""
    names = {index: traces[index].name for index in {sentence.trace for sentence in candidates}}

    def rank(sentence: Sentence) -> tuple[float, int]:
        return uniform(Key(seed, names[sentence.trace]), sentence.first, "choice of sentences"), sentence.trace

    return sorted(candidates, key=rank)[:n]


def sentence_example(sentence: Sentence, positions: Positions, row: int) -> Example:
    """The sentence given its context: every token of it is scored; a sentence of one token has no "targets"."""
    scored = range(sentence.first - 1, sentence.last - 1)
    steered = {"sentence": scored, "targets": scored[1:], "boundary": scored[:1]}[positions]
    return Example(sentence.trace, tuple((p, row) for p in steered), tuple((p, row) for p in scored))


def text_example(own: Sequence[Sentence], positions: Positions, row: int) -> Example:
    """All sentences of one trace given its prompt, as one text; with "boundary" steered before each of them."""
    first, last = min(sentence.first for sentence in own), max(sentence.last for sentence in own)
    whole = sentence_example(Sentence(own[0].trace, -1, row, 0.0, first, last), positions, row)
    if positions != "boundary":
        return whole
    return Example(whole.trace, tuple((p, row) for p in sorted(s.first - 1 for s in own)), whole.scored)


# --- choosing positions (Venhoff et al. 2026) ------------------------------------------------------------------


def token_categories(trace: LabelledTrace) -> dict[int, int]:
    """Category at each position that predicts a generated token of a sentence."""
    offset = len(trace.prompt) - 1
    if trace.token_labels:
        return {offset + j: label for j, label in enumerate(trace.token_labels)}
    return {
        offset + j: label
        for span, label in zip(trace.spans, trace.labels, strict=True)
        for j in range(span.first, span.last)
    }


def disagreements(
    traces: Sequence[LabelledTrace], usable: Sequence[Sentence], choices: Mapping[int, Sequence[int]]
) -> dict[int, list[tuple[int, int]]]:
    """(position, category) by trace, where the base model's most probable token is not the one that the trace has next.

    `choices[trace][p]` is the base model's choice at position p of the whole trace; only positions that predict a
    token of a `usable` sentence are looked at.
    """
    disagreeing: dict[int, list[tuple[int, int]]] = {}
    for index, own in by_trace(usable).items():
        trace, chosen = traces[index], choices[index]
        tokens, categories = trace.tokens, token_categories(trace)
        looked_at = (p for sentence in own for p in range(sentence.first - 1, sentence.last - 1))
        if positions := [(p, categories[p]) for p in looked_at if chosen[p] != tokens[p + 1]]:
            disagreeing[index] = positions
    return disagreeing


def sampled(
    positions: Sequence[tuple[int, int]], most: int, trace: LabelledTrace, seed: int
) -> tuple[tuple[int, int], ...]:
    """At most `most` positions of each category by a keyed draw, in order of position."""
    key = Key(seed, trace.name)
    kept: list[tuple[int, int]] = []
    for category in {category for _, category in positions}:
        own = [pair for pair in positions if pair[1] == category]
        kept += sorted(own, key=lambda pair: uniform(key, pair[0], "choice of positions"))[:most]
    return tuple(sorted(kept))
