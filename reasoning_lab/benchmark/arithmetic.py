"""The embedded benchmark: problems of the corpus grammar, by default those that no training stage has seen."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from reasoning_lab.benchmark import grammar
from reasoning_lab.benchmark.base import Benchmark, Finish, require_seed
from reasoning_lab.benchmark.grading import compat
from reasoning_lab.checks import require_count, require_one_of
from reasoning_lab.records import Grade, Problem

Split = Literal["heldout", "train"]
ArithmeticGrader = Literal["conclusion", "venhoff2025"]


@final
@dataclass(frozen=True, kw_only=True)
class Arithmetic(Benchmark):
    """Word problems of 2 to 6 operations on a running count, made on the spot: no file, no network.

    The grammar has endless problems, so that `n_problems` is always a number; the first m of n problems are the m
    problems of a smaller run. Tags: `length` (the number of operations) and `long_tail` (an operand seldom trained on).
    """

    version: ClassVar[int] = 1
    citation: ClassVar[str] = "this project, reasoning_lab/benchmark/grammar.py"
    licence: ClassVar[str] = "the project's own"

    n_problems: int
    """How many problems; at least 1."""
    problem_seed: int
    """Which problems of the split are made."""
    split: Split = "heldout"
    """heldout: the test side, for every accuracy; train: the training side, for taxonomies and vectors."""
    grader: ArithmeticGrader = "conclusion"
    """conclusion: the integer that the last sentence concludes; venhoff2025: a chat model's word, else the last number
    (`grading/compat.py`), for comparison."""

    def __post_init__(self) -> None:
        require_count(self, "n_problems")  # no null here: the problems are endless
        require_seed(self, "problem_seed")
        require_one_of(Split, "split", self.split)
        require_one_of(ArithmeticGrader, "grader", self.grader)
        super().__post_init__()

    @property
    def grading(self) -> str:
        """The class, its version, and the grader where it is not ours."""
        return super().grading + ("" if self.grader == "conclusion" else f" {self.grader}")

    @property
    def asks_judge(self) -> bool:
        """With grader=venhoff2025."""
        return self.grader == "venhoff2025"

    def notes(self) -> tuple[str, ...]:
        """Who graded, where it was no rule of ours."""
        return (compat.VENHOFF2025_NOTE,) if self.asks_judge else ()

    def load(self) -> list[Problem]:
        """The first `n_problems` problems of the split and the seed; the id is the arithmetic ("42-5*2")."""
        make = grammar.heldout_problems if self.split == "heldout" else _training_problems
        return [problem_of(told) for told in make(self.n_problems, self.problem_seed)]

    def prompt(self, problem: Problem) -> str:
        """The question and a newline, as the embedded pair was trained; it has no chat template."""
        return problem.question + "\n"

    def answer(self, text: str) -> str | None:
        """The integer that the last sentence concludes; None if it concludes nothing."""
        try:
            concluded = grammar.final_answer(text.rstrip())
        except ValueError:  # Python reads no integer of more than 4,300 digits; no count has so many
            return None
        return None if concluded is None else str(concluded)

    def canonical(self, answer: str) -> str:
        """The answer itself, for it is written one way."""
        return answer

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Correct if the concluded integer is the gold, however it was come by; `finish` does not matter."""
        del finish
        if self.grader == "venhoff2025":
            return compat.grade_by_last_number(problem, text, chain)
        answer = self.answer(text)
        if answer is None:
            reason = "no conclusion" if text.strip() else "empty text"
            return Grade(problem.id, chain, "ungradable", None, reason)
        return Grade(
            problem.id, chain, "correct" if answer == problem.gold else "wrong", answer, "conclusion", "conclusion"
        )

    def behaviours(self, text: str) -> dict[str, int]:
        """Check and backtracking sentences, by the grammar."""
        return {kind: grammar.n_sentences(text, kind) for kind in ("check", "backtrack")}

    def truth(self, sentence: str) -> str | None:
        """The sentence's category in the grammar; "other" for one that the grammar does not have."""
        return grammar.sentence_category(sentence)

    def gold_text(self, problem: Problem) -> str:
        """The sentence that concludes the gold."""
        return f"The answer is {problem.gold}."


def _training_problems(n: int, seed: int) -> list[grammar.WordProblem]:
    """The first `n` different problems of the training stream of the seed; the lengths come as they fall."""
    problems: dict[object, grammar.WordProblem] = {}
    for problem in grammar.training_problems(seed):
        problems.setdefault(problem.key, problem)
        if len(problems) == n:
            break
    return list(problems.values())


def problem_of(told: grammar.WordProblem) -> Problem:
    """The benchmark's problem of the grammar's; the id is the arithmetic ("42-5*2")."""
    return Problem(
        id=str(told.start) + "".join(f"{symbol}{operand}" for symbol, operand in told.ops),
        question=told.text.rstrip("\n"),
        gold=str(told.answer),
        tags={"length": str(told.length), "long_tail": "yes" if told.long_tail else "no"},
    )
