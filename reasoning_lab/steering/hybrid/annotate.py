"""Completions seen through a hybrid model: what it would have done, and why, at every token."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from reasoning_lab.records import Annotation
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.hybrid.session import HybridSession, Reading


class Unannotated(NamedTuple):
    """A completion to annotate."""

    problem: str
    chain: int
    prompt: tuple[int, ...]
    """Base prompt ids, registered with the policy."""
    ids: tuple[int, ...]
    """Generated ids in the base model's vocabulary."""


@dataclass
class _Replay:
    item: Unannotated
    readings: list[Reading] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return len(self.readings) == len(self.item.ids)

    @property
    def token(self) -> tuple[int, int]:
        """(id, position) to read next."""
        text, at = (*self.item.prompt, *self.item.ids), len(self.item.prompt) - 1 + len(self.readings)
        return text[at], at

    def annotation(self) -> Annotation:
        columns = zip(*self.readings, strict=True) if self.readings else [()] * len(Reading._fields)
        return Annotation(self.item.problem, self.item.chain, *map(tuple, columns))


def annotate(
    policy: HybridPolicy,
    items: Iterable[Unannotated],
    rows: int,
    capacity: int,
) -> Iterator[Annotation]:
    """One annotation per item, in their order: the given tokens are replayed through a session of `rows` rows and
    `capacity` positions, and each token gets the category, gate, coefficient and choices at the position before it.

    A hybrid's own completions show what was done; those of the base or the thinking model (in base ids) show, with
    gate=never, their categories and where the models differ. ValueError for a text longer than `capacity`.
    """
    session = policy.watch(rows, capacity)
    waiting, replays = iter(items), [None] * rows
    order: list[_Replay] = []
    while True:
        replays = [_next(session, row, waiting, order, replay) for row, replay in enumerate(replays)]
        while order and order[0].done:
            yield order.pop(0).annotation()
        if not any(replays):
            return
        ids, positions = zip(*((0, 0) if replay is None else replay.token for replay in replays), strict=True)
        session.step(ids, positions)
        for replay, reading in zip(replays, session.readings, strict=True):
            if replay is not None and reading is not None:
                replay.readings.append(reading)


def _next(
    session: HybridSession,
    row: int,
    waiting: Iterator[Unannotated],
    order: list[_Replay],
    current: _Replay | None,
) -> _Replay | None:
    """What `row` works at: its replay until that is done, then the next one, its prompt read."""
    while current is None or current.done:
        if (item := next(waiting, None)) is None:
            return None
        current = _Replay(item)
        order.append(current)
        text = len(current.item.prompt) + len(current.item.ids)
        if text > session.capacity:
            raise ValueError(
                f"problem {current.item.problem}, chain {current.item.chain}: {text} tokens exceed the capacity "
                f"{session.capacity}; raise it."
            )
        if not current.done and len(current.item.prompt) > 1:
            session.prefill(row, current.item.prompt[:-1])
    return current
