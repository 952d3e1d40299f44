"""Whether two sets of problems share some: what is fitted on a problem can't be measured on it."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import category, normalize

from reasoning_lab.records import Problem

_ALIKE = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "$": None})
_OPTION = re.compile(r"\s*[(\[]?[A-J][)\].:]\s+(?P<text>.*)")
"""A line with an option and its letter."""
_FRAME = re.compile(r"^(?:question|problem|q)\d*[:.]|[?.:]+$")


class Shared(NamedTuple):
    """A problem of one set that is in the other."""

    one: Problem
    other: Problem


class _Asked(NamedTuple):
    """A question, its options apart."""

    stem: str
    options: frozenset[str]

    def is_that_of(self, other: "_Asked") -> bool:
        """Whether one is a copy of the other: the same stem, and most of the options where both have some."""
        if self.stem != other.stem:
            return False
        fewer = min(len(self.options), len(other.options))
        return fewer == 0 or 2 * len(self.options & other.options) > fewer


def same_form(text: str) -> str:
    """The form in which two copies of a text are equal: compatible and invisible characters, kinds of quotes and
    dashes, dollars, layout and case do not count, nor a "Question:" in front or a mark at the end."""
    plain = normalize("NFKC", text).translate(_ALIKE)
    shown = "".join(sign for sign in plain if not sign.isspace() and category(sign) != "Cf")
    return _FRAME.sub("", shown.casefold())


def shared_problems(ones: Sequence[Problem], others: Sequence[Problem], are_named_alike: bool) -> list[Shared]:
    """The problems of the first set that the second has too, in the first's order.

    Two problems are one if their questions are (and most of their options, in any order), whatever they are called; or
    their ids, where the sets name problems alike (`Benchmark.id_space`): numbers of two files mean nothing.
    """
    by_stem: dict[str, list[tuple[_Asked, Problem]]] = defaultdict(list)
    for problem in others:
        asked = _asked(problem)
        by_stem[asked.stem].append((asked, problem))
    by_id = {problem.id: problem for problem in others} if are_named_alike else {}
    found = []
    for problem in ones:
        asked = _asked(problem)
        copies = (other for each, other in by_stem.get(asked.stem, ()) if asked.is_that_of(each))
        if (copy := next(copies, None) or by_id.get(problem.id)) is not None:
            found.append(Shared(problem, copy))
    return found


def _asked(problem: Problem) -> _Asked:
    """The text before the first lettered line, and the lettered lines."""
    lines = problem.question.splitlines()
    first = next((i for i, line in enumerate(lines) if _OPTION.fullmatch(line)), len(lines))
    options = (found["text"] for line in lines[first:] if (found := _OPTION.fullmatch(line)))
    return _Asked(same_form("\n".join(lines[:first])), frozenset(map(same_form, options)))
