"""A user's own problems: a file (or data set of the hub) with fields of any name, graded by a rule of choice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from reasoning_lab.benchmark.base import Finish, RowBenchmark, require_names
from reasoning_lab.benchmark.grading.choices import LETTERS, chosen
from reasoning_lab.benchmark.grading.equality import shared_pool
from reasoning_lab.benchmark.grading.extraction import extract_answer
from reasoning_lab.benchmark.grading.normal_form import canonical_answer, exact_number
from reasoning_lab.benchmark.mathematics import PROMPTS, PromptStyle, amount_of, why_none
from reasoning_lab.benchmark.multiple_choice import ChoiceProblem
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.checks import require, require_one_of
from reasoning_lab.records import Grade, Problem

Grader = Literal["math", "integer", "exact", "choice"]
_INTEGER = re.compile(r"\s*[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,100})\s*", re.ASCII)


@final
@dataclass(frozen=True, kw_only=True)
class Jsonl(RowBenchmark):
    """Problems from a .jsonl, .jsonl.gz, .parquet or .csv file of one's own.

    Graders: `math`, as MATH500's; `integer`, the number alone counts ("18 dollars" is 18); `exact`, the answer by the
    same rules of extraction, or the whole text where none applies, equal but for case and spaces; `choice`, the letter
    by the rules of `choices.py`, the options in a list under `options_field` or written in the question.
    """

    version: ClassVar[int] = 2
    citation: ClassVar[str] = "the user's own problems"
    licence: ClassVar[str] = "the user's own"

    id_field: str | None
    """Name of the field with the id, a text or a whole number; None counts the rows."""
    question_field: str
    """Name of the field with the question."""
    answer_field: str
    """Name of the field with the gold answer: a text or a number; for `choice` a letter."""
    options_field: str | None
    """Name of the field with the list of options, for `choice`; None: they stand in the question."""
    grader: Grader
    """math, integer, exact or choice."""
    prompt_style: PromptStyle
    r"""karan2025 and model_card ask for a \boxed answer in the words that MATH500 has; plain: the question alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(Grader, "grader", self.grader)
        require_one_of(PromptStyle, "prompt_style", self.prompt_style)
        require_names(self, "question_field", "answer_field")
        require_names(self, "id_field", "options_field", or_null=True)
        field, grader = self.options_field, self.grader
        require(field is None or grader == "choice", "options_field", field, f"null for grader={grader}", "set it so")

    @property
    def grading(self) -> str:
        """The class, its version, and the grader."""
        return f"{super().grading} {self.grader}"

    @property
    def reading(self) -> str:
        """The class, its version, and the grader, which has rules of extraction and a canonical form of its own."""
        return f"{super().reading} {self.grader}"

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """The fields that the names point to."""
        id = f"{index:05d}" if self.id_field is None else _text_or_number(row, self.id_field, where)
        question, gold = text_field(row, self.question_field, where), _text_or_number(row, self.answer_field, where)
        if self.grader == "choice":
            return self._choice(row, where, id, question, gold.strip().upper())
        if self.grader == "integer" and not _INTEGER.fullmatch(gold):
            raise ValueError(f"{where}: {self.answer_field}={gold[:20]!r}, must be an integer for grader=integer.")
        return Problem(id, question, gold)

    def _choice(self, row: Mapping[str, object], where: str, id: str, question: str, gold: str) -> ChoiceProblem:
        if self.options_field is None:
            options: tuple[str, ...] = ("",) * len(LETTERS)
        else:
            listed = row.get(self.options_field)
            if not isinstance(listed, (list, tuple)) or not 2 <= len(listed) <= len(LETTERS):
                raise ValueError(f"{where}: {self.options_field} must be a list of 2 to {len(LETTERS)} options.")
            options = tuple(text_field({self.options_field: item}, self.options_field, where) for item in listed)
            lines = (f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
            question = "\n".join((question, "", *lines))
        if len(gold) != 1 or gold not in LETTERS[: len(options)]:
            raise ValueError(f"{where}: {self.answer_field}={gold[:20]!r} is no letter of the {len(options)} options.")
        return ChoiceProblem(id, question, gold, {}, options)

    def prompt(self, problem: Problem) -> str:
        """The question in the words of `prompt_style`."""
        return PROMPTS[self.prompt_style].format(question=problem.question)

    def answer(self, text: str) -> str | None:
        """The answer that the text states."""
        stated = self._stated(text, ("",) * len(LETTERS), "stop")
        return stated[0] if stated else None

    def _stated(self, text: str, options: tuple[str, ...], finish: Finish) -> tuple[str, str] | None:
        """The answer and the rule that found it."""
        complete = finish == "stop"
        if self.grader == "choice":
            return chosen(text, options, complete)
        answer = extract_answer(text, complete)
        if self.grader == "integer":
            return amount_of(answer)
        if self.grader == "exact" and (answer is None or answer.rule == "last number"):
            return (text.strip(), "whole text") if complete and text.strip() else None
        return answer

    def canonical(self, answer: str) -> str:
        """The letter, the text without case and layout, or the exact number or normal form, by the grader."""
        if self.grader == "exact":
            return _folded(answer)
        return answer if self.grader == "choice" else canonical_answer(answer)

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Find the answer, compare it with the gold; the reason names the rule of each."""
        options = problem.options if isinstance(problem, ChoiceProblem) else ()
        stated = self._stated(text, options, finish) if text.strip() else None
        if stated is None:
            return Grade(problem.id, chain, "ungradable", None, why_none(text, finish))
        answer, rule = stated
        if self.grader == "math":
            verdict, means = shared_pool().verify(problem.gold, answer)
            return Grade(problem.id, chain, verdict, answer, f"{rule}, {means}", rule)
        return Grade(problem.id, chain, "correct" if self._equal(problem.gold, answer) else "wrong", answer, rule, rule)

    def _equal(self, gold: str, answer: str) -> bool:
        if self.grader == "integer":
            return exact_number(gold) == exact_number(answer)
        return self.canonical(gold) == self.canonical(answer)

    def gold_text(self, problem: Problem) -> str:
        """The gold in a box, or alone where text is compared as it is."""
        return problem.gold if self.grader == "exact" else f"\\boxed{{{problem.gold}}}"


def _text_or_number(row: Mapping[str, object], field: str, where: str) -> str:
    """The field as text; whole numbers are written out, other floats refused, for they have many writings."""
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**100:
            raise ValueError(f"{where}: {field} has more than 100 digits.")
        return str(value)
    return text_field(row, field, where)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
