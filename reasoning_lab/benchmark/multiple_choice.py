r"""What multiple choice shares: lettered options in an order of their own, prompts, a grade of the chosen letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from reasoning_lab.benchmark.base import Finish, RowBenchmark, require_seed
from reasoning_lab.benchmark.grading import compat
from reasoning_lab.benchmark.grading.choices import LETTERS, chosen
from reasoning_lab.benchmark.mathematics import PromptStyle, why_none
from reasoning_lab.checks import require_one_of
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.records import Grade, Problem

ChoiceGrader = Literal["choice", "reference"]

_PROMPTS: dict[PromptStyle, str] = {
    "karan2025": (
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: '\\boxed{{$LETTER}}' (without quotes) where LETTER is one of {letters} (ex. '\\boxed{{A}}'). Think "
        "step by step before answering.\n\n{question}"
    ),
    "model_card": (
        "{question}\n\nPlease show your choice in the `answer` field with only the choice letter, e.g., "
        '`"answer": "C"`.'
    ),
    "plain": "{question}",
}
r"""Templates of `str.format`; the question comes with its options.

karan2025: the authors' GPQA prompt, rendered (theirs is formatted too, and reads ``\boxed{A}``). model_card: the
directive that the card of QwQ-32B asks for. plain: question and options, as in Venhoff et al.'s traces.
"""


@dataclass(frozen=True)
class ChoiceProblem(Problem):
    """A problem whose question lists options; its gold is a letter."""

    options: tuple[str, ...] = ()
    """Their texts, in the order of the letters."""


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(RowBenchmark):
    """Questions with up to ten lettered options, of which one is right."""

    max_options: ClassVar[int] = 4
    """Most options of a question."""

    prompt_style: PromptStyle
    """karan2025: the paper's instruction before the question; model_card: QwQ's after it; plain: the question alone."""
    option_seed: int | None
    """Of the order of the options, which is a function of it and the problem's id; None keeps the data's order."""
    grader: ChoiceGrader = "choice"
    """choice: the rules of `choices.py`; reference: Karan & Du's own with its known defects
    (`grading/compat.py`), for comparison."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(PromptStyle, "prompt_style", self.prompt_style)
        require_one_of(ChoiceGrader, "grader", self.grader)
        require_seed(self, "option_seed", or_null=True)

    @property
    def grading(self) -> str:
        """The class, its version, and the grader where it is not ours."""
        return super().grading + (" reference" if self.grader == "reference" else "")

    def lettered(
        self, id: str, question: str, options: Sequence[str], right: int, tags: dict[str, str], where: str
    ) -> ChoiceProblem:
        """The problem with its options in order; `right` is the index of the right one as they are given.

        ValueError, naming `where`, for fewer than two options, too many, or a right one that another equals.
        """
        if not 2 <= len(options) <= self.max_options:
            raise ValueError(f"{where}: {len(options)} options, must be 2 to {self.max_options}.")
        if [option.strip() for option in options].count(options[right].strip()) > 1:
            raise ValueError(f"{where}: the right option is there twice.")
        order = self._order(id, len(options))
        shown = tuple(options[index].strip() for index in order)
        lines = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, shown, strict=False))
        return ChoiceProblem(id, f"{question.strip()}\n\n{lines}", LETTERS[order.index(right)], tags, shown)

    def _order(self, id: str, n: int) -> list[int]:
        """A uniform permutation, keyed by (option_seed, id): no history of draws can change it."""
        if self.option_seed is None:
            return list(range(n))
        key = Key(self.option_seed, id)
        return sorted(range(n), key=lambda index: uniform(key, index, "option"))

    @final
    def prompt(self, problem: Problem) -> str:
        """Question and options in the words of `prompt_style`."""
        letters = LETTERS[: len(self._options(problem))]
        return _PROMPTS[self.prompt_style].format(question=problem.question, letters=letters)

    def _options(self, problem: Problem) -> tuple[str, ...]:
        return problem.options if isinstance(problem, ChoiceProblem) else ("",) * self.max_options

    @final
    def answer(self, text: str) -> str | None:
        """The letter that the text names; one that only quotes an option has none here, where options aren't known."""
        choice = chosen(text, ("",) * self.max_options)
        return choice.text if choice else None

    @final
    def canonical(self, answer: str) -> str:
        """The letter itself, for it is written one way."""
        return answer

    @final
    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Correct if the text chooses the gold letter; the reason is the rule that found it."""
        options = self._options(problem)
        if self.grader == "reference":
            return compat.grade_by_last_letter(problem, text, chain, LETTERS[: len(options)])
        choice = chosen(text, options, complete=finish == "stop") if text.strip() else None
        if choice is None:
            return Grade(problem.id, chain, "ungradable", None, why_none(text, finish))
        verdict = "correct" if choice.text == problem.gold else "wrong"
        return Grade(problem.id, chain, verdict, choice.text, choice.rule, choice.rule)

    @final
    def gold_text(self, problem: Problem) -> str:
        """The letter in a box."""
        return f"\\boxed{{{problem.gold}}}"
