"""The headline claims what the paired intervals let it claim."""

from dataclasses import replace

import pytest

from reasoning_lab.report import ArmResult, Report
from reasoning_lab.report.views.arms import summarise
from reasoning_lab.report.views.headline import arms_headline


def _outcome(report: Report, better: str, worse: str, n: int) -> Report:
    """The report with the first n problems right only in `better`, the others right in both."""

    def graded(arm: ArmResult) -> ArmResult:
        wrong = {f"p{i}" for i in range(n)} if arm.name == worse else set()
        grades = [replace(g, verdict="wrong" if g.problem in wrong else "correct") for g in arm.grades]
        return replace(arm, grades=grades)

    assert better in {arm.name for arm in report.arms}
    return replace(report, arms=[graded(arm) for arm in report.arms], passk=[])


@pytest.mark.parametrize(
    ("better", "worse", "n", "verdict"),
    [
        ("power", "base", 20, "Clearly above base, T = 1; no clear difference from GRPO, T = 1."),
        ("power", "base", 1, "No clear difference from base, T = 1 and from GRPO, T = 1."),
        ("base", "power", 20, "Clearly below base, T = 1 and GRPO, T = 1."),
        ("power", "grpo", 20, "No clear difference from base, T = 1; clearly above GRPO, T = 1."),
    ],
)
def test_the_headline_says_clear_only_when_the_paired_interval_excludes_zero(
    report: Report, better: str, worse: str, n: int, verdict: str
) -> None:
    made = _outcome(report, better, worse, n)
    assert arms_headline(made, summarise(made), []).verdict == verdict


def test_a_cheaper_better_rival_is_named(report: Report) -> None:
    made = _outcome(report, "vote_16", "power", 25)
    said = " ".join(arms_headline(made, summarise(made), []).sentences)
    assert "Power α = 4 against it: clearly below (−62.5 points" in said
