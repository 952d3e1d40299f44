"""What a benchmark is: problems, the prompt of each, and a grade for any text."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, Literal, final, get_args

from reasoning_lab.benchmark.rows import OnBad, Row, rows, stop
from reasoning_lab.records import Grade, Problem

Finish = Literal["stop", "cap"]
"""How a completion ended: by itself, or cut off at `max_new_tokens`."""
OnBadRow = Literal["stop", "skip"]


def require(holds: bool, field: str, value: object, rule: str) -> None:
    """A ValueError that names the field, its value and the rule, unless the rule holds."""
    if not holds:
        raise ValueError(f"benchmark.{field}={value!r}: {rule}")


def require_one_of(choices: object, field: str, value: object) -> None:
    """A ValueError that names the field, its value and the choices, unless the value is one of a Literal's."""
    known = get_args(choices)
    require(value in known, field, value, f"must be one of {', '.join(map(str, known))}.")


def is_count(value: object, at_least: int) -> bool:
    """Whether the value is an int (no bool) of at least `at_least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


@dataclass(frozen=True, kw_only=True)
class Benchmark(ABC):
    """The contract. A benchmark is its own configuration: a frozen dataclass, one field per line of its yaml.

    Everything but `load` is a pure function of its arguments and the fields. A change of problems, prompts or
    grading bumps `version`, so that results of two meanings never share a table.
    """

    version: ClassVar[int]
    """Bumped when problems, prompts or grading change."""
    citation: ClassVar[str]
    """Who made the problems, and where."""
    licence: ClassVar[str]
    """Licence of the problems."""

    n_problems: int | None
    """How many problems; None is all."""
    max_new_tokens: int
    """Cap on the length of a completion [tokens]."""

    def __post_init__(self) -> None:
        """Check the bounds; a ValueError names the field, its value and what is allowed."""
        require(
            self.n_problems is None or is_count(self.n_problems, 1),
            "n_problems",
            self.n_problems,
            "must be ≥ 1; null takes all.",
        )
        require(is_count(self.max_new_tokens, 1), "max_new_tokens", self.max_new_tokens, "must be ≥ 1 token.")

    @property
    def grading(self) -> str:
        """Identity of the grading: class and version here, and whatever field else can change a verdict."""
        return f"{type(self).__name__} {self.version}"

    @abstractmethod
    def load(self) -> list[Problem]:
        """The problems, ids all different; the same list at every call. ValueError if they can't be had."""

    @property
    def asks_judge(self) -> bool:
        """Whether the experiment's judge has the first word on an answer; `grade` then speaks where it has none."""
        return False

    def check_grading(self) -> None:  # noqa: B027 -- most need nothing
        """ValueError where answers can't be graded here (no sandbox ...), so that nothing is drawn in vain."""

    def notes(self) -> tuple[str, ...]:
        """What must stand in the footer of every table of this benchmark."""
        return ()

    def skipped(self) -> tuple[str, ...]:
        """The rows that `load` leaves out for being bad, one message each: file and line, and what is wrong."""
        return ()

    @abstractmethod
    def prompt(self, problem: Problem) -> str:
        """The text that a base model continues, or the user's turn; chat templates are applied elsewhere."""

    @abstractmethod
    def answer(self, text: str) -> str | None:
        """The answer read off a completion, None when there is none. Majority votes read it too."""

    @abstractmethod
    def canonical(self, answer: str) -> str:
        """The form under which answers vote: texts with one form count as one answer (5.0 and 5)."""

    @abstractmethod
    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """The verdict on one completion. Any text gets a grade with a named reason; none raises or hangs."""

    @abstractmethod
    def behaviours(self, text: str) -> dict[str, int]:
        """How often known reasoning behaviours occur in a completion; the same keys for any text, none where the
        benchmark knows none. `check` and `backtrack` have columns of the table."""

    def truth(self, sentence: str) -> str | None:
        """The true category of a sentence of reasoning, where a benchmark knows it; None else."""
        return None

    @abstractmethod
    def gold_text(self, problem: Problem) -> str:
        """The shortest completion that is graded correct."""


