"""The page of a hybrid model: what it recovers, what its controls recover, and every token that it steered."""

from pathlib import Path

from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.pages.kit import html_page
from reasoning_lab.report.views.arm_table import (
    CONTROL_COLUMNS,
    PUBLISHED_HYBRIDS,
    control_footer,
    published_hybrids,
    write_control_tables,
)
from reasoning_lab.report.views.arms import ArmSummary
from reasoning_lab.report.views.charts.gap import gap_chart
from reasoning_lab.report.views.charts.kit import Chart, write_charts
from reasoning_lab.report.views.charts.shares import shares_chart
from reasoning_lab.report.views.control_headline import controls_headline, gap_words
from reasoning_lab.report.views.controls import control_groups, control_metrics, control_rows
from reasoning_lab.report.views.embedded import JsonObject, arms_data
from reasoning_lab.report.views.swatches import swatch
from reasoning_lab.report.views.tables import telling
from reasoning_lab.report.views.taxonomy import write_categories, write_vectors
from reasoning_lab.report.views.theme import Inks, arm_inks
from reasoning_lab.report.views.tokens import reading_data, unmarked
from reasoning_lab.report.words import visible


def write_hybrid(given: HybridReport, out_dir: Path) -> dict[str, float]:
    """Write hybrid.csv, hybrid.md, categories.csv, vectors.csv, the charts as PNG, and hybrid.html into `out_dir`;
    return the headline metrics.

    The same input gives the same bytes. The metrics are flat: `gap_recovered`, `steered_fraction`, `accuracy` of the
    hybrid with `_low` and `_high`, and `<arm>/<metric>` for every arm.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    rows, inks = control_rows(given), arm_inks(given.report)
    write_control_tables(given, rows, out_dir)
    write_vectors(given.vectors, out_dir)
    write_categories(given.taxonomy, out_dir)
    charts = [chart for chart in (gap_chart(rows, inks), shares_chart(given, inks)) if chart]
    write_charts(charts, out_dir)
    (out_dir / "hybrid.html").write_text(hybrid_page(given, rows, charts, inks), encoding="utf-8")
    return control_metrics(given, rows)


def hybrid_page(given: HybridReport, rows: list[ArmSummary], charts: list[Chart], inks: Inks) -> str:
    """The whole page."""
    data = hybrid_data(given, inks)
    return html_page(
        "hybrid",
        given.report.title,
        inks,
        data,
        report=given.report,
        said=controls_headline(given, rows),
        rows=rows,
        recovery=_recovery,
        columns=telling(CONTROL_COLUMNS, rows),
        groups=control_groups(rows),
        charts=charts,
        view=given.taxonomy,
        vectors=given.vectors,
        places={category.index: place for place, category in enumerate(given.taxonomy.categories)},
        full=sum(set(problem["answers"]) > set(given.report.leading) for problem in data["problems"]),
        published_header=PUBLISHED_HYBRIDS,
        published=published_hybrids(given, rows),
        footer=[*control_footer(given, rows), *unmarked(given)],
    )


def hybrid_data(given: HybridReport, inks: Inks) -> JsonObject:
    """What the page's script works on."""
    categories = [{"index": c.index, "title": visible(c.title), "about": visible(c.description),
                   "swatch": swatch(place)} for place, c in enumerate(given.taxonomy.categories)]  # fmt: skip
    reading = reading_data(given, given.report.problem_ids)
    return arms_data(given.report, inks) | {"categories": categories} | reading


def _recovery(row: ArmSummary) -> str:
    return f"gap recovered {gap_words(row.recovered)} %" if row.recovered else f"{row.length:.0f} tokens per answer"
