"""What every engine does for coroutines, however it answers their requests: what they ask for, whose turn it is, and
what each of them took."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from reasoning_lab.engine.policy import Chain, Checkpoint, Coroutine, Request, State
from reasoning_lab.engine.work import Work

if TYPE_CHECKING:  # No torch is needed to drive.
    from reasoning_lab.engine.scheduler import Counts

Name = TypeVar("Name")
T = TypeVar("T")


@dataclass(eq=False)
class Task(Generic[Name, T]):
    """One coroutine, with what it waits for."""

    name: Name
    coroutine: Coroutine[T]
    waiting: int = 0
    is_list: bool = False
    chains: list[Chain | None] = field(default_factory=list)
    place: Any = None
    """Of the engine's: where it last worked for the task, and something of it may still be."""
    prompt: tuple[int, ...] | None = None
    """Prompt that it was last counted for; None before its first request."""


@dataclass(eq=False)
class Job(Generic[Name, T]):
    """One request of a task."""

    task: Task[Name, T]
    slot: int
    """Its place among the task's requests."""
    request: Request


class Driver(Generic[Name, T]):
    """Coroutines and their requests, for one engine, in one thread.

    The engine takes jobs by `take`, answers them by `answer` in any order, and passes on what `results` gives.
    Arguments: as Answering.run; `prompt_work` is what reading a prompt takes.
    """

    def __init__(
        self,
        tasks: Iterable[tuple[Name, Coroutine[T]]],
        on_checkpoint: Callable[[Name, State], None] | None,
        counts: "Counts",
        prompt_work: Callable[[tuple[int, ...]], Work],
    ) -> None:
        self._tasks: Iterator[tuple[Name, Coroutine[T]]] | None = iter(tasks)
        self._on_checkpoint, self._counts, self._prompt_work = on_checkpoint, counts, prompt_work
        self.pending: deque[Job[Name, T]] = deque()
        """Requests that nobody works on, in the order in which they were asked."""
        self._done: deque[tuple[Name, T]] = deque()

    def pull(self, n: int) -> None:
        """Start new coroutines until `n` jobs are pending, or none is left to start."""
        while self._tasks is not None and len(self.pending) < n:
            if (pair := next(self._tasks, None)) is None:
                self._tasks = None
            else:
                self._advance(Task(*pair), None)

    @property
    def is_exhausted(self) -> bool:
        """Whether no coroutine is left to start and no job is pending; some may still be at work."""
        return self._tasks is None and not self.pending

    def take(self, n: int) -> list[Job[Name, T]]:
        """Up to `n` pending jobs."""
        self.pull(n)
        return [self.pending.popleft() for _ in range(min(n, len(self.pending)))]

    def answer(self, job: Job[Name, T], chain: Chain, taken: Work) -> None:
        """Hand a job's chain to its task and count what it took; the task goes on once it has all that it asked for."""
        task = job.task
        self._count(task, taken)
        task.chains[job.slot] = chain
        task.waiting -= 1
        if task.waiting == 0:
            self._advance(task, list(task.chains) if task.is_list else task.chains[0])

    def results(self) -> Iterator[tuple[Name, T]]:
        """What has returned since the last call."""
        while self._done:
            yield self._done.popleft()

    def _advance(self, task: Task[Name, T], answer: Chain | list[Chain | None] | None) -> None:
        """Send an answer to a coroutine and queue what it asks for next."""
        while True:
            try:
                asked = task.coroutine.send(answer)
            except StopIteration as end:
                self._done.append((task.name, end.value))
                return
            if isinstance(asked, Checkpoint):
                if self._on_checkpoint is not None:
                    self._on_checkpoint(task.name, asked.state)
                answer = None
            elif isinstance(asked, (Request, list)):
                requests = asked if isinstance(asked, list) else [asked]
                if requests:
                    self._queue(task, requests, isinstance(asked, list))
                    return
                answer = []
            else:  # A hint of what may come: an engine is free to make nothing of it.
                answer = None

    def _queue(self, task: Task[Name, T], requests: list[Request], is_list: bool) -> None:
        task.is_list, task.waiting, task.chains = is_list, len(requests), [None] * len(requests)
        self.pending.extend(Job(task, slot, request) for slot, request in enumerate(requests))
        for request in requests:
            self._count_prompt(task, request.parent.prompt)

    def _count_prompt(self, task: Task[Name, T], prompt: tuple[int, ...]) -> None:
        """Put a prompt down to the task that asks for it first; one that goes on had its prompt before."""
        goes_on = task.prompt is None and task.name in self._counts.work
        if task.prompt != prompt and not goes_on:
            self._count(task, self._prompt_work(prompt))
        task.prompt = prompt

    def _count(self, task: Task[Name, T], taken: Work) -> None:
        self._counts.work[task.name] = self._counts.work.get(task.name, Work()) + taken
        self._counts.useful += taken


def require_room(request: Request, capacity: int) -> None:
    """ValueError for a request that has more positions than there are."""
    n = len(request.parent.prompt)
    if n + request.cap > capacity:
        raise ValueError(
            f"prompt of {n} tokens + cap {request.cap} exceed the capacity {capacity}; raise runtime.max_prompt_tokens "
            "or lower max_new_tokens."
        )
