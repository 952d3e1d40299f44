"""The numbers of a report's arms: by hand, and as flat metrics."""

from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.report import ArmResult, Report
from reasoning_lab.report.views.arms import headline_metrics, summarise, summarise_passk
from reasoning_lab.report.views.headline import arms_headline


def test_rows_by_hand() -> None:
    """Four problems, two arms, every number computed on paper."""

    def arm(name: str, right: str, decode: int, proposals: int) -> ArmResult:
        verdicts = {"c": "correct", "w": "wrong", "u": "ungradable", "t": "timeout"}
        completions = [
            Completion(f"p{i}", 0, "x", (1,) * (10 + i), "cap" if i == 3 else "stop", -1.0, -0.5, decode, proposals,
                       proposals // 2, proposals // 4)
            for i in range(4)
        ]  # fmt: skip
        rules = ("boxed", "last number", "none", "boxed")
        grades = [Grade(f"p{i}", 0, verdicts[v], "1", "", rules[i]) for i, v in enumerate(right)]  # type: ignore[arg-type]
        return ArmResult(name, name, "base", "", completions, grades)

    arms = [arm("base", "cwut", 20, 0), arm("power", "cccw", 800, 40)]
    problems = {f"p{i}": Problem(f"p{i}", "q", "1") for i in range(4)}
    made = Report("t", arms, problems, str, "base", "power", grpo_length=50.0)
    base, power = summarise(made)
    assert (base.accuracy.value, power.accuracy.value) == (0.25, 0.75)
    assert base.difference is None and power.difference is not None
    assert power.difference.difference.value == 0.5 and power.difference.p_value == 0.5
    assert (base.n_ungradable, base.n_timeout, base.n_capped) == (1, 1, 1)
    assert base.rules == (("boxed", 0.5), ("last number", 0.25), ("none", 0.25))
    assert power.grpo_epochs == (2.0, 1.0) and power.length == 11.5
    assert (power.acceptance, power.move_rate, base.acceptance) == (0.5, 0.25, None)
    metrics = headline_metrics(made, [base, power], [])
    assert metrics["accuracy"] == 0.75 and metrics["cost_over_base"] == 40 and metrics["grpo_epochs_16"] == 1
    assert metrics["base/accuracy"] == 0.25 and "difference_to_reference" not in metrics
    said = arms_headline(made, [base, power], [])
    assert said.verdict == "No clear difference from base; no rival at its cost was tried."
    assert "40.0 times" in " ".join(said.sentences)


def test_metrics_are_flat_numbers_and_equal_the_table(report: Report) -> None:
    rows = summarise(report)
    metrics = headline_metrics(report, rows, summarise_passk(report))
    assert all(isinstance(value, float) for value in metrics.values()), metrics
    power = next(row for row in rows if row.name == "power")
    assert metrics["accuracy"] == metrics["power/accuracy"] == power.accuracy.value
    assert power.difference is not None
    assert metrics["difference_to_base"] == power.difference.difference.value
    assert {"grpo/pass_at_6", "grpo/calibration_error", "grpo/overconfidence_high"} <= set(metrics)
