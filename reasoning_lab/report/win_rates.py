"""AlpacaEval's win rates: what stage=preferences makes of the judge's preferences."""

from pathlib import Path

from reasoning_lab.artifacts.draws import Draw
from reasoning_lab.artifacts.judgements import check_judge, preferences_on
from reasoning_lab.artifacts.lab import Lab
from reasoning_lab.artifacts.results import completions
from reasoning_lab.benchmark.alpaca_eval import AlpacaEval, instruction_index
from reasoning_lab.experiment import Experiment
from reasoning_lab.judge.preference import ANNOTATOR, PreferenceOption


def check_preferences(experiment: Experiment) -> None:
    """ValueError where answers can't be drawn, compared or counted here; to be called before any work."""
    from reasoning_lab.report.export.alpaca_eval import check_alpaca_eval

    check_alpaca_eval(_benchmark(experiment).lc_tables)
    _require_preferences(experiment)
    check_judge(experiment)


def win_rates(experiment: Experiment, draw: Draw, lab: Lab, out_dir: Path) -> dict[str, float | None]:
    """The arm's row of the leaderboard, its files written; chain 0 of each problem counts."""
    from reasoning_lab.report.export.alpaca_eval import write_alpaca_eval

    benchmark, problems = _benchmark(experiment), {problem.id: problem for problem in draw.problems}
    answers = completions(experiment, draw, lab)
    values = {each.problem: each.value for each in preferences_on(experiment, draw, answers, lab) if each.chain == 0}
    rows = []
    for answer in answers:
        if answer.chain != 0:
            continue
        problem, value = problems[answer.problem], values[answer.problem]
        rows.append(
            {
                "index": instruction_index(problem.id),
                "instruction": problem.question,
                "dataset": problem.tags.get("dataset", ""),
                "output_1": problem.gold,
                "generator_1": problem.tags.get("generator", "reference"),
                "output_2": answer.text,
                "generator_2": f"{experiment.model_pair.name}-{draw.arm}",
                "annotator": ANNOTATOR,
                "preference": None if value is None else 1.0 + value,
            }
        )
    rows.sort(key=lambda row: row["index"])
    return write_alpaca_eval(rows, benchmark.lc_tables, out_dir)


def _benchmark(experiment: Experiment) -> AlpacaEval:
    if not isinstance(experiment.benchmark, AlpacaEval):
        name = type(experiment.benchmark).__name__
        raise ValueError(f"benchmark={name}: its answers are graded by rule; stage=preferences is for alpaca_eval.")
    return experiment.benchmark


def _require_preferences(experiment: Experiment) -> None:
    if not isinstance(experiment.judge, PreferenceOption):
        raise ValueError(f"judge={type(experiment.judge).__name__}: weighs no preferences; choose judge=alpaca_eval.")