@dataclass(frozen=True, kw_only=True)
class RowBenchmark(Benchmark):
    """A benchmark whose problems are the rows of a local file or of a data set of the Hugging Face hub."""

    path: str | None
    """Local file (.jsonl, .jsonl.gz, .parquet or .csv); None reads the hub."""
    hub_id: str | None
    """Data set on the hub; None where there is only the file."""
    hub_config: str | None
    """Configuration of the data set; None where it has but one."""
    revision: str
    """Commit (or branch) of the data set."""
    split: str
    """Split of the data set; a local file is one split already, and only its ids use the name."""
    subset_seed: int
    """Which `n_problems` are taken; n of one seed are the first n of any larger number."""
    on_bad_row: OnBadRow = "stop"
    """stop: a bad row is an error; skip: it is left out, and named by `skipped`."""

    def __post_init__(self) -> None:
        """Check the bounds; a ValueError names the field, its value and what is allowed."""
        super().__post_init__()
        path_ok = self.path is None or (isinstance(self.path, str) and bool(self.path.strip()))
        require(path_ok, "path", self.path, "must name a file; null reads the hub.")
        for field in ("hub_id", "revision", "split"):
            value = getattr(self, field)
            named = isinstance(value, str) and bool(value.strip())
            require(named or (field == "hub_id" and value is None), field, value, "must be a name, not empty.")
        require_one_of(OnBadRow, "on_bad_row", self.on_bad_row)
        require(is_count(self.subset_seed, 0), "subset_seed", self.subset_seed, "must be an integer ≥ 0.")

    @abstractmethod
    def problem(self, row: Mapping[str, Any], index: int, where: str) -> Problem:
        """The problem of one row.

        `index` counts the rows from 0, `where` names the row for the reader (file:line). A bad row is a ValueError
        that names `where` and the field, whatever the row holds.
        """

    def rows(self, on_bad: OnBad) -> Iterator[Row]:
        """The rows of the file or the hub; `on_bad` hears of those that can't be read."""
        return rows(self.path, self.hub_id, self.hub_config, self.revision, self.split, on_bad)

    def eligible(self, problems: list[Problem]) -> list[Problem]:
        """The problems that count, before `n_problems` takes its part: all, unless a benchmark leaves some out."""
        return problems

    @final
    def load(self) -> list[Problem]:
        """All rows in their order, or the subset of `n_problems`.

        ValueError on a bad row or an id met twice (`on_bad_row=skip` leaves them out), none at all, too few.
        """
        problems = self.eligible(self._read([]))
        if not problems:
            raise ValueError(f"{self.path or self.hub_id}: no problem is in it; is it the right file or split?")
        require(
            self.n_problems is None or self.n_problems <= len(problems),
            "n_problems",
            self.n_problems,
            f"there are {len(problems)} problems; set at most that, or null for all.",
        )
        return problems if self.n_problems is None else subset(problems, self.n_problems, self.subset_seed)

    @final
    def skipped(self) -> tuple[str, ...]:
        """The bad rows of the whole file, whatever `n_problems`; it is read for them."""
        skipped: list[str] = []
        if self.on_bad_row == "skip":
            self._read(skipped)
        return tuple(skipped)

    def _read(self, skipped: list[str]) -> list[Problem]:
        on_bad = skipped.append if self.on_bad_row == "skip" else stop
        found: dict[str, Problem] = {}
        for row in self.rows(on_bad):
            try:
                problem = self.problem(row.data, row.number, row.where)
            except ValueError as error:
                on_bad(str(error))
                continue
            if problem.id in found:
                on_bad(f"{row.where}: problem id {problem.id!r} was met before; ids must be different.")
            else:
                found[problem.id] = problem
        return list(found.values())


def subset(problems: Sequence[Problem], n: int, seed: int) -> list[Problem]:
    """The first n problems in the order of BLAKE2b(seed, id).

    It depends on the ids and not on the order of the file, and grows at its end: n of a seed are the first n of
    any larger subset, so results of a small run are part of the large one.
    """

    def key(problem: Problem) -> bytes:
        return blake2b(repr((seed, problem.id)).encode(), digest_size=16).digest()

    return sorted(problems, key=key)[:n]
