"""Which artifacts are missing, in which order and in which process they are built."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from reasoning_lab.artifacts.annotations import Annotations, HybridLaw
from reasoning_lab.artifacts.base import Artifact, Context, open_store, places_of
from reasoning_lab.artifacts.completions import Completions, CompletionsShard
from reasoning_lab.artifacts.console import progress
from reasoning_lab.artifacts.cue import Cue
from reasoning_lab.artifacts.listening import Listener
from reasoning_lab.artifacts.preflight import preflight
from reasoning_lab.artifacts.taxonomy import TaxonomyClusters, build_bank
from reasoning_lab.artifacts.workers import Report, call_all
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.experiment import Runtime
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.pair import ModelSource

BY_MODEL = (Completions, Annotations)
"""What draws or reads answers one arm at a time, and is built by several processes at once."""
TYPICAL_LENGTH = 100.0
"""Tokens of a plain answer, for the order of work alone."""
REPORT_SECONDS = 0.2
"""Least time between two progress events of a worker process."""


_worker_models: dict[tuple[ModelSource, str], LoadedModel[HuggingFacePolicy]] = {}
"""Models of a worker process, kept from one call to the next."""


def missing(artifacts: Iterable[Artifact[Any]], context: Context) -> list[Artifact[Any]]:
    """What has to be built for the artifacts, upstream first, each key once; nothing behind one that is built."""
    ordered: dict[str, Artifact[Any]] = {}
    for artifact in artifacts:
        if artifact.key not in ordered and not context.is_built(artifact):
            for each in [*missing(artifact.upstream(), context), artifact]:
                ordered.setdefault(each.key, each)
    return list(ordered.values())


def build_missing(artifacts: Iterable[Artifact[Any]], context: Context, beside: Iterable[Artifact[Any]] = ()) -> None:
    """Build what is missing of the artifacts: first, with all threads of this process, what steers; then cues, whose
    answers are known once their openings are; then answers, then annotations, several at a time; then what is made of
    those. ValueError before any of it for what can't be built, of them or of what will be asked for `beside` them."""
    left = missing(artifacts, context)
    if not left:
        return
    preflight(missing([*beside, *left], context), context.runtime.max_prompt_tokens)
    with progress(context):
        for artifact in missing(_steering_of(left), context):
            _build(artifact, left, context)
        for cue in left:
            if isinstance(cue, Cue):
                _build(cue.openings, left, context)
                _build_apart(cue.answers(context), left, context)
                _build(cue, left, context)
        _build_apart([each for each in left if isinstance(each, Completions)], left, context)
        _build_apart([each for each in left if isinstance(each, Annotations)], left, context)
        for artifact in left:
            _build(artifact, left, context)


def _build(artifact: Artifact[Any], left: Iterable[Artifact[Any]], context: Context) -> None:
    """Build one, where there is none, with no more models in memory than it and those that are still left load."""
    if not context.is_built(artifact):
        others = [each for each in left if each.key != artifact.key and not context.is_built(each)]
        context.later = frozenset(weights for each in others for weights in each.loads())
        if (needed := context.needs(artifact)) or artifact.loads():
            context.make_room(artifact.loads(), needed)
    context.folder(artifact)


def build_shared(cells: Sequence[Sequence[Artifact[Any]]], context: Context) -> None:
    """Build the answers that more than one cell of a sweep needs, once, before the cells start."""
    shared, n = shared_answers(cells), len(completions_behind([each for cell in cells for each in cell]))
    context.tell(f"{len(shared)} of {n} sets of answers are shared by several cells; built first.")
    build_missing(shared, context)


def shared_answers(cells: Sequence[Sequence[Artifact[Any]]]) -> list[Completions]:
    """The answers that more than one cell of a sweep needs."""
    needed: Counter[str] = Counter()
    answers: dict[str, Completions] = {}
    for cell in cells:
        asked = {each.key: each for each in completions_behind(cell)}
        needed.update(asked.keys())
        answers |= asked
    return [answers[key] for key, n in needed.items() if n > 1]


def build_banks(taxonomies: Iterable[TaxonomyClusters], context: Context) -> None:
    """Traces and activations once, and the taxonomies of one layer that differ in size alone as one bank, before the
    cells of a grid name and score them."""
    banks: dict[str, list[TaxonomyClusters]] = {}
    for taxonomy in taxonomies:
        banks.setdefault(replace(taxonomy, n_clusters=1).key, []).append(taxonomy)
    build_missing([bank[0].traces for bank in banks.values()], context)
    with progress(context):
        for number, bank in enumerate(banks.values(), start=1):
            build_bank(bank, context)
            context.on_progress("banks of taxonomies", len(banks), number, 0)


