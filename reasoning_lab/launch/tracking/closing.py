"""The closing run of a sweep on a dashboard: best cell, table of cells, heat map, and where all of it lies."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_lab.experiment import Tracking
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.folders import read_submitted
from reasoning_lab.launch.tracking.log import RunInfo, Tracker
from reasoning_lab.launch.tracking.mode import mode_of
from reasoning_lab.launch.tracking.names import columns, group_of, tags_of
from reasoning_lab.launch.typed import build_option
from reasoning_lab.report.collect.sweep import collect_sweep
from reasoning_lab.report.views.sweep import SweepCell, in_order, swept_keys

FOLDER = "closing"
"""Below the sweep's: the closing run's own log."""
KIND = "sweep"
"""W&B's job type of closing runs: how a table of runs leaves them out, or shows them alone."""
BEST_OF = ("accuracy", "score/final", "nmi", "accuracy/traces", "reward/last")
"""What the best cell has most of: the first of these that the cells measure."""


def close_sweep(folder: Path, command: Sequence[str], commit: str | None, environment: Mapping[str, str]) -> None:
    """Write the closing run of a sweep's folder, whose page has been written and whose first cell says where it is
    tracked; nothing where it is not."""
    first = read_submitted(first_cell(folder))
    tracking = build_option(Tracking, first.config["tracking"], "tracking")
    mode, _ = mode_of(tracking, environment)
    if mode != "disabled":
        cells = collect_sweep(folder)
        write_closing_run(folder, tracking, mode, cells.finished, cells.missing, first.choices, command, commit)


def first_cell(folder: Path) -> Path:
    """Of a sweep's folder; ConfigError where it has none."""
    cells = [path for path in folder.glob("*") if path.name.isdigit()]
    if not cells:
        raise ConfigError(f"{folder}: no sweep's folder, for it has no cell; give one of outputs/sweeps/*/*.")
    return min(cells, key=lambda path: int(path.name))


def write_closing_run(
    folder: Path,
    tracking: Tracking,
    mode: str,
    cells: Sequence[SweepCell],
    missing: Sequence[str],
    choices: Mapping[str, str | None],
    command: Sequence[str],
    commit: str | None,
    metric: str | None = None,
) -> None:
    """Log a sweep as a run of its own, of the cells' group; again whenever it is collected again, under the same id.

    Arguments: `folder` is the sweep's, with `report/` in it; `mode` that of the mirror (see `mode_of`); `cells` are
    those that have finished, with what was set and their metrics, `missing` the numbers of the others; `choices` the
    options that all cells have in common; `metric` what the best cell has most of, None for the first of BEST_OF.
    """
    cells = list(cells)
    keys = swept_keys(cells)
    metric = metric or next((name for name in BEST_OF if any(name in cell.metrics for cell in cells)), None)
    info = RunInfo(
        tracking.project, tracking.entity, group_of(choices, folder), KIND, _name(folder, cells, choices),
        {"swept": keys} | columns(choices), tags_of(choices, tracking.tags), tracking.notes, tuple(command), commit,
    )  # fmt: skip
    with Tracker(folder / FOLDER, info, mode, tracking.backend) as tracker:
        tracker.images({image.stem: image for image in sorted((folder / "report").glob("*.png"))})
        tracker.table("cells", *cells_table(folder, cells, keys))
        best = best_cell(cells, metric)
        tracker.summary({"cells/finished": len(cells), "cells/missing": len(missing)} | best)
        tracker.link("report", folder / "report" / "sweep.html")
        tracker.link("table", folder / "report" / "sweep.csv")


def _name(folder: Path, cells: Sequence[SweepCell], choices: Mapping[str, str | None]) -> str:
    """ "power_grid · 12 cells · embedded · arithmetic"."""
    common = (choices.get(group) for group in ("model_pair", "benchmark"))
    return " · ".join([folder.parent.name, f"{len(cells)} cells", *(option for option in common if option)])


def best_cell(cells: Sequence[SweepCell], metric: str | None) -> dict[str, Any]:
    """What was set in the cell with the most of the metric, and its metrics, under `best/`; ties go to the first.

    The best of many is flattered by the choice.
    """
    told = [cell for cell in cells if metric in cell.metrics]
    if metric is None or not told:
        return {}
    best = max(told, key=lambda cell: cell.metrics[metric])
    keys = swept_keys(list(cells)) or sorted(best.overrides)
    chosen = {f"best/{key}": best.overrides.get(key) for key in keys}
    return {"best/by": metric, **chosen, **{f"best/{name}": value for name, value in best.metrics.items()}}


def cells_table(folder: Path, cells: Sequence[SweepCell], keys: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """A row per cell: what was set, its metrics, its run's id, its page."""
    names, places = list(dict.fromkeys(name for cell in cells for name in cell.metrics)), _places(folder)
    rows = [
        [
            *(cell.overrides.get(key) for key in keys),
            *(cell.metrics.get(name) for name in names),
            *places.get(_said(cell.overrides), (None, None)),
        ]
        for cell in in_order(list(cells), list(keys))
    ]
    return [*keys, *names, "run", "page"], rows


def _places(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """By what was set in a cell: its run's id and its page."""
    found = {}
    for file in sorted(folder.glob("*/row.json")):
        id, page = file.with_name("wandb_id"), file.parent / "report"
        told = json.loads(file.read_text()).get("overrides")
        found[_said(told)] = (id.read_text() if id.exists() else None), (str(page) if page.is_dir() else None)
    return found


def _said(overrides: Any) -> str:
    return json.dumps(overrides, sort_keys=True, default=str)
