"""Colours of categories: eight tints, then the same tints under a pattern, on the light and the dark page.

The tints were chosen so that any two of them differ by at least 11 (CIE 1976 distance) in normal vision and under
simulated protanopia and deuteranopia (Machado et al. 2009), and text keeps a contrast far above 4.5:1 on each of them
and on its pattern (WCAG 2.2, 1.4.3). From the ninth category on the pattern tells apart what shares a tint.
"""

from typing import NamedTuple


class Tint(NamedTuple):
    """Background and pattern, on the light and on the dark page."""

    light: str
    light_pattern: str
    dark: str
    dark_pattern: str


TINTS = (
    Tint("#76b4fd", "#cbe2fe", "#20364f", "#192533"),
    Tint("#d0a283", "#eddcd0", "#914c14", "#4c2f18"),
    Tint("#bbefc7", "#98c2a4", "#366945", "#233c2e"),
    Tint("#c99ec3", "#eadae8", "#8f4088", "#4b294d"),
    Tint("#f1d58b", "#c2ad75", "#453807", "#2a2613"),
    Tint("#d0c5fd", "#a8a1ce", "#5c53a5", "#34325a"),
    Tint("#b6e5eb", "#94bac0", "#17585f", "#15343a"),
    Tint("#babcbd", "#e5e6e6", "#3a3b3d", "#25272b"),
)
_STRIPES = "repeating-linear-gradient({angle},transparent 0 3px,var(--pattern) 3px 6px)"
PATTERNS = (
    "none",
    _STRIPES.format(angle="45deg"),
    _STRIPES.format(angle="90deg"),
    "radial-gradient(var(--pattern) 1.6px,transparent 1.7px) 0 0/6px 6px",
    _STRIPES.format(angle="0deg"),
    _STRIPES.format(angle="-45deg"),
    f"{_STRIPES.format(angle='0deg')},{_STRIPES.format(angle='90deg')}",
)
"""CSS backgrounds over the tint; --pattern is its second colour."""
MAX_DISTINCT = len(TINTS) * len(PATTERNS)
"""Categories that look different; later ones start again (their numbers and titles still tell them apart)."""


def swatch(place: int) -> str:
    """CSS classes of the category at this place of the taxonomy."""
    return f"t{place % len(TINTS)} p{place // len(TINTS) % len(PATTERNS)}"


def swatch_styles() -> str:
    """The classes that `swatch` names."""
    light = "".join(f".t{i}{{--tint:{t.light};--pattern:{t.light_pattern}}}" for i, t in enumerate(TINTS))
    dark = "".join(f".t{i}{{--tint:{t.dark};--pattern:{t.dark_pattern}}}" for i, t in enumerate(TINTS))
    patterns = "".join(f".p{i}{{background:{p};background-color:var(--tint)}}" for i, p in enumerate(PATTERNS))
    return f"{light}{patterns}\n@media (prefers-color-scheme:dark){{{dark}}}\n"
