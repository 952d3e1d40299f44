"""What every page is made of: sealed, self-contained, and no text of a model can become markup."""

import json
from html import escape
from importlib.resources import files
from typing import Any

from reasoning_lab import statistics as st
from reasoning_lab.records import Completion, Grade
from reasoning_lab.report.inputs import ArmResult, visible
from reasoning_lab.report.plots import Chart

LONGEST_TEXT = 8_000
"""Characters of an answer or a question that a page shows."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The browser is told to load nothing."""

MARKS = {"correct": "c", "wrong": "w", "ungradable": "u", "timeout": "t"}
"""Verdict -> its letter in the embedded data."""


def text(value: str) -> str:
    """The text as HTML, in an element or a quoted attribute."""
    return escape(visible(value))


def resource(name: str) -> str:
    """A text file of this package."""
    return (files("reasoning_lab.report") / name).read_text(encoding="utf-8")


def embedded_json(data: Any) -> str:
    """JSON that may stand inside a script element: <, > and & are escaped, so no tag or comment can open or close."""
    document = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return document.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def shortened(value: str) -> str:
    """The text up to LONGEST_TEXT characters, and how many more there are."""
    rest = len(value) - LONGEST_TEXT
    return visible(value) if rest <= 0 else f"{visible(value[:LONGEST_TEXT])}\n… [{rest} more characters]"


def first_answers(arm: ArmResult) -> dict[str, tuple[Completion, Grade]]:
    """Problem id -> the completion of its lowest chain, with its grade."""
    grades = {(g.problem, g.chain): g for g in arm.grades}
    first: dict[str, tuple[Completion, Grade]] = {}
    for completion in sorted(arm.completions, key=lambda c: c.chain):
        first.setdefault(completion.problem, (completion, grades[completion.problem, completion.chain]))
    return first


def forest(accuracy: st.Interval, ink: str) -> str:
    """A bar from 0 to 100 % with the interval and the estimate; the numbers stand beside it."""
    value, low, high = (100 * x for x in accuracy)
    return (
        f'<span class="forest" aria-hidden="true" style="--ink:{ink}">'
        f'<i style="left:{low:.2f}%;width:{high - low:.2f}%"></i><b style="left:{value:.2f}%"></b></span>'
    )


def figure(chart: Chart) -> str:
    """A chart with its title and caption."""
    return (
        f'<figure id="{chart.name}"><h3>{text(chart.title)}</h3><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{text(chart.title)}">{chart.svg}</div><figcaption>{text(chart.caption)}</figcaption></figure>'
    )


def interval_cell(words: str) -> str:
    """'+3.5 [−1.0, +8.0]' with the interval in small print."""
    value, _, interval = words.partition(" [")
    return f"<span>{text(value)}</span> <small>[{text(interval)}</small>" if interval else text(value)


def definitions(columns: list[tuple[str, str]]) -> str:
    """What the columns of a table mean, folded."""
    items = "".join(f"<dt>{text(heading)}</dt><dd>{text(meaning)}.</dd>" for heading, meaning in columns)
    return f"<details><summary>What the columns mean</summary><dl>{items}</dl></details>"


def region(label: str, table: str) -> str:
    """A wide table that scrolls sideways, reachable by keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}">{table}</div>'


def document(title: str, inks: str, body: str, sheets: tuple[str, ...] = ()) -> str:
    """A whole page: colour declarations first, then page.css and further style sheets of this package."""
    styles = "".join(map(resource, ("page.css", *sheets)))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{text(title)}</title>
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<style>{inks}{styles}</style></head>
<body>{body}</body></html>
"""
