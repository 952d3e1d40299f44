"""The numbers of a hybrid model: gap recovery, controls, and how much is steered.

gap recovered = (arm - base) / (thinking - base), unclipped, numerator and denominator resampled together over problems.
The authors clip negative values to 0 and give no interval.
"""

from dataclasses import dataclass

import numpy as np

from reasoning_lab import statistics as st
from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.views.tables import Group, known, spread

GROUPS = {"models": "Models", "nulls": "Null controls", "rivals": "Competitors", "others": "Other arms"}
"""Group -> its heading in tables and charts."""


@dataclass(frozen=True)
class ControlRow:
    """One arm of the table of controls. Shares are in [0, 1]."""

    name: str
    label: str
    group: str
    """A key of GROUPS; models are base, hybrid and thinking."""
    n_draws: int
    """Answers per problem: the draws of a random control."""
    accuracy: st.Interval
    recovered: st.Interval | None
    """Gap recovered; None for base and thinking, and where the thinking model is not clearly above the base."""
    lead: st.Paired | None
    """Hybrid minus this arm; None for the hybrid."""
    steered: st.Interval | None
    """Mean over problems of the share of tokens at which the gate fired; None for base and thinking, which have no
    gate, and for arms without annotations."""
    length: float
    """Mean generated tokens."""
    checks: float | None
    backtracks: float | None

    @property
    def difference(self) -> st.Interval | None:
        """Hybrid minus this arm in accuracy, paired."""
        return self.lead.difference if self.lead else None


def control_rows(given: HybridReport) -> list[ControlRow]:
    """Models first, then the nulls, the rivals, and whatever else is among the arms."""
    every = (arm.name for arm in given.report.arms)
    order = (given.base, given.studied, given.reference, *given.nulls, *given.rivals, *every)
    return [_row(given, name) for name in dict.fromkeys(order)]


def control_groups(rows: list[ControlRow]) -> list[Group[ControlRow]]:
    """The rows under their headings; groups without rows are left out."""
    groups = [Group(heading, [row for row in rows if row.group == kind], kind) for kind, heading in GROUPS.items()]
    return [group for group in groups if group.rows]


def _group_of(given: HybridReport, name: str) -> str:
    if name in (given.base, given.studied, given.reference):
        return "models"
    return "nulls" if name in given.nulls else "rivals" if name in given.rivals else "others"


def _row(given: HybridReport, name: str) -> ControlRow:
    arm = given.report.arm(name)
    own, hybrid, base, thinking = (
        st.outcomes(given.report.arm(which).grades) for which in (name, given.studied, given.base, given.reference)
    )
    seed, is_end = given.report.seed, name in (given.base, given.reference)
    return ControlRow(
        name=name,
        label=arm.label,
        group=_group_of(given, name),
        n_draws=max(map(len, own.values())),
        accuracy=st.accuracy_interval(own, seed=seed),
        recovered=None if is_end else st.gap_recovered(own, base, thinking, seed=seed),
        lead=None if name == given.studied else st.paired_difference(hybrid, own, seed=seed),
        steered=None if is_end else _steered(given, name),
        length=arm.mean_length,
        checks=arm.checks,
        backtracks=arm.backtracks,
    )


def _steered(given: HybridReport, name: str) -> st.Interval | None:
    """Answers of one problem are averaged first: the problem is the unit of resampling."""
    fractions: dict[str, list[float]] = {}
    for each in given.annotations.get(name, []):
        fractions.setdefault(each.problem, []).append(each.steered_fraction)
    if not fractions:
        return None
    means = np.array([sum(of_problem) / len(of_problem) for of_problem in fractions.values()])
    n, mean = len(means), float(means.mean())
    interval = st.percentile_interval(mean, st.resample_weights(n, seed=given.report.seed) @ means, n)
    return st.Interval(mean, max(0.0, interval.low), min(1.0, interval.high))


def control_metrics(given: HybridReport, rows: list[ControlRow]) -> dict[str, float]:
    """Flat numbers for logs and sweeps: the hybrid's gap and steered fraction, then `<arm>/...` of every arm."""
    hybrid = next(row for row in rows if row.name == given.studied)
    metrics: dict[str, float | None] = {"n_problems": float(len(given.report.problem_ids))}
    metrics |= spread("accuracy", hybrid.accuracy)
    metrics |= spread("gap_recovered", hybrid.recovered) | spread("steered_fraction", hybrid.steered)
    for row in rows:
        metrics |= spread(f"{row.name}/accuracy", row.accuracy) | spread(f"{row.name}/gap_recovered", row.recovered)
        metrics |= spread(f"{row.name}/hybrid_lead", row.difference)
        metrics |= spread(f"{row.name}/steered_fraction", row.steered)
    return known(metrics)
