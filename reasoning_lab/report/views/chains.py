"""Chains as the page replays them: the first state, then what each move changes."""

from collections.abc import Callable

from reasoning_lab.records import Completion, Move
from reasoning_lab.report.views.embedded import JsonObject
from reasoning_lab.report.words import finite, visible
from reasoning_lab.sampler.trajectory import states_before

GIVEN_UP, REJECTED, ACCEPTED, REDRAWN = 0, 1, 2, 3


def outcome(move: Move) -> int:
    """GIVEN_UP, REJECTED, ACCEPTED, or REDRAWN (accepted, the same text again)."""
    if move.accepted:
        return ACCEPTED if move.moved else REDRAWN
    return GIVEN_UP if move.log_ratio is None else REJECTED


def replay(completion: Completion, decode: Callable[[tuple[int, ...]], str]) -> JsonObject | None:
    """Compact plain data of a chain; None when it has no moves or they do not lead to its final text.

    `state`: text before the first move. Each move: [rung, step, cut in tokens, cut in UTF-16 units (JavaScript's
    string index), proposed suffix, log ratio or null, outcome, text that the rung appended before the move], where
    the last is a list [whole text] when the text before the move does not continue the text after the previous one
    (token boundaries within a character).
    """
    before = states_before(completion)
    if not before:
        return None
    texts = [visible(decode(state)) for state in before]
    text, moves = texts[0], []
    for move, state, full in zip(completion.moves, before, texts, strict=True):
        appended = full[len(text) :] if full.startswith(text) else [full]
        kept = visible(decode(state[: move.cut]))
        kept = kept if full.startswith(kept) else full[: _common(kept, full)]
        whole = visible(decode(state[: move.cut] + move.new))
        new = whole[len(kept) :] if whole.startswith(kept) else visible(decode(move.new))
        moves.append([move.rung, move.step, move.cut, _utf16(kept), new, _rounded(move.log_ratio), outcome(move),
                      appended])  # fmt: skip
        text = kept + new if move.accepted else full
    return {"state": texts[0], "moves": moves, "final": visible(decode(completion.ids))}


def _common(a: str, b: str) -> int:
    """Length of the common start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _rounded(value: float | None) -> float | None:
    return None if finite(value) is None or value is None else round(value, 3)
