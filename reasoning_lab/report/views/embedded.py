"""What a page's script works on, as plain data that may stand inside a script element."""

import json
from typing import Any

from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.report.data import ArmResult, Report
from reasoning_lab.report.views.theme import Inks, css_colour
from reasoning_lab.report.words import visible

JsonObject = dict[str, Any]
LONGEST_TEXT = 8_000
"""Characters of an answer or a question that a page shows."""
MARKS = {"correct": "c", "wrong": "w", "ungradable": "u", "timeout": "t"}
"""Verdict -> its letter."""


def embedded_json(data: object) -> str:
    """JSON that may stand inside a script element: <, > and & are escaped, so no tag or comment can open or close."""
    document = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return document.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def embedded_bytes(data: object) -> int:
    """Bytes that the data take in a page."""
    return len(embedded_json(data).encode())


def within_budget(items: list[JsonObject], budget: int) -> list[JsonObject]:
    """The longest start of the items whose JSON fits the budget [bytes], at least one where there are any."""
    kept, used = [], 0
    for item in items:
        used += embedded_bytes(item)
        if kept and used > budget:
            break
        kept.append(item)
    return kept


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


def problem_facts(problem: Problem) -> JsonObject:
    """What the page says of a problem."""
    tags = ", ".join(f"{key}: {value}" for key, value in problem.tags.items())
    return {"id": visible(problem.id), "question": shortened(problem.question), "gold": visible(problem.gold),
            "tags": visible(tags)}  # fmt: skip


def arms_data(report: Report, inks: Inks) -> JsonObject:
    """Ids, arms with a verdict's letter per id, and which arms the question is about."""
    ids = report.problem_ids
    arms = []
    for arm in report.arms:
        first = first_answers(arm)
        verdicts = "".join(MARKS[first[i][1].verdict] for i in ids)
        arms.append({"name": arm.name, "label": visible(arm.label), "ink": css_colour(inks[arm.name]),
                     "about": visible(arm.about), "verdicts": verdicts})  # fmt: skip
    return {"ids": [visible(i) for i in ids], "arms": arms, "leading": report.leading, "base": report.base,
            "studied": report.studied, "reference": report.reference}  # fmt: skip
