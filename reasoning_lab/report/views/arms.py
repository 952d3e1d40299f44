"""The numbers of a report: one summary per arm, one per arm with repeated samples, and the headline metrics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_lab import statistics as st
from reasoning_lab.records import Grade
from reasoning_lab.report.data import ArmResult, Report
from reasoning_lab.report.views.tables import known, with_bounds

ROLLOUTS = (8, 16)
"""Rollouts per problem of one GRPO epoch: the paper's comparison (section 5.3), and what is usual."""


@dataclass(frozen=True)
class ArmSummary:
    """One row of the table. Shares are in [0, 1]; lengths and costs in tokens."""

    name: str
    label: str
    role: str
    sampler: str
    n_problems: int
    n_answers: int
    n_draws: int
    """Most answers to a problem: the draws of a random control."""
    accuracy: st.Interval
    difference: st.Paired | None
    """To the base arm; None for the base arm itself."""
    length: float
    """Mean generated tokens of the final answer."""
    checks: float | None
    backtracks: float | None
    decode_tokens: float
    """Mean tokens drawn per answer, rejected ones and pool candidates included."""
    grpo_epochs: tuple[float, ...] | None
    """decode_tokens / (rollouts x mean GRPO completion length), for each of ROLLOUTS."""
    acceptance: float | None
    """Accepted proposals / proposals; None without proposals."""
    move_rate: float | None
    """Accepted proposals that changed the text / proposals."""
    n_ungradable: int
    n_timeout: int
    n_capped: int
    """Answers cut off at the length limit."""
    rules: tuple[tuple[str, float], ...]
    """Share of the answers by the rule of the grader that found them in the text, the largest first."""
    note: str
    # What follows is filled in for the report of a hybrid (controls.py).
    group: str = ""
    """A key of GROUPS."""
    lead: st.Paired | None = None
    """Hybrid minus this arm; None for the hybrid."""
    recovered: st.Interval | None = None
    """Gap recovered; None for base and thinking, and where the thinking model is not clearly above the base."""
    steered: st.Interval | None = None
    """Mean over problems of the share of tokens at which the gate fired; None for base and thinking, which have no
    gate, and for arms without annotations."""


@dataclass(frozen=True)
class PassSummary:
    """One arm of the repeated-samples experiment."""

    name: str
    label: str
    n_samples: int
    """Fewest samples of a problem."""
    curve: st.PassCurve
    calibration: st.Calibration


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def grpo_length(report: Report) -> float | None:
    """Mean length of a GRPO completion [tokens]: as given, else the reference arm's mean length, else unknown."""
    if report.grpo_length is not None or report.reference is None:
        return report.grpo_length
    return report.arm(report.reference).mean_length


