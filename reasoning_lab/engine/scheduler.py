"""One scheduler: hundreds of sampler coroutines over the rows of one session.

A row takes a new request the moment it is free and rolls back to the tokens that the request keeps. Nothing is
prefilled again while the prompt is among the last 2 x rows: the state that a row no longer holds is copied from the
prompt's or the chain's saved segments, and only a chain rebuilt from a checkpoint is decoded again.

Rows without work read a dummy token, so every pass has one physical shape and a chain's numbers do not depend on its
neighbours. Once no request is left to start, a free row draws ahead what a waiting coroutine will ask for if the answer
that it waits for changes nothing (Request.ahead): such a chain is there when it is asked for, and dropped when it is
not, so that answers are the same and only time is won.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import isnan
from typing import Any, Generic, NamedTuple, TypeVar

from jaxtyping import Float
from torch import Tensor

from reasoning_lab.engine.ends import finish_of
from reasoning_lab.engine.policy import (
    Chain,
    Checkpoint,
    Coroutine,
    Finish,
    Policy,
    Request,
    Result,
    Segment,
    Session,
    State,
)
from reasoning_lab.engine.token import TokenPlan, Tokens, draw_tokens, plan_at
from reasoning_lab.engine.work import Work

Name = TypeVar("Name")
OnCheckpoint = Callable[[Name, State], None]


@dataclass
class Counts:
    """What a run cost; all counts are of tokens or passes."""

    drawn: int = 0
    """Tokens drawn, rejected ones included."""
    forced: int = 0
    """Tokens read in decode steps that were not drawn: forced ids, and chains rebuilt after a resume."""
    prefilled: int = 0
    """Prompt tokens read by prefill."""
    ahead: int = 0
    """Tokens drawn ahead that nobody has asked for yet, or ever; they are no part of `drawn`."""
    steps: int = 0
    """Decode steps of the whole batch."""
    rows: int = 0
    """Physical rows; drawn / (steps * rows) is the occupancy."""
    work: dict[Any, Work] = field(default_factory=dict)
    """By task: what it took so far, as Completion.compute counts it. Given for a task that goes on from a checkpoint:
    what it had taken by then."""
    useful: Work = field(default_factory=Work)
    """Of all tasks, what this run added to `work`."""
    passed: Work = field(default_factory=Work)
    """All that was passed through the models, padding and repeated work included."""

    @property
    def occupancy(self) -> float:
        """Useful tokens per row and step."""
        return self.drawn / max(1, self.steps * self.rows)

    @property
    def useful_share(self) -> float:
        """Of the decode steps' passes through layers of all models: the share that answers needed; the rest filled the
        fixed shape or rebuilt what a resume had lost."""
        useful, passed = (each.decode + each.thinking_decode for each in (self.useful, self.passed))
        return useful / max(1, passed)


@dataclass(eq=False)
class _Task(Generic[Name, Result]):
    """One coroutine, with what it waits for."""

    name: Name
    coroutine: Coroutine[Result]
    waiting: int = 0
    is_list: bool = False
    chains: list[Chain | None] = field(default_factory=list)
    row: int | None = None
    """Row that last worked for it: its cache is probably still there."""
    prompt: tuple[int, ...] | None = None
    """Prompt that it was last counted for; None before its first request."""
    asked: Request | None = None
    """The request that it waits for, if it is one alone."""
    upcoming: Iterator[Request] | None = None
    """What is left to draw ahead of it."""
    ahead: list["_Work[Name, Result]"] = field(default_factory=list)
    """What is drawn, or being drawn, ahead of it."""


@dataclass(eq=False)
class _Work(Generic[Name, Result]):
    """One request on one row."""

    task: _Task[Name, Result]
    slot: int
    request: Request
    ids: list[int]
    """Prompt, kept, forced and drawn ids."""
    read: int
    """Positions of `ids` whose state the row holds."""
    base: int
    """First generated position of this request: prompt + kept."""
    before: Work
    """The row's count when this request's own work began."""
    is_ahead: bool = False
    """Nobody has asked for it yet."""
    ended: "_Ended | None" = None
    """Of work ahead that is done."""
    log_p: list[float] = field(default_factory=list)
    log_q: list[float] = field(default_factory=list)
    log_z: list[float] = field(default_factory=list)
    negentropy: list[float] = field(default_factory=list)
    alternatives: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    drawn: int = 0
    sum_log_z: float = 0.0
    """r_j of Request.floor [nats]."""


class _Ended(NamedTuple):
    """What a request came to, and what it took."""

    chain: Chain
    taken: Work


def run(
    policy: Policy,
    tasks: Iterable[tuple[Name, Coroutine[Result]]],
    rows: int,
    capacity: int,
    on_checkpoint: OnCheckpoint[Name] | None = None,
    counts: Counts | None = None,
    draws_ahead: bool = True,
) -> Iterator[tuple[Name, Result]]:
    """Run the coroutines; yield (name, result) as each returns, in the order in which they end.

    Arguments: `tasks` are (name, coroutine) pairs, pulled as rows fall free; `rows` and `capacity` (positions, prompt
    included) fix the physical shape; `on_checkpoint(name, state)` receives what coroutines yield as Checkpoint;
    `counts` is filled in place: when a coroutine yields a Checkpoint or returns, `counts.work` has what it took;
    `draws_ahead` lets rows that have nothing else to do draw what may be asked for next.
    """
    return _Engine(policy, rows, capacity, on_checkpoint, counts or Counts(), draws_ahead).run(iter(tasks))


class _Engine(Generic[Name, Result]):
    def __init__(
        self,
        policy: Policy,
        rows: int,
        capacity: int,
        on_checkpoint: OnCheckpoint[Name] | None,
        counts: Counts,
        draws_ahead: bool,
    ) -> None:
        self.session: Session = policy.open(rows, capacity)
        self.draws_ahead = draws_ahead
        self.on_checkpoint = on_checkpoint
        self.counts = counts
        counts.rows = rows
        self.rows: list[_Work[Name, Result] | None] = [None] * rows
        self.content: list[list[int]] = [[] for _ in range(rows)]
        """Ids whose state each row holds."""
        self.prompts: OrderedDict[tuple[int, ...], Segment] = OrderedDict()
        self.pending: deque[tuple[_Task[Name, Result], int, Request]] = deque()
        self.done: deque[tuple[Name, Result]] = deque()

    def run(self, tasks: Iterator[tuple[Name, Coroutine[Result]]]) -> Iterator[tuple[Name, Result]]:
        exhausted = False
        while True:
            while not exhausted and len(self.pending) < self.rows.count(None):
                if (pair := next(tasks, None)) is None:
                    exhausted = True
                else:
                    self._advance(_Task(*pair), None)
            yield from self._drain()
            self._place()
            if not any(self.rows):
                if exhausted and not self.pending:
                    return
                continue
            if exhausted and self.draws_ahead:
                self._look_ahead()
            self._step()
            yield from self._drain()

    def _drain(self) -> Iterator[tuple[Name, Result]]:
        while self.done:
            yield self.done.popleft()

    def _advance(self, task: _Task[Name, Result], answer: Chain | list[Chain | None] | None) -> None:
        """Send an answer to a coroutine and queue what it asks for next."""
        while True:
            try:
                asked = task.coroutine.send(answer)
            except StopIteration as end:
                self._drop(task.ahead)
                self.done.append((task.name, end.value))
                return
            if isinstance(asked, Checkpoint):
                if self.on_checkpoint is not None:
                    self.on_checkpoint(task.name, asked.state)
                answer = None
                continue
            task.is_list = isinstance(asked, list)
            requests = asked if isinstance(asked, list) else [asked]
            if not requests:
                answer = []
                continue
            task.waiting, task.chains = len(requests), [None] * len(requests)
            task.asked, task.upcoming = (None if task.is_list else requests[0]), None
            for request in requests:
                self._count_prompt(task, request.parent.prompt)
            if (found := self._drawn_ahead(task)) is None:
                self.pending.extend((task, slot, request) for slot, request in enumerate(requests))
                return
            if found.ended is None:
                return  # A row is at it.
            self._count(task, found.ended.taken)
            answer = found.ended.chain

    def _count_prompt(self, task: _Task[Name, Result], prompt: tuple[int, ...]) -> None:
        """Put a prompt down to the task that asks for it first; one that goes on had its prompt before."""
        goes_on = task.prompt is None and task.name in self.counts.work
        if task.prompt != prompt and not goes_on:
            self._count(task, self.session.prompt_work(prompt))
        task.prompt = prompt

    def _count(self, task: _Task[Name, Result], taken: Work) -> None:
        self.counts.work[task.name] = self.counts.work.get(task.name, Work()) + taken
        self.counts.useful += taken

    # -- ahead ---------------------------------------------------------------------------------------------------

    def _drawn_ahead(self, task: _Task[Name, Result]) -> _Work[Name, Result] | None:
        """The work ahead that is what the task now asks for; what goes on from another chain is dropped."""
        asked = task.asked
        self._drop([work for work in task.ahead if asked is None or work.request.parent != asked.parent])
        found = next((work for work in task.ahead if work.request == asked), None)
        if found is not None:
            task.ahead.remove(found)
            found.is_ahead = False
            self.counts.ahead -= found.drawn
            self.counts.drawn += found.drawn
        return found

    def _look_ahead(self) -> None:
        """Give every row that is still free what a task may ask for next, the task with the least of it first."""
        free = [row for row, work in enumerate(self.rows) if work is None]
        waiting = {id(work.task): work.task for work in self.rows if work and not work.is_ahead}
        while free and waiting:
            task = min(waiting.values(), key=lambda task: len(task.ahead))
            if len(task.ahead) >= len(self.rows) or (request := self._next_ahead(task)) is None:
                del waiting[id(task)]
            else:
                work = self._begun(free[0], task, 0, request)
                work.is_ahead = True
                task.ahead.append(work)
                self.rows[free.pop(0)] = work

    def _next_ahead(self, task: _Task[Name, Result]) -> Request | None:
        if task.asked is None or task.asked.ahead is None:
            return None
        if task.upcoming is None:
            task.upcoming = task.asked.ahead()
        there = {work.request.key for work in task.ahead}
        return next((request for request in task.upcoming if request.key not in there), None)

    def _free(self) -> list[int]:
        """Rows that a request can have: those that nobody is at, then those of work ahead, the farthest ahead first."""
        nobodys = [row for row, work in enumerate(self.rows) if work is None]
        ahead = [(-work.task.ahead.index(work), row) for row, work in enumerate(self.rows) if work and work.is_ahead]
        return nobodys + [row for _, row in sorted(ahead)]

    def _drop(self, ahead: Iterable[_Work[Name, Result]]) -> None:
        """Leave off work ahead."""
        for work in list(ahead):
            work.task.ahead.remove(work)
            if work.ended is None:
                self.rows[self.rows.index(work)] = None

    # -- rows ----------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Give every free row a pending request, a task's own row first."""
        free = self._free()
        homeless: list[tuple[_Task[Name, Result], int, Request]] = []
        while self.pending and len(homeless) < len(free):
            item = self.pending.popleft()
            if item[0].row in free and self.rows[item[0].row] is None:
                free.remove(item[0].row)
                self._start(item[0].row, *item)
            else:
                homeless.append(item)
        for item, row in zip(homeless, free, strict=False):
            self._start(row, *item)
        self.pending.extendleft(reversed(homeless[len(free) :]))

    def _start(self, row: int, task: _Task[Name, Result], slot: int, request: Request) -> None:
        if (ahead := self.rows[row]) is not None:
            self._drop([ahead])
        self.rows[row] = self._begun(row, task, slot, request)
        task.row = row

    def _begun(self, row: int, task: _Task[Name, Result], slot: int, request: Request) -> _Work[Name, Result]:
        """The request on a row that holds what it keeps."""
        parent = request.parent
        ids = [*parent.prompt, *parent.tokens[: request.keep], *request.forced]
        if len(parent.prompt) + request.cap > self.session.capacity:
            raise ValueError(
                f"prompt of {len(parent.prompt)} tokens + cap {request.cap} exceed the capacity "
                f"{self.session.capacity}; raise runtime.max_prompt_tokens or lower max_new_tokens."
            )
        base = len(parent.prompt) + request.keep
        read = self._restore(row, parent, ids, base)
        return _Work(task, slot, request, ids, read, base, self.session.step_work(row))

    def _restore(self, row: int, parent: Chain, ids: list[int], base: int) -> int:
        """Bring the state of ids[:base-1] into `row` as far as it is saved; return how many positions it holds."""
        content, prompt = self.content[row], parent.prompt
        wanted = base - 1  # The last kept token is read by the first step, which predicts what follows it.
        held = _common(content, ids, wanted)
        if held < len(prompt) - 1:
            self._load_prompt(row, prompt)
            held = len(prompt) - 1
        for segment in parent.cache:
            if segment.start <= held < min(segment.stop, wanted):
                stop = min(segment.stop, wanted)
                self.session.load(row, segment, held, stop)
                held = stop
        self.content[row] = ids[:held]
        return held

    def _load_prompt(self, row: int, prompt: tuple[int, ...]) -> None:
        """State of all prompt tokens but the last: copied where some row has read it before, else prefilled."""
        n = len(prompt) - 1
        if (saved := self.prompts.get(prompt)) is not None:
            self.prompts.move_to_end(prompt)
            self.session.load(row, saved, 0, n)
            return
        if n > 0:
            self.session.prefill(row, prompt[:n])
            self.counts.prefilled += n
        self.prompts[prompt] = self.session.save(row, 0, n)
        if len(self.prompts) > 2 * len(self.rows):
            self.prompts.popitem(last=False)

    # -- one pass ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Read one token in every row; where the next one is not given, draw it."""
        logits = self._read()
        live = [(row, work) for row, work in enumerate(self.rows) if work and work.read >= work.base]
        self.counts.forced += self._skip_rebuilt()
        if not live:
            return
        # Every row is drawn for, so that this arithmetic has one shape too.
        plans = [_plan(work) for work in self.rows]
        # The costly scalars only where a request wants them.
        tokens = draw_tokens(
            logits, plans, any(work.request.want_negentropy for _, work in live),
            max(work.request.n_alternatives for _, work in live),
        )  # fmt: skip
        for row, work in live:
            self._record(row, work, tokens, plans[row].forced is not None)

    def _skip_rebuilt(self) -> int:
        """Rows that only read again what a resumed chain had: their number; this is none of their request's work."""
        rebuilt = [(row, work) for row, work in enumerate(self.rows) if work and work.read < work.base]
        for row, work in rebuilt:
            work.before = self.session.step_work(row)
        return len(rebuilt)

    def _read(self) -> Float[Tensor, "row vocab"]:
        """One token in every row; logits of what follows it."""
        ids = [work.ids[work.read] if work else 0 for work in self.rows]
        positions = [work.read if work else 0 for work in self.rows]
        logits = self.session.step(ids, positions)
        self.counts.steps += 1
        self.counts.passed = self.session.passed
        for row, work in enumerate(self.rows):
            if work is None:
                self.content[row] = []  # The dummy token has overwritten position 0.
            else:
                self.content[row][work.read :] = [work.ids[work.read]]
                work.read += 1
        return logits

    def _record(self, row: int, work: _Work[Name, Result], tokens: Tokens, forced: bool) -> None:
        """Append row's token to its work; end the request where it ends."""
        request, id = work.request, tokens.ids[row]
        if isnan(tokens.log_p[row]):
            raise FloatingPointError(
                f"problem {request.key.problem}, chain {request.key.chain}: the logits of position {work.read} are not "
                "finite; check the weights, or use model_pair.dtype=float32."
            )
        inserted = forced and request.insert
        work.log_p.append(0.0 if inserted else tokens.log_p[row])
        work.log_q.append(0.0 if inserted else tokens.log_q[row])
        work.log_z.append(0.0 if inserted else tokens.log_z[row])
        work.negentropy.append(tokens.negentropy[row] if request.want_negentropy and not inserted else 0.0)
        work.alternatives.append(() if inserted else tokens.alternatives[row][: request.n_alternatives])
        work.sum_log_z += work.log_z[-1]
        if forced:
            self.counts.forced += 1
        else:
            work.ids.append(id)
            work.drawn += 1
            if work.is_ahead:
                self.counts.ahead += 1
            else:
                self.counts.drawn += 1
        length = work.read + 1 - len(request.parent.prompt)
        if (finish := finish_of(request, length, id, forced, work.sum_log_z)) is not None:
            self._end(row, work, finish)

    def _end(self, row: int, work: _Work[Name, Result], finish: Finish) -> None:
        """Hand the finished chain to its task and free the row; the task goes on once it has all that it asked for."""
        task = work.task
        # A chain given up is a certain rejection: nothing will continue it.
        cache = () if finish == "floor" else self._segments(row, work)
        self.rows[row] = None
        taken, chain = self.session.step_work(row) - work.before, _grown(work, finish, cache)
        if work.is_ahead:
            work.ended = _Ended(chain, taken)
            return
        self._count(task, taken)
        task.chains[work.slot] = chain
        task.waiting -= 1
        if task.waiting == 0:
            self._advance(task, list(task.chains) if task.is_list else task.chains[0])

    def _segments(self, row: int, work: _Work[Name, Result]) -> tuple[Segment, ...]:
        """The parent's segments up to the kept tokens, and the row's state from there on, joined with the segments
        before it that are no longer."""
        first, wanted = len(work.request.parent.prompt) - 1, work.base - 1
        kept: list[Segment] = []
        covered = first
        for segment in work.request.parent.cache:
            if segment.start == covered < min(segment.stop, wanted):
                kept.append(segment._replace(stop=min(segment.stop, wanted)))
                covered = kept[-1].stop
        if covered < work.read:
            # Lengths then fall along the chain: one that grows token by token (a beam's) has few, and shares the long.
            while kept and kept[-1].stop - kept[-1].start <= work.read - covered:
                covered = kept.pop().start
            kept.append(self.session.save(row, covered, work.read))
        return tuple(kept)


