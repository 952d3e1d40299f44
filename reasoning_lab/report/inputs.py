"""What a report is made of: arms, problems, and the words that only the caller knows."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from reasoning_lab.records import Completion, Grade, Problem


@dataclass(frozen=True)
class ArmResult:
    """One row of the table: a policy and a sampler on all problems."""

    name: str
    """Key of the arm: file-safe, unique."""
    label: str
    """What the reader sees."""
    role: str
    """Which model answered (base, thinking, grpo, hybrid ...)."""
    sampler: str
    """One line on how it was sampled."""
    completions: list[Completion]
    grades: list[Grade]
    checks: float | None = None
    """Mean number of check sentences per answer."""
    backtracks: float | None = None
    """Mean number of backtracking sentences per answer."""
    scored: list[tuple[float, float]] | None = None
    """Per answer, (log p per token, mean negative entropy) of its text under the BASE model [nats]."""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.completions:
            raise ValueError(f"Arm {self.name!r} has no completions; leave it out of the report.")
        drawn = {(c.problem, c.chain) for c in self.completions}
        graded = {(g.problem, g.chain) for g in self.grades}
        if len(drawn) != len(self.completions) or len(graded) != len(self.grades):
            raise ValueError(f"Arm {self.name!r} has two completions or two grades for one (problem, chain).")
        if odd := sorted(drawn ^ graded):
            raise ValueError(f"Arm {self.name!r}: {len(odd)} completions without grade or grades without completion, "
                             f"the first is (problem, chain) = {odd[0]}; grade all of them.")  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A number of the paper beside ours, and why they differ."""

    what: str
    """Model, benchmark and method."""
    published: str
    """The number as printed, with its source."""
    arm: str | None
    """Our arm to compare with; None when there is none."""
    difference: str
    """Why our number is not expected to be the same."""


@dataclass(frozen=True)
class ReportInput:
    """Everything a report shows."""

    title: str
    arms: list[ArmResult]
    """In the order of the table; all over the same problems."""
    problems: dict[str, Problem]
    """Problem id -> question, gold and tags."""
    decode: Callable[[tuple[int, ...]], str]
    """Token ids -> text, for the suffixes of moves."""
    base: str
    """Name of the arm that all others are compared with."""
    power: str
    """Name of the arm that the headline is about."""
    rl: str | None = None
    """Name of the RL-trained arm, when there is one."""
    passk: list[ArmResult] = field(default_factory=list)
    """Arms with at least two samples a problem, all over the same problems (maybe fewer than in the table)."""
    question: str = "Which way of sampling answers best?"
    grpo_length: float | None = None
    """Mean length of a completion during GRPO [tokens]; None takes the RL arm's mean length."""
    published: list[Published] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)
    """Provenance, a line each: model, numerics, seeds, versions, caveats."""
    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError(f"Arm names repeat: {sorted(names)}.")
        for role, name in (("base", self.base), ("power", self.power), ("rl", self.rl)):
            if name is not None and name not in names:
                raise ValueError(f"{role}={name!r} is not an arm; the arms are {names}.")
        for arm in self.passk:
            _require_repeats(arm)
        for arms in (self.arms, self.passk):
            _require_same_problems(arms, self.problems)

    def arm(self, name: str) -> ArmResult:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def problem_ids(self) -> list[str]:
        """Ids of the table's problems in natural order (p2 before p10)."""
        return sorted({c.problem for c in self.arms[0].completions}, key=natural_key)


def _require_repeats(arm: ArmResult) -> None:
    counts: dict[str, int] = {}
    for completion in arm.completions:
        counts[completion.problem] = counts.get(completion.problem, 0) + 1
    if few := [problem for problem, n in counts.items() if n < 2]:
        raise ValueError(f"passk arm {arm.name!r} has one sample of problem {few[0]!r}; pass@k needs two or more.")


def _require_same_problems(arms: list[ArmResult], problems: dict[str, Problem]) -> None:
    for arm in arms:
        ids = {c.problem for c in arm.completions}
        if unknown := sorted(ids - set(problems)):
            raise ValueError(f"Arm {arm.name!r} answers problem {unknown[0]!r}, which is not in problems.")
        if odd := sorted(ids ^ {c.problem for c in arms[0].completions}):
            raise ValueError(
                f"Arms {arms[0].name!r} and {arm.name!r} differ in {len(odd)} problems, the first is {odd[0]!r}; "
                "a paired table needs the same problems in every arm."
            )


def natural_key(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key with numbers compared as numbers: p2 before p10."""
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
                 for part in re.split(r"(\d+)", text) if part)  # fmt: skip


def visible(text: str) -> str:
    """The text with what no page, SVG or UTF-8 file may hold (controls, lone surrogates) replaced by U+FFFD."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def finite(value: float | None) -> float | None:
    """The value, or None when it is no number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None
