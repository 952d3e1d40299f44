"""The charts' labels."""

from reasoning_lab.report import Report
from reasoning_lab.report.views import theme
from reasoning_lab.report.views.arms import summarise
from reasoning_lab.report.views.charts.cost import draw_cost
from reasoning_lab.report.views.charts.kit import house_style


def test_labels_of_the_cost_chart_do_not_overlap(report: Report) -> None:
    rows = summarise(report)
    with house_style("test"):
        figure = draw_cost(rows, theme.arm_inks(report))
        figure.draw_without_rendering()
    texts = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(texts) == len(rows)
    assert not [(i, j) for i, a in enumerate(texts) for j, b in enumerate(texts[:i]) if a.overlaps(b)]
