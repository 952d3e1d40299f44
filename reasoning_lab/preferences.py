"""Answers to AlpacaEval compared with the reference's by the judge: what stage=preferences pulls."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from reasoning_lab.benchmark.alpaca_eval import AlpacaEval, instruction_index, judged
from reasoning_lab.draws import Draw
from reasoning_lab.experiment import Experiment
from reasoning_lab.judge.preference import (
    ANNOTATOR,
    Pair,
    Preference,
    PreferenceOption,
    annotator_prompt,
    preferences,
)
from reasoning_lab.lab import Lab, read_lines, write_lines
from reasoning_lab.recipes import CompletionsRecipe, Recipe, digest, golds_digest
from reasoning_lab.records import Grade
from reasoning_lab.results import completions


@dataclass(frozen=True)
class PreferencesRecipe(Recipe):
    """A judge's preferences on the answers of one arm."""

    stage: ClassVar[str] = "preferences"
    version: ClassVar[int] = 1
    completions: CompletionsRecipe
    judge: dict[str, Any]
    """Identity of the judge."""
    template: str
    """sha256 of the prompt."""
    golds: str
    """sha256 over problem ids and reference outputs."""
    seed: int
    """Of the order of the outputs."""

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.completions.slug


def check_preferences(experiment: Experiment) -> None:
    """ValueError where answers can't be drawn, compared or counted here; to be called before any work."""
    from reasoning_lab.report.alpaca_eval import check_alpaca_eval

    check_alpaca_eval(_benchmark(experiment).lc_tables)
    annotator_prompt()
    _option(experiment).check()


def preferences_on(experiment: Experiment, draw: Draw, lab: Lab) -> list[Preference]:
    """The judge's preferences on the draw's answers; asked now where they are not in the store. Replies that came
    before a failure stay in the judge's cache."""
    template, option = annotator_prompt(), _option(experiment)
    recipe = PreferencesRecipe(
        draw.recipe, option.identity(), digest(template), golds_digest(list(draw.problems)), experiment.seed
    )

    def build(folder: Path) -> None:
        problems = {problem.id: problem for problem in draw.problems}
        chat = option.chat(lab.store.root / "replies")
        pairs = [
            Pair(a.problem, a.chain, problems[a.problem].question, a.text, problems[a.problem].gold)
            for a in completions(experiment, draw, lab)
        ]
        found = preferences(chat, pairs, template, experiment.seed)
        if chat.usage.failed or chat.usage.skipped:
            raise ValueError(
                f"{chat.usage.failed} replies failed and {chat.usage.skipped} were over the cap; what came is kept: "
                "run again, or raise judge.cap_dollars."
            )
        write_lines(folder / "preferences.jsonl", [each.dumps() for each in found])
        (folder / "usage.json").write_text(chat.usage.dumps())

    folder = lab.store.get_or_build(recipe, build)
    return [Preference.from_json(line) for line in read_lines(folder / "preferences.jsonl")]


def judged_grades(experiment: Experiment, draw: Draw, lab: Lab) -> list[Grade]:
    """The preferences as verdicts: correct where the answer is preferred."""
    return [judged(each.problem, each.chain, each.value) for each in preferences_on(experiment, draw, lab)]


def win_rates(experiment: Experiment, draw: Draw, lab: Lab, out_dir: Path) -> dict[str, float | None]:
    """The arm's row of the leaderboard, its files written; chain 0 of each problem counts."""
    from reasoning_lab.report.alpaca_eval import write_alpaca_eval

    benchmark, problems = _benchmark(experiment), {problem.id: problem for problem in draw.problems}
    values = {each.problem: each.value for each in preferences_on(experiment, draw, lab) if each.chain == 0}
    rows = []
    for answer in completions(experiment, draw, lab):
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


def _option(experiment: Experiment) -> PreferenceOption:
    if not isinstance(experiment.judge, PreferenceOption):
        raise ValueError(f"judge={type(experiment.judge).__name__}: weighs no preferences; choose judge=alpaca_eval.")
    return experiment.judge
