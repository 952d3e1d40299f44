"""AlpacaEval's win rates from a judge's preferences (stage=preferences)."""

from pathlib import Path

from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.preferences import Preferences
from reasoning_lab.benchmark.alpaca_eval import AlpacaEval, instruction_index
from reasoning_lab.judge.preference import ANNOTATOR
from reasoning_lab.report.export.alpaca_eval import write_alpaca_eval


def win_rates(generator: str, told: Preferences, folder: Path, context: Context) -> dict[str, float | None]:
    """A generator's row of the leaderboard, its files written below `folder`; chain 0 of each problem counts."""
    problems, benchmark = told.completions.problems, told.completions.problems.benchmark
    assert isinstance(benchmark, AlpacaEval)
    values = {each.problem: each.value for each in context.get(told) if each.chain == 0}
    rows = []
    for answer in context.get(told.completions):
        if answer.chain != 0:
            continue
        problem, value = problems.by_id[answer.problem], values[answer.problem]
        rows.append(
            {
                "index": instruction_index(problem.id),
                "instruction": problem.question,
                "dataset": problem.tags.get("dataset", ""),
                "output_1": problem.gold,
                "generator_1": problem.tags.get("generator", "reference"),
                "output_2": answer.text,
                "generator_2": generator,
                "annotator": ANNOTATOR,
                "preference": None if value is None else 1.0 + value,
            }
        )
    rows.sort(key=lambda row: row["index"])
    return write_alpaca_eval(rows, benchmark.lc_tables, folder)
