"""Do more steps still change the answers? What the first chain of each problem shows, rung by rung and step by step.

A chain that stands still gives the same answers at every step whether it has converged or is stuck. So little change
is no sign of convergence unless the chains moved; and what one chain shows can rule convergence out, not prove it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reasoning_lab import statistics as st
from reasoning_lab.records import ChainState, Completion
from reasoning_lab.report.data import ArmResult, Report

MARGIN = 0.02
"""Equivalence margin: a change of accuracy within +-2 points is none that counts."""
MOST = 0.5
"""Share of chains that must surely have moved before little change says anything."""

At = tuple[int, int]
"""Rung and steps made on it."""


class Milestone(NamedTuple):
    """What the chains have come to at a place of the ladder; shares in [0, 1], intervals over problems."""

    rung: int
    step: int
    steps: int
    """Made so far, all rungs; of chains that skip rungs, the most."""
    accuracy: st.Interval | None
    """Of the states as answers, those of chains that ended earlier included; None where states are not graded."""
    answers_changed: st.Interval | None
    """Share of chains whose answer is another than at the place before; None at the first."""


class Rung(NamedTuple):
    """What happened on a rung, over the chains that made proposals on it."""

    rung: int
    n_chains: int
    acceptance: st.Interval
    """Accepted proposals / proposals, mean over chains."""
    moved: st.Interval
    """Proposals that were accepted and changed the text / proposals."""
    chains_moved: st.Interval
    """Share of chains whose text at least one of the proposals changed."""


@dataclass(frozen=True)
class Convergence:
    """What an arm's chains show."""

    name: str
    label: str
    n_chains: int
    n_steps: int
    """N: steps per rung."""
    rungs: tuple[Rung, ...]
    ends: tuple[Milestone, ...]
    """At the end of each rung."""
    last: tuple[Milestone, ...]
    """After 0, 1, ... N steps of the last rung: what a ladder that stops there returns."""
    moved_late: st.Interval
    """Share of all chains whose text a proposal of the second half of the last rung changed."""
    change: st.Interval | None
    """Accuracy after all steps of the last rung minus accuracy after half of them, paired by problem."""

    @property
    def is_settled(self) -> bool:
        """Whether it may be said that more steps change nothing that counts: most of all chains surely moved in the
        second half of the last rung, and the whole interval of the change over it lies within +-MARGIN."""
        moves, change = self.moved_late.low > MOST, self.change
        return moves and change is not None and change.low >= -MARGIN and change.high <= MARGIN


def convergences(report: Report) -> list[Convergence]:
    """Of every arm of Markov chains whose states were kept."""
    return [_convergence(arm, report.seed) for arm in report.arms if arm.states]


def studied_convergence(report: Report) -> Convergence | None:
    """Of the studied arm; None where it has no chains."""
    arms = (arm for arm in report.arms if arm.states and arm.name == report.studied)
    return next((_convergence(arm, report.seed) for arm in arms), None)


def _convergence(arm: ArmResult, seed: int) -> Convergence:
    kept = {(state.problem, state.chain) for state in arm.states}
    chains = [answer for answer in arm.completions if (answer.problem, answer.chain) in kept]
    n_steps = max(move.step for chain in chains for move in chain.moves)
    last = max(state.rung for state in arm.states)
    paths = _paths(arm.states)
    ends = [(rung, n_steps) for rung in range(last + 1)]
    steps = [(last, step) for step in range(n_steps + 1)]
    return Convergence(
        arm.name,
        arm.label,
        len(chains),
        n_steps,
        tuple(_rungs(chains, seed)),
        tuple(_places(paths, ends, n_steps)),
        tuple(_places(paths, steps, n_steps)),
        st.binomial_interval(sum(_moved_late(chain, last, n_steps // 2) for chain in chains), len(chains)),
        _change(paths, steps, seed),
    )


def _moved_late(chain: Completion, rung: int, half: int) -> bool:
    return any(move.moved for move in chain.moves if move.rung == rung and move.step > half)


def _paths(states: Iterable[ChainState]) -> list[dict[At, ChainState]]:
    """By chain its states, in order."""
    paths: dict[tuple[str, int], dict[At, ChainState]] = defaultdict(dict)
    for state in states:
        paths[state.problem, state.chain][state.rung, state.step] = state
    return list(paths.values())


def _at(path: Mapping[At, ChainState], place: At) -> ChainState | None:
    """The chain's latest state up to a place; None before its first."""
    return next((path[at] for at in sorted(path, reverse=True) if at <= place), None)


def _places(paths: list[dict[At, ChainState]], places: list[At], n_steps: int) -> list[Milestone]:
    found, before = [], None
    for rung, step in places:
        states = [_at(path, (rung, step)) for path in paths]
        changed = None
        if before is not None:
            changed = st.binomial_interval(
                sum(_answer(a) != _answer(b) for a, b in zip(before, states, strict=True)), len(states)
            )
        found.append(Milestone(rung, step, rung * n_steps + step, _accuracy(states), changed))
        before = states
    return found


def _answer(state: ChainState | None) -> tuple[str | None, str | None] | None:
    return None if state is None else (state.answer, state.verdict)


def _accuracy(states: list[ChainState | None]) -> st.Interval | None:
    """A chain without a state yet has no right answer."""
    if any(state is not None and state.verdict is None for state in states):
        return None
    return st.binomial_interval(sum(map(_is_right, states)), len(states))


def _is_right(state: ChainState | None) -> bool:
    return state is not None and state.verdict == "correct"


def _change(paths: list[dict[At, ChainState]], steps: list[At], seed: int) -> st.Interval | None:
    half, end = steps[(len(steps) - 1) // 2], steps[-1]
    before, after = ([_at(path, place) for path in paths] for place in (half, end))
    if _accuracy(after) is None:
        return None
    right = [{str(i): [_is_right(state)] for i, state in enumerate(states)} for states in (after, before)]
    return st.paired_difference(right[0], right[1], seed=seed).difference


def _rungs(chains: list[Completion], seed: int) -> list[Rung]:
    by_rung: dict[int, list[tuple[float, float, bool]]] = defaultdict(list)
    for chain in chains:
        for rung in dict.fromkeys(move.rung for move in chain.moves):
            moves = [move for move in chain.moves if move.rung == rung]
            accepted, moved = (
                sum(each) / len(moves) for each in zip(*((m.accepted, m.moved) for m in moves), strict=True)
            )
            by_rung[rung].append((accepted, moved, moved > 0))
    found = []
    for rung, shares in sorted(by_rung.items()):
        accepted, moved, some = (np.array(column, dtype=np.float64) for column in zip(*shares, strict=True))
        acceptance, rate = (st.share_interval(values, seed=seed) for values in (accepted, moved))
        found.append(Rung(rung, len(shares), acceptance, rate, st.binomial_interval(int(some.sum()), len(some))))
    return found
