"""The answer in words. Every claim is decided by a paired interval: clear when it excludes zero, else not."""

from typing import NamedTuple

from reasoning_lab import statistics as st
from reasoning_lab.report.data import Report
from reasoning_lab.report.views.arms import ArmSummary, PassSummary, compare, gap_recovered_by, strongest_rival
from reasoning_lab.report.views.cost_words import cost_sentence
from reasoning_lab.report.words import capital, evidence, percent_sentence, relation, thousands


class Headline(NamedTuple):
    """The verdict in a phrase, then the sentences that carry it."""

    verdict: str
    sentences: tuple[str, ...]


def arms_headline(report: Report, rows: list[ArmSummary], passk: list[PassSummary]) -> Headline:
    """What the data say about the studied arm: accuracy, cost, rivals at that cost, variety, calibration."""
    by_name = {row.name: row for row in rows}
    studied, base = by_name[report.studied], by_name[report.base]
    reference = by_name[report.reference] if report.reference and report.reference != report.studied else None
    sentences = [
        *_accuracy(report, studied, base, reference),
        *_rival(report, rows, studied),
        cost_sentence(studied, base),
    ]
    sentences += [*_variety(report, passk), *_sureness(report, passk)]
    return Headline(_verdict(report, studied, base, reference), tuple(map(capital, sentences)))


def _verdict(report: Report, studied: ArmSummary, base: ArmSummary, reference: ArmSummary | None) -> str:
    """The relations to base and reference, in a phrase."""
    if studied.name == base.name:
        return f"{studied.label}: {studied.accuracy.value:.1%} correct."
    to_base = relation(compare(report, studied.name, base.name).difference)
    if reference is None or reference.name == base.name:
        return capital(f"{to_base} {_joined(to_base)}{base.label}.")
    to_reference = relation(compare(report, studied.name, reference.name).difference)
    if to_reference == to_base:
        return capital(f"{to_base} {_joined(to_base)}{base.label} and {_joined(to_base)}{reference.label}.")
    beside = f"{to_reference} {_joined(to_reference)}{reference.label}"
    return capital(f"{to_base} {_joined(to_base)}{base.label}; {beside}.")


def _joined(related: str) -> str:
    return "from " if related == "no clear difference" else ""


def _accuracy(report: Report, studied: ArmSummary, base: ArmSummary, reference: ArmSummary | None) -> list[str]:
    n = studied.n_problems
    said = [f"{studied.label} answers {percent_sentence(studied.accuracy)} of {n} problems correctly; {base.label}: "
            f"{percent_sentence(base.accuracy)}."]  # fmt: skip
    if studied.name == base.name:
        return [f"{studied.label} answers {percent_sentence(studied.accuracy)} of {n} problems correctly."]
    to_base = compare(report, studied.name, base.name).difference
    said[0] += f" Paired by problem: {relation(to_base)} ({evidence(to_base)})."
    if reference is None:
        return said
    to_reference = compare(report, studied.name, reference.name).difference
    said.append(
        f"{reference.label} reaches {percent_sentence(reference.accuracy)}. Against it: {relation(to_reference)} "
        f"({evidence(to_reference)})."
    )
    if not to_reference.excludes_zero:
        said[-1] += f" That is not proof of equality: {_not_ruled_out(to_reference)}."
    if (gap := gap_recovered_by(report, report.studied)) is not None:
        said.append(f"It closes {percent_sentence(gap)} of the gap between {base.label} and {reference.label}.")
    return said


def _not_ruled_out(interval: st.Interval) -> str:
    low, high = -100 * interval.low, 100 * interval.high
    return f"neither a deficit of {low:.1f} points nor a lead of {high:.1f} is ruled out"


def _rival(report: Report, rows: list[ArmSummary], studied: ArmSummary) -> list[str]:
    """The strongest baseline that costs no more: without it an accuracy bought with tokens says little."""
    rival = strongest_rival(report, rows)
    if rival is None:
        return []
    difference = compare(report, studied.name, rival.name).difference
    return [f"of the other ways to sample the same model that draw no more tokens, {rival.label} does best: "
            f"{percent_sentence(rival.accuracy)} with {thousands(rival.decode_tokens)} tokens. "
            f"{capital(studied.label)} against it: {relation(difference)} ({evidence(difference)}; picking the best "
            "flatters it)."]  # fmt: skip


def _variety(report: Report, passk: list[PassSummary]) -> list[str]:
    by_name = {arm.name: arm for arm in passk}
    others = [name for name in report.leading if name in by_name and name != report.studied]
    if report.studied not in by_name or not others:
        return []
    results, studied = {arm.name: st.outcomes(arm.grades) for arm in report.passk}, by_name[report.studied]
    k, last = studied.curve.ks[-1], studied.curve.points[-1]
    said = []
    for name in others:
        shared = min(k, by_name[name].curve.ks[-1])
        gap = st.pass_difference(results[report.studied], results[name], [shared], seed=report.seed).points[0]
        said.append(f"{relation(gap)} {_joined(relation(gap))}{by_name[name].label} ({evidence(gap)})")
    return [f"of {k} answers to each of {studied.curve.n_problems} problems at least one is right for "
            f"{percent_sentence(last)} of them: {'; '.join(said)}."]  # fmt: skip


def _sureness(report: Report, passk: list[PassSummary]) -> list[str]:
    parts = []
    for arm in passk:
        if arm.name in report.leading:
            over = arm.calibration.overconfidence
            word = "no clear bias" if not over.excludes_zero else "overconfident" if over.low > 0 else "underconfident"
            parts.append(f"{arm.label} {word} ({evidence(over)})")
    return [f"mean confidence (leave-one-out vote share) minus accuracy: {'; '.join(parts)}."] if parts else []
