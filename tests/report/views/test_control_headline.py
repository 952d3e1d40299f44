"""What is said of a hybrid is decided by intervals."""

import pytest

from reasoning_lab import statistics as st
from reasoning_lab.report import HybridReport
from reasoning_lab.report.views.control_headline import controls_headline, gap_words
from reasoning_lab.report.views.controls import control_rows
from tests.report import hybrid_synthetic


def test_bounds_that_say_nothing_are_printed_so() -> None:
    assert gap_words(st.Interval(0.5, float("-inf"), float("inf"))) == "50.0 [unbounded, unbounded]"
    assert gap_words(st.Interval(-0.031, -0.5, 1.25)) == "−3.1 [−50.0, 125.0]"


@pytest.mark.parametrize(
    ("null", "rival", "words"),
    [
        ("w" * 30, "c" * 30, ("; clearly above the one null control", "clearly below rival (−33.3 points")),
        (
            "c" * 19 + "w" * 11,
            "w" * 30,
            ("not clearly above the one null control", "clearly above rival (+66.7 points"),
        ),
        ("w" * 30, "c" * 20 + "w" * 10, ("; clearly above the one", "no clear difference from rival (+0.0 points")),
    ],
)
def test_the_headline_is_decided_by_intervals_and_names_every_rival(
    null: str, rival: str, words: tuple[str, ...]
) -> None:
    made = hybrid_synthetic.small(
        base=["w"] * 30, hybrid=["c"] * 20 + ["w"] * 10, thinking=["c"] * 30, null_a=list(null), rival=list(rival)
    )
    said = controls_headline(made, control_rows(made))
    assert "Hybrid recovers 66.7 [" in said[0]
    assert all(part in said[0] for part in words), said[0]
    assert ("not clearly different from null_a" in " ".join(said)) == (null[0] == "c")


def test_the_headline_gives_the_draws_of_random_controls(given: HybridReport) -> None:
    said = " ".join(controls_headline(given, control_rows(given)))
    assert "norm-matched random vectors 2, random category 2, random positions, matched rate 2" in said
