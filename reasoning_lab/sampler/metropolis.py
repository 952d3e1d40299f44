"""Block-wise Metropolis-Hastings on sequences: the ladder that every MCMC sampler climbs, and its acceptance rules.

State space at cap L: sequences that end at their first stop id or have exactly L generated tokens. Rung k has the cap
min(k B, T); a rung first extends an unfinished state to its cap, then makes N steps. A step cuts the state at a
uniform position of {0, ..., |x|-1}, draws everything behind the cut anew until a stop id or the rung's cap, and
accepts or rejects (Karan & Du 2025, Alg. 1, with the lengths done right: departures D1 to D5).

A proposal agrees with the state for a while, at low temperature for long. With `redraw: from_difference` that stretch
is not drawn: the state holds q of each of its tokens, so whether the proposal has the same token there is a coin of
that probability, and at the first tail the token is drawn from q given that it is another one. The proposal has the
law that it has when all of it is drawn (a token of q is x with probability q(x), else of q given not x), and a
proposal that never differs costs nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Request, State
from reasoning_lab.engine.rng import Key, index, uniform
from reasoning_lab.records import Move, Settled
from reasoning_lab.sampler.base import Prompt, Sample

StopRule = Literal["full_ladder", "jump_to_final_cap", "first_eos"]
Redraw = Literal["from_difference", "from_cut"]


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
    redraw: Redraw = "from_difference"
    """from_cut draws all of a proposal behind its cut; from_difference what follows its first token that is not the
    state's: the same law at a lower cost."""
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
            cap = self._cap(state.chain, state.rung)
            yield from self._extend(prompt, state, cap)
            for step in range(1, self.n_steps + 1):
                yield from self._move(prompt, state, cap, step)
            state.rung = self._next_rung(prompt, state.chain, state.rung)
            if state.rung < self.n_rungs:
                yield Checkpoint(state.plain())
        return Sample(state.chain, state.decode_tokens, tuple(state.moves))

    def _cap(self, chain: Chain, rung: int) -> int:
        if self.has_compat_caps:
            return min(len(chain) + self.block_size, self.max_new_tokens)
        return min((rung + 1) * self.block_size, self.max_new_tokens)

    def _next_rung(self, prompt: Prompt, chain: Chain, rung: int) -> int:
        if not _finished(chain, prompt) or self.stop_rule == "full_ladder":
            return rung + 1
        if self.stop_rule == "first_eos" or rung + 1 >= self.n_rungs:
            return self.n_rungs
        return self.n_rungs - 1

    def _extend(self, prompt: Prompt, state: "_Climb", cap: int) -> Generator[Request, Chain, None]:
        """Draw an unfinished state on to the rung's cap."""
        if (request := self._extension(prompt, state.chain, state.rung, cap)) is not None:
            state.chain = yield request
            state.decode_tokens += state.chain.n_drawn

    def _extension(self, prompt: Prompt, chain: Chain, rung: int, cap: int) -> Request | None:
        if _finished(chain, prompt) or len(chain) >= cap:
            return None
        return self._request(prompt, chain, len(chain), cap, prompt.key._replace(rung=rung, step=0), floor=None)

    def _move(self, prompt: Prompt, state: "_Climb", cap: int, step: int) -> Generator[Any, Any, None]:
        """One Metropolis-Hastings step."""
        current, key = state.chain, prompt.key._replace(rung=state.rung, step=step)
        cut, log_u = _cut(key, current), _log_u(key)
        request = self._proposal(prompt, current, state.rung, step, cap)
        if request is None:
            proposal = replace(current, n_drawn=0)
        else:
            rung = state.rung
            proposal = yield replace(request, ahead=lambda: self._ahead(prompt, current, rung, step, cap))
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

    def _proposal(self, prompt: Prompt, current: Chain, rung: int, step: int, cap: int) -> Request | None:
        """What draws a step's proposal; None where it is found to be the state itself."""
        key = prompt.key._replace(rung=rung, step=step)
        cut, log_u = _cut(key, current), _log_u(key)
        if self.redraw == "from_cut" or self.has_compat_caps:
            cap = len(current) if self.has_compat_caps else cap
            return self._request(prompt, current, cut, cap, key, self.rule.floor(current, cut, log_u))
        if (first := _first_difference(current, cut, key)) is None:
            return None
        request = self._request(prompt, current, first, cap, key, self.rule.floor(current, first, log_u))
        return replace(request, excluded=current.tokens[first], scores_excluded=True)

    def _ahead(self, prompt: Prompt, current: Chain, rung: int, step: int, cap: int) -> Iterator[Request]:
        """What the next steps ask for if the state stays what it is: functions of keys and state."""
        while True:
            for later in range(step + 1, self.n_steps + 1):
                if (request := self._proposal(prompt, current, rung, later, cap)) is not None:
                    yield request
            rung, step = self._next_rung(prompt, current, rung), 0
            if rung >= self.n_rungs:
                return
            cap = self._cap(current, rung)
            if (extension := self._extension(prompt, current, rung, cap)) is not None:
                yield extension
                return

    def _request(self, prompt: Prompt, chain: Chain, keep: int, cap: int, key: Key, floor: float | None) -> Request:
        return Request(
            chain, keep, key, cap, prompt.stop_ids, temperature=self.temperature, top_k=self.top_k,
            floor=floor, want_negentropy=True,
        )  # fmt: skip

    def expected_tokens(self, mean_length: float) -> float:
        """Decode tokens for an answer of `mean_length` tokens: the draft, and per step half the state's length.

        Rungs above the answer's length keep moving a finished state under full_ladder. Neither early rejection nor the
        stretch in which a proposal agrees with the state is taken off, so this is an upper estimate.
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


def _cut(key: Key, current: Chain) -> int:
    """Generated tokens that the step of the key keeps."""
    return index(key, "cut", len(current))


def _log_u(key: Key) -> float:
    """log of the uniform that the step's ratio is held against."""
    return math.log(uniform(key, 0, "accept"))


def _first_difference(current: Chain, cut: int, key: Key) -> int | None:
    """First position from the cut on at which the proposal has another token than the state, or None: at each one the
    same with its probability under the proposal, as long as all before it were."""
    return next(
        (at for at in range(cut, len(current)) if uniform(key, at, "agree") >= math.exp(current.log_q[at])), None
    )


def _finished(chain: Chain, prompt: Prompt) -> bool:
    return bool(chain.tokens) and chain.tokens[-1] in prompt.stop_ids
