"""The numbers of a hybrid model: gap recovery, controls, and how much is steered.

gap recovered = (arm - base) / (thinking - base), unclipped, with an interval of the ratio (`statistics.gap_recovered`).
The authors clip negative values to 0 and give no interval.
"""

from dataclasses import replace

import numpy as np

from reasoning_lab import statistics as st
from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.views.arms import ArmSummary, cost_metrics, gap_recovered_by, interval_of, summarise
from reasoning_lab.report.views.tables import Group, known, with_bounds

GROUPS = {"models": "Models", "nulls": "Null controls", "rivals": "Competitors"}
"""Group -> its heading in tables and charts."""


def control_rows(given: HybridReport) -> list[ArmSummary]:
    """Models first, then the nulls, then the rivals."""
    rows = {row.name: row for row in summarise(given.report)}
    order = (given.base, given.studied, given.reference, *given.nulls, *given.rivals)
    return [_control_row(given, list(rows.values()), rows[name]) for name in dict.fromkeys(order)]


def control_groups(rows: list[ArmSummary]) -> list[Group[ArmSummary]]:
    """The rows under their headings; groups without rows are left out."""
    groups = [Group(heading, [row for row in rows if row.group == kind], kind) for kind, heading in GROUPS.items()]
    return [group for group in groups if group.rows]


def _group_of(given: HybridReport, name: str) -> str:
    if name in given.report.leading:
        return "models"
    return "nulls" if name in given.nulls else "rivals"


def _control_row(given: HybridReport, rows: list[ArmSummary], row: ArmSummary) -> ArmSummary:
    is_end = row.name in (given.base, given.reference)
    return replace(
        row,
        group=_group_of(given, row.name),
        recovered=gap_recovered_by(given.report, rows, row.name),
        steered=None if is_end else _steered(given, row.name),
    )


def _steered(given: HybridReport, name: str) -> st.Interval | None:
    """Answers of one problem are averaged first: the problem is the unit of resampling."""
    fractions: dict[str, list[float]] = {}
    for each in given.annotations.get(name, []):
        fractions.setdefault(each.problem, []).append(each.steered_fraction)
    if not fractions:
        return None
    means = np.array([sum(of_problem) / len(of_problem) for of_problem in fractions.values()])
    return st.share_interval(means, seed=given.report.seed)


def control_metrics(given: HybridReport, rows: list[ArmSummary]) -> dict[str, float]:
    """Flat numbers for logs and sweeps: the hybrid's gap and steered fraction, then `<arm>/...` of every arm."""
    hybrid = next(row for row in rows if row.name == given.studied)
    metrics: dict[str, float | None] = {"n_problems": float(len(given.report.problem_ids))}
    metrics |= with_bounds("accuracy", hybrid.accuracy)
    metrics |= with_bounds("gap_recovered", hybrid.recovered) | with_bounds("steered_fraction", hybrid.steered)
    for row in rows:
        metrics |= with_bounds(f"{row.name}/accuracy", row.accuracy)
        metrics |= with_bounds(f"{row.name}/gap_recovered", row.recovered)
        metrics |= with_bounds(f"{row.name}/hybrid_lead", interval_of(row.lead))
        metrics |= with_bounds(f"{row.name}/steered_fraction", row.steered)
        metrics |= {f"{row.name}/decode_tokens": row.decode_tokens} | cost_metrics(row)
    return known(metrics)
