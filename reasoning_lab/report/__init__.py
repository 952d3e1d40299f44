"""The report: a table with intervals, charts, and one self-contained page."""

from reasoning_lab.report.grid import report_grid
from reasoning_lab.report.hybrid import print_hybrid
from reasoning_lab.report.hybrid_inputs import CategoryView, HybridReport, TaxonomyView, VectorView
from reasoning_lab.report.hybrid_write import write_hybrid
from reasoning_lab.report.inputs import ArmResult, Published, ReportInput
from reasoning_lab.report.sweep import report_sweep
from reasoning_lab.report.table import print_table
from reasoning_lab.report.taxonomy import write_taxonomy
from reasoning_lab.report.write import write_report

__all__ = [
    "ArmResult",
    "CategoryView",
    "HybridReport",
    "Published",
    "ReportInput",
    "TaxonomyView",
    "VectorView",
    "print_hybrid",
    "print_table",
    "report_grid",
    "report_sweep",
    "write_hybrid",
    "write_report",
    "write_taxonomy",
]
