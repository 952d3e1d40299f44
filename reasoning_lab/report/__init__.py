"""The report: tables with intervals, charts, and self-contained pages."""

from reasoning_lab.report.data import ArmResult, CategoryView, HybridReport, Published, Report, TaxonomyView, VectorView
from reasoning_lab.report.pages.hybrid import write_hybrid
from reasoning_lab.report.pages.power import write_report
from reasoning_lab.report.pages.sweep import write_grid, write_sweep
from reasoning_lab.report.pages.taxonomy import write_taxonomy
from reasoning_lab.report.views.arm_table import print_hybrid, print_table
from reasoning_lab.report.views.cue import print_cue, write_cue

__all__ = [
    "ArmResult",
    "CategoryView",
    "HybridReport",
    "Published",
    "Report",
    "TaxonomyView",
    "VectorView",
    "print_cue",
    "print_hybrid",
    "print_table",
    "write_cue",
    "write_grid",
    "write_hybrid",
    "write_report",
    "write_sweep",
    "write_taxonomy",
]
