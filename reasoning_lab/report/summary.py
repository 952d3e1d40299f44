"""The numbers of a report: one summary per arm, the headline metrics, and the headline in words."""

from dataclasses import dataclass

from reasoning_lab import statistics as st
from reasoning_lab.report.inputs import ArmResult, ReportInput

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
    note: str


@dataclass(frozen=True)
class PassSummary:
    """One arm of the repeated-samples experiment."""

    name: str
    label: str
    n_samples: int
    """Fewest samples of a problem."""
    curve: st.PassCurve
    difference: st.PassCurve | None
    """To the first of the base, or the first arm when the base is not among them; None for that arm itself."""
    calibration: st.Calibration


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def grpo_length(report: ReportInput) -> float | None:
    """Mean length of a GRPO completion [tokens]: as given, else the RL arm's mean length, else unknown."""
    if report.grpo_length is not None or report.rl is None:
        return report.grpo_length
    return _mean_length(report.arm(report.rl))


def _mean_length(arm: ArmResult) -> float:
    return sum(len(c.ids) for c in arm.completions) / len(arm.completions)


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
        accuracy=st.accuracy_interval(results, seed=seed),
        difference=None if is_base else st.paired_difference(results, base, seed=seed),
        length=_mean_length(arm),
        checks=arm.checks,
        backtracks=arm.backtracks,
        decode_tokens=decode,
        grpo_epochs=tuple(decode / (n * rollout) for n in ROLLOUTS) if rollout else None,
        acceptance=_ratio(sum(c.n_accepted for c in arm.completions), proposals),
        move_rate=_ratio(sum(c.n_moved for c in arm.completions), proposals),
        n_ungradable=sum(g.verdict == "ungradable" for g in arm.grades),
        n_timeout=sum(g.verdict == "timeout" for g in arm.grades),
        n_capped=sum(c.finish == "cap" for c in arm.completions),
        note=arm.note,
    )


def summarise(report: ReportInput) -> list[ArmSummary]:
    """The table's rows, in the order of the arms."""
    base, rollout = st.outcomes(report.arm(report.base).grades), grpo_length(report)
    return [_summarise(arm, base, arm.name == report.base, rollout, report.seed) for arm in report.arms]


def summarise_passk(report: ReportInput) -> list[PassSummary]:
    """pass@k and calibration of the arms with repeated samples."""
    results = {arm.name: st.outcomes(arm.grades) for arm in report.passk}
    reference = report.base if report.base in results else next(iter(results), None)
    return [
        PassSummary(
            name=arm.name,
            label=arm.label,
            n_samples=min(map(len, results[arm.name].values())),
            curve=st.pass_curve(results[arm.name], seed=report.seed),
            difference=None if arm.name == reference or reference is None
            else st.pass_difference(results[arm.name], results[reference], seed=report.seed),
            calibration=st.calibration(st.answers(arm.grades), seed=report.seed),
        )
        for arm in report.passk
    ]  # fmt: skip


def compare(report: ReportInput, a: str, b: str) -> st.Paired:
    """Accuracy of arm a minus accuracy of arm b, paired."""
    return st.paired_difference(st.outcomes(report.arm(a).grades), st.outcomes(report.arm(b).grades), seed=report.seed)


def strongest_rival(report: ReportInput, rows: list[ArmSummary]) -> ArmSummary | None:
    """The most accurate other arm of the power arm's model that draws no more tokens than it does (5 % slack)."""
    power = next(row for row in rows if row.name == report.power)
    rivals = [row for row in rows if row.name not in (report.power, report.base) and row.role == power.role
              and row.decode_tokens <= 1.05 * power.decode_tokens]  # fmt: skip
    return max(rivals, key=lambda row: row.accuracy.value, default=None)


# --- headline -------------------------------------------------------------------------------------------------


def _put(metrics: dict[str, float], key: str, interval: st.Interval) -> None:
    metrics |= {key: interval.value, f"{key}_low": interval.low, f"{key}_high": interval.high}


def headline_metrics(report: ReportInput, rows: list[ArmSummary], passk: list[PassSummary]) -> dict[str, float]:
    """Flat numbers for logging and sweeps: those of the power arm first, then `<arm>/<metric>` for every arm."""
    power = next(row for row in rows if row.name == report.power)
    metrics: dict[str, float] = {"n_problems": float(power.n_problems)}
    _put(metrics, "accuracy", power.accuracy)
    if report.power != report.base:
        _put(metrics, "difference_to_base", compare(report, report.power, report.base).difference)
    if report.rl is not None and report.rl != report.power:
        _put(metrics, "difference_to_rl", compare(report, report.power, report.rl).difference)
        if gap := recovered(report):
            _put(metrics, "gap_recovered", gap)
    base = next(row for row in rows if row.name == report.base)
    metrics |= {"decode_tokens": power.decode_tokens, "cost_over_base": power.decode_tokens / base.decode_tokens}
    for n, epochs in zip(ROLLOUTS, power.grpo_epochs or (), strict=False):
        metrics[f"grpo_epochs_{n}"] = epochs
    if power.acceptance is not None and power.move_rate is not None:
        metrics |= {"acceptance": power.acceptance, "move_rate": power.move_rate}
    for row in rows:
        _put(metrics, f"{row.name}/accuracy", row.accuracy)
        metrics |= {f"{row.name}/decode_tokens": row.decode_tokens, f"{row.name}/length": row.length}
    for arm in passk:
        _put(metrics, f"{arm.name}/pass_at_{arm.curve.ks[-1]}", arm.curve.points[-1])
        _put(metrics, f"{arm.name}/calibration_error", arm.calibration.error)
        _put(metrics, f"{arm.name}/overconfidence", arm.calibration.overconfidence)
    return metrics


def recovered(report: ReportInput) -> st.Interval | None:
    """Share of the gap from base to RL that the power arm closes; None without RL arm or clear gap."""
    if report.rl is None or report.power in (report.base, report.rl):
        return None
    power, base, rl = (st.outcomes(report.arm(name).grades) for name in (report.power, report.base, report.rl))
    return st.gap_recovered(power, base, rl, seed=report.seed)
