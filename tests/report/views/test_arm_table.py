"""The tables of arms on a terminal."""

from io import StringIO

from rich.console import Console

from reasoning_lab.report import Report, print_table


def test_table_on_a_terminal_has_every_arm(report: Report) -> None:
    console = Console(file=StringIO(), width=220)
    print_table(report, console)
    assert isinstance(console.file, StringIO)
    printed = console.file.getvalue()
    assert all(arm.label in printed for arm in report.arms) and "model organism" in printed
