"""What was measured, as tables and as plain data."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from reasoning_lab.bench.measure import Bench, Measured, Round


def speed_table(bench: Bench) -> Table:
    """Published and ours, beside each other and beside the floor."""
    table = Table(title="Seconds per decode token, in turns, with the authors' kernel in both")
    for name in ("", "rows", "ms per decode token", "published ÷ this", "occupancy", "share of decode floor"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("published, plain", "1", _milliseconds(bench, _published), "1", "", "")
    for title, of in (("ours, all rows", _many), ("ours, one chain", _one)):
        middle, least, most = bench.ratios(of)
        table.add_row(
            title, str(of(bench.rounds[0]).rows), _milliseconds(bench, of),
            f"{middle:.1f} ({least:.1f} to {most:.1f})", _occupancy(bench, of), f"{bench.share_of_floor(of):.0%}",
        )  # fmt: skip
    return table


def savings_table(bench: Bench) -> Table:
    """Decode tokens of the exact chain."""
    table = Table(title="The exact chain: decode tokens per answer token, by what it saves")
    for name in ("drawn of a proposal", "early rejection", "ahead", "per answer token", "saved", "steps", "in vain"):
        table.add_column(name, justify="right")
    whole = bench.savings[0].measured
    for saving in bench.savings:
        each = saving.measured
        comparable = each.finished == each.chains and whole.finished == whole.chains
        table.add_row(
            saving.redraw, "yes" if saving.early_rejection else "no", "yes" if saving.draws_ahead else "no",
            f"{each.drawn / each.answer_tokens:.2f}" if each.answer_tokens and comparable else "time over",
            f"{whole.drawn / max(1, each.drawn):.2f} ×" if comparable else "", f"{each.steps:,}", f"{each.ahead:,}",
        )  # fmt: skip
    return table


def bench_metrics(bench: Bench) -> dict[str, float]:
    """The headline numbers."""
    found = {
        "ratio/all_rows": bench.ratios(_many)[0],
        "ratio/one_chain": bench.ratios(_one)[0],
        "floor/all_rows": bench.share_of_floor(_many),
        "floor/one_chain": bench.share_of_floor(_one),
    }
    whole, least = bench.savings[0].measured, bench.savings[-1].measured
    if whole.finished == whole.chains and least.finished == least.chains:
        found["saved"] = whole.drawn / max(1, least.drawn)
    return found


def bench_json(bench: Bench, machine: dict[str, Any]) -> dict[str, Any]:
    """All of it, with what it was measured on."""
    return {"machine": machine} | asdict(bench) | {"metrics": bench_metrics(bench)}


def _published(round: Round) -> Measured:
    return round.published


def _many(round: Round) -> Measured:
    return round.many


def _one(round: Round) -> Measured:
    return round.one


def _milliseconds(bench: Bench, of: Any) -> str:
    each = sorted(1e3 * of(round).per_token for round in bench.rounds)
    return f"{each[len(each) // 2]:.3g} ({each[0]:.3g} to {each[-1]:.3g})"


def _occupancy(bench: Bench, of: Any) -> str:
    each = [of(round).occupancy for round in bench.rounds]
    known = [value for value in each if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else "time over"
