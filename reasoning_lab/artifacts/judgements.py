"""What the experiment's judge says of answers, where a benchmark gives it the first word."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.draws import Draw
from reasoning_lab.artifacts.lab import Lab, read_lines, write_lines
from reasoning_lab.artifacts.recipes import PreferencesRecipe, digest, golds_digest
from reasoning_lab.benchmark.alpaca_eval import AlpacaEval, judged
from reasoning_lab.experiment import Experiment
from reasoning_lab.judge.base import Chat, JudgeOption, Usage
from reasoning_lab.judge.preference import (
    Pair,
    Preference,
    PreferenceOption,
    annotator_prompt,
    preference_requests,
    preferences,
)
from reasoning_lab.judge.verdict import MAX_TOKENS, Case, says_yes, verdict_requests
from reasoning_lab.records import Completion, Grade


def check_judge(experiment: Experiment) -> None:
    """ValueError where the judge, or what it reads, is missing; to be called before any work."""
    experiment.judge.check()
    if isinstance(experiment.judge, PreferenceOption):
        annotator_prompt()


def tell_cost(judge: str, expected: Usage, lab: Lab) -> None:
    """Print what questions will cost, before the first is asked; nothing where all replies are at hand."""
    if not expected.sent:
        return
    price = f", ${expected.dollars:,.2f}" if expected.dollars else ""
    lab.console.print(
        f"  judge {judge}: {expected.sent:,} questions to ask ({expected.cached:,} cached), about "
        f"{expected.prompt_tokens:,} tokens to read and {expected.completion_tokens:,} to write{price}",
        highlight=False,
        soft_wrap=True,
    )


def judged_grades(
    experiment: Experiment, draw: Draw, answers: Sequence[Completion], lab: Lab
) -> dict[tuple[str, int], Grade]:
    """Grade by (problem, chain) of the answers on which the judge gave its word."""
    if isinstance(draw.benchmark, AlpacaEval):
        if not isinstance(experiment.judge, PreferenceOption):
            return {}
        found = preferences_on(experiment, draw, answers, lab)
        return {(each.problem, each.chain): judged(each.problem, each.chain, each.value) for each in found}
    return _verdicts(experiment, draw, answers, lab)


def _verdicts(
    experiment: Experiment, draw: Draw, answers: Sequence[Completion], lab: Lab
) -> dict[tuple[str, int], Grade]:
    """grader=venhoff2025: YES or NO of a chat model; nothing where there is none."""
    option: Any = experiment.judge
    chat = _chat(replace(option, max_tokens=MAX_TOKENS) if hasattr(option, "max_tokens") else option, experiment, lab)
    if chat is None:
        return {}
    problems = {problem.id: problem for problem in draw.problems}
    cases = [Case(problems[a.problem].question, problems[a.problem].gold, a.text) for a in answers]
    tell_cost(chat.name, chat.estimate(verdict_requests(cases)), lab)
    return {
        (a.problem, a.chain): Grade(a.problem, a.chain, "correct" if yes else "wrong", None, f"yes by {chat.name}")
        for a, yes in zip(answers, says_yes(chat, cases), strict=True)
        if yes is not None
    }


def _chat(option: JudgeOption, experiment: Experiment, lab: Lab) -> Chat | None:
    """The judge's chat model, one for all arms: its cap is the run's, and weights are loaded once."""
    return lab.once(
        f"chat {digest(option.identity())}",
        lambda: option.chat(lab.store.root / "replies", experiment.runtime.device),
    )


def preferences_on(experiment: Experiment, draw: Draw, answers: Sequence[Completion], lab: Lab) -> list[Preference]:
    """The judge's preferences on the draw's answers; asked now where they are not in the store. Replies that came
    before a failure stay in the judge's cache."""
    template, option = annotator_prompt(), experiment.judge
    recipe = PreferencesRecipe(
        draw.recipe, option.identity(), digest(template), golds_digest(list(draw.problems)), experiment.seed
    )

    def build(folder: Path) -> None:
        problems = {problem.id: problem for problem in draw.problems}
        chat = _chat(option, experiment, lab)
        assert chat is not None, "a PreferenceOption has a chat model"
        before = chat.usage
        pairs = [
            Pair(a.problem, a.chain, problems[a.problem].question, a.text, problems[a.problem].gold) for a in answers
        ]
        tell_cost(chat.name, chat.estimate(list(preference_requests(pairs, template, experiment.seed).values())), lab)
        found = preferences(chat, pairs, template, experiment.seed)
        usage = chat.usage - before
        if usage.failed or usage.skipped:
            raise ValueError(
                f"{usage.failed} replies failed and {usage.skipped} were over the cap; what came is kept: "
                "run again, or raise judge.cap_dollars."
            )
        write_lines(folder / "preferences.jsonl", [each.dumps() for each in found])
        (folder / "usage.json").write_text(usage.dumps())

    folder = lab.store.get_or_build(recipe, build)
    return [Preference.from_json(line) for line in read_lines(folder / "preferences.jsonl")]
