"""Colours and marks: one per arm, the same in every chart, told apart without colour vision by marker and label.

Hues follow Okabe & Ito 2008, moved in lightness until each has a contrast of at least 3:1 to its background (WCAG
2.2, 1.4.11), separately for the light and the dark page.
"""

from collections.abc import Sequence
from typing import NamedTuple

from reasoning_lab.report.data import Report


class Ink(NamedTuple):
    """An arm's colour on the light and the dark page, and its marker."""

    light: str
    dark: str
    marker: str


BASE = Ink("#6b7280", "#9aa3b2", "o")
STUDIED = Ink("#0b6bb8", "#5cb3f0", "D")
REFERENCE = Ink("#c2500a", "#f08b4b", "s")
OTHERS = (
    ("#0a8663", "#35c79b"),
    ("#a8458a", "#e08cc5"),
    ("#977000", "#d9b23c"),
    ("#6a51c7", "#a996f5"),
    ("#b3354a", "#f2788a"),
    ("#3f7d8c", "#78c2d2"),
)
MARKERS = ("^", "v", "P", "X", "<", ">", "p", "h")

BACKGROUND = Ink("#ffffff", "#14171c", "")
TEXT = Ink("#1c2128", "#e6e9ee", "")
FAINT = Ink("#59616c", "#a0a8b4", "")
GRID = Ink("#e3e6ea", "#2d333b", "")


Inks = dict[str, Ink]
"""Arm name -> its ink."""


def turn_ink(i: int, hues: Sequence[tuple[str, str]] = OTHERS, markers: Sequence[str] = MARKERS) -> Ink:
    """The ink of the i-th of many things, hues and markers in turns."""
    return Ink(*hues[i % len(hues)], markers[i % len(markers)])


def arm_inks(report: Report) -> Inks:
    """Base, studied and reference arm have inks of their own, the others take turns in the order of the arms."""
    fixed = {report.base: BASE, report.studied: STUDIED} | ({report.reference: REFERENCE} if report.reference else {})
    names = list(dict.fromkeys(arm.name for arm in (*report.arms, *report.passk)))
    turns = {name: turn_ink(i) for i, name in enumerate(name for name in names if name not in fixed)}
    return {name: fixed.get(name) or turns[name] for name in names}


def layer_inks(layers: Sequence[str]) -> Inks:
    """One ink per layer of a grid."""
    hues = ((STUDIED.light, STUDIED.dark), (REFERENCE.light, REFERENCE.dark), *OTHERS)
    markers = (STUDIED.marker, REFERENCE.marker, *MARKERS)
    return {layer: turn_ink(i, hues, markers) for i, layer in enumerate(layers)}


# --- as CSS ---------------------------------------------------------------------------------------------------


def css_variables(inks: Inks) -> dict[str, Ink]:
    """CSS variable -> ink, for the page's furniture and all arms (arms that share an ink share a variable)."""
    furniture = {"--text": TEXT, "--faint": FAINT, "--grid": GRID, "--background": BACKGROUND}
    by_light = {ink.light: ink for ink in inks.values()}
    return furniture | {f"--ink-{light[1:]}": ink for light, ink in by_light.items()}


def css_colour(ink: Ink) -> str:
    """CSS expression for an arm's colour, on the light and the dark page."""
    return f"var(--ink-{ink.light[1:]})"


def css_inks(inks: Inks) -> str:
    """Declarations of the colour variables for the light and the dark page."""
    light, dark = ("".join(f"{name}:{getattr(ink, which)};" for name, ink in css_variables(inks).items())
                   for which in ("light", "dark"))  # fmt: skip
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


# --- contrast -------------------------------------------------------------------------------------------------


def contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours, from 1 to 21."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
