"""MMLU-Pro: 12,032 questions of 14 subjects with up to ten options; the trace source of Venhoff et al. 2025."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from reasoning_lab.benchmark.grading.choices import LETTERS
from reasoning_lab.benchmark.multiple_choice import MultipleChoice
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.records import Problem


@final
@dataclass(frozen=True, kw_only=True)
class MmluPro(MultipleChoice):
    """Venhoff et al. take their traces of it: question and options as one user message, which is `plain` here.

    How their message lays the options out is not on record; ours gives each a line of its own.
    """

    version: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Wang et al. 2024, MMLU-Pro: A More Robust and Challenging Multi-Task Language Understanding Benchmark, "
        "arXiv:2406.01574"
    )
    licence: ClassVar[str] = "MIT"
    max_options: ClassVar[int] = 10

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields question, options (a list, or its JSON), answer (a letter), and category and question_id where there.

        Fillers "N/A" at the end, which an older edition has, are no options.
        """
        options = _options(row, where)
        answer = text_field(row, "answer", where).strip().upper()
        if len(answer) != 1 or answer not in LETTERS[: len(options)]:
            raise ValueError(f"{where}: answer={answer[:20]!r} is no letter of the {len(options)} options.")
        number = _question_id(row, where)
        id = f"{self.split}-{index:05d}" if number is None else f"{self.split}-{number}"
        tags = {} if row.get("category") is None else {"subject": text_field(row, "category", where).strip().lower()}
        question = text_field(row, "question", where)
        return self.lettered(id, question, options, LETTERS.index(answer), tags, where)


def _question_id(row: Mapping[str, object], where: str) -> int | None:
    """A number of at most 12 digits, or its text; None where the row has none."""
    number = row.get("question_id")
    if number is None:
        return None
    known = isinstance(number, str) and number.isdecimal() and number.isascii()
    if not (known or isinstance(number, int)) or isinstance(number, bool) or len(str(number)) > 12:
        raise ValueError(f"{where}: question_id={str(number)[:20]!r}, must be a number.")
    return int(str(number))


def _options(row: Mapping[str, object], where: str) -> list[str]:
    options = row.get("options")
    if isinstance(options, str):  # a CSV has no lists
        try:
            options = json.loads(options)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: options is a text, but no JSON list ({str(error)[:100]}).") from error
    if not isinstance(options, (list, tuple)):
        raise ValueError(f"{where}: options is of type {type(options).__name__}, must be a list.")
    texts = [text_field({"options": option}, "options", where) for option in options[:100]]
    while texts and texts[-1].strip() == "N/A":
        texts.pop()
    return texts
