"""Block-wise Metropolis-Hastings on sequences: the ladder that every MCMC sampler climbs, and its acceptance rules.

State space at cap L: sequences that end at their first stop id or have exactly L generated tokens. Rung k has the cap
min(k B, T); a rung first extends an unfinished state to its cap, then makes N steps. A step cuts the state at a
uniform position of {0, ..., |x|-1}, draws everything behind the cut anew until a stop id or the rung's cap, and
accepts or rejects (Karan & Du 2025, Alg. 1, with the lengths done right: departures D1 to D5).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Request, State
from reasoning_lab.engine.rng import Key, index, uniform
from reasoning_lab.records import Move, Settled
from reasoning_lab.sampler.base import Prompt, Sample

StopRule = Literal["full_ladder", "jump_to_final_cap", "first_eos"]


class AcceptanceRule(ABC):
    """When a proposal is accepted."""

    @abstractmethod
    def log_ratio(self, current: Chain, proposal: Chain, cut: int) -> float:
        """log of the acceptance ratio; accepted where log u is below it."""

    def log_ratio_bounds(self, current: Chain, proposal: Chain, cut: int) -> tuple[float, float]:
        """Least and greatest log ratio that the bounds on log Z behind the cut allow; twice the log ratio where log Z
        is exact. Chain.log_z is the lower bound, and the ratio rises with the proposal's."""
        ratio = self.log_ratio(current, proposal, cut)
        return ratio - sum(current.log_z_slack[cut:]), ratio + sum(proposal.log_z_slack[cut:])

    def floor(self, current: Chain, cut: int, log_u: float) -> float | None:
        """Request.floor below which rejection is certain, or None where there is none."""
        return None


@dataclass(frozen=True)
class PowerRule(AcceptanceRule):
    """Target p^alpha, proposal q, cut uniform over the state's own positions.

    log A = alpha [log p(x') - log p(x)] - [log q(x') - log q(x)] + log |x| - log |x'|, sums over the tokens behind the
    cut. The last pair is the probability of choosing the cut, which depends on the length. Where q is p at temperature
    1/alpha each token contributes alpha log p - log q = log Z <= 0, so a proposal's sum only falls and a rejection can
    be certain before the proposal is complete.
    """

    alpha: float
    is_tempered_target: bool
    """Whether the proposal temperature is 1/alpha and not truncated: then a floor exists."""

    def log_ratio(self, current: Chain, proposal: Chain, cut: int) -> float:
        """log A."""
        return (
            _log_weight(proposal, cut, None, self.alpha)
            - _log_weight(current, cut, None, self.alpha)
            + math.log(len(current))
            - math.log(len(proposal))
        )

    def floor(self, current: Chain, cut: int, log_u: float) -> float | None:
        """log u + sum of the current log Z behind the cut - log |x|."""
        if not self.is_tempered_target:
            return None
        return log_u + sum(current.log_z[cut:]) - math.log(len(current))


@dataclass(frozen=True)
class OverlapRule(AcceptanceRule):
    """Karan & Du's code (departures D2 and D3): the current suffix is cut off at the proposal's length, and the
    probability of the cut is left out. Not a Metropolis-Hastings ratio when lengths differ."""

    alpha: float

    def log_ratio(self, current: Chain, proposal: Chain, cut: int) -> float:
        """As PowerRule over the positions that both have, without the lengths' term."""
        both = min(len(current), len(proposal))
        return _log_weight(proposal, cut, None, self.alpha) - _log_weight(current, cut, both, self.alpha)


@dataclass(frozen=True)
class UphillRule(AcceptanceRule):
    """alpha -> infinity: accept exactly when log p of the whole answer rises."""

    def log_ratio(self, current: Chain, proposal: Chain, cut: int) -> float:
        """+inf uphill, -inf else."""
        return math.inf if sum(proposal.log_p[cut:]) > sum(current.log_p[cut:]) else -math.inf


def _log_weight(chain: Chain, start: int, stop: int | None, alpha: float) -> float:
    """sum of alpha log p - log q over tokens start ... stop-1."""
    return alpha * sum(chain.log_p[start:stop]) - sum(chain.log_q[start:stop])


