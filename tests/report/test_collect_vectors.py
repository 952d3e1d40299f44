"""Vectors that nothing was learned for are named: by hand."""

import pytest

from reasoning_lab.report.collect.vectors import untrained_words, vector_note
from reasoning_lab.steering.vectors.base import CategoryLog, VectorLog


def log(*steps: int, norm: float = 1.0, bias: int | None = None, rate: float = 0.01, skipped: str = "") -> VectorLog:
    each = tuple(CategoryLog(c, 9, 8, 1, skipped, best_step=step, norm=norm) for c, step in enumerate(steps))
    of_all = None if bias is None else CategoryLog(-1, 9, 8, 1, best_step=bias, norm=norm)
    return VectorLog("Venhoff2025", 3, 20.0, rate, each, of_all)


END = ": no training step had a lower loss, nothing was learned there."


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (log(5, 10), ""),
        (log(5, 10, bias=5), ""),
        (log(0, 0, rate=0.0), ""),  # nothing is trained
        (log(0, 0, skipped="too few"), ""),
        (log(5, 0), "The vector of category 1 kept its random start" + END),
        (log(0, 5, 0), "The vectors of categories 0, 2 each kept its random start" + END),
        (log(5, 0, bias=0), "The bias and the vector of category 1 each kept its random start" + END),
        (log(5, bias=0), "The bias kept its random start" + END),
        (log(0, norm=0.0), "The vector of category 0 kept its start, zero" + END),
    ],
)
def test_untrained_vectors_are_named(given: VectorLog, words: str) -> None:
    assert untrained_words(given) == words


def test_a_vector_says_what_is_wrong_with_it() -> None:
    (none,) = log(0, skipped="too few").categories
    assert vector_note(log(0, skipped="too few"), none) == "too few"
    trained, kept = log(5, 0).categories
    assert vector_note(log(5, 0), trained) == ""
    assert vector_note(log(5, 0), kept) == "kept its random start: no step had a lower loss"
