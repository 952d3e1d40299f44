"""Who answered what rightly: the input of every estimate."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from reasoning_lab.records import Grade
from reasoning_lab.statistics.intervals import Floats

Outcomes = Mapping[str, Sequence[bool]]
"""Problem id -> correctness (True = correct) of its samples, which are independent given the problem."""
ArmOutcomes = Outcomes | Sequence[Outcomes]
"""An arm's outcomes; of a random control one mapping per draw of it (of its vectors, say): what is drawn once for all
problems is no sample of a problem."""


def outcomes(grades: Iterable[Grade]) -> dict[str, list[bool]]:
    """Problem id -> correctness of its samples, in the order of the grades."""
    grouped: dict[str, list[bool]] = {}
    for grade in grades:
        grouped.setdefault(grade.problem, []).append(grade.correct)
    return grouped


def answers(grades: Iterable[Grade]) -> dict[str, list[tuple[str | None, bool]]]:
    """Problem id -> (answer, correctness) of its samples: the input of `calibration`."""
    grouped: dict[str, list[tuple[str | None, bool]]] = {}
    for grade in grades:
        grouped.setdefault(grade.problem, []).append((grade.answer, grade.correct))
    return grouped


def each_draw(results: ArmOutcomes) -> tuple[Outcomes, ...]:
    """One mapping per draw, one for an arm that was drawn once; ValueError when there is nothing."""
    draws = (results,) if isinstance(results, Mapping) else tuple(results)
    if not draws or not draws[0]:
        raise ValueError("No problems: an estimate needs at least one graded problem.")
    return draws


def problem_means(results: Outcomes) -> Floats:
    """Share of correct samples per problem, problems in the mapping's order."""
    if not results:
        raise ValueError("No problems: an estimate needs at least one graded problem.")
    if empty := [problem for problem, samples in results.items() if not samples]:
        raise ValueError(f"Problem {empty[0]!r} has no samples; leave it out or grade it.")
    return np.array([np.mean(samples) for samples in results.values()], dtype=np.float64)


def means_by_draw(results: ArmOutcomes, order: Iterable[str] | None = None) -> Floats:
    """Share of correct samples of [problem, draw], problems in that order, else the first draw's.

    ValueError where draws or order differ in their problems.
    """
    draws = each_draw(results)
    order = list(draws[0] if order is None else order)
    for draw in draws:
        if odd := sorted(set(draw) ^ set(order)):
            raise ValueError(
                f"{len(odd)} problems are in one arm only, the first is {odd[0]!r}; pair the same problems."
            )
    return np.stack([problem_means({problem: draw[problem] for problem in order}) for draw in draws], axis=1)


def is_single(results: ArmOutcomes) -> bool:
    """Whether every problem has exactly one sample."""
    draws = each_draw(results)
    return len(draws) == 1 and all(len(samples) == 1 for samples in draws[0].values())
