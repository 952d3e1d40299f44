"""Activations: one vector per sentence and layer, read in the model that wrote the traces."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors import safe_open

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.files import write_tensors
from reasoning_lab.artifacts.memory import Memory, of_reading
from reasoning_lab.artifacts.sampling import Shape
from reasoning_lab.artifacts.traces import Traces
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.taxonomy.activations import Activations, Shard, collect, merge, shard_from
from reasoning_lab.taxonomy.spans import Pooling

SHARD_SENTENCES = 50_000
"""Sentence vectors per file."""


class ShardedActivations:
    """Sentence vectors in files, of which one layer at a time is in memory."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._kept: tuple[int, Activations] | None = None

    def layer(self, layer: int) -> Activations:
        """The vectors of one layer; the last one asked for is kept."""
        if self._kept is None or self._kept[0] != layer:
            self._kept = None
            self._kept = layer, merge([_read_layer(file, layer) for file in self._files])
        return self._kept[1]


def _read_layer(file: Path, layer: int) -> Shard:
    with safe_open(file, framework="pt") as opened:
        wanted = (f"layer{layer}", f"sum{layer}", "index", "n_responses")
        return shard_from({name: opened.get_tensor(name) for name in wanted})


@dataclass(frozen=True)
class SentenceActivations(Artifact[ShardedActivations]):
    """Sentence vectors of the traces' own model at some layers, all read in one pass."""

    kind: ClassVar[str] = "activations"
    version: ClassVar[int] = 2
    traces: Traces
    dtype: str
    layers: tuple[int, ...]
    """Rising."""
    pooling: Pooling

    @property
    def slug(self) -> str:
        """That of the traces, and the pooling."""
        return f"{self.traces.slug}-{self.pooling}"

    @property
    def model(self) -> ModelSource:
        """The thinking model."""
        return self.traces.completions.model

    def loads(self) -> tuple[Weights, ...]:
        """The thinking model."""
        return ((self.model, self.dtype),)

    def n_rows(self, context: Context) -> int:
        """The traces."""
        return self.traces.completions.n_answers

    def memory(self, context: Context, shape: Shape) -> Memory:
        """Of one pass over the longest traces there can be, or there are; the sentences' vectors are the host's."""
        width = max(length for length, _, _ in self.traces.lengths(context))
        n = min(self.traces.n_sentences(context), SHARD_SENTENCES) if context.device == "cpu" else 0
        return of_reading((self.model, self.dtype), min(shape.rows, self.n_rows(context)), width, self.layers, n)

    def build(self, context: Context, folder: Path) -> None:
        """Read the model's stream over all traces."""
        policy = context.model(self.model, self.dtype).policy
        traces = context.counted("activations", context.get(self.traces))
        shards = collect(policy, traces, self.layers, self.pooling, context.shape_of(self).rows, SHARD_SENTENCES)
        for number, shard in enumerate(shards):
            write_tensors(folder / f"shard-{number:05d}.safetensors", shard.tensors())

    def read(self, folder: Path) -> ShardedActivations:
        """The files, opened layer by layer."""
        return ShardedActivations(tuple(sorted(folder.glob("shard-*.safetensors"))))