def completions_behind(artifacts: Iterable[Artifact[Any]]) -> list[Completions]:
    """All answers that the artifacts are made of, theirs included, upstream first, each key once."""
    ordered: dict[str, Completions] = {}
    for artifact in artifacts:
        if artifact.key not in ordered:
            own = [artifact] if isinstance(artifact, Completions) else []
            for each in [*completions_behind(artifact.upstream()), *own]:
                ordered.setdefault(each.key, each)
    return list(ordered.values())


def cues_behind(answers: Iterable[Completions]) -> list[Cue]:
    """The searches for the cues that the answers wait for, each key once."""
    return list({each.cue.key: each.cue for each in answers if isinstance(each.cue, Cue)}.values())


def _steering_of(artifacts: Iterable[Artifact[Any]]) -> list[Artifact[Any]]:
    """What all hybrids share is made once."""
    return [
        each.law.vectors
        for each in artifacts
        if isinstance(each, (Completions, Annotations)) and isinstance(each.law, HybridLaw)
    ]


# --- in processes of their own --------------------------------------------------------------------------------------


Unit = Completions | CompletionsShard | Annotations
"""What one process builds at a time."""


def _build_apart(
    artifacts: Sequence[Completions] | Sequence[Annotations], others: Sequence[Artifact[Any]], context: Context
) -> None:
    """Build answers or annotations in as many processes as the runtime has devices for, answers in shards where there
    would be fewer of them than processes. A worker that needs another's result waits for its lock, so the order is a
    matter of speed alone."""
    left = sorted((each for each in artifacts if not context.is_built(each)), key=_order)
    places = places_of(context.runtime)
    sharded = replace(context, runtime=replace(context.runtime, shards=shards_of(left, len(places), context.runtime)))
    units = [unit for artifact in left for unit in _units(artifact, sharded)]
    if min(len(places), len(units)) > 1:
        context.free_models()  # The workers have their own, perhaps on this very device.
        calls = [(unit, context.store.root, context.provenance, _runtime_of(unit, sharded)) for unit in units]
        call_all(_build_one, calls, places[: len(units)], lambda event: _relay(event, context))
    for artifact in sorted(left, key=lambda each: context.store.is_at_work(each)):
        _build(artifact, others, sharded)


def _runtime_of(unit: Unit, context: Context) -> Runtime:
    """With the rows as this process finds them: all shards of an arm have one physical shape."""
    return replace(context.runtime, rows=context.shape_of(unit).rows)


def shards_of(left: Sequence[Completions | Annotations], n_places: int, runtime: Runtime) -> int:
    """Parts that each of the answers is drawn in: as the runtime says, or as many as give every process one."""
    if runtime.shards != "auto":
        return runtime.shards
    n = sum(isinstance(each, Completions) and each.pool is None for each in left)
    return -(-n_places // n) if n else 1


def _units(artifact: Completions | Annotations, context: Context) -> Sequence[Unit]:
    """What of an artifact processes of their own build; what is read off a pool is no work."""
    if isinstance(artifact, Annotations):
        return (artifact,)
    if not (shards := artifact.shards(context.n_shards)):
        return () if artifact.pool else (artifact,)
    return [shard for shard in shards if not context.is_built(shard)]


def _order(artifact: Completions | Annotations) -> tuple[bool, bool, float]:
    """What waits for others last; else the longest first."""
    if isinstance(artifact, Annotations):
        return False, False, 0.0
    waits = any(isinstance(each, BY_MODEL) for each in artifact.upstream())
    return waits, artifact.pool is not None, -artifact.expected_tokens(TYPICAL_LENGTH)


def _build_one(
    report: Report,
    place: tuple[str, ...],
    artifact: Artifact[Any],
    root: Path,
    provenance: Mapping[str, Any],
    runtime: Runtime,
) -> None:
    """One artifact in a worker process, on its devices, unless another job is at it; lines and progress go to the
    parent."""
    lines = StringIO()
    store = open_store(root, lambda line: report(("line", line)))
    if store.is_at_work(artifact):
        return
    console = Console(file=lines, width=200)
    runtime = replace(runtime, devices=place, devices_each=len(place))
    Context(store, runtime, console, [_Relay(report)], provenance, _models=_worker_models).folder(artifact)
    report(("line", lines.getvalue().rstrip("\n")))


class _Relay(Listener):
    """Tells the parent: of progress at most five times a second and at the end always."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last = 0.0

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        if done == total or time.monotonic() - self._last > REPORT_SECONDS:
            self._last = time.monotonic()
            self._report(("progress", label, total, done, tokens))

    def on_values(self, label: str, values: Mapping[str, float]) -> None:
        self._report(("values", label, dict(values)))


def _relay(event: Any, context: Context) -> None:
    kind, *rest = event
    if kind == "progress":
        context.on_progress(*rest)
    elif kind == "values":
        context.on_values(*rest)
    elif rest[0]:
        context.tell(rest[0])
