"""What the intervals let one say of a hybrid and its controls: a claim where a 95 % interval excludes zero."""

from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.views.arms import ArmSummary, compare, interval_of
from reasoning_lab.report.views.cost_words import cost_sentence
from reasoning_lab.report.words import MINUS, NOTHING, capital, decimal, percent, points, relation
from reasoning_lab.statistics import Interval

UNBOUNDED = 10.0
"""A gap recovered beyond +-1000 % says only that the gap may be next to nothing: the bound is printed as such."""


def controls_headline(given: HybridReport, rows: list[ArmSummary]) -> list[str]:
    """The first sentence holds recovery, nulls and the paired difference to every rival, whatever its sign."""
    by = {row.name: row for row in rows}
    hybrid, base, thinking = by[given.studied], by[given.base], by[given.reference]
    nulls, rivals = ([row for row in rows if row.group == group] for group in ("nulls", "rivals"))
    beaten = [row for row in nulls if _is_beaten(row)]
    first = [_recovery(given, hybrid), *_count(nulls, beaten), *(_against(row) for row in rivals)]
    said = [f"{capital('; '.join(first))}."]
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


def no_gap(given: HybridReport) -> str:
    """Why there is no gap to recover; empty where there is one."""
    gap = compare(given.report, given.reference, given.base).difference
    if gap.low > 0:
        return ""
    return (
        f"no gap recovered is given: the thinking model is not clearly above the base ({points(gap)} points), and a "
        "ratio whose denominator may be zero has no useful interval"
    )


def gap_words(recovered: Interval | None) -> str:
    """'63.4 [51.0, 74.9]' in percent, with bounds that say no more than 'unbounded' printed so; a dash for None."""
    return NOTHING if recovered is None else "{} [{}, {}]".format(*map(_bounded, recovered))


def _bounded(x: float) -> str:
    if abs(x) <= UNBOUNDED:
        return decimal(100 * x, "{:.1f}")
    return "> 1000" if x > 0 else f"< {MINUS}1000"


def _recovery(given: HybridReport, row: ArmSummary) -> str:
    if row.recovered is None:
        return no_gap(given)
    if not row.recovered.excludes_zero:
        return f"{row.label} does not clearly recover any of the gap ({gap_words(row.recovered)} %)"
    if row.recovered.high < 0:
        return f"{row.label} falls clearly below the base ({gap_words(row.recovered)} % of the gap)"
    return f"{row.label} recovers {gap_words(row.recovered)} % of the gap"


def _count(nulls: list[ArmSummary], beaten: list[ArmSummary]) -> list[str]:
    if not nulls:
        return []
    whole = len(beaten) == len(nulls)
    if len(nulls) == 1:
        return [f"{'clearly' if whole else 'not clearly'} above the one null control"]
    return [f"clearly above {'all ' if whole else f'{len(beaten)} of '}{len(nulls)} null controls"]


def _against(rival: ArmSummary) -> str:
    assert rival.lead is not None, "a rival is never the hybrid"
    lead = rival.lead.difference
    related = relation(lead).replace("difference", "paired difference")
    return f"{related} {'' if lead.excludes_zero else 'to '}{rival.label}: {points(lead)} points"


def _is_beaten(row: ArmSummary) -> bool:
    return row.lead is not None and row.lead.difference.low > 0


def _nulls(hybrid: ArmSummary, beaten: list[ArmSummary], rest: list[ArmSummary]) -> str:
    if not rest:
        return f"Paired differences to the null controls, points: {_listed(beaten)}."
    above = f"clearly above {_listed(beaten)}" if beaten else "clearly above none of the null controls"
    return f"{hybrid.label} is {above}; not clearly above {_listed(rest)}: what it recovers may be theirs."


def _listed(rows: list[ArmSummary]) -> str:
    return ", ".join(f"{row.label} ({points(interval_of(row.lead))})" for row in rows)
