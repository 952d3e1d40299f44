"""AlpacaEval 2.0: 805 instructions; a judge says whether an answer is better than GPT-4 Turbo's."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from reasoning_lab.benchmark.base import Finish, RowBenchmark, require_names
from reasoning_lab.benchmark.rows import OnBad, Row, rows, text_field
from reasoning_lab.records import Grade, Problem


@final
@dataclass(frozen=True, kw_only=True)
class AlpacaEval(RowBenchmark):
    """Instructions with a reference's outputs.

    No rule grades an answer: `grade` is ungradable with the reason "needs judge"; `judged` turns the preference of a
    judge, where one was asked (judge/preference.py), into a grade.

    `path` and `reference_path` are .json (one list, as released), .jsonl, .jsonl.gz, .parquet or .csv files with the
    fields instruction, output, generator, dataset. Published win rates were not repeated: that ours equal them is not
    checked.
    """

    version: ClassVar[int] = 1
    citation: ClassVar[str] = (
        "Li et al. 2023, AlpacaEval: An Automatic Evaluator of Instruction-following Models; "
        "Dubois et al. 2024, Length-Controlled AlpacaEval, arXiv:2404.04475"
    )
    licence: ClassVar[str] = "CC-BY-NC-4.0"

    reference_path: str | None
    """Outputs to be compared with, matched by instruction; None takes those of the rows themselves."""
    lc_tables: str | None
    """Folder with df_gamed.csv, which the length correction needs; None reads it from the hub."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_names(self, "reference_path", "lc_tables", or_null=True)

    def rows(self, on_bad: OnBad) -> Iterator[Row]:
        """The rows, each with the reference's output in place of its own."""
        released = self._rows(self.path, on_bad)
        return released if self.reference_path is None else self._referenced(released, on_bad)

    def _rows(self, path: str | None, on_bad: OnBad) -> Iterator[Row]:
        if path is None and self.hub_id is not None:
            # The hub's data set is a script, which `datasets` runs no more; its files are read as they are.
            path = _from_hub(self.hub_id, f"{self.hub_config}.json", self.revision)
        if path is not None and path.endswith(".json"):
            return _json_rows(Path(path).expanduser())
        return rows(path, None, None, self.revision, self.split, on_bad)

    def _referenced(self, released: Iterator[Row], on_bad: OnBad) -> Iterator[Row]:
        references = {row.data.get("instruction"): row.data for row in self._rows(self.reference_path, on_bad)}
        for row in released:
            if (reference := references.get(row.data.get("instruction"))) is None:
                where = f"benchmark.reference_path={self.reference_path}"
                on_bad(f"{row.where}: {where} has no output for its instruction.")
                continue
            yield row._replace(data=row.data | {name: reference.get(name) for name in ("output", "generator")})

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields instruction and output; generator and dataset where there. The index is the instruction's number in
        the released order, by which the length correction knows it."""
        tags = {name: text_field(row, name, where) for name in ("generator", "dataset") if row.get(name) is not None}
        id = f"{self.split}-{index:03d}"
        return Problem(id, text_field(row, "instruction", where), text_field(row, "output", where), tags)

    @property
    def asks_judge(self) -> bool:
        return True

    def notes(self) -> tuple[str, ...]:
        """What accuracy means here, and what was not checked."""
        return (
            "Accuracy: the share of answers that judge=alpaca_eval prefers to the reference's; any other judge leaves "
            "them ungradable. Win rates as published: stage=preferences.",
            "AlpacaEval 2.0 by the alpaca_eval package; equality with published rates is not checked.",
        )

    def prompt(self, problem: Problem) -> str:
        """The instruction alone."""
        return problem.question

    def answer(self, text: str) -> str | None:
        """The text itself, if it has any."""
        return text.strip() or None

    def canonical(self, answer: str) -> str:
        """The answer: two texts count as one answer only where they are the same."""
        return answer.strip()

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Ungradable without a judge. The text is the answer; a grade does not repeat it."""
        reason = "empty text" if self.answer(text) is None else "needs judge"
        return Grade(problem.id, chain, "ungradable", None, reason)

    def gold_text(self, problem: Problem) -> str:
        """The reference's output: it ties with itself, and no shorter text is known to win."""
        return problem.gold


def judged(problem: str, chain: int, preference: float | None) -> Grade:
    """Correct if the judge prefers the answer to the reference's: preference, the probability of that, above 1/2."""
    if preference is None:
        return Grade(problem, chain, "ungradable", None, "no preference read")
    return Grade(
        problem, chain, "correct" if preference > 0.5 else "wrong", None, f"preference {preference:.3f}", "whole text"
    )


def instruction_index(problem: str) -> int:
    """The instruction's number in the released order, off its id."""
    return int(problem.rpartition("-")[2])


def _json_rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise ValueError(f"benchmark.path={path}: no such file; set benchmark.path to a file, or to null for the hub.")
    try:
        released = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({str(error)[:200]}).") from error
    if not isinstance(released, list) or not all(isinstance(row, dict) for row in released):
        raise ValueError(f"{path}: must be one list of objects (instruction, output, generator, dataset).")
    return (Row(number, f"{path}:item {number}", row) for number, row in enumerate(released))


def _from_hub(hub_id: str, name: str, revision: str) -> str:
    try:
        from huggingface_hub import hf_hub_download

        return hf_hub_download(hub_id, name, repo_type="dataset", revision=revision)
    except Exception as error:  # the library raises a dozen kinds
        raise ValueError(
            f"benchmark.hub_id={hub_id}: {name} at revision {revision!r} could not be had ({type(error).__name__}). "
            "Without network set benchmark.path to a local copy of it."
        ) from error
