"""The answer in words. Every claim is decided by a paired interval: clear when it excludes zero, else not."""

from typing import NamedTuple

from reasoning_lab import statistics as st
from reasoning_lab.report.inputs import ReportInput
from reasoning_lab.report.summary import ROLLOUTS, ArmSummary, PassSummary, compare, recovered, strongest_rival
from reasoning_lab.report.table import MINUS, tokens


class Headline(NamedTuple):
    """The verdict in a phrase, then the sentences that carry it."""

    verdict: str
    sentences: tuple[str, ...]


def relation(interval: st.Interval) -> str:
    """'clearly above', 'clearly below', or 'no clear difference'."""
    if not interval.excludes_zero:
        return "no clear difference"
    return "clearly above" if interval.low > 0 else "clearly below"


def _signed(x: float) -> str:
    return f"{100 * x:+.1f}".replace("-", MINUS)


def evidence(interval: st.Interval) -> str:
    """'+3.5 points, 95 % interval −1.0 to +8.0'."""
    return f"{_signed(interval.value)} points, 95 % interval {_signed(interval.low)} to {_signed(interval.high)}"


def share(interval: st.Interval) -> str:
    """'76.5 % (70.2 to 81.8)'."""
    value, low, high = (f"{100 * x:.1f}".replace("-", MINUS) for x in interval)
    return f"{value} % ({low} to {high})"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def headline(report: ReportInput, rows: list[ArmSummary], passk: list[PassSummary]) -> Headline:
    """What the data say about the power arm: accuracy, cost, rivals at that cost, variety, calibration."""
    by_name = {row.name: row for row in rows}
    power, base = by_name[report.power], by_name[report.base]
    rl = by_name[report.rl] if report.rl and report.rl != report.power else None
    sentences = [*_accuracy(report, power, base, rl), *_rival(report, rows, power), _cost(power, base)]
    sentences += [*_variety(report, passk), *_sureness(report, passk)]
    return Headline(_verdict(report, power, base, rl), tuple(map(_sentence, sentences)))


def _verdict(report: ReportInput, power: ArmSummary, base: ArmSummary, rl: ArmSummary | None) -> str:
    """The relations to base and to RL, in a phrase."""
    if power.name == base.name:
        return f"{power.label}: {power.accuracy.value:.1%} correct."
    to_base = relation(compare(report, power.name, base.name).difference)
    if rl is None or rl.name == base.name:
        return _sentence(f"{to_base} {_joined(to_base)}{base.label}.")
    to_rl = relation(compare(report, power.name, rl.name).difference)
    if to_rl == to_base:
        return _sentence(f"{to_base} {_joined(to_base)}{base.label} and {_joined(to_base)}{rl.label}.")
    return _sentence(f"{to_base} {_joined(to_base)}{base.label}; {to_rl} {_joined(to_rl)}{rl.label}.")


def _joined(related: str) -> str:
    return "from " if related == "no clear difference" else ""


def _accuracy(report: ReportInput, power: ArmSummary, base: ArmSummary, rl: ArmSummary | None) -> list[str]:
    n = power.n_problems
    said = [f"{power.label} answers {share(power.accuracy)} of {n} problems correctly; {base.label}: "
            f"{share(base.accuracy)}."]  # fmt: skip
    if power.name == base.name:
        return [f"{power.label} answers {share(power.accuracy)} of {n} problems correctly."]
    to_base = compare(report, power.name, base.name).difference
    said[0] += f" Paired by problem: {relation(to_base)} ({evidence(to_base)})."
    if rl is None:
        return said
    to_rl = compare(report, power.name, rl.name).difference
    said.append(f"{rl.label} reaches {share(rl.accuracy)}. Against it: {relation(to_rl)} ({evidence(to_rl)}).")
    if not to_rl.excludes_zero:
        said[-1] += f" That is not proof of equality: {_not_ruled_out(to_rl)}."
    if (gap := recovered(report)) is not None:
        said.append(f"It closes {share(gap)} of the gap between {base.label} and {rl.label}.")
    return said


def _not_ruled_out(interval: st.Interval) -> str:
    low, high = -100 * interval.low, 100 * interval.high
    return f"neither a deficit of {low:.1f} points nor a lead of {high:.1f} is ruled out"


def _cost(power: ArmSummary, base: ArmSummary) -> str:
    factor = power.decode_tokens / base.decode_tokens
    said = f"one answer of {power.label} draws {tokens(power.decode_tokens)} tokens, {factor:.1f} times the "
    said += f"{tokens(base.decode_tokens)} of {base.label}"
    if power.grpo_epochs:
        few, many = power.grpo_epochs
        said += f": as many as {few:.2f} GRPO epochs spend on a problem with {ROLLOUTS[0]} rollouts, or {many:.2f} "
        said += f"with {ROLLOUTS[1]}. Training is paid for once, sampling with every answer"
    return said + "."


def _rival(report: ReportInput, rows: list[ArmSummary], power: ArmSummary) -> list[str]:
    """The strongest baseline that costs no more: without it an accuracy bought with tokens says little."""
    rival = strongest_rival(report, rows)
    if rival is None:
        return []
    difference = compare(report, power.name, rival.name).difference
    return [f"of the other ways to sample the same model that draw no more tokens, {rival.label} does best: "
            f"{share(rival.accuracy)} with {tokens(rival.decode_tokens)} tokens. {_sentence(power.label)} against it: "
            f"{relation(difference)} ({evidence(difference)}; picking the best flatters it)."]  # fmt: skip


def _variety(report: ReportInput, passk: list[PassSummary]) -> list[str]:
    found = {arm.name: arm for arm in passk}
    others = [name for name in (report.base, report.rl) if name is not None and name in found and name != report.power]
    if report.power not in found or not others:
        return []
    results, power = {arm.name: st.outcomes(arm.grades) for arm in report.passk}, found[report.power]
    k, last = power.curve.ks[-1], power.curve.points[-1]
    said = []
    for name in others:
        shared = min(k, found[name].curve.ks[-1])
        gap = st.pass_difference(results[report.power], results[name], [shared], seed=report.seed).points[0]
        said.append(f"{relation(gap)} {_joined(relation(gap))}{found[name].label} ({evidence(gap)})")
    return [f"of {k} answers to each of {power.curve.n_problems} problems at least one is right for {share(last)} of "
            f"them: {'; '.join(said)}."]  # fmt: skip


def _sureness(report: ReportInput, passk: list[PassSummary]) -> list[str]:
    parts = []
    for arm in passk:
        if arm.name in (report.base, report.power, report.rl):
            over = arm.calibration.overconfidence
            word = "no clear bias" if not over.excludes_zero else "overconfident" if over.low > 0 else "underconfident"
            parts.append(f"{arm.label} {word} ({evidence(over)})")
    return [f"mean confidence (leave-one-out vote share) minus accuracy: {'; '.join(parts)}."] if parts else []
