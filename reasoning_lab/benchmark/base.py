"""What a benchmark is: problems, the prompt of each, and a grade for any text."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import ClassVar, Literal, final

from reasoning_lab.benchmark.rows import OnBad, Row, rows, stop
from reasoning_lab.checks import is_count, require, require_count, require_one_of
from reasoning_lab.records import Grade, Problem

Finish = Literal["stop", "cap"]
"""How a completion ended: by itself, or cut off at `max_new_tokens`."""
OnBadRow = Literal["stop", "skip"]
MOST_PROBLEMS = 1_000_000
"""Of one run: they are held in memory, and no benchmark comes near."""


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
    runs_programs: ClassVar[bool] = False
    """Whether `grade` runs what a model wrote."""

    n_problems: int | None
    """How many problems; None is all."""
    max_new_tokens: int
    """Cap on the length of a completion [tokens]."""

    def __post_init__(self) -> None:
        n = self.n_problems
        require(n is None or is_count(n, 1), "n_problems", n, "a whole number of at least 1", "null takes all")
        require(n is None or n <= MOST_PROBLEMS, "n_problems", n, f"at most {MOST_PROBLEMS:,}", "lower n_problems")
        require_count(self, "max_new_tokens")

    @property
    def grading(self) -> str:
        """Identity of all that can change the verdict on a text, its problem given: module, class and version here, and
        by its subclass every field that `grade` reads."""
        return self._class_and_version

    @property
    def reading(self) -> str:
        """Identity of all that can change the answer by which a text votes: module, class and version here, and by its
        subclass every field that `answer` or `canonical` reads."""
        return self._class_and_version

    @property
    def _class_and_version(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__} {self.version}"

    @property
    def id_space(self) -> str:
        """Equal ids of two benchmarks with one id space are one problem: here those of one class; by its subclass what
        else its ids are relative to."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @property
    def is_local(self) -> bool:
        """Whether `load` needs no network."""
        return True

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

    def behaviours(self, text: str) -> dict[str, int]:
        """How often known reasoning behaviours occur in a completion; the same keys for any text. None are known of
        free text; `check` and `backtrack` have columns of the table."""
        del text
        return {}

    def truth(self, sentence: str) -> str | None:
        """The true category of a sentence of reasoning, where a benchmark knows it; None else."""
        del sentence
        return None

    @abstractmethod
    def gold_text(self, problem: Problem) -> str:
        """The shortest completion that is graded correct."""


@cache
def problems_of(benchmark: Benchmark) -> tuple[Problem, ...]:
    """The benchmark's problems, read once in a process."""
    return tuple(benchmark.load())


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
        super().__post_init__()
        require_names(self, "revision", "split")
        require_names(self, "path", "hub_id", or_null=True)
        require_one_of(OnBadRow, "on_bad_row", self.on_bad_row)
        require_seed(self, "subset_seed")

    @property
    def id_space(self) -> str:
        """The class with its file or data set: many rows are named by their place in it."""
        where = self.path or f"{self.hub_id} {self.hub_config} {self.split}"
        return f"{super().id_space} {where}"

    @property
    def is_local(self) -> bool:
        """With a file."""
        return self.path is not None

    @abstractmethod
    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
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
        if self.n_problems is None:
            return problems
        most = f"at most {len(problems)}, the number of problems"
        require(self.n_problems <= len(problems), "benchmark.n_problems", self.n_problems, most, "null takes all")
        return subset(problems, self.n_problems, self.subset_seed)

    @final
    def skipped(self) -> tuple[str, ...]:
        """The bad rows of the whole file, whatever `n_problems`; it is read for them."""
        skipped: list[str] = []
        if self.on_bad_row == "skip":
            self._read(skipped)
        return tuple(skipped)

    def _read(self, skipped: list[str]) -> list[Problem]:
        on_bad = skipped.append if self.on_bad_row == "skip" else stop
        problems: dict[str, Problem] = {}
        for row in self.rows(on_bad):
            try:
                problem = self.problem(row.data, row.number, row.where)
            except ValueError as error:
                on_bad(str(error))
                continue
            if problem.id in problems:
                on_bad(f"{row.where}: problem id {problem.id!r} was met before; ids must be different.")
            else:
                problems[problem.id] = problem
        return list(problems.values())


def require_names(benchmark: Benchmark, *fields: str, or_null: bool = False) -> None:
    """Each of the fields is a text that is not blank."""
    bound = "a name, or null" if or_null else "a name"
    for field in fields:
        value = getattr(benchmark, field)
        named = isinstance(value, str) and bool(value.strip())
        require(named or (or_null and value is None), field, value, bound, f"an empty one names nothing: set {field}")


def require_seed(benchmark: Benchmark, field: str, or_null: bool = False) -> None:
    """The field is a whole number of at least 0."""
    value = getattr(benchmark, field)
    bound = "a whole number of at least 0, or null" if or_null else "a whole number of at least 0"
    require(is_count(value, 0) or (or_null and value is None), field, value, bound, "any such number will do")


def subset(problems: Sequence[Problem], n: int, seed: int) -> list[Problem]:
    """The first n problems in the order of BLAKE2b(seed, id).

    It depends on the ids and not on the order of the file, and grows at its end: n of a seed are the first n of
    any larger subset, so results of a small run are part of the large one.
    """

    def key(problem: Problem) -> bytes:
        return blake2b(repr((seed, problem.id)).encode(), digest_size=16).digest()

    return sorted(problems, key=key)[:n]
