"""Karan & Du's sampler written plainly: one stream, a `generate` call from the bare text for every proposal.

What the engine is held against: the same algorithm as `sampler=power_karan2025` (their code, departures D1 to D5 and
D9), with nothing kept between calls, as theirs runs it.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from reasoning_lab.sampler.metropolis import Ladder


class Stretch(NamedTuple):
    """What one call drew."""

    ids: list[int]
    log_p: list[float]
    log_q: list[float]


@dataclass
class PublishedStream:
    """One stream of a model.

    Arguments: `model` is a transformers causal LM with an attention of transformers' own; `ladder` gives sizes,
    temperature and top_k; `alpha` is the target's exponent.
    """

    model: Any
    ladder: Ladder
    alpha: float
    stop_ids: frozenset[int]
    seed: int
    drawn: int = 0
    """Tokens so far."""
    calls: int = 0
    before_call: Callable[[], None] = lambda: None
    """Asked before every call; an error of its ends the stream."""
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        torch.manual_seed(self.seed)

    def answer(self, prompt: tuple[int, ...]) -> list[int]:
        """One answer."""
        state = Stretch([], [], [])
        for _ in range(self.ladder.n_rungs):
            more = self.generate([*prompt, *state.ids], min(self.ladder.block_size, self._left(state)))
            state = _joined(state, len(state.ids), more)
            for _ in range(self.ladder.n_steps):
                state = self._moved(prompt, state)
            if ends := [at for at, id in enumerate(state.ids) if id in self.stop_ids]:
                return state.ids[: ends[0] + 1]
        return state.ids

    def _left(self, state: Stretch) -> int:
        return self.ladder.max_new_tokens - len(state.ids)

    def _moved(self, prompt: tuple[int, ...], state: Stretch) -> Stretch:
        cut = self._chance.randrange(len(state.ids))
        new = self.generate([*prompt, *state.ids[:cut]], len(state.ids) - cut)
        until = cut + len(new.ids)
        old = Stretch(state.ids[cut:until], state.log_p[cut:until], state.log_q[cut:until])
        ratio = self._weight(new) - self._weight(old)
        return _joined(state, cut, new) if math.log(self._chance.random() or 5e-324) < ratio else state

    def _weight(self, stretch: Stretch) -> float:
        return self.alpha * sum(stretch.log_p) - sum(stretch.log_q)

    @torch.inference_mode()
    def generate(self, ids: list[int], n: int) -> Stretch:
        """At most `n` tokens behind `ids`, by one `generate` call whose logits are all kept."""
        self.before_call()
        given = torch.tensor([ids], device=self.model.device)
        out = self.model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=n, do_sample=True, use_cache=True,
            temperature=self.ladder.temperature, top_k=self.ladder.top_k, top_p=1.0,
            eos_token_id=sorted(self.stop_ids), pad_token_id=min(self.stop_ids),
            return_dict_in_generate=True, output_scores=True, output_logits=True,
        )  # fmt: skip
        new = out.sequences[0, len(ids) :]
        self.drawn, self.calls = self.drawn + len(new), self.calls + 1
        log_p, log_q = (
            torch.log_softmax(torch.stack(laws)[:, 0].float(), -1).gather(-1, new[:, None])[:, 0].tolist()
            for laws in (out.logits, out.scores)
        )
        return Stretch(new.tolist(), log_p, log_q)


def _joined(state: Stretch, keep: int, more: Stretch) -> Stretch:
    return Stretch(state.ids[:keep] + more.ids, state.log_p[:keep] + more.log_p, state.log_q[:keep] + more.log_q)
