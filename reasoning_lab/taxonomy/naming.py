"""Naming a taxonomy: what a judge calls each cluster, several times over (Venhoff et al. 2025, arXiv:2510.07364).

Per cluster the judge sees 200 sentences, from the most to the least typical: ranked by score, cut in 10 deciles, the
first 20 of each, in shuffled order; and 3 full traces. It does so 5 times, for 5 independent sets of titles. Shuffles
and traces are keyed by (seed, repetition, cluster).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.judge.base import Category, Judge, TitleRequest
from reasoning_lab.records import Record


class LabelledSentence(NamedTuple):
    """One sentence of a trace with its cluster."""

    text: str
    label: int
    """Cluster or latent, 0 ... n-1."""
    score: float
    """How typical it is of the cluster, higher is more: the latent's activation, or minus the distance to the
    centroid."""
    trace: str
    """Id of its trace."""


@dataclass(frozen=True)
class Naming:
    """How a taxonomy is named."""

    n_sentences: int = 200
    """Shown per cluster."""
    n_quantiles: int = 10
    """Equal parts of the ranking from which they are taken."""
    n_traces: int = 3
    """Full traces shown."""
    n_repetitions: int = 5
    """Independent sets of titles."""

    def __post_init__(self) -> None:
        require_count(self, "n_sentences", "n_quantiles", "n_repetitions")
        require(self.n_traces >= 0, "n_traces", self.n_traces, "at least 0", "0 shows none")
        divides = self.n_sentences % self.n_quantiles == 0
        require(divides, "n_sentences", self.n_sentences, f"a multiple of n_quantiles={self.n_quantiles}", "round it")


@dataclass(frozen=True)
class CategorySet(Record):
    """One repetition's names."""

    repetition: int
    judge: str
    categories: tuple[Category | None, ...]
    """By cluster; None where the cluster is empty or the judge's reply couldn't be read."""
    n_unparsable: int
    n_empty: int

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "CategorySet":
        """As Record.from_json, with the categories restored."""
        categories = tuple(None if each is None else Category.from_json(each) for each in data["categories"])
        flat = super().from_json({**data, "categories": []})
        return cls(flat.repetition, flat.judge, categories, flat.n_unparsable, flat.n_empty)


def name_categories(
    judge: Judge,
    sentences: Sequence[LabelledSentence],
    traces: Mapping[str, str],
    n_categories: int,
    naming: Naming,
    seed: int,
) -> list[CategorySet]:
    """One CategorySet per repetition.

    Arguments: `traces` maps trace ids to full texts; `n_categories` is the number of clusters, empty ones included.
    ValueError if a label is outside 0 ... n_categories-1.
    """
    groups = members(sentences, n_categories)
    return [_named(judge, sentences, traces, groups, naming, seed, again) for again in range(naming.n_repetitions)]


def members(sentences: Sequence[LabelledSentence], n_categories: int) -> list[list[int]]:
    """Per cluster the indices of its sentences."""
    groups: list[list[int]] = [[] for _ in range(n_categories)]
    for index, sentence in enumerate(sentences):
        if not 0 <= sentence.label < n_categories:
            raise ValueError(
                f"sentence {index} has label {sentence.label}: labels are 0 ... {n_categories - 1}; was the taxonomy "
                "trained with another number of clusters?"
            )
        groups[sentence.label].append(index)
    return groups


def _named(
    judge: Judge,
    sentences: Sequence[LabelledSentence],
    traces: Mapping[str, str],
    groups: Sequence[Sequence[int]],
    naming: Naming,
    seed: int,
    repetition: int,
) -> CategorySet:
    ids = sorted(traces)
    examples: dict[int, tuple[str, ...]] = {}
    requests: list[TitleRequest] = []
    for cluster, group in enumerate(groups):
        if not group:
            continue
        key = Key(seed, "taxonomy", repetition, cluster)
        shown = spread(group, [sentences[index].score for index in group], naming)
        examples[cluster] = tuple(sentences[index].text for index in shown)
        order = sample(len(shown), len(shown), key, "order of sentences")
        context = sample(len(ids), min(naming.n_traces, len(ids)), key, "traces")
        texts = tuple(examples[cluster][at] for at in order)
        requests.append(TitleRequest(cluster, texts, tuple(traces[ids[at]] for at in context), repetition))
    titles = dict(zip(examples, judge.titles(requests), strict=True))
    categories = tuple(
        Category(cluster, title.title, title.description, examples[cluster])
        if (title := titles.get(cluster)) is not None
        else None
        for cluster in range(len(groups))
    )
    n_unparsable = sum(title is None for title in titles.values())
    return CategorySet(repetition, judge.name, categories, n_unparsable, len(groups) - len(examples))


def spread(group: Sequence[int], scores: Sequence[float], naming: Naming) -> list[int]:
    """The sentences of a cluster that are shown, highest score first, ties in the order given: all where they are at
    most `n_sentences`, else the first n_sentences/n_quantiles of each quantile of the ranking.

    Quantile q of m ranked sentences is ranks floor(q m / n) to floor((q+1) m / n), the upper one excluded.
    """
    ranked = [index for _, index in sorted(zip(scores, group, strict=True), key=lambda pair: -pair[0])]
    if len(ranked) <= naming.n_sentences:
        return ranked
    n, each = naming.n_quantiles, naming.n_sentences // naming.n_quantiles
    starts = [q * len(ranked) // n for q in range(n)]
    return [index for start in starts for index in ranked[start : start + each]]


def sample(n: int, k: int, key: Key, role: str) -> list[int]:
    """k of 0 ... n-1 without replacement, in random order, by keyed uniforms: the head of a Fisher-Yates shuffle, in
    O(k)."""
    moved: dict[int, int] = {}
    chosen: list[int] = []
    for i in range(k):
        j = i + int(uniform(key, i, role) * (n - i))
        chosen.append(moved.get(j, j))
        moved[j] = moved.get(i, i)
    return chosen