@dataclass(frozen=True)
class Ladder:
    """A climb: the schedule, the proposal, the rule, and how caps move."""

    max_new_tokens: int
    """T [tokens]."""
    block_size: int
    """B [tokens]: rise of the cap per rung."""
    n_steps: int
    """N: steps per rung."""
    temperature: float
    """Of the proposal."""
    top_k: int
    """Of the proposal (0: all)."""
    rule: AcceptanceRule
    stop_rule: StopRule
    """full_ladder climbs every rung; jump_to_final_cap goes straight to the cap T once a rung ends on a finished
    state; first_eos returns there, whose law is not the target's even in the limit (departures D5)."""
    has_compat_caps: bool = False
    """Karan & Du's code: a proposal may not outgrow the state (departures D1), and a rung extends by B from the
    state's present length (departures D4)."""

    @property
    def n_rungs(self) -> int:
        """ceil(T / B)."""
        return -(-self.max_new_tokens // self.block_size)

    def climb(self, prompt: Prompt, resume: State | None) -> Coroutine[Sample]:
        """Run the ladder to its end."""
        state = _Climb.of(prompt, resume)
        while state.rung < self.n_rungs:
            cap = self._cap(state)
            yield from self._extend(prompt, state, cap)
            for step in range(1, self.n_steps + 1):
                yield from self._move(prompt, state, cap, step)
            state.rung = self._next_rung(prompt, state)
            if state.rung < self.n_rungs:
                yield Checkpoint(state.plain())
        return Sample(state.chain, state.decode_tokens, tuple(state.moves))

    def _cap(self, state: "_Climb") -> int:
        if self.has_compat_caps:
            return min(len(state.chain) + self.block_size, self.max_new_tokens)
        return min((state.rung + 1) * self.block_size, self.max_new_tokens)

    def _next_rung(self, prompt: Prompt, state: "_Climb") -> int:
        if not _finished(state.chain, prompt) or self.stop_rule == "full_ladder":
            return state.rung + 1
        if self.stop_rule == "first_eos" or state.rung + 1 >= self.n_rungs:
            return self.n_rungs
        return self.n_rungs - 1

    def _extend(self, prompt: Prompt, state: "_Climb", cap: int) -> Generator[Request, Chain, None]:
        """Draw an unfinished state on to the rung's cap."""
        if _finished(state.chain, prompt) or len(state.chain) >= cap:
            return
        state.chain = yield self._request(prompt, state, len(state.chain), cap, step=0, floor=None)
        state.decode_tokens += state.chain.n_drawn

    def _move(self, prompt: Prompt, state: "_Climb", cap: int, step: int) -> Generator[Any, Any, None]:
        """One Metropolis-Hastings step."""
        current, key = state.chain, prompt.key._replace(rung=state.rung, step=step)
        cut = index(key, "cut", len(current))
        log_u = math.log(uniform(key, 0, "accept"))
        cap = len(current) if self.has_compat_caps else cap
        proposal = yield self._request(prompt, state, cut, cap, step, self.rule.floor(current, cut, log_u))
        state.decode_tokens += proposal.n_drawn
        ratio, settled = None, "exact"
        if proposal.finish != "floor":
            ratio, settled = yield from self._weighed(key, current, proposal, cut, log_u)
        accepted = ratio is not None and log_u < ratio
        state.moves.append(
            Move(
                state.rung,
                step,
                cut,
                current.tokens[cut:],
                proposal.tokens[cut:],
                ratio if ratio is None or math.isfinite(ratio) else None,
                accepted,
                settled,
            )
        )
        if accepted:
            state.chain = proposal

    def _weighed(
        self, key: Key, current: Chain, proposal: Chain, cut: int, log_u: float
    ) -> Generator[list[Request], list[Chain], tuple[float, Settled]]:
        """The log ratio, or the middle of its bounds, and what it took to settle the verdict.

        Where log u lies between the bounds both suffixes are scored again, for an engine bounds log Z the closest when
        it only scores; both, because what was drawn and what was scored again are not mixed in one ratio.
        """
        low, high = self.rule.log_ratio_bounds(current, proposal, cut)
        if not low <= log_u < high:
            return (low + high) / 2, "exact"
        scored_current, scored_proposal = yield [
            Request(
                chain, cut, key, len(chain), frozenset(), self.temperature, self.top_k, forced=chain.tokens[cut:],
                want_negentropy=True,
            )
            for chain in (current, proposal)
        ]  # fmt: skip
        low, high = self.rule.log_ratio_bounds(scored_current, scored_proposal, cut)
        return (low + high) / 2, "undecided" if low <= log_u < high else "rescored"

    def _request(self, prompt: Prompt, state: "_Climb", keep: int, cap: int, step: int, floor: float | None) -> Request:
        key = prompt.key._replace(rung=state.rung, step=step)
        return Request(
            state.chain, keep, key, cap, prompt.stop_ids, temperature=self.temperature, top_k=self.top_k,
            floor=floor, want_negentropy=True,
        )  # fmt: skip

    def expected_tokens(self, mean_length: float) -> float:
        """Decode tokens for an answer of `mean_length` tokens: the draft, and per step half the state's length.

        Rungs above the answer's length keep moving a finished state under full_ladder. Early rejection is not counted,
        so this is an upper estimate for chains that reject much.
        """
        lengths = [min((k + 1) * self.block_size, mean_length) for k in range(self.n_rungs)]
        reached = [k for k, length in enumerate(lengths) if length >= mean_length]
        if self.stop_rule != "full_ladder" and reached:
            extra = 2 if self.stop_rule == "jump_to_final_cap" else 1
            lengths = lengths[: reached[0] + extra]
        return mean_length + self.n_steps * sum((length + 1) / 2 for length in lengths)


@dataclass
class _Climb:
    """Where a climb stands."""

    chain: Chain
    rung: int
    decode_tokens: int
    moves: list[Move]

    @classmethod
    def of(cls, prompt: Prompt, resume: State | None) -> "_Climb":
        if resume is None:
            return cls(Chain(prompt.ids), 0, 0, [])
        moves = [Move.from_json(move) for move in resume["moves"]]
        return cls(Chain.restored(prompt.ids, resume["chain"]), resume["rung"], resume["decode_tokens"], moves)

    def plain(self) -> State:
        return {
            "chain": self.chain.plain(),
            "rung": self.rung,
            "decode_tokens": self.decode_tokens,
            "moves": [move.to_json() for move in self.moves],
        }


def _finished(chain: Chain, prompt: Prompt) -> bool:
    return bool(chain.tokens) and chain.tokens[-1] in prompt.stop_ids
