"""Taxonomy: clusters of the sentence vectors of one layer."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from reasoning_lab.artifacts.activations import SentenceActivations
from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.files import read_json, write_tensors, write_text
from reasoning_lab.artifacts.key import digest
from reasoning_lab.artifacts.memory import Memory, of_autoencoders
from reasoning_lab.artifacts.sampling import Shape
from reasoning_lab.artifacts.traces import Traces
from reasoning_lab.engine.deterministic import same_bytes_each_time
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.size import load_footprint
from reasoning_lab.records import Trace
from reasoning_lab.taxonomy.activations import Activations
from reasoning_lab.taxonomy.clusterings import Clustering, Fit
from reasoning_lab.taxonomy.clusters import Clusters, clusters_from
from reasoning_lab.taxonomy.naming import LabelledSentence
from reasoning_lab.taxonomy.sae.definition import TopKHyperparameters
from reasoning_lab.taxonomy.spans import n_words


class FittedClusters(NamedTuple):
    """Clusters, and how their fitting went."""

    clusters: Clusters
    n_dead: int
    """Latents that are hardly ever a sentence's label."""
    validation: float | None
    """Fraction of variance unexplained on the validation split; None without one."""


class Clusterable(NamedTuple):
    """Sentences as a clustering takes them."""

    vectors: Float[Tensor, "m d"]
    mean: Float[Tensor, " d"]
    problems: Int[Tensor, " m"]
    """Number of each one's problem."""


@dataclass(frozen=True)
class TaxonomyClusters(Artifact[FittedClusters]):
    """The categories of a thinking model's sentences."""

    kind: ClassVar[str] = "taxonomy"
    version: ClassVar[int] = 4
    activations: SentenceActivations
    layer: int
    clustering: Clustering
    n_clusters: int
    min_words: int
    """Shorter sentences are not clustered."""
    seed: int
    heldout_share: float = 0.0
    """Share of the problems whose sentences are not clustered, but scored beside the others."""

    @property
    def slug(self) -> str:
        """That of the traces, layer and size."""
        return f"{self.traces.slug}-l{self.layer}-n{self.n_clusters}"

    @property
    def traces(self) -> Traces:
        """Whose sentences are clustered."""
        return self.activations.traces

    @property
    def thinking(self) -> ModelSource:
        """The model that wrote them, and in whose stream they are read."""
        return self.activations.model

    @property
    def source(self) -> str:
        """Model and layer of the activations, as the clusters carry them."""
        return f"layer {self.layer} of model {digest(self.thinking.identity())[:12]}"

    def memory(self, context: Context, shape: Shape) -> Memory:
        """Of the autoencoders on the device; other clusterings work on the host, and are in no number."""
        clustering = self.clustering
        if not isinstance(clustering, TopKHyperparameters):
            return Memory()
        n, width = self.traces.n_sentences(context), load_footprint(self.thinking).width
        is_host = context.device == "cpu"
        return of_autoencoders(
            n, width, [self.n_clusters], clustering.batch_size, clustering.validation_fraction, is_host
        )  # fmt: skip

    def build(self, context: Context, folder: Path) -> None:
        """Fit the clusters alone; `build_bank` fits several sizes at once."""
        self._write(_fits(self, [self.n_clusters], context)[self.n_clusters], folder)

    def read(self, folder: Path) -> FittedClusters:
        """The clusters."""
        told = read_json(folder / "clusters.json")
        clusters = clusters_from(load_file(folder / "clusters.safetensors"), told["metadata"])
        return FittedClusters(clusters, told["n_dead"], told["validation"])

    def sentences(self, context: Context, is_heldout: bool = False) -> tuple[Activations, list[int]]:
        """The layer's vectors, and the rows of the sentences that are long enough: of the problems that are clustered,
        or of those held out."""
        data, traces = context.get(self.activations).layer(self.layer), context.get(self.traces)
        heldout = unclustered_problems({trace.problem for trace in traces}, self.heldout_share, self.seed)
        long = [
            row
            for row, (trace, span) in enumerate(data.index.tolist())
            if n_words(sentence_of(traces[trace], span)) >= self.min_words
        ]
        if not long:
            raise ValueError(f"taxonomy.min_words={self.min_words}: no sentence is that long; lower it.")
        return data, [row for row in long if (traces[int(data.index[row, 0])].problem in heldout) == is_heldout]

    def _given(self, context: Context) -> "Clusterable":
        """What the clustering is given."""
        (data, rows), traces = self.sentences(context), context.get(self.traces)
        numbers = {problem: number for number, problem in enumerate(dict.fromkeys(trace.problem for trace in traces))}
        problems = torch.tensor([numbers[traces[trace].problem] for trace in data.index[rows, 0].tolist()])
        return Clusterable(data.layers[self.layer][rows], data.means[self.layer], problems)

    def labelled(self, context: Context, is_heldout: bool = False) -> list[LabelledSentence]:
        """The clustered sentences, or those held out, with their labels and scores; the trace's id is its number."""
        traces, clusters = context.get(self.traces), context.get(self).clusters
        data, rows = self.sentences(context, is_heldout)
        if not rows:
            return []
        best = clusters.scores(data.layers[self.layer][rows]).max(-1)
        sentences = []
        for row, label, score in zip(rows, best.indices.tolist(), best.values.tolist(), strict=True):
            trace, span = data.index[row].tolist()
            sentences.append(LabelledSentence(sentence_of(traces[trace], span).strip(), label, score, str(trace)))
        return sentences

    def _write(self, fit: Fit, folder: Path) -> None:
        clusters = fit.clusters.of_source(self.source)
        write_tensors(folder / "clusters.safetensors", clusters.tensors())
        told: dict[str, Any] = {
            "metadata": clusters.metadata(), "n_dead": fit.n_dead, "n_silent": fit.n_silent, "losses": fit.losses,
            "validation_losses": fit.validation_losses, "best_epoch": fit.best_epoch, "validation": fit.validation,
        }  # fmt: skip
        write_text(folder / "clusters.json", json.dumps(told, indent=1))


def unclustered_problems(problems: Collection[str], share: float, seed: int) -> frozenset[str]:
    """A keyed draw of `share` of the problems, rounded; all but one at most."""
    shuffled = sorted(
        problems, key=lambda problem: (uniform(Key(seed, problem), 0, "held out of the taxonomy"), problem)
    )
    return frozenset(shuffled[: min(round(share * len(problems)), len(problems) - 1)])


def sentence_of(trace: Trace, span: int) -> str:
    """The text of a trace's sentence."""
    return trace.text[trace.spans[span].start : trace.spans[span].stop]


def build_bank(taxonomies: Sequence[TaxonomyClusters], context: Context) -> None:
    """Fit taxonomies that differ in their number of clusters alone together, as one bank; each is its own artifact."""
    missing = {taxonomy.n_clusters: taxonomy for taxonomy in taxonomies if not context.is_built(taxonomy)}
    if not missing:
        return
    first = next(iter(missing.values()))
    for n, fit in _fits(first, sorted(missing), context).items():
        context.build_with(missing[n], partial(missing[n]._write, fit))


def _fits(taxonomy: TaxonomyClusters, sizes: Sequence[int], context: Context) -> dict[int, Fit]:
    """Fits of several sizes; a bank of one is that one's fit."""
    given, label = taxonomy._given(context), f"taxonomy layer {taxonomy.layer}"
    with same_bytes_each_time():
        return taxonomy.clustering.fit_bank(
            given.vectors, given.mean, sizes, taxonomy.seed, context.device, given.problems,
            partial(context.on_values, label),
        )  # fmt: skip