def rule_shares(grades: Sequence[Grade]) -> tuple[tuple[str, float], ...]:
    """Share of the answers by the rule that found them, the largest first; equal ones by name."""
    counts = Counter(grade.rule for grade in grades)
    return tuple((rule, n / len(grades)) for rule, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _summarise(arm: ArmResult, base: st.Outcomes, is_base: bool, rollout: float | None, seed: int) -> ArmSummary:
    results = st.outcomes(arm.grades)
    proposals = sum(c.n_proposals for c in arm.completions)
    decode = sum(c.decode_tokens for c in arm.completions) / len(arm.completions)
    return ArmSummary(
        name=arm.name,
        label=arm.label,
        role=arm.role,
        sampler=arm.sampler,
        n_problems=len(results),
        n_answers=len(arm.grades),
        n_draws=max(map(len, results.values())),
        accuracy=st.accuracy_interval(results, seed=seed),
        difference=None if is_base else st.paired_difference(results, base, seed=seed),
        length=arm.mean_length,
        checks=arm.checks,
        backtracks=arm.backtracks,
        decode_tokens=decode,
        grpo_epochs=tuple(decode / (n * rollout) for n in ROLLOUTS) if rollout else None,
        acceptance=_ratio(sum(c.n_accepted for c in arm.completions), proposals),
        move_rate=_ratio(sum(c.n_moved for c in arm.completions), proposals),
        n_ungradable=sum(g.verdict == "ungradable" for g in arm.grades),
        n_timeout=sum(g.verdict == "timeout" for g in arm.grades),
        n_capped=sum(c.finish == "cap" for c in arm.completions),
        rules=rule_shares(arm.grades),
        note=arm.note,
    )


def summarise(report: Report) -> list[ArmSummary]:
    """The table's rows, in the order of the arms."""
    base, rollout = st.outcomes(report.arm(report.base).grades), grpo_length(report)
    return [_summarise(arm, base, arm.name == report.base, rollout, report.seed) for arm in report.arms]


def _pass_summary(arm: ArmResult, seed: int) -> PassSummary:
    results = st.outcomes(arm.grades)
    return PassSummary(
        name=arm.name,
        label=arm.label,
        n_samples=min(map(len, results.values())),
        curve=st.pass_curve(results, seed=seed),
        calibration=st.calibration(st.answers(arm.grades), seed=seed),
    )


def summarise_passk(report: Report) -> list[PassSummary]:
    """pass@k and calibration of the arms with repeated samples."""
    return [_pass_summary(arm, report.seed) for arm in report.passk]


def interval_of(paired: st.Paired | None) -> st.Interval | None:
    """The difference's interval, where there is a difference."""
    return paired.difference if paired else None


def compare(report: Report, a: str, b: str) -> st.Paired:
    """Accuracy of arm a minus accuracy of arm b, paired."""
    return st.paired_difference(st.outcomes(report.arm(a).grades), st.outcomes(report.arm(b).grades), seed=report.seed)


def gap_recovered_by(report: Report, name: str) -> st.Interval | None:
    """Share of the gap from base to reference that the arm closes; None without reference or clear gap, and for the
    two that span it."""
    if report.reference is None or name in (report.base, report.reference):
        return None
    own, base, reference = (st.outcomes(report.arm(each).grades) for each in (name, report.base, report.reference))
    return st.gap_recovered(own, base, reference, seed=report.seed)


def strongest_rival(report: Report, rows: list[ArmSummary]) -> ArmSummary | None:
    """The most accurate other arm of the studied arm's model that draws no more tokens than it does (5 % slack)."""
    studied = next(row for row in rows if row.name == report.studied)
    rivals = [row for row in rows if row.name not in (report.studied, report.base) and row.role == studied.role
              and row.decode_tokens <= 1.05 * studied.decode_tokens]  # fmt: skip
    return max(rivals, key=lambda row: row.accuracy.value, default=None)


# --- metrics --------------------------------------------------------------------------------------------------


def headline_metrics(report: Report, rows: list[ArmSummary], passk: list[PassSummary]) -> dict[str, float]:
    """Flat numbers for logging and sweeps: those of the studied arm first, then `<arm>/<metric>` for every arm."""
    by = {row.name: row for row in rows}
    studied, base = by[report.studied], by[report.base]
    metrics: dict[str, float | None] = {"n_problems": float(studied.n_problems)}
    metrics |= with_bounds("accuracy", studied.accuracy) | _differences(report)
    metrics |= {"decode_tokens": studied.decode_tokens, "cost_over_base": studied.decode_tokens / base.decode_tokens}
    for n, epochs in zip(ROLLOUTS, studied.grpo_epochs or (), strict=False):
        metrics[f"grpo_epochs_{n}"] = epochs
    metrics |= {"acceptance": studied.acceptance, "move_rate": studied.move_rate}
    for row in rows:
        metrics |= with_bounds(f"{row.name}/accuracy", row.accuracy)
        metrics |= {f"{row.name}/decode_tokens": row.decode_tokens, f"{row.name}/length": row.length}
    for arm in passk:
        metrics |= with_bounds(f"{arm.name}/pass_at_{arm.curve.ks[-1]}", arm.curve.points[-1])
        metrics |= with_bounds(f"{arm.name}/calibration_error", arm.calibration.error)
        metrics |= with_bounds(f"{arm.name}/overconfidence", arm.calibration.overconfidence)
    return known(metrics)


def _differences(report: Report) -> dict[str, float | None]:
    """Of the studied arm to base and reference. `difference_to_rl` keeps its name: sweeps and logs hold it."""
    metrics: dict[str, float | None] = {}
    if report.studied != report.base:
        metrics |= with_bounds("difference_to_base", compare(report, report.studied, report.base).difference)
    if report.reference is not None and report.reference != report.studied:
        metrics |= with_bounds("difference_to_rl", compare(report, report.studied, report.reference).difference)
        metrics |= with_bounds("gap_recovered", gap_recovered_by(report, report.studied))
    return metrics
