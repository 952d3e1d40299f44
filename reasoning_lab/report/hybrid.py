"""The numbers of a hybrid model: gap recovery, controls, and what they let one say.

gap recovered = (arm - base) / (thinking - base), unclipped, numerator and denominator resampled together over problems.
(The authors clip negative values to 0 and give no interval: hybrid_steering section 4.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasoning_lab import statistics as st
from reasoning_lab.report.headline import relation
from reasoning_lab.report.hybrid_inputs import HybridReport
from reasoning_lab.report.inputs import visible
from reasoning_lab.report.table import MINUS, Cell, markdown_table, markdown_text, percent, points, write_csv

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 10.0
"""A gap recovered beyond +-1000 % says only that the gap may be next to nothing: the bound is printed as such."""


@dataclass(frozen=True)
class HybridRow:
    """One arm of the table of controls. Shares are in [0, 1]."""

    name: str
    label: str
    group: str
    """models (base, hybrid, thinking), nulls, rivals or others."""
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


def hybrid_rows(given: HybridReport) -> list[HybridRow]:
    """Models first, then the nulls, the rivals, and whatever else is among the arms."""
    every = (arm.name for arm in given.report.arms)
    order = (given.base, given.hybrid, given.thinking, *given.nulls, *given.rivals, *every)
    return [_row(given, name) for name in dict.fromkeys(order)]


def group_of(given: HybridReport, name: str) -> str:
    """What the arm is there for."""
    if name in (given.base, given.hybrid, given.thinking):
        return "models"
    return "nulls" if name in given.nulls else "rivals" if name in given.rivals else "others"


def _row(given: HybridReport, name: str) -> HybridRow:
    arm = given.report.arm(name)
    own, hybrid, base, thinking = (
        st.outcomes(given.report.arm(which).grades) for which in (name, given.hybrid, given.base, given.thinking)
    )
    seed, is_end = given.report.seed, name in (given.base, given.thinking)
    return HybridRow(
        name=name,
        label=arm.label,
        group=group_of(given, name),
        n_draws=max(map(len, own.values())),
        accuracy=st.accuracy_interval(own, seed=seed),
        recovered=None if is_end else st.gap_recovered(own, base, thinking, seed=seed),
        lead=None if name == given.hybrid else st.paired_difference(hybrid, own, seed=seed),
        steered=None if is_end else _steered(given, name),
        length=sum(len(c.ids) for c in arm.completions) / len(arm.completions),
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
    means = np.array([sum(found) / len(found) for found in fractions.values()])
    n, mean = len(means), float(means.mean())
    found = st.percentile_interval(mean, st.resample_weights(n, seed=given.report.seed) @ means, n)
    return st.Interval(mean, max(0.0, found.low), min(1.0, found.high))


# --- in words -------------------------------------------------------------------------------------------------


def headline(given: HybridReport, rows: list[HybridRow]) -> list[str]:
    """What the intervals let one say; a claim is made where its 95 % interval excludes zero.

    The first sentence holds recovery, nulls and the paired difference to every rival, whatever its sign.
    """
    by = {row.name: row for row in rows}
    hybrid, base, thinking = by[given.hybrid], by[given.base], by[given.thinking]
    nulls, rivals = ([row for row in rows if row.group == group] for group in ("nulls", "rivals"))
    beaten = [row for row in nulls if _clear(row)]
    first = [_recovery(given, hybrid), *_count(nulls, beaten), *(_against(row) for row in rivals)]
    said = [f"{_capital('; '.join(first))}."]
    steered = f"; {percent(hybrid.steered)} % of its tokens are steered" if hybrid.steered else ""
    said.append(
        f"Accuracy on {len(given.report.problem_ids)} problems: {base.label} {percent(base.accuracy)} %, "
        f"{hybrid.label} {percent(hybrid.accuracy)} %, {thinking.label} {percent(thinking.accuracy)} %{steered}."
    )
    if nulls:
        said.append(_nulls(hybrid, beaten, [row for row in nulls if not _clear(row)]))
    if drawn := [row for row in nulls if row.n_draws > 1]:
        said.append(f"Draws of the random controls: {', '.join(f'{row.label} {row.n_draws}' for row in drawn)}.")
    return said


def no_gap(given: HybridReport) -> str:
    """Why there is no gap to recover; empty where there is one."""
    thinking, base = (st.outcomes(given.report.arm(name).grades) for name in (given.thinking, given.base))
    gap = st.paired_difference(thinking, base, seed=given.report.seed).difference
    if gap.low > 0:
        return ""
    return (
        f"no gap recovered is given: the thinking model is not clearly above the base ({points(gap)} points), and a "
        "ratio whose denominator may be zero has no useful interval"
    )


def _recovery(given: HybridReport, row: HybridRow) -> str:
    if row.recovered is None:
        return no_gap(given)
    if not row.recovered.excludes_zero:
        return f"{row.label} does not clearly recover any of the gap ({gap_words(row.recovered)} %)"
    if row.recovered.high < 0:
        return f"{row.label} falls clearly below the base ({gap_words(row.recovered)} % of the gap)"
    return f"{row.label} recovers {gap_words(row.recovered)} % of the gap"


def _count(nulls: list[HybridRow], beaten: list[HybridRow]) -> list[str]:
    if not nulls:
        return []
    whole = len(beaten) == len(nulls)
    if len(nulls) == 1:
        return [f"{'clearly' if whole else 'not clearly'} above the one null control"]
    return [f"clearly above {'all ' if whole else f'{len(beaten)} of '}{len(nulls)} null controls"]


def _against(rival: HybridRow) -> str:
    assert rival.lead is not None, "a rival is never the hybrid"
    found = rival.lead.difference
    return f"{relation(found).replace('difference', 'paired difference')} {_preposition(found)}{rival.label}: " + (
        f"{points(found)} points"
    )


def _preposition(found: st.Interval) -> str:
    return "" if found.excludes_zero else "to "


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _clear(row: HybridRow) -> bool:
    return row.lead is not None and row.lead.difference.low > 0


def _nulls(hybrid: HybridRow, beaten: list[HybridRow], rest: list[HybridRow]) -> str:
    if not rest:
        return f"Paired differences to the null controls, points: {_listed(beaten)}."
    above = f"clearly above {_listed(beaten)}" if beaten else "clearly above none of the null controls"
    return f"{hybrid.label} is {above}; not clearly above {_listed(rest)}: what it recovers may be theirs."


def _listed(rows: list[HybridRow]) -> str:
    return ", ".join(f"{row.label} ({points(row.lead.difference)})" for row in rows if row.lead)


def gap_words(recovered: st.Interval) -> str:
    """'63.4 [51.0, 74.9]' in percent, with bounds that say no more than 'unbounded' printed so."""
    value, low, high = (
        f"{'>' if x > 0 else '<'} {1000 if x > 0 else f'{MINUS}1000'}" if abs(x) > UNBOUNDED
        else f"{100 * x:.1f}".replace("-", MINUS) for x in recovered
    )  # fmt: skip
    return f"{value} [{low}, {high}]"


COLUMNS = (
    ("Arm", "Law that the answers were drawn from"),
    ("Accuracy %", "Share of correct answers, mean over problems, with its 95 % interval"),
    ("Gap recovered %", "(arm − base) / (thinking − base), unclipped, bootstrap over problems"),
    ("Hybrid minus arm", "Paired difference in accuracy, percentage points, 95 % interval"),
    (
        "McNemar p",
        "Exact p of the hypothesis that hybrid and arm are right equally often; needs one answer per problem",
    ),
    ("Steered %", "Share of an answer's tokens at which the gate fired, mean over problems, with its 95 % interval"),
    ("Length", "Mean generated tokens"),
    ("Checks", "Mean number of check sentences per answer"),
    ("Backtracks", "Mean number of backtracking sentences per answer"),
)
"""(heading, definition)."""
GROUPS = {"models": "Models", "nulls": "Null controls", "rivals": "Competitors", "others": "Other arms"}
"""Group -> its heading in tables and charts."""


def cells(row: HybridRow) -> tuple[str, ...]:
    """The row in words, one cell per column."""
    draws = f" ({row.n_draws} draws)" if row.n_draws > 1 else ""
    p = row.lead.p_value if row.lead else None
    return (
        row.label + draws,
        percent(row.accuracy),
        "–" if row.recovered is None else gap_words(row.recovered),
        "–" if row.lead is None else points(row.lead.difference),
        "–" if p is None else f"{p:.2g}",
        "–" if row.steered is None else percent(row.steered),
        f"{row.length:.0f}",
        *("–" if x is None else f"{x:.2f}" for x in (row.checks, row.backtracks)),
    )


def grouped(rows: list[HybridRow]) -> list[tuple[str, list[HybridRow]]]:
    """(heading, rows) of every group that has rows."""
    found = [(heading, [row for row in rows if row.group == group]) for group, heading in GROUPS.items()]
    return [(heading, members) for heading, members in found if members]


def footer(given: HybridReport, rows: list[HybridRow]) -> list[str]:
    """How the numbers were made."""
    draws = ", ".join(f"{row.label} {row.n_draws}" for row in rows if row.n_draws > 1)
    lacking = no_gap(given)
    return [
        "Gap recovered: unclipped; bootstrap over problems, base, thinking and arm resampled together "
        f"({st.DRAWS} resamples, 95 %). Differences: paired by problem; McNemar p: exact, two-sided, of the problems "
        "that only one of the two got right. Neither is corrected for the number of arms.",
        *([f"{_capital(lacking)}."] if lacking else []),
        "Accuracy: Wilson's interval for arms with one answer per problem, a bootstrap over problems for the others.",
        f"Answers per problem: {f'{draws}; all others 1' if draws else '1'}.",
        f"Taxonomy: {given.taxonomy.method}; judge: {given.taxonomy.judge or 'none'}; {given.taxonomy.n_dead} empty "
        "categories.",
        *given.taxonomy.notes,
        *given.report.footer,
    ]


PUBLISHED = ("What", "Base %", "Hybrid %", "Thinking %", "Gap recovered %", "Steered %", "Source")
"""Headings of the paper's Tables 2 and 3 in one."""


