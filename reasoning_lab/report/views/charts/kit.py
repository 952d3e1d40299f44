"""How charts are drawn: once by matplotlib, saved as PNG (light) and as SVG whose colours follow the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reasoning_lab.report.views.theme import BACKGROUND, FAINT, GRID, TEXT, Inks, css_variables
from reasoning_lab.report.words import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Chart(NamedTuple):
    """A drawn chart."""

    name: str
    """File name without ending."""
    title: str
    caption: str
    """Defines every quantity shown."""
    alt: str
    """What a reader who cannot see it should know."""
    png: bytes
    svg: str
    """Inline SVG: no external reference, ids unique on the page, colours as CSS variables."""


STYLE: dict[str, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT.light,
    "axes.labelcolor": TEXT.light,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": GRID.light,
    "grid.linewidth": 0.8,
    "text.color": TEXT.light,
    "xtick.color": FAINT.light,
    "ytick.color": FAINT.light,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": BACKGROUND.light,
    "axes.facecolor": BACKGROUND.light,
    "savefig.facecolor": BACKGROUND.light,
    "legend.frameon": False,
}


@contextmanager
def house_style(name: str) -> Iterator[None]:
    """House style; labels may hold characters that the PNG's font lacks, which is no reason to warn."""
    import matplotlib as mpl

    settings: Any = {**STYLE, "svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure [inches]."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def render(name: str, title: str, caption: str, alt: str, draw: Callable[[], Figure], inks: Inks) -> Chart:
    """Draw and save in both formats; the same input gives the same bytes."""
    with house_style(name):
        figure = draw()
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return Chart(name, title, caption, alt, png.getvalue(), _inline(svg.getvalue(), name, alt, inks))


def write_charts(charts: list[Chart], out_dir: Path) -> None:
    """Each chart as <name>.png."""
    for chart in charts:
        (out_dir / f"{chart.name}.png").write_bytes(chart.png)


def _inline(svg: str, name: str, alt: str, inks: Inks) -> str:
    """Matplotlib's SVG as part of an HTML page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for variable, ink in css_variables(inks).items():
        svg = svg.replace(ink.light, f"var({variable})")
    svg = re.sub(r"font: ?([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    opening = f'<svg class="chart" role="img" aria-label="{escape(visible(alt))}"'
    return re.sub(r'^<svg(.*?) width="[^"]*"', lambda m: opening + re.sub(r' height="[^"]*"', "", m[1]), svg, count=1,
                  flags=re.DOTALL)  # fmt: skip


# --- marks that several charts share --------------------------------------------------------------------------


def open_left(axes: Axes) -> None:
    """Rows without a frame on their left and without lines between them."""
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
