"""The tables of arms, an experiment's and a hybrid's: columns in words, records in numbers, and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab import statistics as st
from reasoning_lab.report.data import HybridReport, Report
from reasoning_lab.report.views import tables
from reasoning_lab.report.views.arms import ROLLOUTS, ArmSummary, grpo_length, interval_of, summarise
from reasoning_lab.report.views.control_headline import controls_headline, gap_words, no_gap
from reasoning_lab.report.views.controls import control_groups, control_rows
from reasoning_lab.report.views.convergence_words import convergence_lines
from reasoning_lab.report.views.cost_words import DECODE_TOKENS, FLOPS, FORWARD_TOKENS, cost_footer
from reasoning_lab.report.views.headline import Headline
from reasoning_lab.report.views.provenance import provenance_facts
from reasoning_lab.report.views.tables import Cell, Column, Group, Words, markdown_text, with_bounds
from reasoning_lab.report.words import NOTHING, capital, decimal, p_values, percent, points

if TYPE_CHECKING:
    from rich.console import Console


def _is_clear(compared: st.Compared | None) -> bool:
    return compared is not None and compared.is_clear


def _name(row: ArmSummary) -> str:
    return row.label + (f" ({row.n_draws} draws)" if row.n_draws > 1 else "")


def _epochs(row: ArmSummary) -> str:
    return NOTHING if row.grpo_epochs is None else " | ".join(map(decimal, row.grpo_epochs))


def _moves(row: ArmSummary) -> str:
    return NOTHING if row.acceptance is None else f"{decimal(row.acceptance)} | {decimal(row.move_rate)}"


TESTS = (
    "p of equal accuracy: McNemar's exact test, sign flips of problems for arms with several answers to a problem, "
    "the larger of those of sign flips and of Student's t over problems and draws for random controls"
)
ACCURACY: Column[ArmSummary] = Column(
    "Accuracy %",
    "Share of correct answers, mean over problems, with its 95 % interval",
    lambda row: percent(row.accuracy),
    wraps=False,
)
BEHAVIOURS: tuple[Column[ArmSummary], ...] = (
    Column("Checks", "Mean number of check sentences per answer", lambda row: decimal(row.checks), from_width=160),
    Column("Backtracks", "Mean number of backtracking sentences per answer", lambda row: decimal(row.backtracks),
           from_width=160),
)  # fmt: skip
ARM_COLUMNS: tuple[Column[ArmSummary], ...] = (
    Column("Arm", "Model and sampler", lambda row: row.label),
    ACCURACY,
    Column("Difference to base", "Accuracy minus the base arm's on the same problems, percentage points, 95 % interval",
           lambda row: points(interval_of(row.difference)), wraps=False, clear=lambda row: _is_clear(row.difference)),
    Column("p | Holm", f"{TESTS}, arm against base | corrected for all comparisons of the report",
           lambda row: p_values(row.difference), from_width=140),
    Column("Length", "Mean generated tokens of the final answer", lambda row: f"{row.length:.0f}", from_width=110),
    *BEHAVIOURS,
    DECODE_TOKENS,
    FORWARD_TOKENS,
    FLOPS,
    Column("GRPO epochs",
           f"Decode tokens over the tokens of one GRPO epoch per problem with {ROLLOUTS[0]} | {ROLLOUTS[1]} rollouts",
           _epochs, from_width=110),
    Column("Accepted | moved", "Share of proposals that were accepted | that were accepted and changed the text",
           _moves, from_width=110),
    Column("Ungradable | timeout | cut off",
           "Answers that could not be graded, ran out of time, or hit the length limit",
           lambda row: f"{row.n_ungradable} | {row.n_timeout} | {row.n_capped}", from_width=160),
    Column("Read by %", "Share of the answers by the grader's rule that found them in the text; none: by no rule",
           lambda row: " | ".join(f"{rule} {100 * share:.0f}" for rule, share in row.rules), from_width=200),
)  # fmt: skip
CONTROL_COLUMNS: tuple[Column[ArmSummary], ...] = (
    Column("Arm", "Law that the answers were drawn from", _name),
    ACCURACY,
    Column("Gap recovered %", "(arm − base) / (thinking − base), unclipped; no value where its interval has no end",
           lambda row: gap_words(row.recovered), wraps=False),
    Column("Hybrid minus arm", "Paired difference in accuracy, percentage points, 95 % interval",
           lambda row: points(interval_of(row.lead)), wraps=False, clear=lambda row: _is_clear(row.lead)),
    Column("p | Holm", f"{TESTS}, hybrid against arm | corrected for all comparisons of the report",
           lambda row: p_values(row.lead), from_width=140),
    Column("Steered %",
           "Share of an answer's tokens at which the gate fired, mean over problems, with its 95 % interval",
           lambda row: percent(row.steered), wraps=False, from_width=114),
    Column("Length", "Mean generated tokens", lambda row: f"{row.length:.0f}", from_width=160),
    *BEHAVIOURS,
    DECODE_TOKENS,
    FORWARD_TOKENS,
    FLOPS,
)  # fmt: skip


# --- beside the papers ----------------------------------------------------------------------------------------


PUBLISHED_ARMS = ("Published", "Number", "Here", "Why they differ")
"""Headings of the comparison with a paper's numbers."""
PUBLISHED_HYBRIDS = ("What", "Base %", "Hybrid %", "Thinking %", "Gap recovered %", "Steered %", "Source")
"""Headings of Tables 2 and 3 of Venhoff et al. 2025 in one."""


