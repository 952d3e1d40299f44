"""A taxonomy from its clusters, its sentences and what a judge said of it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from reasoning_lab.artifacts.arms import Categories
from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.naming import NamedCategories
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.report.collect.provenance import of_taxonomy
from reasoning_lab.report.data import CategoryView, TaxonomyView
from reasoning_lab.statistics import Interval
from reasoning_lab.taxonomy.agreement import agreement
from reasoning_lab.taxonomy.naming import LabelledSentence
from reasoning_lab.taxonomy.scoring import TaxonomyScore, judge_agreement, majority

EXAMPLES = 6
"""Sentences of a category that the page shows."""
HELDOUT = "held-out"
"""Begins the name of a score on sentences that were not clustered."""
JUDGED = ("consistency", "completeness", "independence", "final")


def collect_taxonomy(categories: Categories, context: Context) -> TaxonomyView:
    """The categories with their titles, sentences and scores."""
    clusters, sentences = categories.clusters, categories.clusters.labelled(context)
    truth = truths_of(categories.taxonomy.benchmark, [sentence.text for sentence in sentences])
    named = context.get(categories.naming) if categories.naming else None
    groups: list[list[int]] = [[] for _ in range(clusters.n_clusters)]
    for number, sentence in enumerate(sentences):
        groups[sentence.label].append(number)
    return TaxonomyView(
        method=f"{type(clusters.clustering).__name__}, layer {clusters.layer}, {clusters.n_clusters} categories, "
        f"{clusters.activations.pooling} of {len(sentences):,} sentences of "
        f"{len(context.get(categories.traces)):,} traces",
        judge=named.sets[0].judge if named else "",
        categories=tuple(_category(index, group, sentences, truth, named) for index, group in enumerate(groups)),
        scores=_scores(categories, sentences, truth, named.score if named else None, context)
        | {f"{HELDOUT} {name}": score for name, score in _heldout_scores(categories, named, context).items()},
        n_dead=context.get(clusters).n_dead,
        notes=(*_heldout_notes(categories, context), *(_notes(named) if named else ())),
        provenance=of_taxonomy(categories, context),
    )


def _category(
    index: int,
    group: Sequence[int],
    sentences: Sequence[LabelledSentence],
    truth: Sequence[str],
    named: NamedCategories | None,
) -> CategoryView:
    title = named.sets[0].categories[index] if named else None
    typical = sorted(group, key=lambda number: -sentences[number].score)
    examples = list(dict.fromkeys(sentences[number].text for number in typical))[:EXAMPLES]
    return CategoryView(
        index,
        title.title if title else f"category {index}",
        title.description if title else "",
        tuple(examples),
        len(group) / len(sentences),
        _most(truth, group),
    )


def _most(truth: Sequence[str], group: Sequence[int]) -> str:
    """The true category of most sentences of a group; empty where no truth is known."""
    if not truth or not group:
        return ""
    (most, n), *_ = Counter(truth[number] for number in group).most_common(1)
    return f"{most} ({100 * n / len(group):.0f} %)"


def _heldout_scores(
    categories: Categories, named: NamedCategories | None, context: Context
) -> dict[str, Interval]:  # fmt: skip
    """The same scores on sentences of problems that were not clustered; none where none was held out. Independence is
    of the titles alone."""
    sentences = categories.clusters.labelled(context, is_heldout=True)
    if not sentences:
        return {}
    truth = truths_of(categories.taxonomy.benchmark, [sentence.text for sentence in sentences])
    scores = _scores(categories, sentences, truth, named.heldout if named else None, context)
    return {name: score for name, score in scores.items() if name != "independence"}


def _heldout_notes(categories: Categories, context: Context) -> list[str]:
    """What the scores are on."""
    n, share = len(categories.clusters.labelled(context, is_heldout=True)), categories.clusters.heldout_share
    if not n:
        return ["All scores are on the sentences that were clustered."]
    return [
        f"Scores are on the sentences that were clustered; those named {HELDOUT} on {n:,} sentences of the "
        f"{100 * share:.0f} % of the problems of which none was."
    ]


def _notes(named: NamedCategories) -> list[str]:
    untitled = sum(each.n_unparsable for each in named.sets)
    unread = named.score.n_unparsable
    return [f"{untitled} titles and {unread} answers of the judge could not be read and score nothing."]


def truths_of(benchmark: Benchmark, sentences: Sequence[str]) -> list[str]:
    """Ground-truth category of each sentence; empty where the benchmark knows none."""
    truths = [benchmark.truth(sentence) for sentence in sentences]
    return [each or "" for each in truths] if any(truths) else []


def _scores(
    categories: Categories,
    sentences: Sequence[LabelledSentence],
    truth: Sequence[str],
    score: TaxonomyScore | None,
    context: Context,
) -> dict[str, Interval]:
    """The judge's scores (range over its repetitions), and agreement with the ground truth where there is one (95 %
    interval over traces)."""
    scores = _judged(score) if score else {}
    if not truth:
        return scores
    labels = [sentence.label for sentence in sentences]
    agreed = agreement(labels, truth, [sentence.trace for sentence in sentences], seed=categories.clusters.seed)
    scores |= {name: getattr(agreed, name) for name in ("nmi", "ari", "purity")}
    if score and (kappa := _judge_kappa(score, _stands_for(categories, context), truth)) is not None:
        scores["judge kappa"] = kappa
    return scores


def _judged(score: TaxonomyScore) -> dict[str, Interval]:
    scores = {}
    for name in JUDGED:
        values = [value for each in score.repetitions if (value := getattr(each, name)) is not None]
        if values:
            scores[name] = _range(values)
    return scores


def _stands_for(categories: Categories, context: Context) -> Mapping[int, str]:
    """The true category of each cluster, by the sentences that were clustered."""
    sentences = categories.clusters.labelled(context)
    truth = truths_of(categories.taxonomy.benchmark, [sentence.text for sentence in sentences])
    return majority([sentence.label for sentence in sentences], truth)


def _judge_kappa(score: TaxonomyScore, stands_for: Mapping[int, str], truth: Sequence[str]) -> Interval | None:
    """Cohen's kappa of the judge's yes and no against the true categories, over its repetitions (mean, least, most)."""
    each = [judge_agreement(told, stands_for, truth).kappa for told in score.decisions]
    known = [kappa for kappa in each if kappa is not None]
    return _range(known) if known else None


def _range(values: Sequence[float]) -> Interval:
    return Interval(sum(values) / len(values), min(values), max(values))


def taxonomy_metrics(view: TaxonomyView, categories: Categories, context: Context) -> dict[str, float]:
    """Flat numbers for logs and sweeps."""
    metrics = {
        f"score/{name}" if name in JUDGED else name.replace(" ", "_").replace("-", ""): float(each.value)
        for name, each in view.scores.items()
    }
    metrics["n_dead"] = float(view.n_dead)
    if (validation := context.get(categories.clusters).validation) is not None:
        metrics["fvu"] = validation
    return metrics
