"""Numbers and names in words."""

from reasoning_lab import statistics as st
from reasoning_lab.report import words
from reasoning_lab.report.words import natural_key, relation


def compared(low: float, high: float, holm_p: float) -> st.Compared:
    return st.Compared(st.Interval((low + high) / 2, low, high), holm_p / 2, holm_p, 2, "McNemar")


def test_relation() -> None:
    assert relation(compared(0.0, 0.2, 0.01)) == "no clear difference", "touching zero is not clear"
    assert relation(compared(0.01, 0.2, 0.06)) == "no clear difference", "the exact test must agree"
    assert relation(compared(0.01, 0.2, 0.05)) == "clearly above"
    assert relation(compared(-0.2, -0.01, 0.05)) == "clearly below"


def test_what_was_tested_is_said() -> None:
    said = words.tested(compared(0.01, 0.2, 0.05))
    assert said == "+10.5 points, 95 % interval +1.0 to +20.0; McNemar p 0.025, 0.05 corrected for 2 comparisons"


def test_natural_order() -> None:
    assert sorted(["p10", "p2", "a", "p2b", "3", "p"], key=natural_key) == ["3", "a", "p", "p2", "p2b", "p10"]
