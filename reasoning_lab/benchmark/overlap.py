"""Whether two sets of problems share some: what is fitted on a problem can't be measured on it."""

from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import normalize

from reasoning_lab.benchmark.multiple_choice import ChoiceProblem
from reasoning_lab.records import Problem


class Shared(NamedTuple):
    """A problem of one set that is in the other."""

    one: Problem
    other: Problem


def same_form(text: str) -> str:
    """The form in which two copies of a text are equal: compatible characters, layout and case do not count."""
    return "".join(normalize("NFKC", text).split()).casefold()


def shared_problems(ones: Sequence[Problem], others: Sequence[Problem], are_named_alike: bool) -> list[Shared]:
    """The problems of the first set that the second has too, in the first's order.

    Two problems are one if their questions are (and their options, in any order), whatever they are called; or their
    ids, where the sets name problems alike (`Benchmark.id_space`): numbers of two files mean nothing.
    """
    by_question = {_question(problem): problem for problem in reversed(others)}
    by_id = {problem.id: problem for problem in others} if are_named_alike else {}
    found = ((problem, by_question.get(_question(problem)) or by_id.get(problem.id)) for problem in ones)
    return [Shared(problem, copy) for problem, copy in found if copy is not None]


def _question(problem: Problem) -> tuple[str, ...]:
    """The question, of one with options without their order: they stand in its text."""
    text = same_form(problem.question)
    options = sorted(map(same_form, problem.options)) if isinstance(problem, ChoiceProblem) else []
    for option in sorted(options, key=len, reverse=True):
        text = text.replace(option, "")
    return (text, *options)
