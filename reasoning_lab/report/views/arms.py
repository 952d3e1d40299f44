"""The numbers of a report: one summary per arm, one per arm with repeated samples, and the headline metrics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_lab import statistics as st
from reasoning_lab.records import Grade
from reasoning_lab.report.data import ArmResult, Report
from reasoning_lab.report.views.costs import forward_cost
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
    """Of a random control."""
    accuracy: st.Interval
    difference: st.Compared | None
    """To the base arm; None for the base arm itself."""
    lead: st.Compared | None
    """Studied arm minus this arm; None for the studied arm."""
    length: float
    """Mean generated tokens of the final answer."""
    checks: float | None
    backtracks: float | None
    decode_tokens: float
    """Mean tokens drawn per answer, rejected ones and pool candidates included."""
    forward_tokens: float | None
    """Mean tokens passed through the model that writes, prompts included (costs.py); None where nobody counted."""
    thinking_tokens: float | None
    """The same of the thinking model that steers; 0 where none does."""
    flops: float | None
    """Mean floating-point operations per answer, all models."""
    flops_over_base: float | None
    """flops over the base arm's."""
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
    recovered: st.Interval | None = None
    """Gap recovered; None for base and thinking, and where the thinking model is not clearly above the base; its value
    is nan where its interval is unbounded."""
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
    calibration: st.Calibration | None
    """None where no answer could be read."""


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def grpo_length(report: Report) -> float | None:
    """Mean length of a GRPO completion [tokens]: as given, else the reference arm's mean length where that arm is the
    model that GRPO trained, else unknown."""
    if report.grpo_length is not None or report.reference is None:
        return report.grpo_length
    reference = report.arm(report.reference)
    return reference.mean_length if reference.role == "grpo" else None


