"""The headline claims what interval and exact test let it claim, and names who does as well."""

from dataclasses import replace
from typing import Any

import pytest

from reasoning_lab.report import ArmResult, Report
from reasoning_lab.report.views.arms import strongest_rival, summarise
from reasoning_lab.report.views.headline import arms_headline


def _outcome(report: Report, better: str, worse: str, n: int) -> Report:
    """The report with the first n problems right only in `better`, the others right in both."""

    def graded(arm: ArmResult) -> ArmResult:
        wrong = {f"p{i}" for i in range(n)} if arm.name == worse else set()
        grades = [replace(g, verdict="wrong" if g.problem in wrong else "correct") for g in arm.grades]
        return replace(arm, grades=grades)

    assert better in {arm.name for arm in report.arms}
    return replace(report, arms=[graded(arm) for arm in report.arms], passk=[])


ALONE = ("base", "power", "grpo")


@pytest.mark.parametrize(
    ("better", "worse", "n", "verdict"),
    [
        ("power", "base", 20, "Clearly above base, T = 1; no clear difference from GRPO, T = 1; no rival"),
        ("power", "base", 1, "No clear difference from base, T = 1 and from GRPO, T = 1; no rival"),
        ("base", "power", 20, "Clearly below base, T = 1 and GRPO, T = 1; no rival"),
        ("power", "grpo", 20, "No clear difference from base, T = 1; clearly above GRPO, T = 1; no rival"),
        ("power", "base", 7, "Clearly above base, T = 1; no clear difference from GRPO, T = 1; no rival"),
        ("power", "base", 6, "No clear difference from base, T = 1 and from GRPO, T = 1; no rival"),
    ],
)
def test_the_headline_says_clear_only_when_interval_and_corrected_exact_test_agree(
    report: Report, better: str, worse: str, n: int, verdict: str
) -> None:
    """Three comparisons of 40 problems: 7 against 0 has p .0156, corrected .047; 6 against 0 .094, interval or not."""
    made = _outcome(report, better, worse, n)
    made = replace(made, arms=[arm for arm in made.arms if arm.name in ALONE])
    assert arms_headline(made, summarise(made), []).verdict == f"{verdict} at its cost was tried."


def _won(report: Report, rows: dict[str, int], **facts: Any) -> Report:
    """The report with each of these arms right on its first n problems, `facts` on the rival."""
    arms = []
    for arm in report.arms:
        if arm.name in rows:
            right = set(report.problem_ids[: rows[arm.name]])
            grades = [replace(g, verdict="correct" if g.problem in right else "wrong") for g in arm.grades]
            arms.append(replace(arm, grades=grades, **(facts if arm.name == "vote_16" else {})))
    return replace(report, arms=arms, passk=[], reference=None)


def test_a_matched_rival_is_a_rival_whatever_its_pool_overshoots(report: Report) -> None:
    """A matched pool that draws three times the tokens, for one candidate is as long as that, is still named."""
    completions = [replace(c, decode_tokens=3 * c.decode_tokens) for c in report.arm("power").completions]
    dear = [replace(c, decode_tokens=d.decode_tokens) for c, d in zip(
        report.arm("vote_16").completions, completions, strict=True)]  # fmt: skip
    rows = {"base": 10, "power": 25, "vote_16": 38}
    matched = _won(report, rows, completions=dear, matched_to="power")
    verdict = arms_headline(matched, summarise(matched), []).verdict
    assert verdict == (
        "Clearly below its strongest rival at its decode tokens (vote of 16, T = 1, × 3.00 of them); clearly above "
        "base, T = 1."
    ), "an arm that loses to its matched rival is no winner"
    unmatched = _won(report, rows, completions=dear)
    assert strongest_rival(unmatched, summarise(unmatched)) is None, "it draws more, and was not matched"


def test_a_null_control_a_steered_arm_and_another_model_are_no_rivals_of_a_sampler(report: Report) -> None:
    rows = {"base": 10, "power": 25, "vote_16": 38}
    facts: list[dict[str, Any]] = [{"is_null": True}, {"is_steered": True}, {"role": "thinking"}]
    for fact in facts:
        made = _won(report, rows, **fact)
        assert strongest_rival(made, summarise(made)) is None, fact
    plain = _won(report, rows)
    found = strongest_rival(plain, summarise(plain))
    assert found is not None and found.name == "vote_16"


def test_not_clearly_above_the_rival_is_said_beside_the_base(report: Report) -> None:
    made = _won(report, {"base": 10, "power": 25, "vote_16": 24})
    assert arms_headline(made, summarise(made), []).verdict == (
        "Clearly above base, T = 1; no clear difference from its strongest rival at no more decode tokens (vote of "
        "16, T = 1)."
    )


def test_a_cheaper_better_rival_is_named(report: Report) -> None:
    made = _outcome(report, "vote_16", "power", 25)
    said = " ".join(arms_headline(made, summarise(made), []).sentences)
    assert "Power α = 4 against it: clearly below (−62.5 points" in said


def test_a_rival_that_clearly_wins_is_named_though_another_is_more_accurate(report: Report) -> None:
    """30:19 is no clear loss, 9:0 is: the verdict names the second."""
    made = _won(report, {"base": 0, "power": 20, "vote_16": 29, "best_of_16": 30})
    arms = {arm.name: arm for arm in made.arms}
    luckier = {*made.problem_ids[:5], *made.problem_ids[12 : 12 + 25]}
    grades = [replace(g, verdict="correct" if g.problem in luckier else "wrong") for g in arms["best_of_16"].grades]
    made = replace(made, arms=[replace(a, grades=grades) if a.name == "best_of_16" else a for a in made.arms
                               if a.name in ("base", "power", "vote_16", "best_of_16")])  # fmt: skip
    rows = summarise(made)
    best = max(rows, key=lambda row: row.accuracy.value)
    assert best.name == "best_of_16" and best.lead is not None and not best.lead.is_clear
    assert arms_headline(made, rows, []).verdict.startswith(
        "Clearly below its strongest rival at no more decode tokens (vote"
    )


def test_the_base_studied_by_itself_is_held_against_rival_and_reference(report: Report) -> None:
    made = _won(replace(report, studied="base"), {"base": 5, "vote_16": 30}, matched_to="base")
    verdict = arms_headline(made, summarise(made), []).verdict
    assert verdict == "Base, T = 1: 12.5% correct; clearly below vote of 16, T = 1."


def test_a_base_that_is_the_reference_too_has_no_gap(report: Report) -> None:
    made = replace(report, base="grpo", reference="grpo")
    assert "gap" not in " ".join(arms_headline(made, summarise(made), []).sentences)
