"""The best cell of a grid."""

from reasoning_lab.report.views.grid import Grid

RULE = "the size whose score lies farthest above the chord from the first to the last size"


def test_ties_go_to_the_smaller_size_then_the_lower_layer() -> None:
    scores = {("2", "10"): [0.5 + 1e-12], ("10", "5"): [0.5], ("3", "5"): [0.4, 0.6], ("3", "20"): [0.5]}
    assert Grid(scores, {}, RULE).best == ("3", "5")