def _grown(work: _Work[Name, Result], finish: Finish, cache: tuple[Segment, ...]) -> Chain:
    """The parent's kept tokens and what the request added to them."""
    request = work.request
    parent, keep = request.parent, request.keep
    inserted = tuple(range(keep, keep + len(request.forced))) if request.insert else ()
    return Chain(
        parent.prompt,
        tuple(work.ids[len(parent.prompt) :]),
        parent.log_p[:keep] + tuple(work.log_p),
        parent.log_q[:keep] + tuple(work.log_q),
        parent.log_z[:keep] + tuple(work.log_z),
        parent.negentropy[:keep] + tuple(work.negentropy),
        parent.alternatives[:keep] + tuple(work.alternatives),
        finish,
        work.drawn,
        parent.inserted_before(keep) + inserted,
        cache,
    )


_IDLE = TokenPlan()


def _plan(work: _Work | None) -> TokenPlan:
    """Forced while given ids are left, then drawn; an idle row's plan where nothing follows yet."""
    if work is None or work.read < work.base:
        return _IDLE
    forced = work.ids[work.read] if work.read < len(work.ids) else None
    return plan_at(work.request, work.read - len(work.request.parent.prompt), forced, work.drawn == 0)


def _common(held: list[int], wanted: list[int], most: int) -> int:
    """Length of the common prefix of two id lists, at most `most`."""
    most = max(0, min(most, len(held)))
    if held[:most] == wanted[:most]:
        return most
    return next(n for n in range(most) if held[n] != wanted[n])
