"""An artifact is one class: what determines a result, how it is built and how it is read, in one frozen dataclass; and
the context that it is built with: the store, the runtime, the models loaded so far, and who hears of progress."""

import gc
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import torch
from rich.console import Console

from reasoning_lab.artifacts.key import Keyed, canonical_form, digest
from reasoning_lab.artifacts.listening import Listener
from reasoning_lab.artifacts.memory import Memory, Weights, placed, weights_bytes
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.sampling import Shape
from reasoning_lab.artifacts.store import Store
from reasoning_lab.checks import require
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.experiment import Runtime
from reasoning_lab.judge.base import Chat, JudgeOption
from reasoning_lab.model_pair.hashes import HASHES
from reasoning_lab.model_pair.loaded import (
    LoadedModel,
    cuda_devices,
    device_words,
    free_bytes,
    load_model,
    resolve_device,
)
from reasoning_lab.model_pair.pair import ModelPair, ModelSource, Role

T = TypeVar("T")


MOST_CPU_ROWS = 64
"""Of runtime.rows=auto: on a CPU more rows take as much longer."""
MOST_GPU_ROWS = 1024
"""Of runtime.rows=auto: with more, a GPU's arithmetic is the bound and not its memory's bandwidth."""
FILLED = 0.9
"""Part of a device's free memory that rows=auto may fill: the rest is for what no estimate has."""


def places_of(runtime: Runtime) -> tuple[tuple[str, ...], ...]:
    """Devices of each process that draws at the same time, `devices_each` of those that are named; else of all CUDA
    devices that are seen; else `workers` times the CPU."""
    each = runtime.devices_each
    if runtime.devices == "auto":
        device = resolve_device(runtime.device) if runtime.device == "auto" else runtime.device
        if device == "cpu":
            return (("cpu",),) * runtime.workers
        named = cuda_devices() if device == "cuda" else (device,)
    else:
        named = runtime.devices
    bound = f"at most the {len(named)} devices that there are ({', '.join(named)})"
    require(each <= len(named), "runtime.devices_each", each, bound, "name more in runtime.devices, or lower it")
    return tuple(named[first : first + each] for first in range(0, len(named) - each + 1, each))


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4 ... up to `most`."""
    return [2**n for n in range(most.bit_length())]


def open_store(root: Path, note: Callable[[str], None]) -> Store:
    """The store under a folder, what dead processes left there swept, the hashes of models' files kept beside the
    artifacts; `note` hears of the unusual."""
    store = Store(root.absolute(), note)
    store.sweep()
    HASHES.keep_in(store.root / "hashes", note)
    return store


class Artifact(Keyed, Generic[T]):
    """Base of the artifacts, whose value is a T."""

    @abstractmethod
    def build(self, context: "Context", folder: Path) -> None:
        """Write the files of the result into an empty folder; a function of the fields alone."""

    @abstractmethod
    def read(self, folder: Path) -> T:
        """The result from its files."""

    def loads(self) -> tuple["Weights", ...]:
        """The models whose weights its build has in memory."""
        return ()

    def memory(self, context: "Context", shape: Shape) -> Memory:
        """What its build needs at once at a physical shape, told before; nothing but a model's config and prompts is
        read. ValueError where they can't be had."""
        return Memory()

    def n_rows(self, context: "Context") -> int:
        """Rows that its build can fill: its answers; 0 where it has no rows."""
        return 0

    def upstream(self) -> tuple["Artifact[Any]", ...]:
        """The artifacts that it is made of, at first hand."""
        return tuple(_artifacts_within(_field_values(self)))


def _artifacts_within(values: Sequence[Any]) -> Iterator["Artifact[Any]"]:
    """Artifacts among values and, where a value is a plain dataclass, among its fields."""
    for value in values:
        if isinstance(value, Artifact):
            yield value
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _artifacts_within(_field_values(value))


def _field_values(value: Any) -> list[Any]:
    return [getattr(value, field.name) for field in fields(value)]


