"""Numbers and names in words."""

from reasoning_lab import statistics as st
from reasoning_lab.report.words import natural_key, relation


def test_relation() -> None:
    assert relation(st.Interval(0.1, 0.0, 0.2)) == "no clear difference", "touching zero is not clear"
    assert relation(st.Interval(0.1, 0.01, 0.2)) == "clearly above"
    assert relation(st.Interval(-0.1, -0.2, -0.01)) == "clearly below"


def test_natural_order() -> None:
    assert sorted(["p10", "p2", "a", "p2b", "3", "p"], key=natural_key) == ["3", "a", "p", "p2", "p2b", "p10"]
