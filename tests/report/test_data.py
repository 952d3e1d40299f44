"""What no report can be made of is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_lab.report import HybridReport, Report, write_sweep


def test_errors_name_what_is_wrong(report: Report) -> None:
    base = report.arm("base")
    with pytest.raises(ValueError, match="studied=nobody: must be one of the arms base, "):
        replace(report, studied="nobody")
    with pytest.raises(ValueError, match="without grade"):
        replace(base, grades=base.grades[1:])
    shorter = replace(base, name="short", completions=base.completions[1:], grades=base.grades[1:])
    with pytest.raises(ValueError, match="same problems in every arm"):
        replace(report, arms=[*report.arms, shorter])
    with pytest.raises(ValueError, match="two or more"):
        replace(report, passk=[base])
    with pytest.raises(ValueError, match="cells=0: must be at least one"):
        write_sweep([], Path())


def test_a_hybrid_is_held_against_a_thinking_model(given: HybridReport) -> None:
    with pytest.raises(ValueError, match="reference=None: must be the thinking model's arm"):
        replace(given, report=replace(given.report, reference=None))
