"""The reward that the stages pass to training, as tests need it."""

from reasoning_lab.benchmark.arithmetic import Arithmetic, problem_of
from reasoning_lab.benchmark.grammar import WordProblem
from reasoning_lab.training.thinking import graded

BENCHMARK = Arithmetic(n_problems=1, problem_seed=0, max_new_tokens=220)


def exact_answer(problem: WordProblem, completion: str) -> float:
    """1 if the grader of the embedded benchmark finds the response right."""
    return graded(BENCHMARK.grade)(problem_of(problem), completion)
