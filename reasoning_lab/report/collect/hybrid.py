"""The page of a hybrid model from completions, annotations, taxonomy and vectors. No weights are read."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from reasoning_lab.artifacts.arms import ArmRow, Arms, Categories
from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.vectors import read_by
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader
from reasoning_lab.records import Annotation, Completion
from reasoning_lab.report.collect.answers import shown
from reasoning_lab.report.collect.provenance import of_report
from reasoning_lab.report.collect.taxonomy import collect_taxonomy
from reasoning_lab.report.collect.vectors import vector_note
from reasoning_lab.report.data import ArmResult, HybridReport, Report, VectorView
from reasoning_lab.steering.controls import Control
from reasoning_lab.taxonomy.spans import ending_ids, sentences, token_starts

REMEMBERED = 2**16
"""Decoded pairs of tokens that are kept: most come again."""


def collect_hybrid(arms: Arms, report: Report, published: Sequence[dict[str, Any]], context: Context) -> HybridReport:
    """Everything that the page of a hybrid model shows beside the table."""
    categories = arms.categories
    assert categories is not None, "a hybrid has categories"
    reader = load_reader(arms.pair.base)
    annotations = {name: _annotations(row, context) for name, row in arms.rows.items()}
    taxonomy, vectors = collect_taxonomy(categories, context), _vector_views(arms, context)
    named = [categories.naming] if categories.naming else []
    made = [*shown(arms), *needed_annotations(arms), *named]
    token_texts = _token_texts(report.arms, arms)
    # From here on ids are the base model's, as annotations have them.
    results = [replace(arm, completions=_in_base_ids(arm.completions, arms, arm.name)) for arm in report.arms]
    return HybridReport(
        report=replace(report, arms=results, provenance=of_report(arms, made, context)),
        annotations=annotations,
        token_texts=token_texts,
        choice_texts=_choice_texts(annotations, reader),
        taxonomy=taxonomy,
        vectors=vectors,
        truths=_truths(arms.problems.benchmark, report.arms),
        shares=_shares(arms, categories, reader, context),
        published=tuple(tuple(map(str, row.values())) for row in published if "arm" not in row),
    )


def needed_annotations(arms: Arms) -> list[Any]:
    """What `collect_hybrid` reads: every arm as drawn (of a random control its first draw), and in the experiment's
    categories whoever is no control."""
    drawn = [row.drawn for row in arms.rows.values()]
    return [*drawn, *(row.common for row in arms.rows.values() if not isinstance(row.rule, Control))]


def _annotations(row: ArmRow, context: Context) -> list[Annotation]:
    """As drawn; the categories are the experiment's for arms that have their own too: a colour means one thing."""
    assert row.drawn is not None and row.common is not None
    drawn = context.get(row.drawn)
    if not row.has_own_taxonomy:
        return list(drawn)
    common = context.get(row.common)
    return [replace(own, categories=other.categories) for own, other in zip(drawn, common, strict=True)]


def _token_texts(results: Sequence[ArmResult], arms: Arms) -> dict[str, list[tuple[str, ...]]]:
    """As each arm's own model reads its ids."""
    told: dict[str, list[tuple[str, ...]]] = {}
    for arm in results:
        decode = lru_cache(maxsize=REMEMBERED)(load_reader(_writer(arms, arm.name)).decode)
        told[arm.name] = [_pieces(decode, answer.ids, answer.text) for answer in arm.completions]
    return told


def _writer(arms: Arms, name: str) -> ModelSource:
    """In whose ids an arm's answers are."""
    return arms.rows[name].draws[0].completions.model


def _in_base_ids(answers: Sequence[Completion], arms: Arms, name: str) -> list[Completion]:
    """An arm's answers as the base model reads them."""
    read = read_by(arms.pair.source("base"), _writer(arms, name), [answer.ids for answer in answers])
    return [replace(answer, ids=ids) for answer, ids in zip(answers, read, strict=True)]


def _pieces(decode: Callable[[Sequence[int]], str], ids: Sequence[int], text: str) -> tuple[str, ...]:
    """The text of each token; joined they are `text`."""
    starts = token_starts(text, ids, decode)
    return tuple(text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True))


def _choice_texts(annotations: dict[str, list[Annotation]], reader: Reader) -> dict[int, str]:
    """Text of every id that a model would have chosen."""
    each = [annotation for of_arm in annotations.values() for annotation in of_arm]
    ids = {id for annotation in each for id in (*annotation.base_choices, *annotation.thinking_choices)}
    return {id: reader.decode((id,)) if id >= 0 else "" for id in sorted(ids)}


def _vector_views(arms: Arms, context: Context) -> tuple[VectorView, ...]:
    assert arms.vectors is not None
    log = context.get(arms.vectors).log
    rows = [*([log.bias] if log.bias else []), *log.categories]
    return tuple(
        VectorView(r.category, r.norm, r.test_without, r.test_with, r.n_train, vector_note(log, r)) for r in rows
    )


def _truths(benchmark: Benchmark, results: Sequence[ArmResult]) -> dict[str, dict[str, float]]:
    """Share of each ground-truth category of the sentences of each arm's answers."""
    shares: dict[str, dict[str, float]] = {}
    for arm in results:
        texts = [answer.text[a:b].strip() for answer in arm.completions for a, b in sentences(answer.text)]
        kinds = Counter(kind for text in texts if (kind := benchmark.truth(text)))
        if total := sum(kinds.values()):
            shares[arm.name] = {kind: n / total for kind, n in sorted(kinds.items())}
    return shares


def _shares(arms: Arms, categories: Categories, reader: Reader, context: Context) -> dict[str, tuple[float, ...]]:
    """Share of each category at the sentences' beginnings, seen by the taxonomy alone, for the arms that are no
    control."""
    ends, shares = ending_ids(reader), {}
    for name, row in arms.rows.items():
        if isinstance(row.rule, Control):
            continue
        assert row.common is not None
        counts = Counter[int]()
        drawn = _in_base_ids(context.get(row.draws[0].completions), arms, name)
        answers = {(a.problem, a.chain): a.ids for a in drawn}
        for each in context.get(row.common):
            ids = answers[each.problem, each.chain]
            counts.update(c for at, c in enumerate(each.categories) if at == 0 or ids[at - 1] in ends)
        total = sum(counts.values())
        shares[name] = tuple(counts[index] / total for index in range(categories.clusters.n_clusters))
    return shares