def published_arms(report: Report, rows: list[ArmSummary]) -> list[Words]:
    """What, published number, ours, reason."""
    accuracy = {row.name: percent(row.accuracy) for row in rows}
    return [(p.what, p.published, accuracy.get(p.arm or "", NOTHING), p.difference) for p in report.published]


def published_hybrids(given: HybridReport, rows: list[ArmSummary]) -> list[Words]:
    """Ours first (Table 2: accuracies and gap; Table 3: steered fraction), then every null, then the published ones."""
    by = {row.name: row for row in rows}
    base, thinking = (percent(by[name].accuracy) for name in (given.base, given.reference))
    ours = [
        (row.label, base, percent(row.accuracy), thinking, gap_words(row.recovered), percent(row.steered), "here")
        for row in rows
        if row.name == given.studied or row.group == "nulls"
    ]
    return [*ours, *given.published]


# --- how the numbers were made --------------------------------------------------------------------------------


def arm_footer(report: Report, rows: list[ArmSummary]) -> list[str]:
    """Method of the intervals first, then the caller's provenance."""
    length = grpo_length(report)
    lines = [
        f"{rows[0].n_problems} problems. {method_words(report, rows)}",
        "Ungradable answers and timeouts count as wrong.",
    ]
    if length is not None:
        lines.append(
            f"GRPO epochs: decode tokens per answer / (rollouts × {length:.1f} tokens, the mean GRPO completion), for "
            f"{ROLLOUTS[0]} and {ROLLOUTS[1]} rollouts; counts generation only, not the gradient steps."
        )
    return [*lines, *_notes(rows), *cost_footer(report, rows), *report.footer, *provenance_facts(report.provenance)]


def _notes(rows: list[ArmSummary]) -> list[str]:
    """What the arms' notes say, each once."""
    return list(dict.fromkeys(row.note for row in rows if row.note))


def control_footer(given: HybridReport, rows: list[ArmSummary]) -> list[str]:
    """Method of the intervals first, then the taxonomy and the caller's provenance."""
    draws = ", ".join(f"{row.label} {row.n_draws}" for row in rows if row.n_draws > 1)
    lacking = no_gap(next(row for row in rows if row.name == given.reference))
    return [
        "Gap recovered: unclipped; the hull of Fieller's set of the ratio, of what a test accepts that knows the gap "
        "was found clear, and of what a kind of problem that never occurred could change (95 %).",
        *([f"{capital(lacking)}."] if lacking else []),
        method_words(given.report, rows),
        *([f"Draws of random controls: {draws}; of all others 1."] if draws else []),
        f"Taxonomy: {given.taxonomy.method}; judge: {given.taxonomy.judge or 'none'}; {given.taxonomy.n_dead} empty "
        "categories.",
        *given.taxonomy.notes,
        *_notes(rows),
        *cost_footer(given.report, rows),
        *given.report.footer,
        *provenance_facts(given.report.provenance),
    ]


def method_words(report: Report, rows: list[ArmSummary]) -> str:
    """How intervals and tests were made, and what "clearly" means here."""
    n = next((each.n_comparisons for row in rows for each in (row.difference, row.lead) if each), 0)
    has_draws = any(row.n_draws > 1 for row in rows)
    has_samples = any(row.n_answers > row.n_problems for row in rows if row.n_draws == 1)
    said = [
        "95 % intervals over problems",
        "accuracy: mid-P" + (", and its like for shares of several answers" if has_samples else ""),
        f"differences: paired by problem, bootstrap with {st.RESAMPLES} resamples (seed {report.seed})",
        *(["random controls: Student's t, problems and draws both random"] if has_draws else []),
    ]
    test = "McNemar" + ("; sign flips of problems for arms with several answers" if has_samples else "")
    test += "; the larger p of sign flips and Student's t for random controls" if has_draws else ""
    return (
        f"{'; '.join(said)}. No interval here is shorter than what a kind of problem that never occurred could change. "
        f"“Clearly” and bold: the interval excludes zero, and the exact test ({test}) has p ≤ .05 after Holm's "
        f"correction for the report's {n} comparison{'' if n == 1 else 's'} of accuracies; pass@k, confidence and "
        "signs of sharpening are families of their own."
    )


# --- files ----------------------------------------------------------------------------------------------------


