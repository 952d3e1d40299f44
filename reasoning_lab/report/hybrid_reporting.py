"""From results to what a reader sees of a taxonomy and of a hybrid model."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from reasoning_lab.artifacts.draws import Draw, problems_of, table_draws
from reasoning_lab.artifacts.lab import Lab, model_of
from reasoning_lab.artifacts.lineage import taxonomy_of
from reasoning_lab.artifacts.plan import annotate_all
from reasoning_lab.artifacts.results import (
    annotations,
    completions,
    fit_facts,
    labelled,
    names,
    traces,
    vectors,
)
from reasoning_lab.experiment import Experiment, NoJudge
from reasoning_lab.report.reporting import report_input, studied_arm
from reasoning_lab.steering.controls import Control, ThinkingChoice
from reasoning_lab.steering.steering import NoSteering

if TYPE_CHECKING:
    from reasoning_lab.records import Annotation
    from reasoning_lab.report.data import HybridReport, TaxonomyView, VectorView
    from reasoning_lab.statistics import Interval

EXAMPLES = 6
"""Sentences of a category that the page shows."""


def is_hybrid(experiment: Experiment) -> bool:
    """Whether the arm under study is steered, with the two models beside it."""
    studied = experiment.arms[studied_arm(experiment)]
    roles = {arm.role for arm in experiment.arms.values() if isinstance(arm.steering, NoSteering)}
    return not isinstance(studied.steering, NoSteering) and {"base", "thinking"} <= roles


def hybrid_report(experiment: Experiment, lab: Lab) -> "HybridReport":
    """Everything that the page of a hybrid model shows."""
    from reasoning_lab.report.data import HybridReport

    report = report_input(experiment, lab)
    draws = table_draws(experiment, problems_of(experiment))
    assert report.reference is not None
    nulls = tuple(name for name, arm in experiment.arms.items() if _is_null(arm.steering))
    rest = {*report.leading, *nulls}
    # Of a random control the first draw is shown; its other draws are in the table.
    views = [(draws[name], True) for name in experiment.arms]
    views += [(draws[name], False) for name, arm in experiment.arms.items() if not isinstance(arm.steering, Control)]
    annotate_all(experiment, views, lab)
    seen = {name: _seen(experiment, draws[name], lab) for name in experiment.arms}
    reader = model_of(experiment, "base", lab).reader
    decode = lru_cache(maxsize=2**16)(reader.decode)  # Most pairs of tokens come again.
    pieces: dict[int, str] = {}
    shown = {
        name: [_pieces(decode, answer.ids, answer.text) for answer in report.arm(name).completions] for name in seen
    }
    for found in seen.values():
        for each in found:
            for id in {*each.base_choices, *each.thinking_choices} - set(pieces):
                pieces[id] = reader.decode((id,)) if id >= 0 else ""
    return HybridReport(
        report=report,
        nulls=nulls,
        rivals=tuple(name for name in experiment.arms if name not in rest),
        annotations=seen,
        token_texts=shown,
        choice_texts=pieces,
        taxonomy=taxonomy_view(experiment, lab),
        vectors=_vector_views(experiment, lab),
        truths=_truths(experiment, report.arms),
        shares=_shares(experiment, draws, lab),
        published=tuple(tuple(map(str, row.values())) for row in experiment.published if "arm" not in row),
    )


def _seen(experiment: Experiment, draw: Draw, lab: Lab) -> "list[Annotation]":
    """As drawn; the categories are the experiment's for arms that have their own too: a colour means one thing."""
    drawn = annotations(experiment, draw, lab)
    if experiment.arms[draw.arm].taxonomy is None:
        return drawn
    common = annotations(experiment, draw, lab, as_drawn=False)
    return [replace(own, categories=other.categories) for own, other in zip(drawn, common, strict=True)]


def _is_null(rule: Any) -> bool:
    return isinstance(rule, Control) and not isinstance(rule, ThinkingChoice)


def _pieces(decode: Callable[[Sequence[int]], str], ids: Sequence[int], text: str) -> tuple[str, ...]:
    """The text of each token; joined they are `text`."""
    from reasoning_lab.taxonomy.spans import token_starts

    starts = token_starts(text, ids, decode)
    return tuple(text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True))


def taxonomy_view(experiment: Experiment, lab: Lab) -> "TaxonomyView":
    """The categories with their names, sentences and scores."""
    from reasoning_lab.report.data import CategoryView, TaxonomyView

    chosen, sentences = taxonomy_of(experiment), labelled(experiment, lab)
    truth = truths_of(experiment, [sentence.text for sentence in sentences])
    named = None if isinstance(experiment.judge, NoJudge) else names(experiment, lab)
    groups: list[list[int]] = [[] for _ in range(chosen.n_clusters)]
    for number, sentence in enumerate(sentences):
        groups[sentence.label].append(number)
    views = []
    for index, group in enumerate(groups):
        title = named.sets[0].categories[index] if named else None
        typical = sorted(group, key=lambda number: -sentences[number].score)
        examples = list(dict.fromkeys(sentences[number].text for number in typical))[:EXAMPLES]
        views.append(
            CategoryView(
                index,
                title.title if title else f"category {index}",
                title.description if title else "",
                tuple(examples),
                len(group) / len(sentences),
                _most(truth, group),
            )
        )
    facts = fit_facts(experiment, lab)
    return TaxonomyView(
        method=f"{type(chosen.clustering).__name__}, layer {chosen.layer}, {chosen.n_clusters} categories, "
        f"{chosen.pooling} of {len(sentences):,} sentences of {len(traces(experiment, lab)):,} traces",
        judge=named.sets[0].judge if named else "",
        categories=tuple(views),
        scores=taxonomy_scores(experiment, lab),
        n_dead=facts["n_dead"],
        notes=tuple(_notes(named)),
    )


