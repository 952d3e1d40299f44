"""From a hybrid model's numbers and completions to its files."""

from pathlib import Path

from reasoning_lab.report.hybrid import hybrid_rows, metrics, write_hybrid_tables
from reasoning_lab.report.hybrid_inputs import HybridReport
from reasoning_lab.report.hybrid_page import hybrid_page
from reasoning_lab.report.hybrid_plots import charts
from reasoning_lab.report.taxonomy import write_categories


def write_hybrid(given: HybridReport, out_dir: Path) -> dict[str, float]:
    """Write hybrid.csv, hybrid.md, categories.csv, vectors.csv, the charts as PNG, and hybrid.html into `out_dir`;
    return the headline metrics.

    The same input gives the same bytes. The metrics are flat: `gap_recovered`, `steered_fraction`, `accuracy` of the
    hybrid with `_low` and `_high`, and `<arm>/<metric>` for every arm.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    rows = hybrid_rows(given)
    write_hybrid_tables(given, rows, out_dir)
    write_categories(given.taxonomy, out_dir)
    drawn = charts(given, rows)
    for chart in drawn:
        (out_dir / f"{chart.name}.png").write_bytes(chart.png)
    (out_dir / "hybrid.html").write_text(hybrid_page(given, rows, drawn), encoding="utf-8")
    return metrics(given, rows)
