"""Beam search: the deterministic anchor of likelihood, towards which power sampling goes as alpha grows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Need
from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Finish, Request, State
from reasoning_lab.sampler.base import Prompt, Sample, Sampler

STEPS_PER_CHECKPOINT = 32
"""Tokens of the live prefixes between two checkpoints."""


@dataclass(frozen=True)
class Beam(Sampler):
    """The best of the answers that a search of `width` live prefixes meets, by sum log p / length^length_penalty.

    At each length every live prefix is extended by every token; of all extensions, by falling sum of log p (ties to the
    earlier prefix, then to the smaller id), those of the first `width` that end in a stop id are answers, and the first
    `width` that don't are live. The search ends when it has `width` answers or at the cap, where the first `width`
    extensions are answers as they are. Width 1 is greedy; a width of at least the number of sequences is exact.

    This is what transformers' generate does with num_beams and early_stopping=True. The penalty is that of its code, on
    the answer's own length with the stop id: 0 gives the sum, 1 the mean log p; GNMT's (Wu et al. 2016,
    arXiv:1609.08144, eq. 14) is ((5 + length) / 6)^length_penalty.

    Each pass over a live prefix counts as one decode token. The cost is width times the length, known only afterwards,
    so there is no tokens_matched_to here: sweep the width, and read decode tokens beside accuracy.
    """

    max_new_tokens: int
    width: int
    """Live prefixes."""
    length_penalty: float = 1.0
    """Exponent of the length: 0 is the sum of log p, 1 the mean, above 1 prefers long answers."""

    def __post_init__(self) -> None:
        require_count(self, "max_new_tokens", "width")
        require(
            self.length_penalty >= 0, "length_penalty", self.length_penalty, "at least 0",
            "0 is the sum of log p, 1 its mean",
        )  # fmt: skip

    @property
    def is_deterministic(self) -> bool:
        return True

    @property
    def n_held(self) -> int:
        """All live prefixes."""
        return self.width

    @property
    def needs(self) -> frozenset[Need]:
        """The extensions of a prefix."""
        return frozenset({"alternatives"})

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """One request per live prefix and length."""
        search = _Search.of(prompt, resume)
        while search.live and len(search.ended) < self.width:
            grown = yield [self._request(prompt, chain) for chain in search.live]
            live, ended = self._chosen(prompt, _extensions(search.live, grown))
            drawn = search.drawn + sum(chain.n_drawn for chain in grown)
            search = _Search(live, [*search.ended, *ended], drawn)
            if live and len(live[0]) % STEPS_PER_CHECKPOINT == 0:
                yield Checkpoint(search.plain())
        best = max(search.ended, key=self._score)  # The first of equals.
        return Sample(best, search.drawn)

    def expected_tokens(self, mean_length: float) -> float:
        """The answer's own length for each live prefix."""
        return self.width * mean_length

    def _score(self, chain: Chain) -> float:
        return sum(chain.log_p) / len(chain) ** self.length_penalty

    def _request(self, prompt: Prompt, chain: Chain) -> Request:
        """One position more; its alternatives are the extensions, its own token is of no account."""
        n = len(chain)
        return Request(
            chain, n, prompt.key, n + 1, frozenset(), temperature=0.0, want_negentropy=True,
            n_alternatives=self.width + len(prompt.stop_ids),
        )  # fmt: skip

    def _chosen(self, prompt: Prompt, extensions: Sequence["_Extension"]) -> tuple[list[Chain], list[Chain]]:
        """Live prefixes and answers among the extensions."""
        ranked = sorted(extensions, key=lambda extension: (-extension.sum_log_p, extension.parent, extension.id))
        if len(ranked[0].grown) == self.max_new_tokens:
            return [], [one.chain("stop" if one.id in prompt.stop_ids else "cap") for one in ranked[: self.width]]
        ended = [one.chain("stop") for one in ranked[: self.width] if one.id in prompt.stop_ids]
        going = [one for one in ranked if one.id not in prompt.stop_ids]
        return [one.chain(None) for one in going[: self.width]], ended


class _Extension(NamedTuple):
    """A live prefix and one more token."""

    parent: int
    """Rank of the prefix."""
    grown: Chain
    """The prefix with its most probable next token."""
    id: int
    log_p: float
    sum_log_p: float

    def chain(self, finish: Finish | None) -> Chain:
        """The grown chain with this token as its last: what was saved of the positions before it is the same."""
        grown, n = self.grown, len(self.grown)
        return Chain(
            grown.prompt, (*grown.tokens[:-1], self.id), (*grown.log_p[:-1], self.log_p), (0.0,) * n, (0.0,) * n,
            grown.negentropy, ((),) * n, finish, cache=grown.cache,
        )  # fmt: skip


def _extensions(live: Sequence[Chain], grown: Sequence[Chain]) -> list[_Extension]:
    """The most probable extensions of every live prefix, those of probability zero left out."""
    return [
        _Extension(rank, after, id, log_p, sum(before.log_p) + log_p)
        for rank, (before, after) in enumerate(zip(live, grown, strict=True))
        for id, log_p in after.alternatives[-1]
        if log_p > float("-inf")
    ]


class _Search(NamedTuple):
    """Where a search stands."""

    live: list[Chain]
    ended: list[Chain]
    drawn: int

    @classmethod
    def of(cls, prompt: Prompt, resume: State | None) -> "_Search":
        if resume is None:
            return cls([Chain(prompt.ids)], [], 0)
        live, ended = ([Chain.restored(prompt.ids, plain) for plain in resume[name]] for name in ("live", "ended"))
        return cls(live, ended, resume["drawn"])

    def plain(self) -> State:
        return {
            "live": [chain.plain() for chain in self.live],
            "ended": [chain.plain() for chain in self.ended],
            "drawn": self.drawn,
        }