def rule_shares(grades: Sequence[Grade]) -> tuple[tuple[str, float], ...]:
    """Share of the answers by the rule that found them, the largest first; equal ones by name."""
    counts = Counter(grade.rule for grade in grades)
    return tuple((rule, n / len(grades)) for rule, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def compare(report: Report) -> dict[tuple[str, str], st.Compared]:
    """(a, b) -> accuracy of a minus accuracy of b, for every arm and the base, and the studied arm and every other.

    All that the report compares is one family: the corrected p of each takes the number of all into account.
    """
    others = [arm.name for arm in report.arms]
    pairs = [(name, report.base) for name in others if name != report.base]
    if report.studied != report.base:
        pairs += [(report.studied, name) for name in others if name not in (report.studied, report.base)]
    results = {arm.name: arm.outcomes for arm in report.arms}
    compared = st.compare_all([st.paired_difference(results[a], results[b], seed=report.seed) for a, b in pairs])
    found = dict(zip(pairs, compared, strict=True))
    return found | {(b, a): each.reversed() for (a, b), each in found.items()}


def _summarise(
    report: Report,
    arm: ArmResult,
    compared: dict[tuple[str, str], st.Compared],
    rollout: float | None,
    base_flops: float | None,
) -> ArmSummary:
    proposals = sum(c.n_proposals for c in arm.completions)
    decode = sum(c.decode_tokens for c in arm.completions) / len(arm.completions)
    cost = forward_cost(arm)
    return ArmSummary(
        name=arm.name,
        label=arm.label,
        role=arm.role,
        sampler=arm.sampler,
        n_problems=len(arm.outcomes[0]),
        n_answers=len(arm.grades),
        n_draws=arm.n_draws,
        accuracy=st.accuracy_interval(arm.outcomes, seed=report.seed),
        difference=compared.get((arm.name, report.base)),
        lead=compared.get((report.studied, arm.name)),
        length=arm.mean_length,
        checks=arm.checks,
        backtracks=arm.backtracks,
        decode_tokens=decode,
        forward_tokens=cost and cost.tokens,
        thinking_tokens=cost and cost.thinking,
        flops=cost and cost.flops,
        flops_over_base=cost.flops / base_flops if cost and base_flops else None,
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
    compared, rollout = compare(report), grpo_length(report)
    cost = forward_cost(report.arm(report.base))
    flops = cost and cost.flops
    return [_summarise(report, arm, compared, rollout, flops) for arm in report.arms]


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


def interval_of(compared: st.Compared | None) -> st.Interval | None:
    """The difference's interval, where there is a difference."""
    return compared.difference if compared else None


def gap_recovered_by(report: Report, rows: list[ArmSummary], name: str) -> st.Interval | None:
    """Share of the gap from base to reference that the arm closes; None without reference or clear gap, and for the
    two that span it."""
    if report.reference in (None, report.base) or name in (report.base, report.reference):
        return None
    gap = next(row.difference for row in rows if row.name == report.reference)
    assert gap is not None, "the reference is not the base"
    base, reference = (report.arm(each).outcomes[0] for each in (report.base, report.reference))
    return st.gap_recovered(report.arm(name).outcomes, base, reference, gap)


def rivals_of(report: Report, rows: list[ArmSummary]) -> list[ArmSummary]:
    """The other ways to the studied arm's answers at its cost, the most accurate first.

    A rival is an arm of the same model, and no null control, whose budget was matched to the studied arm's tokens (a
    matched pool may exceed them by a part of its last candidate) or which draws no more. Of a hybrid every arm but
    base, reference and nulls is a rival, of whatever model: what steers it is the question.
    """
    studied = next(row for row in rows if row.name == report.studied)
    found = []
    for row in rows:
        arm = report.arm(row.name)
        if row.name in (report.studied, report.base) or arm.is_null:
            continue
        is_affordable = row.decode_tokens <= studied.decode_tokens and not arm.is_steered
        at_its_cost = row.role == studied.role and (arm.matched_to == report.studied or is_affordable)
        if row.name != report.reference if report.is_steered else at_its_cost:
            found.append(row)
    return sorted(found, key=lambda row: -row.accuracy.value)


def strongest_rival(report: Report, rows: list[ArmSummary]) -> ArmSummary | None:
    """The most accurate of the rivals that the studied arm clearly loses to, else of all; None without rivals."""
    found = rivals_of(report, rows)
    return next((row for row in found if loses_to(row)), next(iter(found), None))


def loses_to(row: ArmSummary) -> bool:
    """Whether the studied arm is clearly below the arm."""
    return row.lead is not None and row.lead.is_clearly_below


# --- metrics --------------------------------------------------------------------------------------------------


def cost_metrics(row: ArmSummary) -> dict[str, float | None]:
    """An arm's forward passes."""
    names = ("forward_tokens", "thinking_tokens", "flops", "flops_over_base")
    return {f"{row.name}/{name}": getattr(row, name) for name in names}


def headline_metrics(report: Report, rows: list[ArmSummary], passk: list[PassSummary]) -> dict[str, float]:
    """Flat numbers for logging and sweeps: those of the studied arm first, then `<arm>/<metric>` for every arm.
    `cost_over_base` is in decode tokens, `flops_over_base` in forward passes of all models by their sizes."""
    by = {row.name: row for row in rows}
    studied, base = by[report.studied], by[report.base]
    metrics: dict[str, float | None] = {"n_problems": float(studied.n_problems)}
    metrics |= with_bounds("accuracy", studied.accuracy) | _differences(report, rows)
    metrics |= {"decode_tokens": studied.decode_tokens, "cost_over_base": studied.decode_tokens / base.decode_tokens}
    metrics |= {"flops_over_base": studied.flops_over_base}
    for n, epochs in zip(ROLLOUTS, studied.grpo_epochs or (), strict=False):
        metrics[f"grpo_epochs_{n}"] = epochs
    metrics |= {"acceptance": studied.acceptance, "move_rate": studied.move_rate}
    for row in rows:
        metrics |= with_bounds(f"{row.name}/accuracy", row.accuracy)
        metrics |= {f"{row.name}/decode_tokens": row.decode_tokens, f"{row.name}/length": row.length}
        metrics |= cost_metrics(row)
    for arm in passk:
        metrics |= with_bounds(f"{arm.name}/pass_at_{arm.curve.ks[-1]}", arm.curve.points[-1])
        told = arm.calibration
        metrics |= with_bounds(f"{arm.name}/calibration_error", told and told.error)
        metrics |= with_bounds(f"{arm.name}/overconfidence", told and told.overconfidence)
    return known(metrics)


def _differences(report: Report, rows: list[ArmSummary]) -> dict[str, float | None]:
    """Of the studied arm to base, reference and strongest rival."""
    metrics: dict[str, float | None] = {}
    by, rival = {row.name: row for row in rows}, strongest_rival(report, rows)
    others = {"base": report.base, "reference": report.reference, "rival": rival.name if rival else None}
    for what, name in others.items():
        compared = by[name].lead if name else None
        metrics |= with_bounds(f"difference_to_{what}", interval_of(compared))
        metrics[f"difference_to_{what}_p"] = compared.holm_p if compared else None
    return metrics | with_bounds("gap_recovered", gap_recovered_by(report, rows, report.studied))
