"""The report: a table with intervals, charts, and one self-contained page."""

from reasoning_lab.report.inputs import ArmResult, Published, ReportInput
from reasoning_lab.report.sweep import report_sweep
from reasoning_lab.report.table import print_table
from reasoning_lab.report.write import write_report

__all__ = ["ArmResult", "Published", "ReportInput", "print_table", "report_sweep", "write_report"]
