"""One kit for pages: sealed, self-contained, and no text of a model can become markup.

The templates beside this file escape everything that they are given. What is markup already (charts, style sheets,
scripts, embedded data) is declared so here and nowhere else.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from reasoning_lab.report.views.charts.kit import Chart
from reasoning_lab.report.views.embedded import JsonObject, embedded_json
from reasoning_lab.report.views.provenance import provenance_dates, provenance_facts
from reasoning_lab.report.views.swatches import swatch, swatch_styles
from reasoning_lab.report.views.taxonomy import judge_words, taxonomy_notes
from reasoning_lab.report.views.theme import Inks, css_colour, css_inks
from reasoning_lab.report.words import decimal, short_label, visible


def resource(name: str) -> str:
    """A text file of this folder."""
    return (files("reasoning_lab.report.pages") / name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """What a template prints: markup as it is, any other text without what no page may hold."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _drawing(chart: Chart) -> Markup:
    return Markup(chart.svg)


FILTERS: dict[str, Callable[..., object]] = {
    "colour": css_colour,
    "dates": provenance_dates,
    "decimal": decimal,
    "drawing": _drawing,
    "facts": provenance_facts,
    "judged": judge_words,
    "notes": taxonomy_notes,
    "short_label": short_label,
    "swatch": swatch,
}
"""What templates may call."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def html_page(name: str, title: str, inks: Inks, data: JsonObject | None = None, **parts: object) -> str:
    """The page of `<name>.html.j2`, drawn in these inks and styled by page.css. One with data has page.js and
    `<name>.js` as its script, which works on them, and `<name>.css` for what the script makes."""
    own = [name] if data is not None else []
    styles = [css_inks(inks), swatch_styles(), *(resource(f"{each}.css") for each in ("page", *own))]
    script = [resource(f"{each}.js") for each in ("page", *own)] if own else []
    markup = {"styles": styles, "script": script, "embedded": [embedded_json(data)]}
    parts |= {key: Markup("".join(texts)) for key, texts in markup.items()}
    return _environment().get_template(f"{name}.html.j2").render(title=title, inks=inks, data=data, **parts)
