"""engine=transformers: our own scheduler over the rows of one static cache, in this process. Exact, bit for bit the
same beside any neighbours, and for every policy."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from reasoning_lab.engine.base import Answering, Engine, Subject
from reasoning_lab.engine.policy import Coroutine, Policy, State
from reasoning_lab.engine.scheduler import Counts, run

Name = TypeVar("Name")
T = TypeVar("T")

ARITHMETIC = 1
"""Of this engine's numbers; bumped where the same request comes to have another answer, be it in the last bit."""


@dataclass(frozen=True)
class TransformersEngine(Engine):
    """A model of the transformers library in this process."""

    name: ClassVar[str] = "transformers"
    takes_laws: ClassVar[bool] = True
    draws_ahead: bool = True
    """Whether rows with nothing to do draw what may be asked for next; no answer depends on it."""

    def identity(self) -> dict[str, Any]:
        """Kind and arithmetic."""
        return {"engine": self.name, "version": ARITHMETIC}

    @property
    def note(self) -> str:
        """Its promise."""
        return "At one physical shape (rows, lengths, device) results do not depend on neighbours, order or resumes."

    def open(self, subject: Subject) -> Answering:
        """Over the subject's policy, loaded now."""
        return Rows(subject.policy(), self.draws_ahead)


@dataclass(frozen=True)
class Rows(Answering):
    """The scheduler over one policy."""

    policy: Policy
    draws_ahead: bool = True

    def run(
        self,
        tasks: Iterable[tuple[Name, Coroutine[T]]],
        rows: int,
        capacity: int,
        on_checkpoint: Callable[[Name, State], None] | None = None,
        counts: Counts | None = None,
    ) -> Iterator[tuple[Name, T]]:
        """As scheduler.run."""
        return run(self.policy, tasks, rows, capacity, on_checkpoint, counts, self.draws_ahead)
