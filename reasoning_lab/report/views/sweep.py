"""Many runs in one table: what was set, and what came out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from reasoning_lab.report.data import UNKNOWN, Provenance
from reasoning_lab.report.views.provenance import provenance_facts
from reasoning_lab.report.views.tables import (
    Words,
    markdown_list,
    markdown_table,
    markdown_text,
    write_csv,
    write_text_lines,
)
from reasoning_lab.report.words import NOTHING, counted, natural_key, percent, points, thousands
from reasoning_lab.statistics import LEVEL, Interval, Outcomes, accuracy_interval, paired_difference

Overrides = Mapping[str, Any]
Metrics = Mapping[str, float]
SEED = "seed"
"""The key whose values are runs of one point."""
ACCURACY, DIFFERENCE, GAP = "accuracy", "difference_to_base", "gap_recovered"
RIVALS = {DIFFERENCE: "Difference to base", "difference_to_rival": "Difference to strongest rival"}
"""Metric -> heading."""


@dataclass(frozen=True)
class SweepCell:
    """A finished cell."""

    overrides: Overrides
    """What was set."""
    metrics: Metrics
    """What the cell's stage returned."""
    correct: Mapping[str, Outcomes] = field(default_factory=dict)
    """By arm, who answered what rightly, where the cell left its answers."""
    base: str = ""
    """Name of the base arm; empty: not known."""

    @cached_property
    def studied(self) -> str:
        """Name of the arm whose numbers stand without a name; empty where there is none."""
        names = (ACCURACY, f"{ACCURACY}_low", f"{ACCURACY}_high", "decode_tokens")
        ours = [self.metrics.get(name) for name in names]
        return next((arm for arm in self.arms if [self.metrics.get(f"{arm}/{name}") for name in names[::3]]
                     == ours[::3]), "")  # fmt: skip

    @cached_property
    def arms(self) -> list[str]:
        """All arms with an accuracy, in the order of the row."""
        return [name.removesuffix(f"/{ACCURACY}") for name in self.metrics if name.endswith(f"/{ACCURACY}")]


@dataclass(frozen=True)
class CellState:
    """Where a cell stands."""

    number: str
    name: str
    """What was set, in words."""
    words: str
    """'completed', 'queued', 'running 45 %', 'failed: the error'."""
    is_open: bool
    """Whether it may still finish by itself."""
    page: str = ""
    """Address of its page, relative to the sweep's; empty: it has none."""


@dataclass(frozen=True)
class SweepInfo:
    """What a sweep is, and where its cells stand."""

    title: str = "Sweep"
    command: str = ""
    commit: str = ""
    states: tuple[CellState, ...] = ()
    """Of all cells, in the order of their numbers; empty where only the finished ones are known."""

    @property
    def is_live(self) -> bool:
        """Whether some cell may still finish."""
        return any(state.is_open for state in self.states)

    @property
    def standing(self) -> str:
        """'7 of 12 cells completed, 1 failed, 2 running, 2 queued.'; empty where nothing is known."""
        if not self.states:
            return ""
        kinds = [state.words.replace(":", " ").split()[0] for state in self.states]
        others = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds) if kind != "completed")
        done = f"{kinds.count('completed')} of {counted(len(kinds), 'cell')} completed"
        return f"{done}{', ' if others else ''}{others}."


@dataclass(frozen=True)
class SweepTable:
    """The cells in their order, in words, and how to read them."""

    info: SweepInfo
    keys: list[str]
    cells: list[SweepCell]
    header: Words
    body: list[Words]
    note: str
    arms_header: Words = ()
    arms_body: tuple[Words, ...] = ()
    """Every arm's accuracy beside the studied one's, point by point."""
    provenance: Provenance = UNKNOWN


