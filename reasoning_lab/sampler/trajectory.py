"""The states that a Markov chain went through, read off its recorded moves."""

from reasoning_lab.records import Completion

State = tuple[int, ...]
"""Generated token ids."""


def states_before(completion: Completion) -> list[State] | None:
    """The chain's whole state before each of its moves.

    A move holds its suffixes only, so the kept prefixes are read off backwards from the final text: the state after a
    move is the start of the state before the next one (a rung appends, it changes nothing). None when the moves do
    not lead to the final text.
    """
    following, states = completion.ids, []
    for move in reversed(completion.moves):
        kept = following[: move.cut]
        result = kept + (move.new if move.accepted else move.old)
        if len(kept) < move.cut or following[: len(result)] != result:
            return None
        following = kept + move.old
        states.append(following)
    return states[::-1]


def checkpoints(completion: Completion) -> dict[tuple[int, int], State]:
    """States by (rung, step), in order: at the end of each rung, and after 0, 1, ... steps of the last one.

    A ladder's first rungs do not know how many will follow, and a rung's first steps not how many it has. So the state
    after rung k of a full ladder is what the sampler returns with max_new_tokens at that rung's cap, and the state
    after n steps of the last rung what it returns when that rung has n; a chain with fewer steps on *every* rung is
    another chain, and is not here. Empty for a completion without moves, or whose moves do not lead to its text.
    """
    before = states_before(completion) or []
    found: dict[tuple[int, int], State] = {}
    last = completion.moves[-1].rung if before else 0
    for move, state in zip(completion.moves, before, strict=False):
        after = state[: move.cut] + move.new if move.accepted else state
        if move.rung == last:
            found.setdefault((last, 0), state)
            found[last, move.step] = after
        else:
            found.pop((move.rung, move.step - 1), None)
            found[move.rung, move.step] = after
    return found
