"""MATH500: 500 problems of the MATH test set, from prealgebra to precalculus, answers as short expressions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from reasoning_lab.benchmark.mathematics import MathBenchmark
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.records import Problem


@final
@dataclass(frozen=True, kw_only=True)
class Math500(MathBenchmark):
    """The 500 problems that Lightman et al. held out; in Karan & Du 2025 (§5.1) and Venhoff et al. 2025."""

    version: ClassVar[int] = 3
    citation: ClassVar[str] = (
        "Hendrycks et al. 2021, Measuring Mathematical Problem Solving With the MATH Dataset, arXiv:2103.03874; "
        "subset of Lightman et al. 2023, Let's Verify Step by Step, arXiv:2305.20050"
    )
    licence: ClassVar[str] = "MIT"

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields problem, answer, unique_id and subject, and level where the row has it; `index` is not used.

        The tags are written alike for every edition of the rows: subject "Number Theory" and "number_theory" are one.
        """
        del index
        return Problem(
            id=text_field(row, "unique_id", where),
            question=text_field(row, "problem", where),
            gold=text_field(row, "answer", where),
            tags={"subject": subject_tag(row, "subject", where)} | level_tag(row, where),
        )


def subject_tag(row: Mapping[str, object], field: str, where: str) -> str:
    """The subject, written alike for every edition of the rows."""
    return text_field(row, field, where).strip().lower().replace(" & ", " and ").replace(" ", "_")


def level_tag(row: Mapping[str, object], where: str) -> dict[str, str]:
    """The level as a tag, from 3, "3" or "Level 3"; none where the row has none (MATH writes "Level ?" for two)."""
    level = row.get("level")
    if level is None or level == "Level ?":
        return {}
    digit = str(level).removeprefix("Level ")
    if isinstance(level, bool) or digit not in {"1", "2", "3", "4", "5"}:
        raise ValueError(f"{where}: level={str(level)[:50]!r}, must be 1 to 5.")
    return {"level": digit}