ACCURACY_NOTE = (
    "Accuracy with its 95 % interval [low, high]; differences are paired by problem, in percentage points. 'Clearly' "
    "is the word of the cell's own report: the interval excludes zero, and so does the exact test, corrected for that "
    "report's comparisons, not for the cells. The best of many cells is flattered by the choice: confirm it on other "
    "problems."
)
SEEDS_NOTE = (
    "Cells that differ in their seed alone are one point: the mean over seeds. Its interval takes problems and seeds "
    "as random: SE² = V(problems' means) / n + V(seeds' means) / S − what both count twice, with Student's t of "
    "Satterthwaite's degrees of freedom, or S − 1 where S is 3 or fewer. Where the answers are not at hand or the "
    "problems differ, its bounds are the means of the seeds' bounds: as wide as one run's. Decode tokens are means; "
    "each seed has a strongest rival of its own."
)


def swept_keys(cells: list[SweepCell]) -> list[str]:
    """Keys that take more than one value, most values first (ties in the order given)."""
    keys = list(dict.fromkeys(key for cell in cells for key in cell.overrides))
    values = {key: {str(cell.overrides.get(key)) for cell in cells} for key in keys}
    return sorted((key for key in keys if len(values[key]) > 1), key=lambda key: -len(values[key]))


def in_order(cells: list[SweepCell], keys: list[str]) -> list[SweepCell]:
    """Sorted by the keys, numbers as numbers."""
    return sorted(cells, key=lambda cell: [natural_key(str(cell.overrides.get(key))) for key in keys])


def metric_interval(metrics: Metrics, key: str) -> Interval | None:
    """The metric with its bounds; None where the cell has none, or lacks a bound: no number stands without both."""
    given = [metrics.get(name) for name in (key, f"{key}_low", f"{key}_high")]
    return None if None in given else Interval(*(float(each) for each in given if each is not None))


def set_words(overrides: Overrides, keys: list[str]) -> Words:
    """What was set, in words."""
    return tuple(str(overrides.get(key, NOTHING)) for key in keys)


def points_of(cells: list[SweepCell]) -> list[list[SweepCell]]:
    """The cells that differ in their seed alone, together; in the order of the first of each."""
    found: dict[tuple[str, ...], list[SweepCell]] = {}
    keys = [key for key in dict.fromkeys(key for cell in cells for key in cell.overrides) if key != SEED]
    for cell in cells:
        found.setdefault(tuple(str(cell.overrides.get(key)) for key in keys), []).append(cell)
    return list(found.values())


def accuracy_over(cells: list[SweepCell], arm: str = "") -> Interval | None:
    """An arm's accuracy at a point, that of the studied arm without a name; None where a seed has none.

    With the answers of S > 1 seeds to the same problems the interval of `accuracy_interval`, every seed a draw. Without
    them the means of values and bounds: as wide as if all seeds erred together.
    """
    given = [metric_interval(cell.metrics, f"{arm}/{ACCURACY}" if arm else ACCURACY) for cell in cells]
    if len(given) == 1 or None in given:
        return given[0] if len(given) == 1 else None
    drawn = _drawn(cells, [arm or cell.studied for cell in cells])
    return accuracy_interval(drawn) if drawn else _mean_interval([each for each in given if each is not None])


def difference_over(cells: list[SweepCell], key: str) -> Interval | None:
    """As `accuracy_over`, of a difference or a gap: over seeds paired by problem where it is that to the base."""
    given = [metric_interval(cell.metrics, key) for cell in cells]
    if len(given) == 1 or None in given:
        return given[0] if len(given) == 1 else None
    studied, base = _drawn(cells, [cell.studied for cell in cells]), _drawn(cells, [cell.base for cell in cells])
    if key == DIFFERENCE and studied and base and studied[0].keys() == base[0].keys():
        return paired_difference(studied, base).difference
    return _mean_interval([each for each in given if each is not None])


def _drawn(cells: list[SweepCell], names: list[str]) -> tuple[Outcomes, ...]:
    """One mapping per cell, where every cell has the arm's answers and all to the same problems; else nothing."""
    drawn = tuple(cell.correct.get(name, {}) for cell, name in zip(cells, names, strict=True))
    is_same = bool(drawn[0]) and all(each.keys() == drawn[0].keys() for each in drawn)
    return drawn if is_same else ()


