"""The finished cells of a sweep's folder, from the rows that they left."""

import json
from pathlib import Path
from typing import NamedTuple

from reasoning_lab.report.data import Provenance
from reasoning_lab.report.pages.sweep import write_grid, write_sweep
from reasoning_lab.report.views.sweep import SweepCell
from reasoning_lab.taxonomy.elbow import elbow

ELBOW_RULE = (
    "the size whose score lies farthest above the chord from the first to the last size (Satopää et al. 2011), ties to "
    "the smaller"
)


class SweepCells(NamedTuple):
    """What a sweep's folder holds."""

    finished: list[SweepCell]
    missing: list[str]
    """Numbers of the cells that did not finish."""


def collect_sweep(folder: Path) -> SweepCells:
    """The cells in the order of their numbers; ValueError where none has finished."""
    finished, missing = [], []
    for cell in sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)):
        row = cell / "row.json"
        data = json.loads(row.read_text()) if row.is_file() else {}
        if data.get("status") == "completed":
            finished.append((data["overrides"], data["metrics"]))
        else:
            missing.append(cell.name)
    if not finished:
        raise ValueError(f"{folder} has no finished cell; run the sweep first.")
    return SweepCells(finished, missing)


def write_finished(cells: list[SweepCell], folder: Path, provenance: Provenance) -> None:
    """The sweep's table and page; of a grid of taxonomies with each layer's elbow."""
    curves: dict[str, dict[int, float]] = {}
    for overrides, metrics in cells:
        if (score := metrics.get("score/final")) is not None:
            curves.setdefault(str(overrides["taxonomy.layer"]), {})[int(overrides["taxonomy.n_clusters"])] = score
    if not curves:
        write_sweep(cells, folder, provenance=provenance)
        return
    elbows = {layer: float(elbow(list(curve), list(curve.values())).size) for layer, curve in curves.items()}
    write_grid(cells, folder, elbows, ELBOW_RULE, provenance=provenance)
