"""From a report's input to its files."""

from pathlib import Path

from reasoning_lab.report.headline import headline
from reasoning_lab.report.inputs import ReportInput
from reasoning_lab.report.page import page
from reasoning_lab.report.plots import charts
from reasoning_lab.report.summary import headline_metrics, summarise, summarise_passk
from reasoning_lab.report.table import write_table_csv, write_table_markdown


def write_report(report: ReportInput, out_dir: Path) -> dict[str, float]:
    """Write table.csv, table.md, the charts as PNG, and index.html into `out_dir`; return the headline metrics.

    The same input gives the same bytes. The metrics are flat: `accuracy`, `accuracy_low`, `difference_to_base` ... of
    the power arm, and `<arm>/<metric>` for every arm.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    rows, passk = summarise(report), summarise_passk(report)
    write_table_csv(rows, out_dir / "table.csv")
    write_table_markdown(report, rows, out_dir / "table.md")
    drawn = charts(report, rows, passk)
    for chart in drawn:
        (out_dir / f"{chart.name}.png").write_bytes(chart.png)
    html = page(report, rows, headline(report, rows, passk), drawn)
    (out_dir / "index.html").write_text(html, encoding="utf-8")
    return headline_metrics(report, rows, passk)
