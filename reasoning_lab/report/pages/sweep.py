"""The page of a sweep: its charts, its points with every arm beside them, and where each cell stands."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reasoning_lab.checks import require
from reasoning_lab.report.data import UNKNOWN, Provenance
from reasoning_lab.report.pages.kit import html_page
from reasoning_lab.report.views.charts.curve import accuracy_curve
from reasoning_lab.report.views.charts.elbow import elbow_chart
from reasoning_lab.report.views.charts.heat import accuracy_heat, score_heat
from reasoning_lab.report.views.charts.kit import Chart, write_charts
from reasoning_lab.report.views.grid import grid_of, grid_sweep
from reasoning_lab.report.views.sweep import SweepCell, SweepInfo, SweepTable, accuracy_sweep, write_sweep_tables
from reasoning_lab.report.views.theme import Inks, layer_inks

REFRESH_S = 30
"""Time after which a page of a sweep that is at work loads itself again [s]."""
NEW = SweepInfo()


def write_sweep(cells: list[SweepCell], out_dir: Path, info: SweepInfo = NEW, provenance: Provenance = UNKNOWN) -> None:
    """Write sweep.csv, sweep.md, sweep.html and, where accuracies were swept over one key, curve.png, over more
    heatmap.png.

    Of more than two swept keys the two with most values span the heat map, and each of its cells averages over the
    others and says so. Cells that differ in their seed alone are one point. Before a cell has finished the page says
    where the cells stand. ValueError without finished cells and without states of others.
    """
    require(bool(cells or info.states), "cells", 0, "at least one", "run the sweep first")
    table = accuracy_sweep(cells, info) if cells else SweepTable(info, [], [], (), [], "")
    chart = (accuracy_heat(table) or accuracy_curve(table)) if cells else None
    _write(replace(table, provenance=provenance), [chart] if chart else [], {}, out_dir)


def write_grid(
    cells: list[SweepCell],
    out_dir: Path,
    elbows: Mapping[str, float],
    rule: str,
    info: SweepInfo = NEW,
    provenance: Provenance = UNKNOWN,
) -> None:
    """Write sweep.csv, sweep.md, sweep.html, heatmap.png and elbow.png of a sweep with stage=taxonomy.

    elbows: layer -> cluster size that the rule picks; rule: the sentence that states it. Cells whose score is missing
    or not finite stay in the table and out of the charts. ValueError without cells or without any score.
    """
    require(bool(cells), "cells", 0, "at least one", "run the sweep first")
    grid = grid_of(cells, elbows, rule)
    inks = layer_inks(grid.layers)
    table = replace(grid_sweep(cells, grid, info), provenance=provenance)
    _write(table, [score_heat(grid), elbow_chart(grid, inks)], inks, out_dir)


def _write(table: SweepTable, charts: list[Chart], inks: Inks, out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    write_sweep_tables(table, out_dir)
    write_charts(charts, out_dir)
    refresh = REFRESH_S if table.info.is_live else None
    html = html_page("sweep", table.info.title, inks, table=table, charts=charts, refresh=refresh)
    (out_dir / "sweep.html").write_text(html, encoding="utf-8")
