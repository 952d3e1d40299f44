"""Colours and marks: one per arm, the same in every chart, told apart without colour vision by marker and label.

Hues follow Okabe & Ito 2008, moved in lightness until each has a contrast of at least 3:1 to its background (WCAG
2.2, 1.4.11), separately for the light and the dark page.
"""

from typing import NamedTuple

from reasoning_lab.report.inputs import ReportInput


class Ink(NamedTuple):
    """An arm's colour on the light and the dark page, and its marker."""

    light: str
    dark: str
    marker: str


BASE = Ink("#6b7280", "#9aa3b2", "o")
POWER = Ink("#0b6bb8", "#5cb3f0", "D")
RL = Ink("#c2500a", "#f08b4b", "s")
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


def inks(report: ReportInput) -> dict[str, Ink]:
    """Arm name -> its ink; base, power and RL have theirs, the others take turns in the order of the arms."""
    fixed = {report.base: BASE, report.power: POWER} | ({report.rl: RL} if report.rl else {})
    names = list(dict.fromkeys(arm.name for arm in (*report.arms, *report.passk)))
    chosen, turn = {}, 0
    for name in names:
        if name in fixed:
            chosen[name] = fixed[name]
        else:
            light, dark = OTHERS[turn % len(OTHERS)]
            chosen[name] = Ink(light, dark, MARKERS[turn % len(MARKERS)])
            turn += 1
    return chosen


def contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours, from 1 to 21."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
