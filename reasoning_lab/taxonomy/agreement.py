"""How far clusters agree with known categories, where the truth is known (the embedded pair).

From the table N of counts (cluster i, category j), with m sentences, rows a_i and columns b_j:

- NMI = I / ((H(a) + H(b)) / 2): mutual information over the mean entropy; 0 where one side has one class and the
  other has several, 1 where both have one.
- ARI (Hubert & Arabie 1985): Σ C(N_ij, 2) against its expectation, over the greatest value; 1 where both partitions
  are the same.
- purity = Σ_i max_j N_ij / m. It rises with the number of clusters by itself; read it beside the other two.

Sentences of one trace are alike, so intervals come from resampling traces (clusters of sentences), never sentences.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from reasoning_lab.statistics import LEVEL, RESAMPLES, Floats, Interval, percentile_interval, resample_weights


class Agreement(NamedTuple):
    """Clusters against categories."""

    nmi: Interval
    ari: Interval
    purity: Interval
    n_sentences: int
    n_traces: int


def agreement(
    labels: Sequence[int],
    categories: Sequence[Hashable],
    traces: Sequence[Hashable],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Agreement of the sentences' clusters with their true categories; sentence i is of traces[i].

    Intervals are by bootstrap over traces (`statistics.percentile_interval`). With one trace there is nothing to
    resample: the interval is (-inf, inf).
    """
    if not len(labels) == len(categories) == len(traces) or len(labels) == 0:
        raise ValueError(
            f"{len(labels)} labels, {len(categories)} categories and {len(traces)} traces: give one of each for every "
            "sentence, and at least one sentence."
        )
    tables = _tables(labels, categories, traces)
    n_traces = len(tables)
    counts = n_traces * resample_weights(n_traces, resamples, seed)
    whole = tables.sum(0, keepdims=True)
    resampled = np.tensordot(counts, tables, axes=1)
    intervals = [percentile_interval(float(f(whole)[0]), f(resampled), n_traces, level) for f in (nmi, ari, purity)]
    return Agreement(*intervals, n_sentences=len(labels), n_traces=n_traces)


def nmi(tables: Floats) -> Floats:
    """NMI of each table of [table, cluster, category]."""
    shares = tables / tables.sum((1, 2), keepdims=True)
    rows, columns = _entropy(shares.sum(2)), _entropy(shares.sum(1))
    information = rows + columns - _entropy(shares.reshape(len(shares), -1))
    mean = (rows + columns) / 2
    return np.where(mean > 0, np.clip(information, 0, None) / np.where(mean > 0, mean, 1), 1.0)


def ari(tables: Floats) -> Floats:
    """Adjusted Rand index of each table of [table, cluster, category]."""
    together = _pairs(tables).sum((1, 2))
    rows, columns = _pairs(tables.sum(2)).sum(1), _pairs(tables.sum(1)).sum(1)
    # A single sentence makes no pair; both sides are then the same partition.
    expected = rows * columns / np.maximum(_pairs(tables.sum((1, 2))), 1)
    room = (rows + columns) / 2 - expected
    same = (together == rows) & (together == columns)
    return np.where(same, 1.0, (together - expected) / np.where(same, 1, room))


def purity(tables: Floats) -> Floats:
    """Purity of each table of [table, cluster, category]."""
    return tables.max(2).sum(1) / tables.sum((1, 2))


def _tables(labels: Sequence[int], categories: Sequence[Hashable], traces: Sequence[Hashable]) -> Floats:
    """Counts of [trace, cluster, category]; each axis in order of first appearance."""
    axes = [_codes(labels), _codes(categories), _codes(traces)]
    clusters, kinds, owners = axes
    tables = np.zeros((max(owners) + 1, max(clusters) + 1, max(kinds) + 1))
    np.add.at(tables, (owners, clusters, kinds), 1.0)
    return tables


def _codes(values: Sequence[Hashable]) -> list[int]:
    seen: dict[Hashable, int] = {}
    return [seen.setdefault(value, len(seen)) for value in values]


def _entropy(shares: Floats) -> Floats:
    """-Σ p log p along the last axis."""
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1)


def _pairs(counts: Floats) -> Floats:
    return counts * (counts - 1) / 2