COSTS = ("decode_tokens", "forward_tokens", "thinking_tokens", "flops", "flops_over_base")
"""Means per answer; the last over the base arm's."""


def _arm_record(row: ArmSummary) -> dict[str, Cell]:
    """The row as plain numbers, unrounded."""
    epochs = row.grpo_epochs or (None,) * len(ROLLOUTS)
    own = ("name", "label", "role", "sampler", "n_problems", "n_answers")
    rest = ("acceptance", "move_rate", "n_ungradable", "n_timeout", "n_capped", "note")
    return {
        **{key: getattr(row, key) for key in own},
        **with_bounds("accuracy", row.accuracy),
        **with_bounds("difference_to_base", interval_of(row.difference), "difference"),
        **_tested(row.difference),
        **{key: getattr(row, key) for key in ("length", "checks", "backtracks", *COSTS)},
        **{f"grpo_epochs_{n}": e for n, e in zip(ROLLOUTS, epochs, strict=True)},
        **{key: getattr(row, key) for key in rest},
        "read_by": "; ".join(f"{rule}={share:.4f}" for rule, share in row.rules),
    }


def _tested(compared: st.Compared | None) -> dict[str, Cell]:
    test, p, holm_p = (compared.test, compared.p_value, compared.holm_p) if compared else (None, None, None)
    return {"test": test, "p": p, "holm_p": holm_p}


def _control_record(row: ArmSummary) -> dict[str, Cell]:
    return {
        **{key: getattr(row, key) for key in ("name", "label", "group", "n_draws")},
        **with_bounds("accuracy", row.accuracy),
        **with_bounds("gap_recovered", row.recovered),
        **with_bounds("hybrid_lead", interval_of(row.lead)),
        **_tested(row.lead),
        **with_bounds("steered", row.steered),
        **{key: getattr(row, key) for key in ("length", "checks", "backtracks", *COSTS)},
    }


def _markdown(columns: Sequence[Column[ArmSummary]], rows: list[ArmSummary]) -> list[str]:
    return tables.markdown_table(tables.headings(columns), [tables.cells(columns, row) for row in rows])


def write_arm_tables(report: Report, rows: list[ArmSummary], said: Headline, out_dir: Path) -> None:
    """table.csv, and table.md with the headline, the footer and the comparison with published numbers."""
    tables.write_csv([_arm_record(row) for row in rows], out_dir / "table.csv")
    lines = [f"# {markdown_text(report.title)}", "", f"**{markdown_text(said.verdict)}**"]
    lines += [line for sentence in said.sentences for line in ("", markdown_text(sentence))]
    lines += _markdown(ARM_COLUMNS, rows)
    lines += tables.markdown_list([*convergence_lines(report), *arm_footer(report, rows)])
    if report.published:
        lines += tables.markdown_table(PUBLISHED_ARMS, published_arms(report, rows))
    tables.write_text_lines(lines, out_dir / "table.md")


def write_control_tables(given: HybridReport, rows: list[ArmSummary], out_dir: Path) -> None:
    """hybrid.csv, and hybrid.md with the headline, the published rows and the footer."""
    tables.write_csv([_control_record(row) for row in rows], out_dir / "hybrid.csv")
    lines = [f"# {markdown_text(given.report.title)}"]
    lines += [line for said in controls_headline(given, rows) for line in ("", markdown_text(said))]
    for group in control_groups(rows):
        lines += ["", f"## {group.heading}", *_markdown(CONTROL_COLUMNS, group.rows)]
    lines += ["", "## Beside the paper", *tables.markdown_table(PUBLISHED_HYBRIDS, published_hybrids(given, rows))]
    tables.write_text_lines([*lines, *tables.markdown_list(control_footer(given, rows))], out_dir / "hybrid.md")


# --- terminal -------------------------------------------------------------------------------------------------


def print_table(report: Report, console: Console, rows: list[ArmSummary] | None = None) -> None:
    """The table and its footer on a terminal; columns that are empty in every row, or for which a narrow terminal has
    no room, are left out."""
    rows = summarise(report) if rows is None else rows
    styles = {report.base: "dim", report.studied: "bold"}
    tables.print_rows(report.title, ARM_COLUMNS, [Group("", rows)], console, lambda row: styles.get(row.name, ""))
    tables.print_lines(convergence_lines(report), console)
    tables.print_lines(arm_footer(report, rows), console, "dim")


def print_hybrid(given: HybridReport, console: Console, rows: list[ArmSummary] | None = None) -> None:
    """The table of controls on a terminal, with the headline above and the footer below."""
    rows = control_rows(given) if rows is None else rows

    def style(row: ArmSummary) -> str:
        return "bold" if row.name == given.studied else "dim" if row.group == "nulls" else ""

    tables.print_lines(controls_headline(given, rows), console)
    tables.print_rows("The hybrid and its controls", CONTROL_COLUMNS, control_groups(rows), console, style)
    tables.print_lines(control_footer(given, rows), console, "dim")
