"""Costs of arms by hand, and that every multiple names its unit."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.records import Completion, Compute, Grade, ModelSize, Passes, Problem
from reasoning_lab.report import ArmResult, HybridReport, Report, write_hybrid, write_report
from reasoning_lab.report.views.arms import grpo_length, headline_metrics, summarise
from reasoning_lab.report.views.control_headline import controls_headline
from reasoning_lab.report.views.controls import control_metrics, control_rows
from reasoning_lab.report.views.cost_words import cost_footer, cost_sentence, forward_words
from reasoning_lab.report.views.costs import ForwardCost, forward_cost
from reasoning_lab.report.views.headline import arms_headline

SMALL, LARGE = ModelSize(4, 1000, 100), ModelSize(2, 5000, 500)


def arm(name: str, role: str, took: list[Compute | None], size: ModelSize | None, **rest: Any) -> ArmResult:
    completions = [
        Completion(f"p{i}", 0, "x", (1, 2), "stop", -1.0, -1.0, 10, compute=compute) for i, compute in enumerate(took)
    ]
    grades = [Grade(f"p{i}", 0, "correct", "1", "") for i in range(len(took))]
    return ArmResult(name, name, role, "", completions, grades, own_size=size, **rest)


BASE = arm("base", "base", [Compute(Passes(8, 40, 10)), Compute(Passes(16, 80, 20))], SMALL)
HYBRID = arm(
    "hybrid", "base", [Compute(Passes(8, 60, 15), Passes(6, 10, 5)), Compute(Passes(8, 60, 15), Passes(2, 30, 0))],
    SMALL, thinking_size=LARGE,
)  # fmt: skip
THINKING = arm("thinking", "thinking", [Compute(Passes(4, 20, 10))] * 2, LARGE)


def report(*arms: ArmResult, studied: str = "hybrid", reference: str | None = "thinking") -> Report:
    problems = {f"p{i}": Problem(f"p{i}", "q", "1") for i in range(2)}
    return Report("t", list(arms), problems, str, "base", studied, reference)


def test_each_models_passes_are_priced_by_its_own_size() -> None:
    assert forward_cost(BASE) == ForwardCost(18.0, 0.0, 2.0 * (1000 * 18 + 100 * 15))
    own, thinking = 2.0 * (1000 * 17 + 100 * 15), 2.0 * (5000 * 12 + 500 * 2.5)
    assert forward_cost(HYBRID) == ForwardCost(17.0, 12.0, own + thinking)
    assert forward_cost(THINKING) == ForwardCost(12.0, 0.0, 2.0 * (5000 * 12 + 500 * 10))


def test_without_counts_or_sizes_there_is_no_cost() -> None:
    assert forward_cost(replace(BASE, own_size=None)) is None
    assert forward_cost(replace(HYBRID, thinking_size=None)) is None
    assert forward_cost(arm("base", "base", [Compute(), None], SMALL)) is None
    rows = summarise(report(replace(BASE, own_size=None), HYBRID, THINKING))
    assert [row.flops_over_base for row in rows] == [None] * 3
    assert forward_words(rows[0]) == "–"


def test_rows_words_metrics_and_files_agree(tmp_path: Path) -> None:
    given = report(BASE, HYBRID, THINKING)
    base, hybrid, thinking = rows = summarise(given)
    assert (base.flops_over_base, hybrid.flops_over_base) == (1.0, pytest.approx(159_500 / 39_000))
    assert [forward_words(row) for row in rows] == ["18", "17 | 12", "12"]
    metrics = headline_metrics(given, rows, [])
    assert metrics["cost_over_base"] == 1.0 and metrics["flops_over_base"] == hybrid.flops_over_base
    assert metrics["hybrid/thinking_tokens"] == 12 and metrics["thinking/flops"] == thinking.flops
    write_report(given, tmp_path)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| 10 | 17 \\| 12 | 4.09 |" in table
    assert "flops_over_base" in (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()[0]
    [line] = cost_footer(given, rows)
    assert "base 1\N{NARROW NO-BREAK SPACE}000 + 100; thinking 5\N{NARROW NO-BREAK SPACE}000 + 500" in line
    assert (
        cost_footer(
            report(replace(BASE, own_size=None), HYBRID, THINKING),
            summarise(
                report(replace(BASE, own_size=None), replace(HYBRID, own_size=None), replace(THINKING, own_size=None))
            ),
        )
        == []
    )


def test_the_sentence_names_the_unit_of_every_multiple() -> None:
    base, hybrid, _ = summarise(report(BASE, HYBRID, THINKING))
    said = cost_sentence(hybrid, base)
    assert "1.0 times the decode tokens of base (10)" in said
    assert "4.1 times its FLOPs (all models' forward passes, prompts included)" in said
    uncounted = cost_sentence(replace(hybrid, flops_over_base=None), base)
    assert "FLOPs" not in uncounted and "1.0 times the decode tokens" in uncounted


def test_no_headline_has_a_multiple_without_unit() -> None:
    given = report(BASE, HYBRID, THINKING)
    said = " ".join(arms_headline(given, summarise(given), []).sentences)
    multiples = re.findall(r"\d times (\S+ \S+ \S+)", said)
    assert multiples and all("decode tokens" in words or "FLOPs" in words for words in multiples), multiples


def test_the_hybrids_page_and_metrics_state_its_costs(given: HybridReport, tmp_path: Path) -> None:
    arms = [_counted(one) for one in given.report.arms]
    counted = replace(given, report=replace(given.report, arms=arms))
    rows = control_rows(counted)
    assert "times its FLOPs" in controls_headline(counted, rows)[-1]
    metrics = control_metrics(counted, rows)
    assert metrics[f"{given.studied}/flops_over_base"] > 0 and metrics[f"{given.base}/flops_over_base"] == 1.0
    write_hybrid(counted, tmp_path)
    for file in ("hybrid.html", "hybrid.md", "hybrid.csv"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert ("flops_over_base" if file == "hybrid.csv" else "FLOPs ÷ base") in text


def _counted(one: ArmResult) -> ArmResult:
    completions = [replace(c, compute=Compute(Passes(4, 4 * len(c.ids), len(c.ids)))) for c in one.completions]
    return replace(one, completions=completions, own_size=SMALL)


def test_a_thinking_models_length_is_no_grpo_completion() -> None:
    given = report(BASE, HYBRID, THINKING)
    assert grpo_length(given) is None and all(row.grpo_epochs is None for row in summarise(given))
    assert "GRPO" not in cost_sentence(*summarise(given)[1::-1])
    trained = replace(THINKING, name="grpo", role="grpo")
    assert grpo_length(report(BASE, HYBRID, trained, reference="grpo")) == 2.0
