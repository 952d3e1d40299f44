"""What work there is before it is done: what is there, what goes on, what is made, and what that takes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from reasoning_lab.artifacts.annotations import Annotations
from reasoning_lab.artifacts.base import FILLED, Artifact, Context, places_of
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.cue import Cue
from reasoning_lab.artifacts.drift import Drift, drifts_of
from reasoning_lab.artifacts.manifests import Manifests
from reasoning_lab.artifacts.memory import Memory, Weights, weights_bytes
from reasoning_lab.artifacts.rates import Machine, Rates
from reasoning_lab.artifacts.schedule import shards_of
from reasoning_lab.artifacts.standing import Standing, n_items, standing_of, tokens_left
from reasoning_lab.artifacts.store import StoreView
from reasoning_lab.model_pair.loaded import device_words, free_bytes
from reasoning_lab.model_pair.reader import load_reader


@dataclass(frozen=True)
class Asked:
    """What one run, or one cell of a sweep, asks for."""

    artifacts: tuple[Artifact[Any], ...]
    typical_length: float
    """Tokens of a plain answer, for the estimate."""
    loads: tuple[Weights, ...] = ()
    """Models that it has in memory even where nothing has to be built."""
    trains: bool = False
    """Whether it trains a model, which is no artifact."""


@dataclass(frozen=True)
class KindPlan:
    """The artifacts of one kind."""

    kind: str
    reused: int
    """There already: asked for, or what a missing one is made of."""
    resumed: int
    """Begun: built from what their logs hold."""
    resumed_items: int
    """Finished items of those logs."""
    resumed_of: int | None
    """Items of those builds in all; None where they can't be counted beforehand."""
    made: int
    """Built from nothing."""
    shared: int
    """Of those to build, the ones that more than one cell needs; each is built once."""
    decode_tokens: float
    """To draw, expected."""
    prompt_tokens: int | None
    """Of the answers that are to draw, each one's prompt once; None where a tokenizer can't be had."""
    seconds: float
    """Of the builds whose time is known, one after the other."""
    n_measured: int
    """Builds whose time earlier ones tell."""
    n_at_least: int
    """Builds of which only the least time is known."""
    memory: int | None
    """Most bytes of one build; 0 where it works on no device, None where a config can't be had."""
    rows: tuple[int, ...]
    """Sequences that advance together, of those to build, rising; none where none has rows."""

    @property
    def n_builds(self) -> int:
        """To do."""
        return self.resumed + self.made

    @property
    def n_untimed(self) -> int:
        """Builds of which nothing is known."""
        return self.n_builds - self.n_measured - self.n_at_least


@dataclass(frozen=True)
class Changed:
    """A missing artifact beside the nearest finished one."""

    kind: str
    slug: str
    drift: Drift


@dataclass(frozen=True)
class Plan:
    """What a run or a sweep will do."""

    cells: int
    processes: int
    """That run the cells; what is built first has one more."""
    builds_first: bool
    """Whether there is something that several cells share, built before them."""
    kinds: tuple[KindPlan, ...]
    loads: int
    """Models loaded, one process's counted once each."""
    loads_at_most: bool
    """Whether that is a bound: several worker processes may load the same model."""
    memory: int | None
    """Most bytes of one process on one device; None where a config can't be had."""
    free: int | None
    """Bytes of the device that can be filled; None where it is not here."""
    drawing: tuple[tuple[str, ...], ...]
    """Devices of each process that draws at the same time."""
    shards: int
    """Parts that an arm's answers are drawn in, of the first process that draws."""
    openings: int
    """Sets of answers at most, behind openings that a cue's search is still to find; in no number above."""
    openings_tokens: float
    """Decode tokens of those, at most."""
    typical_lengths: tuple[float, ...]
    """Tokens of a plain answer that the estimates take, rising."""
    device: str
    trained: int
    """Cells that train a model, which is in no number here."""
    changed: tuple[Changed, ...]

    @property
    def decode_tokens(self) -> float:
        """To draw in all, expected."""
        return float(sum(each.decode_tokens for each in self.kinds))

    @property
    def prompt_tokens(self) -> int | None:
        """To read in all."""
        each = [kind.prompt_tokens for kind in self.kinds]
        return None if None in each else sum(n for n in each if n is not None)


