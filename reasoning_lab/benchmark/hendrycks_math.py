"""Hendrycks MATH: 7,500 training and 5,000 test problems of seven subjects, and the part that MATH500 leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from reasoning_lab.benchmark.base import require_names
from reasoning_lab.benchmark.grading.extraction import last_box
from reasoning_lab.benchmark.math500 import level_tag, subject_tag
from reasoning_lab.benchmark.mathematics import MathBenchmark
from reasoning_lab.benchmark.overlap import same_form
from reasoning_lab.benchmark.rows import OnBad, Row, rows, text_field
from reasoning_lab.checks import require_one_of
from reasoning_lab.records import Problem

Disjointness = Literal["text", "id", "none"]
SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class HendrycksMath(MathBenchmark):
    """The full MATH data set; Venhoff et al. hold out 1,000 problems of it that are not in MATH500.

    MATH500 is a part of the test split. `disjoint_by` leaves its problems out: by their text (case, spaces and Unicode
    forms don't count), which also finds a copy in the training split, or by unique_id where the rows have one.
    The authors' own thousand are not published; `n_problems: 1000` takes others of the same kind.
    """

    version: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Hendrycks et al. 2021, Measuring Mathematical Problem Solving With the MATH Dataset, arXiv:2103.03874"
    )
    licence: ClassVar[str] = "MIT"

    disjoint_by: Disjointness
    """How MATH500's problems are known: text, id (needs unique_id in the rows), or none, which leaves them in."""
    math500_path: str | None
    """MATH500 as a local file; None reads the hub."""
    math500_hub_id: str
    """MATH500 on the hub."""
    math500_revision: str
    """Its commit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(Disjointness, "disjoint_by", self.disjoint_by)
        require_names(self, "math500_hub_id", "math500_revision")
        require_names(self, "math500_path", or_null=True)

    @property
    def is_local(self) -> bool:
        """With a file, and MATH500's where its problems are left out."""
        return super().is_local and (self.disjoint_by == "none" or self.math500_path is not None)

    def rows(self, on_bad: OnBad) -> Iterator[Row]:
        """Those of the file, or of all subjects on the hub (each is a configuration) where `hub_config` is None."""
        if self.path is not None or self.hub_config is not None:
            yield from super().rows(on_bad)
            return
        number = 0
        for subject in SUBJECTS:
            for row in rows(None, self.hub_id, subject, self.revision, self.split, on_bad):
                yield Row(number, f"{self.hub_id}/{subject}/{self.split}:{row.number}", row.data)
                number += 1

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields problem, solution or answer, type or subject; level and unique_id where there.

        The gold is `answer`, else the content of the solution's last box, as MATH has it. Without a unique_id the
        id is split and index.
        """
        if row.get("answer") is not None:
            gold = text_field(row, "answer", where)
        else:
            boxed = last_box(text_field(row, "solution", where))
            if boxed is None:
                raise ValueError(f"{where}: solution has no \\boxed answer, and the row has no field 'answer'.")
            gold = boxed
        id = f"{self.split}-{index:05d}" if row.get("unique_id") is None else text_field(row, "unique_id", where)
        tags = {"subject": subject_tag(row, "type" if "type" in row else "subject", where)} | level_tag(row, where)
        return Problem(id, text_field(row, "problem", where), gold, tags)

    def eligible(self, problems: list[Problem]) -> list[Problem]:
        """Without MATH500's."""
        if self.disjoint_by == "none":
            return problems
        field = "problem" if self.disjoint_by == "text" else "unique_id"
        math500 = rows(self.math500_path, self.math500_hub_id, None, self.math500_revision, "test")
        taken = {same_form(text_field(row.data, field, row.where)) for row in math500}
        if self.disjoint_by == "text":
            return [problem for problem in problems if same_form(problem.question) not in taken]
        if problems and all(problem.id.startswith(f"{self.split}-") for problem in problems):
            raise ValueError("benchmark.disjoint_by='id': the rows have no unique_id; set it to text.")
        return [problem for problem in problems if same_form(problem.id) not in taken]
