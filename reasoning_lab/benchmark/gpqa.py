"""GPQA Diamond: 198 graduate-level questions of physics, chemistry and biology, four options each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from reasoning_lab.benchmark.multiple_choice import MultipleChoice
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.checks import require
from reasoning_lab.records import Problem

_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


@final
@dataclass(frozen=True, kw_only=True)
class Gpqa(MultipleChoice):
    """In Karan & Du 2025 (Table 1). The data set is gated: accept its terms on the hub, and log in there.

    The authors shuffle the options by the stream that their chains draw from, so that a question's order depends on
    what was drawn before it; here it is a function of (option_seed, problem).
    """

    version: ClassVar[int] = 2
    citation: ClassVar[str] = "Rein et al. 2023, GPQA: A Graduate-Level Google-Proof Q&A Benchmark, arXiv:2311.12022"
    licence: ClassVar[str] = "CC BY 4.0"

    def __post_init__(self) -> None:
        super().__post_init__()
        unshuffled = "in the data's own order the right option always comes first"
        require(self.option_seed is not None, "option_seed", self.option_seed, "a number", unshuffled)

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields Question, Correct Answer, Incorrect Answer 1 to 3; Record ID and High-level domain where there."""
        options = [text_field(row, field, where) for field in _OPTIONS]
        id = text_field(row, "Record ID", where) if "Record ID" in row else f"{self.split}-{index:05d}"
        domain = row.get("High-level domain")
        tags = {} if domain is None else {"domain": text_field(row, "High-level domain", where).strip().lower()}
        return self.lettered(id, text_field(row, "Question", where), options, 0, tags, where)
