"""The answer in words. "Clearly" is said where interval and exact test agree, corrected for all that is compared
(`statistics.Compared`), and never of the base without the strongest rival beside it."""

import math
from typing import NamedTuple

from reasoning_lab import statistics as st
from reasoning_lab.report.data import Report
from reasoning_lab.report.views.arms import (
    ArmSummary,
    PassSummary,
    gap_recovered_by,
    loses_to,
    rivals_of,
    strongest_rival,
)
from reasoning_lab.report.views.cost_words import cost_sentence
from reasoning_lab.report.views.diagnostics import Diagnostics, diagnostics_words
from reasoning_lab.report.words import capital, percent_sentence, points, related_to, relation, tested, thousands


class Headline(NamedTuple):
    """The verdict in a phrase, then the sentences that carry it."""

    verdict: str
    sentences: tuple[str, ...]


def arms_headline(
    report: Report, rows: list[ArmSummary], passk: list[PassSummary], diagnostics: Diagnostics | None = None
) -> Headline:
    """What the data say about the studied arm: accuracy, rivals, cost, variety, calibration, and what to expect."""
    by_name = {row.name: row for row in rows}
    studied, base = by_name[report.studied], by_name[report.base]
    reference = by_name[report.reference] if report.reference and report.reference != report.studied else None
    rival = strongest_rival(report, rows)
    sentences = [*_accuracy(report, rows, studied, base, reference), *_rival(report, rows, studied, rival)]
    sentences += [cost_sentence(studied, base), *_variety(report, passk), *_sureness(report, passk)]
    sentences += diagnostics_words(diagnostics) if diagnostics else []
    return Headline(_verdict(report, studied, base, reference, rival), tuple(map(capital, sentences)))


def _verdict(
    report: Report, studied: ArmSummary, base: ArmSummary, reference: ArmSummary | None, rival: ArmSummary | None
) -> str:
    """The relations to base, strongest rival and reference, in a phrase; a loss to the rival comes first."""
    if base.lead is None:
        against = [(row.lead, row.label) for row in (rival, reference) if row is not None]
        related = [related_to(lead, label) for lead, label in against if lead is not None]
        return capital("; ".join([f"{studied.label}: {studied.accuracy.value:.1%} correct", *related])) + "."
    against = [(base.lead, base.label)]
    if rival is not None and rival.lead is not None:
        place = 0 if loses_to(rival) else 1
        kind = _rival_kind(report, rival)
        against.insert(place, (rival.lead, f"{kind} ({rival.label}{_overshoot(studied, rival)})"))
    if reference is not None and reference.lead is not None and reference not in (base, rival):
        against.append((reference.lead, reference.label))
    labels: dict[str, list[str]] = {}
    for lead, label in against:
        labels.setdefault(relation(lead), []).append(label if lead.is_clear else f"from {label}")
    said = [f"{kind} {' and '.join(each)}" for kind, each in labels.items()]
    alone = "" if rival is not None else "; no rival at its cost was tried"
    return f"{capital('; '.join(said))}{alone}."


def _rival_kind(report: Report, rival: ArmSummary) -> str:
    if report.is_steered:
        return "its strongest competitor"
    is_matched = report.arm(rival.name).matched_to == report.studied
    return f"its strongest rival at {'its' if is_matched else 'no more'} decode tokens"


def _overshoot(studied: ArmSummary, rival: ArmSummary) -> str:
    """How much more a rival draws, where that is more than a rounding."""
    times = rival.decode_tokens / max(studied.decode_tokens, 1e-9)
    return f", × {times:.2f} of them" if times > 1.05 else ""


