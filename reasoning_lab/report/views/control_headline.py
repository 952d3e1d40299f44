"""What the numbers let one say of a hybrid and its controls: "clearly" as `statistics.Compared` has it."""

import math

from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.views.arms import ArmSummary, loses_to, rivals_of, strongest_rival
from reasoning_lab.report.views.cost_words import cost_sentence
from reasoning_lab.report.words import NOTHING, capital, decimal, percent, points, related_to, tested
from reasoning_lab.statistics import Interval


def controls_headline(given: HybridReport, rows: list[ArmSummary]) -> list[str]:
    """The first sentence holds recovery, nulls and the strongest competitor, whatever the sign."""
    by = {row.name: row for row in rows}
    hybrid, base, thinking = by[given.studied], by[given.base], by[given.reference]
    nulls, rivals = [row for row in rows if row.group == "nulls"], rivals_of(given.report, rows)
    beaten = [row for row in nulls if _is_beaten(row)]
    strongest = strongest_rival(given.report, rows)
    first = [_recovery(hybrid, base, thinking), *_count(nulls, beaten), *_against(strongest)]
    said = [f"{capital('; '.join(first))}."]
    if strongest is not None and (others := [row for row in rivals if row is not strongest]):
        said.append(f"The other competitors: {'; '.join(map(_related, others))}.")
    steered = f"; {percent(hybrid.steered)} % of its tokens are steered" if hybrid.steered else ""
    said.append(
        f"Accuracy on {len(given.report.problem_ids)} problems: {base.label} {percent(base.accuracy)} %, "
        f"{hybrid.label} {percent(hybrid.accuracy)} %, {thinking.label} {percent(thinking.accuracy)} %{steered}."
    )
    if nulls:
        said.append(_nulls(hybrid, beaten, [row for row in nulls if not _is_beaten(row)]))
    if drawn := [row for row in nulls if row.n_draws > 1]:
        said.append(f"Draws of the random controls: {', '.join(f'{row.label} {row.n_draws}' for row in drawn)}.")
    return [*said, capital(cost_sentence(hybrid, base))]


def no_gap(thinking: ArmSummary) -> str:
    """Why there is no gap to recover; empty where there is one."""
    gap = thinking.difference
    if gap is None or gap.is_clearly_above:
        return ""
    return (
        f"no gap recovered is given: the thinking model is not clearly above the base ({tested(gap)}), and a "
        "ratio whose denominator may be zero has no useful interval"
    )


def gap_words(recovered: Interval | None) -> str:
    """'63.4 [51.0, 74.9]' in percent, a dash for the value where a bound is infinite; a dash for None."""
    return NOTHING if recovered is None else "{} [{}, {}]".format(*map(_bounded, recovered))


def _bounded(x: float) -> str:
    if math.isnan(x):
        return NOTHING
    return decimal(100 * x, "{:.1f}") if math.isfinite(x) else "unbounded"


def _recovery(hybrid: ArmSummary, base: ArmSummary, thinking: ArmSummary) -> str:
    recovered, gain = hybrid.recovered, hybrid.difference
    assert gain is not None, "the hybrid is not the base"
    if recovered is None:
        return f"{hybrid.label}: {related_to(gain, base.label)} ({tested(gain)}); {no_gap(thinking)}"
    if not gain.is_clear or not recovered.excludes_zero:
        return f"{hybrid.label} does not clearly recover any of the gap ({gap_words(recovered)} %)"
    if gain.difference.value < 0:
        return f"{hybrid.label} falls clearly below {base.label} ({gap_words(recovered)} % of the gap)"
    return f"{hybrid.label} recovers {gap_words(recovered)} % of the gap"


def _count(nulls: list[ArmSummary], beaten: list[ArmSummary]) -> list[str]:
    if not nulls:
        return []
    whole = len(beaten) == len(nulls)
    if len(nulls) == 1:
        return [f"{'clearly' if whole else 'not clearly'} above the one null control"]
    return [f"clearly above {'all ' if whole else f'{len(beaten)} of '}{len(nulls)} null controls"]


def _against(strongest: ArmSummary | None) -> list[str]:
    if strongest is None:
        return ["no competitor was tried"]
    return [f"{_related(strongest)}, the strongest competitor"]


def _related(rival: ArmSummary) -> str:
    assert rival.lead is not None, "a rival is never the hybrid"
    return f"{related_to(rival.lead, rival.label)} ({tested(rival.lead)})"


def _is_beaten(row: ArmSummary) -> bool:
    return row.lead is not None and row.lead.is_clearly_above


def _nulls(hybrid: ArmSummary, beaten: list[ArmSummary], rest: list[ArmSummary]) -> str:
    if not rest:
        return f"Paired differences to the null controls, points: {_listed(beaten)}."
    above = f"clearly above {_listed(beaten)}" if beaten else "clearly above none of the null controls"
    parts = [above]
    if lost := [row for row in rest if loses_to(row)]:
        parts.append(f"clearly below {_listed(lost)}")
    if level := [row for row in rest if not loses_to(row)]:
        parts.append(f"not clearly different from {_listed(level)}")
    gains = hybrid.difference is not None and hybrid.difference.is_clearly_above
    return f"{capital(hybrid.label)} is {'; '.join(parts)}{': what it gains may be theirs' if gains else ''}."


def _listed(rows: list[ArmSummary]) -> str:
    return ", ".join(f"{row.label} ({points(row.lead.difference) if row.lead else NOTHING})" for row in rows)