def published_rows(given: HybridReport, rows: list[HybridRow]) -> list[tuple[str, ...]]:
    """Ours first (Table 2: accuracies and gap; Table 3: steered fraction), then every null, then the published ones."""
    by = {row.name: row for row in rows}
    base, thinking = (percent(by[name].accuracy) for name in (given.base, given.thinking))
    ours = [
        (row.label, base, percent(row.accuracy), thinking, "–" if row.recovered is None else gap_words(row.recovered),
         "–" if row.steered is None else percent(row.steered), "here")
        for row in rows if row.name == given.hybrid or row.group == "nulls"
    ]  # fmt: skip
    return [*ours, *given.published]


# --- files ----------------------------------------------------------------------------------------------------


def metrics(given: HybridReport, rows: list[HybridRow]) -> dict[str, float]:
    """Flat numbers for logs and sweeps: the hybrid's gap and steered fraction, then `<arm>/...` of every arm."""
    found: dict[str, float] = {"n_problems": float(len(given.report.problem_ids))}
    hybrid = next(row for row in rows if row.name == given.hybrid)
    _put(found, "accuracy", hybrid.accuracy)
    for key, interval in (("gap_recovered", hybrid.recovered), ("steered_fraction", hybrid.steered)):
        if interval is not None:
            _put(found, key, interval)
    for row in rows:
        _put(found, f"{row.name}/accuracy", row.accuracy)
        if row.recovered is not None:
            _put(found, f"{row.name}/gap_recovered", row.recovered)
        if row.lead is not None:
            _put(found, f"{row.name}/hybrid_lead", row.lead.difference)
        if row.steered is not None:
            _put(found, f"{row.name}/steered_fraction", row.steered)
    return found


