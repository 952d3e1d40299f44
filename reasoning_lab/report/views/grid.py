"""A sweep of taxonomies over layers and cluster sizes: its scores, the best cell, and each layer's elbow."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from reasoning_lab.report.views.sweep import Metrics, SweepCell, SweepInfo, SweepTable, in_order, set_words, swept_keys
from reasoning_lab.report.words import decimal, natural_key

LAYER, SIZE = "taxonomy.layer", "taxonomy.n_clusters"
SCORE = "score/final"
GRID_METRICS = {
    "score/final": "Final",
    "score/consistency": "Consistency",
    "score/completeness": "Completeness",
    "score/independence": "Independence",
    "nmi": "NMI",
    "ari": "ARI",
    "purity": "Purity",
    "fvu": "FVU",
    "n_dead": "Empty",
}
"""Metric -> heading."""
GRID_NOTE = (
    "Final: mean of consistency, completeness and independence. NMI, ARI and purity: agreement with ground truth, "
    "where it is known. FVU: unexplained share of the variance. Empty: categories without a sentence. The best of many "
    "cells is flattered by the choice."
)
Place = tuple[str, str]
"""(layer, size)."""


@dataclass(frozen=True)
class Grid:
    """The final scores over layers and sizes; ValueError without any."""

    scores: dict[Place, list[float]]
    """Of each run of a cell; cells whose score is missing or not finite are left out."""
    elbows: Mapping[str, float]
    """Layer -> cluster size that the rule picks."""
    rule: str
    """The sentence that states it, without its full stop."""

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError(f"No cell of the sweep has a finite {SCORE!r}; score the taxonomies with a judge.")

    @property
    def layers(self) -> list[str]:
        """In natural order."""
        return sorted({layer for layer, _ in self.scores}, key=natural_key)

    @property
    def sizes(self) -> list[str]:
        """In natural order."""
        return sorted({size for _, size in self.scores}, key=natural_key)

    def mean(self, place: Place) -> float:
        """Mean score of the cell's runs."""
        return sum(self.scores[place]) / len(self.scores[place])

    @property
    def best(self) -> Place:
        """The cell with the highest mean score; ties go to the smaller size, then to the lower layer."""
        order = sorted(self.scores, key=lambda place: (natural_key(place[1]), natural_key(place[0])))
        return max(order, key=lambda place: round(self.mean(place), 9))

    def at_elbow(self, place: Place) -> bool:
        """Whether the rule picks this size at this layer."""
        layer, size = place
        return layer in self.elbows and size.replace(".", "", 1).isdecimal() and float(size) == self.elbows[layer]


def grid_of(cells: list[SweepCell], elbows: Mapping[str, float], rule: str) -> Grid:
    """The scores of a sweep's cells."""
    scores: dict[Place, list[float]] = {}
    for cell in grid_order(cells)[1]:
        if isfinite(score := cell.metrics.get(SCORE, float("nan"))):
            scores.setdefault(_place(cell), []).append(score)
    return Grid(scores, elbows, rule.rstrip("."))


def _place(cell: SweepCell) -> Place:
    return str(cell.overrides.get(LAYER, "default")), str(cell.overrides.get(SIZE, "default"))


def grid_order(cells: list[SweepCell]) -> tuple[list[str], list[SweepCell]]:
    """The keys, layer and size first, and the cells sorted by them."""
    keys = list(dict.fromkeys((LAYER, SIZE, *swept_keys(cells))))
    return keys, in_order(cells, keys)


def grid_sweep(cells: list[SweepCell], grid: Grid, info: SweepInfo) -> SweepTable:
    """The table of a sweep with stage=taxonomy."""
    keys, cells = grid_order(cells)
    shown = [name for name in GRID_METRICS if any(name in cell.metrics for cell in cells)]
    header = (*keys, *(GRID_METRICS[name] for name in shown), "")
    body = [
        (*set_words(cell.overrides, keys), *_numbers(cell.metrics, shown), _marks(_place(cell), grid)) for cell in cells
    ]
    layer, size = grid.best
    best = f"Best cell: layer {layer}, {size} clusters, {grid.mean(grid.best):.3f}."
    return SweepTable(info, keys, cells, header, body, f"Elbow: {grid.rule}. {best} {GRID_NOTE}")


def _numbers(metrics: Metrics, shown: list[str]) -> list[str]:
    return [decimal(metrics.get(name), "{:.0f}" if name == "n_dead" else "{:.3f}") for name in shown]


def _marks(place: Place, grid: Grid) -> str:
    return ", ".join(word for word, holds in (("best", place == grid.best), ("elbow", grid.at_elbow(place))) if holds)
