"""A cue: the first tokens of an answer are given, the rest is drawn by any sampler of single answers."""

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields, replace
from typing import Any

from reasoning_lab.checks import is_count, require
from reasoning_lab.engine.base import Need
from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Request, State
from reasoning_lab.sampler.base import AnyPool, Prompt, Sample, Sampler, Selection, Words

SCALARS = ("log_p", "log_q", "log_z", "negentropy")
"""What a Chain has of each token."""
ESCAPES = {r"\n": "\n", r"\t": "\t", r"\\": "\\"}
"""As a command line writes them: it has no other way to give a line break."""


@dataclass(frozen=True)
class Cued(Sampler):
    """The law of `of` after a forced opening: of continuations y it draws as `of` draws of p(. | prompt, cue).

    The null that a way to make a base model reason has to beat (arXiv:2610.06851): one or two opening tokens alone
    bring some base models to the accuracy of their RL-trained siblings. Power sampling of a cued model has the target
    p(y | prompt, cue)^alpha. The cue's tokens are part of the answer and conditioning, as the prompt is: marked in
    Chain.inserted, no part of log p, log q, negentropy, decode tokens or a Markov chain's lengths, never cut at and
    never drawn again. They count towards max_new_tokens. `of` sees prompt and cue as its prompt and knows nothing of
    this, so every sampler of single answers can be cued; a pool of cued answers is a PoolOf this.
    """

    of: Sampler
    """Draws what follows."""
    cue: str | None = None
    r"""The opening as text, \n a line break, \t a tab, \\ a backslash; encoded by itself, without what precedes it."""
    cue_ids: tuple[int, ...] | None = None
    """Or as token ids; None for both: the run finds one (stage=cue)."""

    def __post_init__(self) -> None:
        name = type(self.of).__name__
        is_single = not isinstance(self.of, (AnyPool, Selection, Cued))
        require(is_single, "of", name, "a sampler of single answers", "choose from a pool of cued answers: PoolOf Cued")
        both = self.cue is not None and self.cue_ids is not None
        require(not both, "cue_ids", self.cue_ids, "null where cue is given", "set one of the two to null")
        require(self.cue != "", "cue", "''", "a text or null", "an empty cue is no cue: use the sampler of `of` alone")
        ids = self.cue_ids
        holds = ids is None or (len(ids) > 0 and all(is_count(id, 0) for id in ids))
        require(holds, "cue_ids", ids, "token ids, one at least", "null finds a cue")
        if ids is not None:
            self.after(len(ids))

    @property
    def max_new_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """T of the whole answer, cue included: that of `of`."""
        return self.of.max_new_tokens

    @property
    def n_held(self) -> int:
        return self.of.n_held

    @property
    def is_deterministic(self) -> bool:
        return self.of.is_deterministic

    @property
    def is_greedy(self) -> bool:
        return self.of.is_greedy

    @property
    def inserts(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[Need]:
        """As `of`: the cue is not scored."""
        return self.of.needs

    @property
    def waits_for_cue(self) -> bool:
        return self.cue is None and self.cue_ids is None

    def with_cue(self, cue: tuple[int, ...]) -> Sampler:
        """With these opening tokens, where it has none of its own."""
        return replace(self, cue_ids=cue) if self.waits_for_cue else self

    def check(self, words: Words) -> None:
        """ValueError for a cue that the model can't write, that ends the answer or leaves it no room."""
        if self.waits_for_cue:
            return
        ids = self._ids(words.encode, words.stop_ids)
        require(max(ids) < words.n_ids, "cue_ids", max(ids), f"an id of the model, 0 to {words.n_ids - 1}", "mend it")
        self.after(len(ids))

    def after(self, n: int) -> Sampler:
        """The sampler of what follows a cue of `n` tokens; ValueError where the cap leaves it no room."""
        left = self.max_new_tokens - n
        bound = f"above the {n} tokens of the cue"
        require(left >= 1, "max_new_tokens", self.max_new_tokens, bound, "raise benchmark.max_new_tokens")
        # Every sampler of single answers is a dataclass with this field, which its annotation here can't say.
        return replace(self.of, max_new_tokens=left)  # pyright: ignore[reportArgumentType]

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """`of` at work in a world whose prompts end with the cue; its requests go out, its chains come in."""
        if prompt.encode is None and self.cue is not None:
            raise ValueError("Cued needs prompt.encode to put its text into an answer.")
        cue = self._ids(prompt.encode or _no_text, prompt.stop_ids)
        opening = _Opening(prompt.ids, cue)
        inner = self.after(len(cue)).sample(replace(prompt, ids=(*prompt.ids, *cue)), resume)
        drawn = yield from opening.led(inner)
        moves = tuple(replace(move, cut=move.cut + len(cue)) for move in drawn.moves)
        return Sample(opening.outside(drawn.chain), drawn.decode_tokens, moves)

    def expected_tokens(self, mean_length: float) -> float:
        """Those of `of`: the cue costs no draw."""
        return self.of.expected_tokens(mean_length)

    def _ids(self, encode: Callable[[str], tuple[int, ...]], stop_ids: frozenset[int]) -> tuple[int, ...]:
        if self.waits_for_cue:
            raise ValueError("cue=null: the run must find one first (stage=cue); give a text, or cue_ids.")
        ids = self.cue_ids if self.cue_ids is not None else encode(unescaped(self.cue or ""))
        shown = f"cue={self.cue!r}" if self.cue_ids is None else f"cue_ids={list(ids)}"
        if not ids:
            raise ValueError(f"{shown}: no token of this model; give another text.")
        if ends := stop_ids & set(ids):
            raise ValueError(f"{shown}: id {min(ends)} ends an answer; leave it out.")
        return ids


def unescaped(text: str) -> str:
    r"""The text with \n, \t and \\ as what they stand for."""
    return re.sub(r"\\[nt\\]", lambda found: ESCAPES[found[0]], text)


def _no_text(_text: str) -> tuple[int, ...]:
    raise AssertionError("ids are given")


@dataclass(frozen=True)
class _Opening:
    """Chains and requests inside, where prompt and cue are the prompt, and outside, where the cue begins the answer."""

    prompt: tuple[int, ...]
    cue: tuple[int, ...]

    def led(self, inner: Coroutine[Sample]) -> Generator[Any, Any, Sample]:
        """The coroutine's result, its requests and their answers translated."""
        answer = None
        while True:
            try:
                asked = inner.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(asked, Checkpoint):
                answer = yield asked
            elif isinstance(asked, list):
                chains = yield [self.request(each) for each in asked]
                answer = [self.inside(chain) for chain in chains]
            else:
                answer = self.inside((yield self.request(asked)))

    def request(self, asked: Request) -> Request:
        """As the engine hears it; a schedule of temperatures begins behind the cue."""
        n, heat = len(self.cue), asked.temperature
        ahead = asked.ahead
        return replace(
            asked, parent=self.outside(asked.parent), keep=asked.keep + n, cap=asked.cap + n,
            temperature=(heat[0],) * n + heat if isinstance(heat, tuple) else heat,
            ahead=None if ahead is None else lambda: map(self.request, ahead()),
        )  # fmt: skip

    def outside(self, chain: Chain) -> Chain:
        """The cue's tokens put before the chain's, as insertions."""
        n = len(self.cue)
        return replace(
            chain, prompt=self.prompt, tokens=(*self.cue, *chain.tokens),
            alternatives=((),) * n + chain.alternatives,
            inserted=(*range(n), *(n + position for position in chain.inserted)),
            log_z_slack=(0.0,) * n + chain.log_z_slack if chain.log_z_slack else (),
            **{name: (0.0,) * n + getattr(chain, name) for name in SCALARS},
        )  # fmt: skip

    def inside(self, chain: Chain) -> Chain:
        """The chain of what follows the cue."""
        n = len(self.cue)
        names = {"tokens", "alternatives", "log_z_slack", *SCALARS}
        columns = [f.name for f in fields(Chain) if f.name in names]
        return replace(
            chain, prompt=(*self.prompt, *self.cue),
            inserted=tuple(position - n for position in chain.inserted if position >= n),
            **{name: getattr(chain, name)[n:] for name in columns},
        )  # fmt: skip