def _mean_interval(given: list[Interval]) -> Interval:
    value, low, high = (sum(each) / len(given) for each in zip(*given, strict=True))
    return Interval(value, low, high)


def accuracy_sweep(cells: list[SweepCell], info: SweepInfo) -> SweepTable:
    """The table of a sweep over samplers, models or benchmarks."""
    keys = swept_keys(cells) or sorted(cells[0].overrides)
    cells = in_order(cells, keys)
    at, shown = points_of(cells), [key for key in keys if key != SEED]
    n_seeds = max(map(len, at))
    rivals = {key: heading for key, heading in RIVALS.items() if any(key in cell.metrics for cell in cells)}
    gap = ["Gap recovered %"] if any(GAP in cell.metrics for cell in cells) else []
    header = (*shown, *(["Seeds"] if n_seeds > 1 else []), "Accuracy %", *rivals.values(), *gap, "Decode tokens")
    body = [
        (
            *set_words(each[0].overrides, shown),
            *([str(len(each))] if n_seeds > 1 else []),
            percent(accuracy_over(each)),
            *(_difference_words(each, key) for key in rivals),
            *(percent(difference_over(each, GAP)) for _ in gap),
            _tokens_words(each),
        )
        for each in at
    ]
    arms = list(dict.fromkeys(arm for cell in cells for arm in cell.arms))
    return SweepTable(
        info, keys, cells, header, body, f"{ACCURACY_NOTE} {SEEDS_NOTE}" if n_seeds > 1 else ACCURACY_NOTE,
        arms_header=(*shown, *(_arm_words(arm, cells[0]) for arm in arms)) if len(arms) > 1 else (),
        arms_body=tuple(
            (*set_words(each[0].overrides, shown), *(percent(accuracy_over(each, arm)) for arm in arms)) for each in at
        ) if len(arms) > 1 else (),
    )  # fmt: skip


def _arm_words(arm: str, cell: SweepCell) -> str:
    """An arm's heading."""
    marks = [word for word, name in (("studied", cell.studied), ("base", cell.base)) if name == arm]
    return f"{arm} ({', '.join(marks)})" if marks else arm


def _difference_words(cells: list[SweepCell], key: str) -> str:
    """'+23.0 [+16.5, +29.5]', of one cell with 'clearly above' or 'clearly below' where its row says so."""
    given = difference_over(cells, key)
    p = cells[0].metrics.get(f"{key}_p")
    if given is None or len(cells) > 1 or p is None or not (given.excludes_zero and p <= 1 - LEVEL):
        return points(given)
    return f"{points(given)} clearly {'above' if given.value > 0 else 'below'}"


def _tokens_words(cells: list[SweepCell]) -> str:
    given = [cell.metrics["decode_tokens"] for cell in cells if "decode_tokens" in cell.metrics]
    return thousands(sum(given) / len(given)) if len(given) == len(cells) else NOTHING


def write_sweep_tables(table: SweepTable, out_dir: Path) -> None:
    """sweep.csv (a line per cell: what was set, then every metric) and sweep.md."""
    names = list(dict.fromkeys(name for cell in table.cells for name in cell.metrics))
    records = [
        {key: str(cell.overrides.get(key, "")) for key in table.keys} | {name: cell.metrics.get(name) for name in names}
        for cell in table.cells
    ]
    if records:
        write_csv(records, out_dir / "sweep.csv")
    lines = [f"# {markdown_text(table.info.title)}", *([""] if table.info.states else [])]
    lines += [markdown_text(table.info.standing)] if table.info.states else []
    lines += markdown_table(table.header, table.body) if table.body else []
    lines += markdown_table(table.arms_header, table.arms_body) if table.arms_body else []
    made = markdown_list(provenance_facts(table.provenance))
    write_text_lines([*lines, "", markdown_text(table.note), *made], out_dir / "sweep.md")
