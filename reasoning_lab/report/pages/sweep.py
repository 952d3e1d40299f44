"""The page of a sweep: a heat map and the table of all its cells."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reasoning_lab.checks import require
from reasoning_lab.report.data import UNKNOWN, Provenance
from reasoning_lab.report.pages.kit import html_page
from reasoning_lab.report.views.charts.elbow import elbow_chart
from reasoning_lab.report.views.charts.heat import accuracy_heat, score_heat
from reasoning_lab.report.views.charts.kit import Chart, write_charts
from reasoning_lab.report.views.grid import grid_of, grid_sweep
from reasoning_lab.report.views.sweep import SweepCell, SweepTable, accuracy_sweep, write_sweep_tables
from reasoning_lab.report.views.theme import Inks, layer_inks


def write_sweep(cells: list[SweepCell], out_dir: Path, title: str = "Sweep", provenance: Provenance = UNKNOWN) -> None:
    """Write sweep.csv, sweep.md, sweep.html and, when two keys were swept, heatmap.png.

    Of more than two swept keys the two with most values span the heat map, and each of its cells averages over the
    others and says so. Every cell of the sweep has its own row in the tables. ValueError without cells.
    """
    require(bool(cells), "cells", 0, "at least one", "run the sweep first")
    table = replace(accuracy_sweep(cells, title), provenance=provenance)
    chart = accuracy_heat(table)
    _write(table, [chart] if chart else [], {}, out_dir)


def write_grid(
    cells: list[SweepCell],
    out_dir: Path,
    elbows: Mapping[str, float],
    rule: str,
    title: str = "Taxonomy grid",
    provenance: Provenance = UNKNOWN,
) -> None:
    """Write sweep.csv, sweep.md, sweep.html, heatmap.png and elbow.png of a sweep with stage=taxonomy.

    elbows: layer -> cluster size that the rule picks; rule: the sentence that states it. Cells whose score is missing
    or not finite stay in the table and out of the charts. ValueError without cells or without any score.
    """
    require(bool(cells), "cells", 0, "at least one", "run the sweep first")
    grid = grid_of(cells, elbows, rule)
    inks = layer_inks(grid.layers)
    table = replace(grid_sweep(cells, grid, title), provenance=provenance)
    _write(table, [score_heat(grid), elbow_chart(grid, inks)], inks, out_dir)


def _write(table: SweepTable, charts: list[Chart], inks: Inks, out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    write_sweep_tables(table, out_dir)
    write_charts(charts, out_dir)
    html = html_page("sweep", table.title, inks, table=table, charts=charts)
    (out_dir / "sweep.html").write_text(html, encoding="utf-8")
