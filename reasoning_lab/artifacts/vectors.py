"""Vectors: steering vectors of a base model, one per category of a taxonomy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from safetensors import safe_open

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.files import read_json, write_tensors, write_text
from reasoning_lab.artifacts.key import IDENTITY, digest
from reasoning_lab.artifacts.memory import Memory, Training, of_training
from reasoning_lab.artifacts.sampling import Shape
from reasoning_lab.artifacts.taxonomy import TaxonomyClusters
from reasoning_lab.engine.deterministic import same_bytes_each_time
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.records import Trace
from reasoning_lab.steering.hybrid.vocabulary import VocabularyMap, map_vocabularies, match_strings
from reasoning_lab.steering.vectors.base import VectorLog, VectorMethod, VectorSet, vectors_from
from reasoning_lab.steering.vectors.diff_of_means import DiffOfMeans
from reasoning_lab.steering.vectors.examples import LabelledTrace
from reasoning_lab.taxonomy.clusters import Clusters
from reasoning_lab.taxonomy.token_labels import token_labels


class TrainedVectors(NamedTuple):
    """Steering vectors, and how their training went."""

    vectors: VectorSet
    log: VectorLog


@dataclass(frozen=True)
class SteeringVectors(Artifact[TrainedVectors]):
    """Vectors for the output of a layer of the base model."""

    kind: ClassVar[str] = "vectors"
    version: ClassVar[int] = 3
    taxonomy: TaxonomyClusters
    model: Annotated[ModelSource, IDENTITY]
    """The base model."""
    dtype: str
    method: VectorMethod
    layer: int
    normalise: bool
    """Whether the clusters read normalised activations."""
    labelled: Literal["sentence", "token"]
    """What has a category."""

    @property
    def slug(self) -> str:
        """That of the taxonomy, and the method."""
        return f"{self.taxonomy.slug}-{type(self.method).__name__.lower()}"

    @property
    def base_key(self) -> str:
        """Identity of the base model, as the vectors carry it."""
        return digest(self.model.identity())

    @property
    def pair(self) -> tuple[Weights, Weights]:
        """Base and thinking model."""
        return (self.model, self.dtype), (self.taxonomy.thinking, self.dtype)

    def loads(self) -> tuple[Weights, ...]:
        """The base model; the thinking model too where it labels single tokens."""
        return self.pair if self.labelled == "token" else self.pair[:1]

    def models(self, context: Context) -> tuple[LoadedModel[HuggingFacePolicy], LoadedModel[HuggingFacePolicy]]:
        """Base and thinking model."""
        return context.model(self.model, self.dtype), context.model(self.taxonomy.thinking, self.dtype)

    def memory(self, context: Context, shape: Shape) -> Memory:
        """Of the training; where the thinking model labels tokens, it has left by then."""
        lengths = self.taxonomy.traces.lengths(context)
        method, n = self.method, self.taxonomy.n_clusters
        trains = not isinstance(method, DiffOfMeans)
        trained = Training(
            texts=len(lengths),
            sentences=self.taxonomy.traces.n_sentences(context),
            tokens=sum(length for length, _, _ in lengths),
            longest=max(length for length, _, _ in lengths),
            answer=max(answer for _, answer, _ in lengths),
            sentence=max(sentence for _, _, sentence in lengths),
            layer=self.layer,
            keeps_states=getattr(method, "cache_context", False),
            minibatch=getattr(method, "minibatch", 1),
            reads_losses=trains,
            n_vectors=n if trains else 0,
            has_bias=method.has_bias,
        )
        return of_training((self.model, self.dtype), trained, context.device)

    def build(self, context: Context, folder: Path) -> None:
        """Train them on the traces as the base model reads them."""
        examples = self._examples(context)
        context.make_room(self.pair[:1], self.memory(context, context.shape).total)
        with same_bytes_each_time():
            fit = self.method.fit(
                Decoder(context.model(self.model, self.dtype).policy), examples, self.taxonomy.n_clusters, self.layer,
                self.taxonomy.seed, partial(_tell, context),
            )  # fmt: skip
        vectors = fit.vector_set.of_base(self.base_key)
        write_tensors(folder / "vectors.safetensors", vectors.tensors(), vectors.metadata())
        write_text(folder / "log.json", fit.log.dumps())

    def read(self, folder: Path) -> TrainedVectors:
        """The vectors."""
        with safe_open(folder / "vectors.safetensors", framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            vectors = vectors_from(tensors, opened.metadata())
        return TrainedVectors(vectors, VectorLog.from_json(read_json(folder / "log.json")))

    def _examples(self, context: Context) -> list[LabelledTrace]:
        """The traces as the base model reads them, each sentence with its category."""
        base, thinking = (load_reader(source) for source, _ in self.pair)
        traces, clusters = context.get(self.taxonomy.traces), context.get(self.taxonomy).clusters
        prompts, ids_of = (
            self.taxonomy.traces.completions.problems.encoded(base),
            vocabulary_between(base, thinking).in_base,
        )
        marks, token_labels = self._marks(context), self._token_labels(traces, clusters, context)
        return [
            LabelledTrace(
                prompts[trace.problem], ids_of(trace.ids), trace.spans, tuple(label for label, _ in marks[number]),
                tuple(score for _, score in marks[number]), trace.verdict,
                trace.spans[-1].last == len(trace.ids),  # A text that ended by itself has its stop id behind its spans.
                token_labels[number],
            )
            for number, trace in enumerate(traces)
            if trace.spans
        ]  # fmt: skip

    def _marks(self, context: Context) -> dict[int, list[tuple[int, float]]]:
        """By trace, label and score of each sentence."""
        data, clusters = context.get(self.taxonomy.activations).layer(self.taxonomy.layer), context.get(self.taxonomy)
        best = clusters.clusters.scores(data.layers[self.taxonomy.layer], self.normalise).max(-1)
        marks: dict[int, list[tuple[int, float]]] = {}
        rows = zip(data.index.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
        for (trace, _), label, score in rows:
            marks.setdefault(trace, []).append((label, score))
        return marks

    def _token_labels(self, traces: Sequence[Trace], clusters: Clusters, context: Context) -> list[tuple[int, ...]]:
        """Per trace the category at the position that predicts each token, where tokens have one; else nothing."""
        if self.labelled == "sentence":
            return [()] * len(traces)
        thinking = context.model(self.taxonomy.thinking, self.dtype)
        return token_labels(
            Decoder(thinking.policy), traces, clusters, self.taxonomy.layer, self.normalise,
            lambda done, total: context.on_progress("token labels", total, done, 0),
        )  # fmt: skip


def _tell(context: Context, phase: str, done: int, total: int, losses: Mapping[str, float] | None = None) -> None:
    """Progress of a phase, and its losses at that step."""
    if losses:
        context.on_values(f"vectors {phase}", {"step": float(done), **losses})
    context.on_progress(f"vectors: {phase}", total, done, 0)


def vocabulary_between(base: Reader, thinking: Reader, how: Literal["ids", "strings"] = "ids") -> VocabularyMap:
    """How two models read each other's tokens."""
    match = map_vocabularies if how == "ids" else match_strings
    return match(base.tokenizer, thinking.tokenizer, base.vocab_size, thinking.vocab_size)


def read_by(reader: ModelSource, writer: ModelSource, texts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Texts in one model's ids as another reads them, one id for each; no weights are read. ValueError where they can't
    read each other's words."""
    if reader == writer:
        return [tuple(ids) for ids in texts]
    ours, theirs = load_reader(reader).tokenizer, load_reader(writer).tokenizer
    longest = max((1 + id for ids in texts for id in ids), default=0)
    vocabulary = map_vocabularies(ours, theirs, len(ours), max(len(theirs), longest))
    return [vocabulary.in_base(ids) for ids in texts]