def _accuracy(
    report: Report, rows: list[ArmSummary], studied: ArmSummary, base: ArmSummary, reference: ArmSummary | None
) -> list[str]:
    n = studied.n_problems
    if base.lead is None:
        said = [f"{studied.label} answers {percent_sentence(studied.accuracy)} of {n} problems correctly."]
    else:
        said = [f"{studied.label} answers {percent_sentence(studied.accuracy)} of {n} problems correctly; "
            f"{base.label}: {percent_sentence(base.accuracy)}. Paired by problem: {relation(base.lead)} "
            f"({tested(base.lead)})."]  # fmt: skip
    if reference is None or reference.lead is None:
        return said
    said.append(
        f"{reference.label} reaches {percent_sentence(reference.accuracy)}. Against it: {relation(reference.lead)} "
        f"({tested(reference.lead)})."
    )
    if not reference.lead.is_clear:
        said[-1] += f" That is not proof of equality: {_not_ruled_out(reference.lead.difference)}."
    if (gap := gap_recovered_by(report, rows, report.studied)) is not None:
        said.append(
            f"It closes {percent_sentence(gap)} of the gap between {base.label} and {reference.label}."
            if math.isfinite(gap.value)
            else f"How much of the gap between {base.label} and {reference.label} it closes the data do not tell: the "
            "interval has no end."
        )
    return said


def _not_ruled_out(interval: st.Interval) -> str:
    low, high = -100 * interval.low, 100 * interval.high
    return f"neither a deficit of {low:.1f} points nor a lead of {high:.1f} is ruled out"


def _rival(report: Report, rows: list[ArmSummary], studied: ArmSummary, rival: ArmSummary | None) -> list[str]:
    """The strongest rival, without which an accuracy bought with tokens says little, and every other that wins."""
    if rival is None or rival.lead is None:
        return []
    among = (
        "of the other arms that are no null control" if report.is_steered
        else "of the other ways to sample the same model that are matched to its tokens or draw no more"
    )  # fmt: skip
    times = rival.decode_tokens / max(studied.decode_tokens, 1e-9)
    does = "is the most accurate that clearly beats it" if loses_to(rival) else "does best"
    said = [f"{among}, {rival.label} {does}: {percent_sentence(rival.accuracy)} with "
            f"{thousands(rival.decode_tokens)} decode tokens an answer, {times:.2f} times its own. "
            f"{capital(studied.label)} against it: {relation(rival.lead)} ({tested(rival.lead)}; picking the best "
            "flatters it)."]  # fmt: skip
    others = [row for row in rivals_of(report, rows) if row is not rival and loses_to(row)]
    lost = [f"{row.label} ({points(row.lead.difference)} points)" for row in others if row.lead]
    return [*said, *([f"{studied.label} is also clearly below {', '.join(lost)}."] if lost else [])]


def _variety(report: Report, passk: list[PassSummary]) -> list[str]:
    by_name = {arm.name: arm for arm in passk}
    others = [name for name in report.leading if name in by_name and name != report.studied]
    if report.studied not in by_name or not others:
        return []
    results, studied = {arm.name: arm.outcomes[0] for arm in report.passk}, by_name[report.studied]
    k, last = studied.curve.ks[-1], studied.curve.points[-1]
    shared = {name: min(k, by_name[name].curve.ks[-1]) for name in others}
    compared = st.compare_all(
        [st.pass_difference(results[report.studied], results[name], shared[name], seed=report.seed) for name in others]
    )
    said = [f"{related_to(each, by_name[name].label)}{f' at k = {shared[name]}' if shared[name] != k else ''} "
            f"({tested(each)})" for name, each in zip(others, compared, strict=True)]  # fmt: skip
    return [f"of {k} answers to each of {studied.curve.n_problems} problems at least one is right for "
            f"{percent_sentence(last)} of them: {'; '.join(said)}."]  # fmt: skip


def _sureness(report: Report, passk: list[PassSummary]) -> list[str]:
    leading = [arm for arm in passk if arm.name in report.leading]
    given = [(arm, arm.calibration) for arm in leading if arm.calibration is not None]
    compared = st.compare_all(
        [st.Paired(c.overconfidence, c.p_overconfidence, c.n_problems, "sign flips") for _, c in given]
    )
    parts = []
    for (arm, _), each in zip(given, compared, strict=True):
        bias = "overconfident" if each.difference.value > 0 else "underconfident"
        parts.append(f"{arm.label} {f'clearly {bias}' if each.is_clear else 'no clear bias'} ({tested(each)})")
    parts += [f"{arm.label} gives no readable answer" for arm in leading if arm.calibration is None]
    return [f"mean confidence (leave-one-out vote share) minus accuracy: {'; '.join(parts)}."] if parts else []