@dataclass
class Context:
    """Finds artifacts or builds them, once per process; values are shared by all who ask and not to be changed."""

    store: Store
    runtime: Runtime
    console: Console
    listeners: list[Listener] = field(default_factory=list)
    """Who hears of progress and of what is measured on the way."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Command, commit and versions of this process, for what it builds."""
    _values: dict[str, Any] = field(default_factory=dict)
    """By key, what was read so far."""
    _models: dict[Weights, LoadedModel[HuggingFacePolicy]] = field(default_factory=dict)
    _chats: dict[str, Chat | None] = field(default_factory=dict)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    """By key, what `shape_of` found."""
    later: frozenset[Weights] = frozenset()
    """Models that builds after the one at work load."""
    _limits: dict[tuple[Weights, ...], int] = field(default_factory=dict)
    """By the models of a build, most rows after memory ran out."""

    def get(self, artifact: Artifact[T]) -> T:
        """The artifact's value: read from its verified folder, built now where there is none."""
        if artifact.key not in self._values:
            self._values[artifact.key] = artifact.read(self.folder(artifact))
        return self._values[artifact.key]

    def folder(self, artifact: Artifact[Any]) -> Path:
        """The artifact's folder, verified, built now where there is none."""
        return self.build_with(artifact, lambda folder: artifact.build(self, folder))

    def build_with(self, artifact: Artifact[Any], build: Callable[[Path], None]) -> Path:
        """As `folder`, built in another way than its own (several at once)."""
        folder = self.store.find_or_build(artifact, build, lambda: self.witness(artifact))
        for listener in self.listeners:
            listener.on_artifact(artifact.kind, artifact.slug, artifact.key, folder)
        return folder

    def witness(self, artifact: Artifact[Any]) -> dict[str, Any]:
        """What this process builds an artifact with and can't change a result, or is no field of it."""
        machine = {
            "device": device_words(self.device),
            "threads": self.runtime.threads or torch.get_num_threads(),
            "rows": self.shape_of(artifact).rows,
        }
        runtime = {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self.runtime).items()
        }
        return dict(self.provenance) | runtime | machine

    def is_built(self, artifact: Artifact[Any]) -> bool:
        """Whether the store has it."""
        return self.store.find(artifact) is not None

    def log(self, artifact: Artifact[Any]) -> AbstractContextManager[RunLog]:
        """The run log of an artifact that is being built: what an earlier attempt left, and where to append."""
        return self.store.log(artifact)

    def model(self, source: ModelSource, dtype: str) -> LoadedModel[HuggingFacePolicy]:
        """Weights and tokenizer on this process's device, loaded once; of several devices on the emptiest."""
        if (source, dtype) not in self._models:
            if self.runtime.threads:
                torch.set_num_threads(self.runtime.threads)
            sizes = [weights_bytes(name) for name in (*self._models, (source, dtype))]
            place = self.devices[placed(sizes, len(self.devices))[-1]] if len(self.devices) > 1 else self.device
            self._models[source, dtype] = load_model(source, dtype, resolve_device(place))
        return self._models[source, dtype]

    def chat(self, option: JudgeOption) -> Chat | None:
        """A judge's chat model, one for all that is asked in this process: its cap is the run's."""
        name = digest(canonical_form(option))
        if name not in self._chats:
            self._chats[name] = option.chat(self.replies, self.device)
        return self._chats[name]

    @property
    def device(self) -> str:
        """Where this process works, the first of its devices: cpu, cuda, cuda:N."""
        return self.devices[0]

    @property
    def devices(self) -> tuple[str, ...]:
        """Where this process's models are."""
        return places_of(self.runtime)[0]

    @property
    def n_shards(self) -> int:
        """Parts that an arm's answers are drawn in; 1 where nobody has said."""
        return 1 if self.runtime.shards == "auto" else self.runtime.shards

    @property
    def replies(self) -> Path:
        """Folder of the judges' cached replies."""
        return self.store.root / "replies"

    @property
    def shape(self) -> Shape:
        """Physical shape of passes whose work and memory nobody has told."""
        return Shape(
            MOST_CPU_ROWS if self.runtime.rows == "auto" else self.runtime.rows, self.runtime.max_prompt_tokens
        )

    def shape_of(self, artifact: Artifact[Any]) -> Shape:
        """Physical shape of an artifact's passes. runtime.rows=auto is the least power of two that has a row for each
        of its answers, or the largest that fits the device's memory (on a CPU, `MOST_CPU_ROWS` at most); and no more
        than memory has run out at in this process."""
        if artifact.key not in self._shapes:
            self._shapes[artifact.key] = self._shape_of(artifact)
        found = self._shapes[artifact.key]
        return replace(found, rows=min(found.rows, self._limits.get(artifact.loads(), found.rows)))

    def _shape_of(self, artifact: Artifact[Any]) -> Shape:
        n = artifact.n_rows(self) if self.runtime.rows == "auto" else 0
        if n == 0:
            return self.shape
        most = MOST_CPU_ROWS if self.device == "cpu" else MOST_GPU_ROWS
        shapes = [replace(self.shape, rows=rows) for rows in powers_of_two(min(most, 2 * n - 1))]
        free = free_bytes(self.device)
        if self.device == "cpu" and free is not None:  # Which all its processes share.
            free //= len(places_of(self.runtime))
        fits = shapes if free is None else [shape for shape in shapes if self.needs(artifact, shape) <= FILLED * free]
        return fits[-1] if fits else shapes[0]

    def needs(self, artifact: Artifact[Any], shape: Shape | None = None) -> int:
        """Bytes of the fullest device of this process, at the artifact's own shape where none is given; 0 where nobody
        can tell."""
        try:
            return artifact.memory(self, shape or self.shape_of(artifact)).largest(len(self.devices))
        except ValueError:
            return 0

    def halve(self, artifact: Artifact[Any], reason: str) -> bool:
        """Take half of the rows for what is built from now on, memory having run out; False where there is one row."""
        rows = self.shape_of(artifact).rows
        if rows == 1:
            return False
        self._limits[artifact.loads()] = rows // 2
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.tell(f"  Out of memory at {rows} rows ({reason.strip() or 'no reason given'}): goes on with {rows // 2}.")
        return True

    def tell(self, line: str) -> None:
        """Print a line as it is, however long."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        """Tell all listeners how far a build is."""
        for listener in self.listeners:
            listener.on_progress(label, total, done, tokens)

    def on_values(self, label: str, values: Mapping[str, float]) -> None:
        """Tell all listeners what a build has measured by now."""
        for listener in self.listeners:
            listener.on_values(label, values)

    def counted(self, label: str, items: Sequence[T]) -> Iterator[T]:
        """The items, each reported when the next one is asked for."""
        for done, item in enumerate(items, start=1):
            yield item
            self.on_progress(label, len(items), done, 0)

    def free_models(self, keep: Iterable[Weights] = ()) -> None:
        """Let go of all models but some; their memory is the device's again."""
        kept = set(keep)
        freed = [self._models.pop(name) for name in list(self._models) if name not in kept]
        if freed:
            freed.clear()
            gc.collect()  # A model's modules refer to each other.
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    def make_room(self, own: Iterable[Weights], needed: int) -> None:
        """Before a build that loads its `own` models and has `needed` bytes: free those that no later build loads, and
        where memory is short those too that only later ones load."""
        kept = {*own, *self.later}
        idle = sum(weights_bytes(name) for name in self._models if name in kept - {*own})
        free = free_bytes(self.device) if idle else None
        is_short = free is not None and idle + needed > FILLED * free
        self.free_models(own if is_short else kept)

    def keep_models(self, pair: ModelPair) -> None:
        """Free the models that are none of the pair's."""
        ours = [source for role in get_args(Role) if (source := getattr(pair, role)) is not None]
        self.free_models([name for name in self._models if name[0] in ours])