def plan_cells(
    cells: Sequence[Asked],
    context: Context,
    cells_per_job: int = 1,
    first: Iterable[Artifact[Any]] = (),
    is_first_apart: bool = True,
) -> Plan:
    """The plan of some cells; nothing is drawn, loaded, written or moved.

    Arguments: of `context` the store and the runtime count; `cells_per_job` cells that follow each other share a
    process and its models; `first` is built before them, in a process of its own, or where not `is_first_apart` in the
    first one, which then goes on with its cells.
    """
    looking = replace(context, store=StoreView(context.store.root))
    return _Estimate(cells, looking, cells_per_job, list(first), is_first_apart).plan()


class _Estimate:
    def __init__(
        self,
        cells: Sequence[Asked],
        context: Context,
        cells_per_job: int,
        first: Sequence[Artifact[Any]],
        is_first_apart: bool,
    ) -> None:
        self.context, self.cells, self.first, self.is_first_apart = context, cells, first, is_first_apart
        self.jobs = [cells[i : i + cells_per_job] for i in range(0, len(cells), cells_per_job)]
        self.known: dict[str, Artifact[Any]] = {}
        """Everything that is asked for and that missing things are made of, upstream first, by key."""
        self.standings: dict[str, Standing] = {}
        self.lengths: dict[str, float] = {}
        """Of a plain answer, as the first cell that needs it has it."""
        self.needed = [self._needed(cell.artifacts, cell.typical_length) for cell in cells]
        self.prompts: dict[tuple[Any, str], int] = {}
        self.rates: dict[int, Rates] = {}

    def plan(self) -> Plan:
        """The whole plan."""
        kinds = dict.fromkeys(artifact.kind for artifact in self.known.values())
        openings = [each for each in self._missing(self.known) if isinstance(each, Cue) and not self._is_found(each)]
        loads = [self._loads(builds, extra) for builds, extra in self.processes]
        return Plan(
            cells=len(self.cells),
            processes=len(self.jobs),
            builds_first=len(self.processes) > len(self.jobs),
            kinds=tuple(map(self._kind, kinds)),
            loads=sum(n for n, _ in loads),
            loads_at_most=any(is_bound for _, is_bound in loads),
            memory=_most(self._memory(builds, extra) for builds, extra in self.processes),
            free=self._free,
            drawing=places_of(self.context.runtime),
            shards=max((self._shards(builds) for builds, _ in self.processes), default=1),
            openings=sum(cue.openings.width for cue in openings),
            openings_tokens=0.0
            + sum(
                cue.expected_tokens(length) - cue.without().expected_tokens(length)
                for cue in openings
                for length in (self.lengths[cue.key],)
            ),
            typical_lengths=tuple(sorted({cell.typical_length for cell in self.cells})),
            device=self.machine.device,
            trained=sum(cell.trains for cell in self.cells),
            changed=tuple(self._changed()),
        )

    # --- what there is ----------------------------------------------------------------------------------------------

    def _needed(self, artifacts: Iterable[Artifact[Any]], length: float) -> set[str]:
        """Keys of the artifacts and of all that the missing ones of them are made of."""
        found: set[str] = set()

        def visit(artifact: Artifact[Any]) -> None:
            if artifact.key in found:
                return
            found.add(artifact.key)
            if artifact.key not in self.standings:
                self.standings[artifact.key] = standing_of(artifact, self.context)
                self.lengths[artifact.key] = length
            if not self.standings[artifact.key].is_built:
                for each in self._made_of(artifact):
                    visit(each)
            self.known.setdefault(artifact.key, artifact)

        for artifact in artifacts:
            visit(artifact)
        return found

    def _made_of(self, artifact: Artifact[Any]) -> Iterator[Artifact[Any]]:
        """Upstream, and a search's answers as far as its openings are known."""
        yield from artifact.upstream()
        if isinstance(artifact, Cue):
            yield from artifact.answers(self.context) if self._is_found(artifact) else [artifact.without()]

    def _is_found(self, cue: Cue) -> bool:
        return self.context.is_built(cue.openings)

    def _missing(self, keys: Iterable[str]) -> list[Artifact[Any]]:
        """Those that are not built, upstream first."""
        given = set(keys)
        return [each for key, each in self.known.items() if key in given and not self.standings[key].is_built]

    @cached_property
    def n_cells(self) -> dict[str, int]:
        """By key, how many cells need it."""
        return {key: sum(key in needed for needed in self.needed) for key in self.known}

    @cached_property
    def processes(self) -> list[tuple[list[Artifact[Any]], tuple[Weights, ...]]]:
        """What each builds, and what else it loads; who comes first builds what several need."""
        todo = {each.key for each in self._missing(self.known)}
        ahead = [key for cell in [self._needed(self.first, 1.0)] for key in cell if key in todo]
        found: list[tuple[list[Artifact[Any]], tuple[Weights, ...]]] = [(self._missing(ahead), ())] if ahead else []
        todo -= set(ahead)
        numbers = iter(self.needed)
        for job in self.jobs:
            own = set().union(*(next(numbers) for _ in job)) & todo
            todo -= own
            found.append((self._missing(own), tuple(weights for cell in job for weights in cell.loads)))
        if ahead and not self.is_first_apart:
            (before, _), (own_builds, extra), *rest = found
            found = [([*before, *own_builds], extra), *rest]
        return found

    # --- one kind ---------------------------------------------------------------------------------------------------

    def _kind(self, kind: str) -> KindPlan:
        of_kind = [each for each in self.known.values() if each.kind == kind]
        todo = self._missing(each.key for each in of_kind)
        begun = [each for each in todo if self.standings[each.key].has_log]
        items = [n_items(each) for each in begun]
        times = [self._time(each) for each in todo]
        prompts = [self._prompt_tokens(each) for each in todo]
        return KindPlan(
            kind=kind,
            reused=len(of_kind) - len(todo),
            resumed=len(begun),
            resumed_items=sum(self.standings[each.key].n_logged for each in begun),
            resumed_of=None if None in items else sum(n for n in items if n is not None),
            made=len(todo) - len(begun),
            shared=sum(self.n_cells[each.key] > 1 for each in todo),
            decode_tokens=float(sum(map(self._tokens, todo))),
            prompt_tokens=None if None in prompts else sum(n for n in prompts if n is not None),
            seconds=float(sum(time.seconds for time in times if time is not None)),
            n_measured=sum(time is not None and time.is_measured for time in times),
            n_at_least=sum(time is not None and not time.is_measured for time in times),
            memory=_most(self._memory([each], ()) for each in todo),
            rows=tuple(sorted({self.context.shape_of(each).rows for each in todo if each.n_rows(self.context)})),
        )

    def _tokens(self, artifact: Artifact[Any]) -> float:
        if not isinstance(artifact, Completions):
            return 0.0
        return tokens_left(artifact, self.standings[artifact.key], self.lengths[artifact.key])

    def _share(self, artifact: Artifact[Any]) -> float:
        """Part of the items that no log has."""
        n, done = n_items(artifact), self.standings[artifact.key].n_logged
        return 1 - done / n if n else 1.0

    def _prompt_tokens(self, artifact: Artifact[Any]) -> int | None:
        if not isinstance(artifact, Completions) or artifact.pool:
            return 0
        name = artifact.model, artifact.problems.prompts()
        try:
            if name not in self.prompts:
                encoded = artifact.problems.encoded(load_reader(artifact.model))
                self.prompts[name] = sum(map(len, encoded.values()))
        except ValueError:  # Nobody has its tokenizer here.
            return None
        return round(self._share(artifact) * self.prompts[name] * (artifact.chains[1] - artifact.chains[0]))

    # --- what it takes ----------------------------------------------------------------------------------------------

    @cached_property
    def machine(self) -> Machine:
        """This one, as the runtime says."""
        return Machine(device_words(self.context.device), self.context.shape.rows)

    @cached_property
    def manifests(self) -> Manifests:
        """Of the store."""
        return Manifests(self.context.store.root)

    def _time(self, artifact: Artifact[Any]) -> Any:
        """By what was built before in as many rows."""
        rows = self.context.shape_of(artifact).rows
        if rows not in self.rates:
            self.rates[rows] = Rates(self.manifests, self.known, replace(self.machine, rows=rows))
        return self.rates[rows].time(
            artifact, self._tokens(artifact), self._share(artifact), self.lengths[artifact.key]
        )

    def _memory(self, builds: Sequence[Artifact[Any]], extra: Iterable[Weights]) -> int | None:
        """Most bytes of a process's fullest device: of each build, and of the models that it keeps for later ones where
        they fit beside it."""
        try:
            needs = [self._needs(build) for build in builds]
            own = [set(build.loads()) for build in builds]
            always = set(extra)
            peaks = [Memory({name: weights_bytes(name) for name in always}).largest(len(self.context.devices))]
            for number, need in enumerate(needs):
                kept = (set().union(*own[:number]) & set().union(always, *own[number + 1 :])) | always
                idle = sum(map(weights_bytes, kept - own[number]))
                peaks.append(need + idle if self._fits(need + idle) else need)
        except ValueError:
            return None
        return max(peaks)

    def _needs(self, artifact: Artifact[Any]) -> int:
        """Of one build; ValueError where a model's config can't be had."""
        shape = self.context.shape_of(artifact)
        return artifact.memory(self.context, shape).largest(len(self.context.devices))

    def _shards(self, builds: Sequence[Artifact[Any]]) -> int:
        runtime, drawn = self.context.runtime, [each for each in builds if isinstance(each, Completions)]
        n = shards_of(drawn, len(places_of(runtime)), runtime)
        return max((len(each.shards(n)) for each in drawn), default=1) or 1

    def _fits(self, needed: int) -> bool:
        return self._free is None or needed <= FILLED * self._free

    @cached_property
    def _free(self) -> int | None:
        return free_bytes(self.context.device)

    def _loads(self, builds: Sequence[Artifact[Any]], extra: Iterable[Weights]) -> tuple[int, bool]:
        """Models that a process and its workers load, and whether that is a bound."""
        drawn = [each for each in builds if isinstance(each, Completions) and each.pool is None]
        seen = [each for each in builds if isinstance(each, Annotations)]
        places = len(places_of(self.context.runtime))
        shards = shards_of(drawn, places, self.context.runtime)
        units = {each.key: max(1, len(each.shards(shards))) for each in drawn}
        batches = [[each for each in batch for _ in range(units.get(each.key, 1))] for batch in (drawn, seen)]
        apart = [batch for batch in batches if min(places, len(batch)) > 1]
        theirs = {each.key for batch in apart for each in batch}
        own = [each for each in builds if each.key not in theirs]
        n = len({*extra, *(weights for each in own for weights in each.loads())})
        for batch in apart:
            asked = [weights for each in batch for weights in each.loads()]
            n += sum(min(places, asked.count(weights)) for weights in set(asked))
        return n, bool(apart)

    # --- what changed -----------------------------------------------------------------------------------------------

    def _changed(self) -> Iterator[Changed]:
        """Of what is to be made from nothing and has finished ones of its kind and slug beside it: the nearest."""
        for artifact in self._missing(self.known):
            if not self.standings[artifact.key].has_log:
                for drift in drifts_of(artifact, self.known, self.manifests)[:1]:
                    yield Changed(artifact.kind, artifact.slug, drift)


def _most(values: Iterable[int | None]) -> int | None:
    """The largest; None where one is not known."""
    given = list(values)
    return None if None in given else max((value for value in given if value is not None), default=0)
