"""GSM8K: grade-school word problems, answers as integers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from reasoning_lab.benchmark.grading.extraction import Answer
from reasoning_lab.benchmark.mathematics import MathBenchmark, amount_of
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.records import Problem

_GOLD = re.compile(r"####\s?(-?(?:\d{1,3}(?:,\d{3})+|\d{1,20}))\s*\Z", re.ASCII)


@final
@dataclass(frozen=True, kw_only=True)
class Gsm8k(MathBenchmark):
    """The 1,319 test problems; one of Venhoff et al. 2025's two main benchmarks, beside MATH500.

    Zero-shot, unlike the few-shot evaluations that most published numbers of base models come from.
    """

    version: ClassVar[int] = 3
    citation: ClassVar[str] = "Cobbe et al. 2021, Training Verifiers to Solve Math Word Problems, arXiv:2110.14168"
    licence: ClassVar[str] = "MIT"

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields question and answer; the gold is what follows the last ####, the id is split and index."""
        gold = _GOLD.search(text_field(row, "answer", where))
        if gold is None:
            raise ValueError(f"{where}: answer does not end in '#### ' and an integer.")
        return Problem(id=f"{self.split}-{index:05d}", question=text_field(row, "question", where), gold=gold.group(1))

    def stated(self, text: str, complete: bool = True) -> Answer | None:
        """As for all mathematics; of a number in words ("18 dollars", "x = 18") only the number."""
        return amount_of(super().stated(text, complete))
