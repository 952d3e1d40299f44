"""What plain samples of the base say about sharpening: whether p^α can help, and what variety the other arms paid."""

from typing import NamedTuple

from reasoning_lab import statistics as st
from reasoning_lab.report.data import ArmResult, Report
from reasoning_lab.report.views.tables import known, with_bounds
from reasoning_lab.report.words import tested


class Tax(NamedTuple):
    """The sharpening tax of one arm."""

    name: str
    label: str
    k: int
    tax: st.Paired


class Diagnostics(NamedTuple):
    """Estimates from the arms with repeated samples."""

    base: str
    """The base arm's label."""
    slope: st.Paired | None
    """d accuracy / d α at α = 1; None without repeated plain samples of the base."""
    n_problems: int
    n_samples: int
    taxes: tuple[Tax, ...]


def diagnose(report: Report) -> Diagnostics | None:
    """The diagnostics that the repeated samples allow; None without repeated samples of the base."""
    by = {arm.name: arm for arm in report.passk}
    if report.base not in by:
        return None
    base = by[report.base]
    taxes = [_tax(report, base, arm) for arm in report.passk if arm.name != report.base]
    is_told = base.is_plain and len(base.outcomes[0]) > 1
    slope = st.sharpening_slope(_chances(base), seed=report.seed) if is_told else None
    samples = min(map(len, base.outcomes[0].values()))
    return Diagnostics(base.label, slope, len(base.outcomes[0]), samples, tuple(tax for tax in taxes if tax))


def _chances(arm: ArmResult) -> dict[str, list[tuple[bool, float]]]:
    """Problem -> (correct, log p) of each answer."""
    log_p = {(c.problem, c.chain): c.log_p for c in arm.completions}
    given: dict[str, list[tuple[bool, float]]] = {}
    for grade in arm.grades:
        given.setdefault(grade.problem, []).append((grade.correct, log_p[grade.problem, grade.chain]))
    return given


def _tax(report: Report, base: ArmResult, arm: ArmResult) -> Tax | None:
    first, own = base.outcomes[0], arm.outcomes[0]
    k = min(len(samples) for results in (first, own) for samples in results.values())
    tax = st.sharpening_tax(first, own, k, seed=report.seed)
    return Tax(arm.name, arm.label, k, tax) if tax else None


def diagnostics_words(given: Diagnostics) -> list[str]:
    """One sentence each; the diagnostics are one family of claims."""
    asked = [*([given.slope] if given.slope else []), *(tax.tax for tax in given.taxes)]
    compared, said = st.compare_all(asked), []
    if given.slope is not None:
        slope = compared.pop(0)
        meaning = (
            "no sign that sharpening helps or hurts" if not slope.is_clear
            else "likelier answers are righter, so a little sharpening helps" if slope.difference.value > 0
            else "likelier answers are wronger, so sharpening starts downhill"
        )  # fmt: skip
        said.append(
            f"before any chain: over {given.n_samples} plain answers of {given.base} to a problem, the covariance of "
            "correctness with log p, which is the slope of accuracy in α at α = 1: "
            f"{meaning} ({tested(slope)}; points per unit of α)."
        )
    for tax, each in zip(given.taxes, compared, strict=True):
        meaning = (
            "no clear loss or gain of variety" if not each.is_clear
            else "further answers find less of what one misses" if each.difference.value > 0
            else "further answers find more of what one misses"
        )  # fmt: skip
        said.append(
            f"sharpening tax of {tax.label}, the share of one answer's misses that answers up to k = {tax.k} find, "
            f"{given.base}'s minus its own: {meaning} ({tested(each)})."
        )
    return said


def diagnostics_metrics(given: Diagnostics | None) -> dict[str, float]:
    """Flat numbers for logs and sweeps."""
    if given is None:
        return {}
    metrics = with_bounds("sharpening_slope", given.slope.difference if given.slope else None)
    for tax in given.taxes:
        metrics |= with_bounds(f"{tax.name}/sharpening_tax", tax.tax.difference)
    return known(metrics)
