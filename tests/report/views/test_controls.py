"""The numbers of a hybrid and its controls: by hand, and by another bootstrap."""

from dataclasses import replace

import numpy as np
import pytest

from reasoning_lab import statistics as st
from reasoning_lab.report import HybridReport
from reasoning_lab.report.views.control_headline import controls_headline
from reasoning_lab.report.views.controls import control_rows
from tests.report import hybrid_synthetic


def test_rows_by_hand() -> None:
    """20 problems: base right on 4, hybrid on 12 (among them base's), thinking on 16, a null with two draws on 4.5."""
    made = hybrid_synthetic.small(
        base=["c"] * 4 + ["w"] * 16, hybrid=["c"] * 12 + ["w"] * 8, thinking=["c"] * 16 + ["w"] * 4,
        null_a=["cc"] * 4 + ["cw"] + ["ww"] * 15, rival=["w"] * 4 + ["c"] * 12 + ["w"] * 4,
    )  # fmt: skip
    rows = {row.name: row for row in control_rows(made)}
    assert list(rows) == ["base", "hybrid", "thinking", "null_a", "rival"]
    assert [row.group for row in rows.values()] == ["models", "models", "models", "nulls", "rivals"]
    assert [row.accuracy.value for row in rows.values()] == [0.2, 0.6, 0.8, 0.225, 0.6]
    recovered = {name: row.recovered.value for name, row in rows.items() if row.recovered}
    assert recovered == pytest.approx({"hybrid": 8 / 12, "null_a": 0.5 / 12, "rival": 8 / 12}, nan_ok=True)
    assert rows["null_a"].n_draws == 2 and rows["hybrid"].accuracy == st.binomial_interval(12, 20)
    lead = rows["rival"].lead
    assert lead is not None and lead.difference.value == 0
    assert lead.p_value == 1.0, "four problems each way"
    base = rows["base"].lead
    assert base is not None and base.p_value == pytest.approx(2 * 0.5**8), "McNemar: 8 against 0"
    assert rows["null_a"].lead is not None and rows["null_a"].lead.test == "t and sign flips", "its draws are random"
    assert rows["hybrid"].steered is not None and rows["hybrid"].steered.value == 0.5 and rows["base"].steered is None
    assert rows["hybrid"].length == 2 and rows["hybrid"].checks == 0.5 and rows["hybrid"].backtracks is None


def test_gap_interval_equals_an_independent_paired_bootstrap(given: HybridReport) -> None:
    """Problems drawn with replacement in a plain loop, all three arms together."""
    means = {}
    for name in ("base", "hybrid", "thinking"):
        found: dict[str, list[bool]] = {}
        for grade in given.report.arm(name).grades:
            found.setdefault(grade.problem, []).append(grade.correct)
        means[name] = np.array([np.mean(found[i]) for i in given.report.problem_ids])
    rng, ratios = np.random.default_rng(5), []
    for _ in range(4000):
        chosen = rng.integers(40, size=40)
        base, arm, top = (means[name][chosen].mean() for name in ("base", "hybrid", "thinking"))
        ratios.append((arm - base) / (top - base))
    row = next(row for row in control_rows(given) if row.name == "hybrid")
    assert row.recovered is not None
    assert row.recovered.low == pytest.approx(np.quantile(ratios, 0.021), abs=0.06)
    assert row.recovered.high == pytest.approx(np.quantile(ratios, 0.979), abs=0.06)


def test_gap_recovered_is_not_clipped() -> None:
    half = ["c", "w"] * 20
    made = hybrid_synthetic.small(base=half, hybrid=["w"] * 30 + ["c"] * 10, thinking=["c"] * 40)
    row = control_rows(made)[1]
    assert row.recovered is not None and row.recovered.value == -0.5 and row.recovered.high < 0
    assert controls_headline(made, control_rows(made))[0].startswith("Hybrid falls clearly below base (−50.0 [")
    above = hybrid_synthetic.small(base=["w"] * 40, hybrid=["c"] * 40, thinking=half)
    row = control_rows(above)[1]
    assert row.recovered is not None and row.recovered.value == 2.0


def test_steered_fraction_averages_over_problems_first() -> None:
    made = hybrid_synthetic.small(base=["w"] * 3, hybrid=["cc", "c", "c"], thinking=["c"] * 3)
    steered = [(True, True)] * 2 + [(False, False)] * 2
    notes = [replace(n, steered=s) for n, s in zip(made.annotations["hybrid"], steered, strict=True)]
    row = control_rows(replace(made, annotations={"hybrid": notes}))[1]
    assert row.steered is not None and row.steered.value == pytest.approx(1 / 3), "not 1/2, the share of answers"
