"""AIME: fifteen problems each of the American Invitational Mathematics Examination I and II, answers 0 to 999."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from reasoning_lab.benchmark.grading.extraction import Answer
from reasoning_lab.benchmark.mathematics import MathBenchmark, amount_of
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.checks import is_count, require
from reasoning_lab.records import Problem

_ANSWER = re.compile(r"\s*(\d{1,3})\s*", re.ASCII)


@final
@dataclass(frozen=True, kw_only=True)
class Aime(MathBenchmark):
    """One year's thirty problems. With so few, take many chains per problem and mind the interval.

    A gold answer may be written with leading zeros, as on the answer sheet (073); it is held as a number.
    """

    version: ClassVar[int] = 2
    citation: ClassVar[str] = "Mathematical Association of America, American Invitational Mathematics Examination"
    licence: ClassVar[str] = "the problems are the MAA's; the data set's card states its own"

    year: int
    """Of the examination; the ids begin with it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = is_count(self.year, 1983) and self.year <= 2100
        require(known, "year", self.year, "from 1983, the first one's, to 2100", "set it to the examination's")

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields problem and answer (a number or its text), and id where there."""
        answer = row.get("answer")
        text = str(answer) if is_count(answer, 0) else text_field(row, "answer", where)
        answered = _ANSWER.fullmatch(text)
        if answered is None:
            raise ValueError(f"{where}: answer={text[:20]!r}, must be an integer from 0 to 999.")
        id = row.get("id")
        name = f"{index:02d}" if id is None else str(id) if is_count(id, 0) else text_field(row, "id", where)
        return Problem(f"{self.year}-{name[:40]}", text_field(row, "problem", where), str(int(answered.group(1))))

    def stated(self, text: str, complete: bool = True) -> Answer | None:
        """As for all mathematics; of a number in words ("204 minutes", "x = 204") only the number."""
        return amount_of(super().stated(text, complete))
