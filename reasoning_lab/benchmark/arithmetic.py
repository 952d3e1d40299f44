"""The embedded benchmark: problems of the corpus grammar whose arithmetic no training stage has seen."""

from dataclasses import dataclass
from typing import ClassVar, final

from reasoning_lab import corpus
from reasoning_lab.benchmark.base import Benchmark, Finish, is_count, require
from reasoning_lab.records import Grade, Problem


@final
@dataclass(frozen=True, kw_only=True)
class Arithmetic(Benchmark):
    """Word problems of 2 to 6 operations on a running count, made on the spot: no file, no network.

    The grammar has endless problems, so that `n_problems` is always a number; the first m of n problems are the m
    problems of a smaller run. Tags: `length` (the number of operations) and `long_tail` (an operand seldom trained on).
    """

    version: ClassVar[int] = 1
    citation: ClassVar[str] = "this project, reasoning_lab/corpus.py"
    licence: ClassVar[str] = "the project's own"

    n_problems: int
    """How many problems; at least 1."""
    problem_seed: int
    """Which held-out problems are made."""

    def __post_init__(self) -> None:
        """Check the bounds; a ValueError names the field, its value and what is allowed."""
        require(is_count(self.n_problems, 1), "n_problems", self.n_problems, "must be ≥ 1; the problems are endless.")
        require(is_count(self.problem_seed, 0), "problem_seed", self.problem_seed, "must be an integer ≥ 0.")
        super().__post_init__()

    def load(self) -> list[Problem]:
        """The first `n_problems` held-out problems of the seed; the id is the arithmetic ("42-5*2")."""
        return [_problem(found) for found in corpus.heldout_problems(self.n_problems, self.problem_seed)]

    def prompt(self, problem: Problem) -> str:
        """The question and a newline, as the embedded pair was trained; it has no chat template."""
        return problem.question + "\n"

    def answer(self, text: str) -> str | None:
        """The integer that the last sentence concludes; None if it concludes nothing."""
        try:
            found = corpus.final_answer(text.rstrip())
        except ValueError:  # Python reads no integer of more than 4,300 digits; no count has so many
            return None
        return None if found is None else str(found)

    def canonical(self, answer: str) -> str:
        """The answer itself, for it is written one way."""
        return answer

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Correct if the concluded integer is the reference, however it was come by; `finish` does not matter."""
        del finish
        answer = self.answer(text)
        if answer is None:
            reason = "no conclusion" if text.strip() else "empty text"
            return Grade(problem.id, chain, "ungradable", None, reason)
        return Grade(problem.id, chain, "correct" if answer == problem.gold else "wrong", answer, "conclusion")

    def behaviours(self, text: str) -> dict[str, int]:
        """Check and backtracking sentences, by the grammar."""
        return {kind: corpus.n_sentences(text, kind) for kind in ("check", "backtrack")}

    def gold_text(self, problem: Problem) -> str:
        """The sentence that concludes the reference."""
        return f"The answer is {problem.gold}."


def _problem(found: corpus.WordProblem) -> Problem:
    return Problem(
        id=str(found.start) + "".join(f"{symbol}{operand}" for symbol, operand in found.ops),
        question=found.text.rstrip("\n"),
        gold=str(found.answer),
        tags={"length": str(found.length), "long_tail": "yes" if found.long_tail else "no"},
    )