def _most(truth: Sequence[str], group: Sequence[int]) -> str:
    if not truth or not group:
        return ""
    (most, n), *_ = Counter(truth[number] for number in group).most_common(1)
    return f"{most} ({100 * n / len(group):.0f} %)"


def _notes(named: Any) -> list[str]:
    if named is None:
        return []
    untitled = sum(each.n_unparsable for each in named.sets)
    unread = named.score.n_unparsable
    return [f"{untitled} titles and {unread} answers of the judge could not be read and score nothing."]


def truths_of(experiment: Experiment, sentences: Sequence[str]) -> list[str]:
    """Ground-truth category of each sentence; empty where the benchmark knows none."""
    found = [taxonomy_of(experiment).benchmark.truth(sentence) for sentence in sentences]
    return [each or "" for each in found] if any(found) else []


def taxonomy_scores(experiment: Experiment, lab: Lab) -> "dict[str, Interval]":
    """The judge's scores (range over its repetitions), and agreement with the ground truth where there is one (95 %
    interval over traces)."""
    from reasoning_lab.statistics import Interval
    from reasoning_lab.taxonomy.agreement import agreement

    found: dict[str, Interval] = {}
    if not isinstance(experiment.judge, NoJudge):
        score = names(experiment, lab).score
        for name in ("consistency", "completeness", "independence", "final"):
            values = [value for each in score.repetitions if (value := getattr(each, name)) is not None]
            if values:
                found[name] = Interval(sum(values) / len(values), min(values), max(values))
    sentences = labelled(experiment, lab)
    if truth := truths_of(experiment, [sentence.text for sentence in sentences]):
        found_truth = agreement([s.label for s in sentences], truth, [s.trace for s in sentences], seed=experiment.seed)
        found |= {name: getattr(found_truth, name) for name in ("nmi", "ari", "purity")}
        if (kappa := _judge_kappa(experiment, lab, [s.label for s in sentences], truth)) is not None:
            found["judge kappa"] = kappa
    return found


def _judge_kappa(experiment: Experiment, lab: Lab, labels: list[int], truth: list[str]) -> "Interval | None":
    """Cohen's kappa of the judge's yes and no against the true categories, over its repetitions (mean, least, most)."""
    from reasoning_lab.statistics import Interval
    from reasoning_lab.taxonomy.scoring import judge_agreement

    if isinstance(experiment.judge, NoJudge):
        return None
    each = [judge_agreement(told, labels, truth).kappa for told in names(experiment, lab).score.decisions]
    known = [kappa for kappa in each if kappa is not None]
    return Interval(sum(known) / len(known), min(known), max(known)) if known else None


def taxonomy_metrics(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Flat numbers for logs and sweeps."""
    facts = fit_facts(experiment, lab)
    scores = taxonomy_scores(experiment, lab)
    judged = ("consistency", "completeness", "independence", "final")
    metrics = {
        f"score/{name}" if name in judged else name.replace(" ", "_"): float(each.value)
        for name, each in scores.items()
    }
    metrics["n_dead"] = float(facts["n_dead"])
    if facts["validation"] is not None:
        metrics["fvu"] = facts["validation"]
    return metrics


def _vector_views(experiment: Experiment, lab: Lab) -> "tuple[VectorView, ...]":
    from reasoning_lab.report.data import VectorView

    log = vectors(experiment, experiment.steering, lab)[1]
    rows = [*([log.bias] if log.bias else []), *log.categories]
    return tuple(VectorView(r.category, r.norm, r.heldout_without, r.heldout_with, r.n_train, r.skipped) for r in rows)


def _truths(experiment: Experiment, arms: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Share of each ground-truth category of the sentences of each arm's answers."""
    from reasoning_lab.taxonomy.spans import sentences

    found: dict[str, dict[str, float]] = {}
    for arm in arms:
        texts = [answer.text[a:b].strip() for answer in arm.completions for a, b in sentences(answer.text)]
        kinds = Counter(kind for text in texts if (kind := experiment.benchmark.truth(text)))
        if total := sum(kinds.values()):
            found[arm.name] = {kind: n / total for kind, n in sorted(kinds.items())}
    return found


def _shares(experiment: Experiment, draws: dict[str, Draw], lab: Lab) -> dict[str, tuple[float, ...]]:
    """Share of each category at the sentences' beginnings, seen by the taxonomy alone, for the arms that are no
    control."""
    from reasoning_lab.taxonomy.spans import ending_ids

    n = taxonomy_of(experiment).n_clusters
    ends = ending_ids(model_of(experiment, "base", lab).reader)
    found = {}
    for name, arm in experiment.arms.items():
        if isinstance(arm.steering, Control):
            continue
        counts = Counter[int]()
        answers = {(a.problem, a.chain): a.ids for a in completions(experiment, draws[name], lab)}
        for each in annotations(experiment, draws[name], lab, as_drawn=False):
            ids = answers[each.problem, each.chain]
            counts.update(c for at, c in enumerate(each.categories) if at == 0 or ids[at - 1] in ends)
        total = sum(counts.values())
        found[name] = tuple(counts[index] / total for index in range(n))
    return found
