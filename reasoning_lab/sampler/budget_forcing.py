"""Budget forcing: an answer made longer by "Wait" and cut short by "Final Answer:" (s1, Muennighoff et al. 2025,
arXiv:2501.19393, section 3)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Need
from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Request, State
from reasoning_lab.sampler.base import Prompt, Sample, Sampler, Words


@dataclass(frozen=True)
class BudgetForcing(Sampler):
    """One answer whose thinking is kept going and is cut off.

    1. Think: draw until an end of thinking or the thinking cap.
    2. While thinking ended by itself before the cap, at most n_waits times: take the end away, put `wait` in its place
       and go on; the first token after it is no end of thinking (as in the authors' code: min_tokens=1).
    3. Thinking that ended by itself stands as it is. Else put in think_close and final_answer.
    4. Draw the answer up to its own cap.

    Ends of thinking are the stop ids and, where think_close is given, its token. Without think_close, as for a base
    model, thinking that ended by itself holds its answer, and step 4 follows on the cap alone. With it, step 4 always
    follows; a stop id without the tag before it is taken away as at the cap.

    What is put in is conditioning: marked in Chain.inserted, no part of log p, log q, negentropy or decode tokens, and
    part of the text. Ends that were taken away were drawn: they count as decode tokens and towards the thinking cap.
    Departures from the authors' code: a text is encoded by itself, not together with what precedes it, and thinking and
    answer share max_new_tokens. There is no tokens_matched_to: one answer can't be stretched to any number of tokens
    within a model's context; match a PoolOf budget-forced answers instead.
    """

    max_new_tokens: int
    """T: all tokens of an answer, thinking, inserted ones and stop id included."""
    max_answer_tokens: int
    """Most tokens drawn after thinking was cut off or closed."""
    max_thinking_tokens: int | None = None
    """Most tokens drawn while thinking; None: what max_new_tokens leaves."""
    n_waits: int = 1
    """Times that an early end is replaced by `wait`; 0 only cuts off."""
    wait: str = "Wait"
    """Put in place of an early end; may be empty."""
    final_answer: str = "Final Answer:"
    """Put in where thinking was cut off; may be empty."""
    think_close: str | None = None
    """Tag that ends thinking, one token of the model; None for models without one."""
    temperature: float = 0.0
    """Of all tokens drawn; 0 is greedy, as in the paper."""

    def __post_init__(self) -> None:
        require_count(self, "max_new_tokens", "max_answer_tokens")
        if self.max_thinking_tokens is not None:
            require_count(self, "max_thinking_tokens")
        answer, thinking = self.max_answer_tokens, self.max_thinking_tokens or 1
        require(
            answer + thinking <= self.max_new_tokens, "max_answer_tokens", answer,
            f"at most max_new_tokens={self.max_new_tokens} less {thinking} of thinking",
            "lower max_answer_tokens or max_thinking_tokens, or raise benchmark.max_new_tokens",
        )  # fmt: skip
        require(self.n_waits >= 0, "n_waits", self.n_waits, "at least 0", "0 only cuts off")
        require(self.temperature >= 0, "temperature", self.temperature, "at least 0", "0 is greedy")
        require(self.think_close != "", "think_close", "''", "a tag or null", "null is for models without one")

    @property
    def is_deterministic(self) -> bool:
        """At temperature 0."""
        return self.temperature == 0

    @property
    def inserts(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[Need]:
        """What it puts in for an early end is not that end again."""
        return frozenset({"excluded"}) if self.n_waits else frozenset()

    def check(self, words: Words) -> None:
        """ValueError for a text that the model can't write, a tag of several tokens, or a cap that is too short."""
        self._thinking_cap(self._texts(words.encode, words.stop_ids))

    def sample(self, prompt: Prompt, resume: State | None = None) -> Coroutine[Sample]:
        """One request per stretch of thinking, and one for the answer."""
        if prompt.encode is None:
            raise ValueError("BudgetForcing needs prompt.encode to put its texts into an answer.")
        texts = self._texts(prompt.encode, prompt.stop_ids)
        cap = self._thinking_cap(texts)
        if resume is None:
            chain = yield self._request(prompt, Chain(prompt.ids), 0, (), cap, texts.ends, stretch=0)
            thought, waits = chain.n_drawn, 0
            yield _checkpoint(chain, thought, waits)
        else:
            chain, thought, waits = Chain.restored(prompt.ids, resume["chain"]), resume["thought"], resume["waits"]
        while chain.finish == "stop" and waits < self.n_waits and thought < cap:
            waits += 1
            chain = yield self._request(
                prompt, chain, len(chain) - 1, texts.wait, cap - thought, texts.ends, waits, excluded=texts.ends
            )
            thought += chain.n_drawn
            yield _checkpoint(chain, thought, waits)
        ended_by_itself = chain.finish == "stop" and texts.close in (None, chain.tokens[-1])
        if ended_by_itself and texts.close is None:
            return Sample(chain, thought)
        keep = len(chain) - (chain.finish == "stop" and not ended_by_itself)
        closing = () if ended_by_itself else texts.closing
        chain = yield self._request(
            prompt, chain, keep, closing, self.max_answer_tokens, prompt.stop_ids, stretch=self.n_waits + 1
        )
        return Sample(chain, thought + chain.n_drawn)

    def expected_tokens(self, mean_length: float) -> float:
        """Of an answer that every wait makes as long again, up to max_new_tokens."""
        return min(float(self.max_new_tokens), (1 + self.n_waits) * mean_length)

    def _texts(self, encode: Callable[[str], tuple[int, ...]], stop_ids: frozenset[int]) -> "_Texts":
        wait, final, close = (encode(text) if text else () for text in (self.wait, self.final_answer, self.think_close))
        if self.think_close is not None and len(close) != 1:
            raise ValueError(
                f"think_close={self.think_close}: must be one token of the model, is {len(close)}; "
                "set think_close=null for a model without such a tag."
            )
        return _Texts(wait, (*close, *final), close[0] if close else None, stop_ids | set(close))

    def _thinking_cap(self, texts: "_Texts") -> int:
        """Tokens that may be drawn while thinking, so that all there can be fits into max_new_tokens."""
        inserted = self.n_waits * len(texts.wait) + len(texts.closing)
        left = self.max_new_tokens - self.max_answer_tokens - inserted
        least = self.max_thinking_tokens or 1
        require(
            left >= least, "max_new_tokens", self.max_new_tokens,
            f"at least {least + inserted + self.max_answer_tokens} for {least} of thinking, {inserted} inserted and "
            f"max_answer_tokens={self.max_answer_tokens}",
            "raise benchmark.max_new_tokens, or lower max_thinking_tokens or n_waits",
        )  # fmt: skip
        return self.max_thinking_tokens or left

    def _request(
        self,
        prompt: Prompt,
        chain: Chain,
        keep: int,
        inserted: tuple[int, ...],
        n: int,
        ends: frozenset[int],
        stretch: int,
        excluded: frozenset[int] | None = None,
    ) -> Request:
        """Put `inserted` behind the kept tokens and draw at most `n` more; the step of the key counts the stretches,
        for a position can be drawn in two of them."""
        return Request(
            chain, keep, prompt.key._replace(step=stretch), keep + len(inserted) + n, ends,
            temperature=self.temperature, forced=inserted, insert=True, excluded=excluded, want_negentropy=True,
        )  # fmt: skip


class _Texts(NamedTuple):
    """The texts as token ids."""

    wait: tuple[int, ...]
    closing: tuple[int, ...]
    """Tag and final answer: what a cut-off is followed by."""
    close: int | None
    """The tag."""
    ends: frozenset[int]
    """Stop ids and the tag."""


def _checkpoint(chain: Chain, thought: int, waits: int) -> Checkpoint:
    return Checkpoint({"chain": chain.plain(), "thought": thought, "waits": waits})