def _put(found: dict[str, float], key: str, interval: st.Interval) -> None:
    found |= {key: interval.value, f"{key}_low": interval.low, f"{key}_high": interval.high}


def write_hybrid_tables(given: HybridReport, rows: list[HybridRow], out_dir: Path) -> None:
    """hybrid.csv, hybrid.md and, where there are vectors, vectors.csv."""
    write_csv([_record(row) for row in rows], out_dir / "hybrid.csv")
    losses: list[dict[str, Cell]] = [
        {"category": v.category, "norm": v.norm, "heldout_without": v.loss_before, "heldout_with": v.loss_after,
         "n_train": v.n_examples, "note": v.note} for v in given.vectors
    ]  # fmt: skip
    if losses:
        write_csv(losses, out_dir / "vectors.csv")
    lines = [f"# {markdown_text(given.report.title)}"]
    lines += [line for said in headline(given, rows) for line in ("", markdown_text(said))]
    header = tuple(heading for heading, _ in COLUMNS)
    for heading, members in grouped(rows):
        lines += ["", f"## {heading}", "", *markdown_table(header, [cells(row) for row in members])]
    lines += ["", "## Beside the paper", "", *markdown_table(PUBLISHED, published_rows(given, rows))]
    lines += ["", *(f"- {markdown_text(line)}" for line in footer(given, rows))]
    (out_dir / "hybrid.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _record(row: HybridRow) -> dict[str, Cell]:
    lead = row.lead.difference if row.lead else None
    recovered = row.recovered
    return {
        "name": row.name,
        "label": row.label,
        "group": row.group,
        "n_draws": row.n_draws,
        "accuracy": row.accuracy.value,
        "accuracy_low": row.accuracy.low,
        "accuracy_high": row.accuracy.high,
        "gap_recovered": recovered.value if recovered else None,
        "gap_recovered_low": recovered.low if recovered else None,
        "gap_recovered_high": recovered.high if recovered else None,
        "hybrid_lead": lead.value if lead else None,
        "hybrid_lead_low": lead.low if lead else None,
        "hybrid_lead_high": lead.high if lead else None,
        "mcnemar_p": row.lead.p_value if row.lead else None,
        "steered": row.steered.value if row.steered else None,
        "steered_low": row.steered.low if row.steered else None,
        "steered_high": row.steered.high if row.steered else None,
        "length": row.length,
        "checks": row.checks,
        "backtracks": row.backtracks,
    }


NARROW = {114: (5,), 160: (4, 6, 7, 8)}
"""Terminal width [characters] below which columns (by index) wait for the files and the page."""


def print_hybrid(given: HybridReport, console: Console, rows: list[HybridRow] | None = None) -> None:
    """The table of controls on a terminal, with the headline above and the footer below."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = hybrid_rows(given) if rows is None else rows
    table = Table(title="The hybrid and its controls", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    body = {row.name: cells(row) for row in rows}
    shown = [i for i in range(len(COLUMNS)) if i < 2 or any(line[i] != "–" for line in body.values())]
    hidden = {i for width, columns in NARROW.items() if console.width < width for i in columns}
    shown = [i for i in shown if i not in hidden]
    for i in shown:
        table.add_column(COLUMNS[i][0], justify="left" if i == 0 else "right", no_wrap=i in (1, 2, 3, 5),
                         min_width=24 if i == 0 else None)  # fmt: skip
    for heading, members in grouped(rows):
        table.add_section()
        table.add_row(Text(heading, style="italic"))
        for row in members:
            style = "bold" if row.name == given.hybrid else "dim" if row.group == "nulls" else ""
            table.add_row(*(Text(("  " if i == 0 else "") + visible(body[row.name][i])) for i in shown), style=style)
    for line in headline(given, rows):
        console.print(Text(visible(line)))
    console.print(table)
    for line in footer(given, rows):
        console.print(Text(visible(line), style="dim"))
