"""A sweep of taxonomies over layers and cluster sizes: the paper's heat map, with the elbow and the best cell."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import reasoning_lab.report.theme as theme
from reasoning_lab.report.inputs import natural_key
from reasoning_lab.report.plots import Chart, Inks, render
from reasoning_lab.report.sweep import SweepCell, heat_map, in_order, sweep_page, swept_keys, write_cells
from reasoning_lab.report.table import MINUS, markdown_table, markdown_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYER, SIZE = "taxonomy.layer", "taxonomy.n_clusters"
SCORE = "score/final"
COLUMNS = {
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
NOTE = (
    "Final: mean of consistency, completeness and independence. NMI, ARI and purity: agreement with ground truth, "
    "where it is known. FVU: unexplained share of the variance. Empty: categories without a sentence. The best of many "
    "cells is flattered by the choice."
)

Values = dict[tuple[str, str], list[float]]
"""(layer, size) -> the score of each run."""


def report_grid(
    cells: list[SweepCell], out_dir: Path, elbows: Mapping[str, float], rule: str, title: str = "Taxonomy grid"
) -> None:
    """Write sweep.csv, sweep.md, sweep.html, heatmap.png and elbow.png of a sweep with stage=taxonomy.

    elbows: layer -> cluster size that the rule picks; rule: the sentence that states it. Cells whose score is missing
    or not finite stay in the table and out of the charts. ValueError without cells or without any score.
    """
    if not cells:
        raise ValueError("The sweep has no cells; run at least one.")
    out_dir.mkdir(parents=True, exist_ok=True)
    keys = list(dict.fromkeys((LAYER, SIZE, *swept_keys(cells))))
    cells = in_order(cells, keys)
    write_cells(cells, keys, out_dir / "sweep.csv")
    values = _values(cells)
    if not values:
        raise ValueError(f"No cell of the sweep has a finite {SCORE!r}; score the taxonomies with a judge.")
    shown = [name for name in COLUMNS if any(name in metrics for _, metrics in cells)]
    header = (*keys, *(COLUMNS[name] for name in shown), "")
    body = [_words(cell, keys, shown, values, elbows) for cell in cells]
    note = f"Elbow: {rule.rstrip('.')}. {_best_words(values)} {NOTE}"
    lines = [f"# {markdown_text(title)}", "", *markdown_table(header, body), "", markdown_text(note)]
    (out_dir / "sweep.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    inks = {layer: _ink(i) for i, layer in enumerate(_layers(values))}
    charts = [_heat_chart(values, elbows, rule), _line_chart(values, elbows, rule, inks)]
    for chart in charts:
        (out_dir / f"{chart.name}.png").write_bytes(chart.png)
    (out_dir / "sweep.html").write_text(sweep_page(title, header, body, note, charts, inks), encoding="utf-8")


def _place(cell: SweepCell) -> tuple[str, str]:
    overrides, _ = cell
    return str(overrides.get(LAYER, "default")), str(overrides.get(SIZE, "default"))


def _values(cells: list[SweepCell]) -> Values:
    found: Values = {}
    for cell in cells:
        if isfinite(score := cell[1].get(SCORE, float("nan"))):
            found.setdefault(_place(cell), []).append(score)
    return found


def _mean(values: Values, place: tuple[str, str]) -> float:
    return sum(values[place]) / len(values[place])


def best_cell(values: Values) -> tuple[str, str]:
    """The cell with the highest mean score; ties go to the smaller size, then to the lower layer."""
    order = sorted(values, key=lambda place: (natural_key(place[1]), natural_key(place[0])))
    return max(order, key=lambda place: round(_mean(values, place), 9))


def _best_words(values: Values) -> str:
    layer, size = best_cell(values)
    return f"Best cell: layer {layer}, {size} clusters, {_mean(values, (layer, size)):.3f}."


def _at_elbow(place: tuple[str, str], elbows: Mapping[str, float]) -> bool:
    layer, size = place
    return layer in elbows and size.replace(".", "", 1).isdecimal() and float(size) == elbows[layer]


def _words(
    cell: SweepCell, keys: list[str], shown: list[str], values: Values, elbows: Mapping[str, float]
) -> tuple[str, ...]:
    overrides, metrics = cell
    place = _place(cell)
    marks = [
        *(["best"] if values and place == best_cell(values) else []),
        *(["elbow"] if _at_elbow(place, elbows) else []),
    ]
    numbers = (_number(metrics[name], name) if name in metrics else "–" for name in shown)
    return (*(str(overrides.get(key, "–")) for key in keys), *numbers, ", ".join(marks))


def _number(value: float, name: str) -> str:
    return f"{value:.0f}" if name == "n_dead" else f"{value:.3f}".replace("-", MINUS)


# --- charts ---------------------------------------------------------------------------------------------------


def _cell_words(scores: list[float]) -> str:
    mean = f"{sum(scores) / len(scores):.3f}"
    return mean if len(scores) == 1 else f"{mean}\nmean of {len(scores)}"


def _heat_chart(values: Values, elbows: Mapping[str, float], rule: str) -> Chart:
    best = best_cell(values)
    framed = {place: "--" for place in values if _at_elbow(place, elbows)} | {best: "-"}
    shown = {place: (_mean(values, place), _cell_words(scores)) for place, scores in values.items()}
    caption = (
        f"Final score (mean of consistency, completeness and independence) for each layer (rows) and number of "
        f"clusters (columns). Solid frame: best cell. Dashed frames: each layer's elbow: {rule.rstrip('.')}."
    )
    alt = "; ".join(f"layer {layer}, {size} clusters: {words[1]}" for (layer, size), words in shown.items())
    return render("heatmap", "Final score over layers and sizes", caption, alt,
                  lambda: heat_map(shown, "layer", "clusters", framed), {})  # fmt: skip


def _layers(values: Values) -> list[str]:
    return sorted({layer for layer, _ in values}, key=natural_key)


def _line_chart(values: Values, elbows: Mapping[str, float], rule: str, inks: Inks) -> Chart:
    caption = f"One line per layer. Rings: the elbow: {rule.rstrip('.')}. Star: the best cell of all."
    alt = "; ".join(f"layer {layer}: elbow at {elbows[layer]:g} clusters" for layer in inks if layer in elbows)
    return render("elbow", "Where does another category stop paying?", caption, alt or "no elbow",
                  lambda: lines(values, elbows, inks), inks)  # fmt: skip


def _ink(i: int) -> theme.Ink:
    hues = ((theme.POWER.light, theme.POWER.dark), (theme.RL.light, theme.RL.dark), *theme.OTHERS)
    markers = (theme.POWER.marker, theme.RL.marker, *theme.MARKERS)
    return theme.Ink(*hues[i % len(hues)], markers[i % len(markers)])


def lines(values: Values, elbows: Mapping[str, float], inks: Inks) -> Figure:
    """Final score against the number of clusters, layers labelled in the legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    sizes = sorted({size for _, size in values}, key=natural_key)
    x_of = {size: float(size) if all(s.isdecimal() for s in sizes) else float(i) for i, size in enumerate(sizes)}
    for layer, ink in inks.items():
        found = [(x_of[size], _mean(values, (layer, size)), size) for size in sizes if (layer, size) in values]
        axes.plot([x for x, _, _ in found], [y for _, y, _ in found], color=ink.light, marker=ink.marker, markersize=5,
                  linewidth=1.8, label=f"layer {layer}")  # fmt: skip
        for x, y, size in found:
            if _at_elbow((layer, size), elbows):
                axes.plot([x], [y], marker="o", markersize=14, markerfacecolor="none", markeredgecolor=ink.light,
                          markeredgewidth=1.8)  # fmt: skip
    best = best_cell(values)
    axes.plot([x_of[best[1]]], [_mean(values, best)], marker="*", markersize=15, color=theme.TEXT.light, zorder=5,
              linestyle="")  # fmt: skip
    axes.set_xticks(list(x_of.values()), sizes)
    axes.set(xlabel="clusters", ylabel="final score")
    figure.legend(loc="outside upper left", ncols=min(6, len(inks)), fontsize=9)
    return figure
