"""Colours: legible on both pages, and told apart without full colour vision."""

from itertools import combinations

import numpy as np
import pytest

from reasoning_lab.report import Report
from reasoning_lab.report.views import theme
from reasoning_lab.report.views.swatches import MAX_DISTINCT, TINTS, swatch


def test_inks_are_legible_on_both_pages(report: Report) -> None:
    inks = theme.arm_inks(report)
    assert len({(ink.light, ink.marker) for ink in inks.values()}) == len(report.arms)
    for ink in inks.values():
        assert theme.contrast(ink.light, theme.BACKGROUND.light) >= 4.5, ink
        assert theme.contrast(ink.dark, theme.BACKGROUND.dark) >= 4.5, ink
    for ink in (theme.TEXT, theme.FAINT):
        assert theme.contrast(ink.light, "#f6f7f9") >= 4.5 and theme.contrast(ink.dark, "#1b1f26") >= 4.5
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)


def test_fifty_categories_look_different_and_stay_readable() -> None:
    assert MAX_DISTINCT >= 50 and len({swatch(i) for i in range(50)}) == 50
    for tint in TINTS:
        for colour in (tint.light, tint.light_pattern):
            assert theme.contrast(colour, theme.TEXT.light) >= 4.5, tint
        for colour in (tint.dark, tint.dark_pattern):
            assert theme.contrast(colour, theme.TEXT.dark) >= 4.5, tint


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear sRGB, D65."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(matrix @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_tints_differ_without_full_colour_vision() -> None:
    """Severe protanopia and deuteranopia: Machado et al. 2009, Table 1."""
    views = (
        np.eye(3),
        np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
        np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    )
    for colours in ([t.light for t in TINTS], [t.dark for t in TINTS]):
        channels = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        for view in views:
            seen = [_lab(np.clip(view @ c, 1e-6, 1)) for c in linear]
            closest = min(
                combinations(range(len(seen)), 2), key=lambda p: float(np.linalg.norm(seen[p[0]] - seen[p[1]]))
            )
            assert np.linalg.norm(seen[closest[0]] - seen[closest[1]]) >= 11, [colours[i] for i in closest]
