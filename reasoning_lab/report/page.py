"""The page of a report."""

from typing import Any

from reasoning_lab.report.chain import replay
from reasoning_lab.report.headline import Headline
from reasoning_lab.report.html import (
    MARKS,
    definitions,
    document,
    embedded_json,
    figure,
    first_answers,
    forest,
    interval_cell,
    region,
    resource,
    shortened,
    text,
)
from reasoning_lab.report.inputs import ReportInput, natural_key, visible
from reasoning_lab.report.plots import Chart, Inks, stylesheet, variable
from reasoning_lab.report.summary import ArmSummary
from reasoning_lab.report.table import COLUMNS, cells, footer_lines, published_cells, tokens
from reasoning_lab.report.theme import inks as inks_of

MAX_CHAINS = 24
"""Chains that the page replays at most."""
CHAIN_BYTES = 1_500_000
ANSWER_BYTES = 2_000_000
"""Budgets of the embedded texts; with the charts the page stays below 5 MB."""


# --- data of the interactive parts ----------------------------------------------------------------------------


def _within(items: list[Any], budget: int) -> list[Any]:
    """The longest start of the items whose JSON fits the budget, at least one."""
    kept, used = [], 0
    for item in items:
        used += len(embedded_json(item).encode())
        if kept and used > budget:
            break
        kept.append(item)
    return kept


def _answers(report: ReportInput, ids: list[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Verdicts of all problems (a letter each, per arm) and the texts of as many problems as the budget allows."""
    first = {arm.name: first_answers(arm) for arm in report.arms}
    verdicts = {name: "".join(MARKS[answers[i][1].verdict] for i in ids) for name, answers in first.items()}
    problems = []
    for i in ids:
        problem = report.problems[i]
        given = [[shortened(first[arm.name][i][0].text), visible(first[arm.name][i][1].answer or "")]
                 for arm in report.arms]  # fmt: skip
        tags = ", ".join(f"{key}: {value}" for key, value in problem.tags.items())
        problems.append({"id": visible(i), "question": shortened(problem.question), "gold": visible(problem.gold),
                         "tags": visible(tags), "answers": given})  # fmt: skip
    return verdicts, _within(problems, ANSWER_BYTES)


def _chains(report: ReportInput) -> list[dict[str, Any]]:
    """Replays of the power arm's first chains, problems in natural order."""
    made: list[dict[str, Any]] = []
    completions = sorted(report.arm(report.power).completions, key=lambda c: (natural_key(c.problem), c.chain))
    grades = {(g.problem, g.chain): g for g in report.arm(report.power).grades}
    for completion in completions:
        if len(made) == MAX_CHAINS:
            break
        if (chain := replay(completion, report.decode)) is not None:
            problem = report.problems[completion.problem]
            grade = grades[completion.problem, completion.chain]
            about = {"id": visible(problem.id), "question": shortened(problem.question), "gold": visible(problem.gold)}
            made.append(about | {"verdict": MARKS[grade.verdict], "answer": visible(grade.answer or "")} | chain)
    return _within(made, CHAIN_BYTES) if made else []


def page_data(report: ReportInput, inks: Inks) -> dict[str, Any]:
    """What the page's script works on."""
    ids = report.problem_ids
    verdicts, problems = _answers(report, ids)
    arms = [{"name": arm.name, "label": visible(arm.label), "ink": variable(inks[arm.name]),
             "about": visible(" · ".join(filter(None, (arm.role, arm.sampler, arm.note)))),
             "verdicts": verdicts[arm.name]} for arm in report.arms]  # fmt: skip
    shown = [name for name in (report.base, report.power, report.rl) if name]
    return {"arms": arms, "ids": [visible(i) for i in ids], "problems": problems, "chains": _chains(report),
            "shown": shown, "base": report.base, "power": report.power, "rl": report.rl}  # fmt: skip


# --- static parts ---------------------------------------------------------------------------------------------


def _difference_class(row: ArmSummary) -> str:
    return "num clear" if row.difference and row.difference.difference.excludes_zero else "num"


def _row(report: ReportInput, row: ArmSummary, inks: Inks, shown: list[int]) -> str:
    words = cells(row)
    mark = {report.power: " power", report.base: " base"}.get(row.name, "")
    about = f"{row.role} · {row.sampler}" if row.sampler else row.role
    parts = [f'<th scope="row"><div class="name"><span class="dot" style="--ink:{variable(inks[row.name])}"></span>'
             f"<span>{text(row.label)}<small>{text(about)}</small></span></div></th>"]  # fmt: skip
    for i in shown[1:]:
        if i == 1:
            value, interval = words[1].split(" ", 1)
            bar = forest(row.accuracy, variable(inks[row.name]))
            parts.append(f'<td class="num acc"><strong>{value}</strong> <small>{interval}</small>{bar}</td>')
        else:
            parts.append(f'<td class="{_difference_class(row) if i == 2 else "num"}">{interval_cell(words[i])}</td>')
    return f'<tr class="arm{mark}">{"".join(parts)}</tr>'


def _table(report: ReportInput, rows: list[ArmSummary], inks: Inks) -> str:
    body = [cells(row) for row in rows]
    shown = [i for i in range(len(COLUMNS)) if i < 2 or any(line[i] != "–" for line in body)]
    head = "".join(f'<th scope="col" title="{text(COLUMNS[i][1])}">{text(COLUMNS[i][0])}</th>' for i in shown)
    lines = "".join(_row(report, row, inks, shown) for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return (
        region("Results, one row per arm", table)
        + '<p class="caption">Bold differences: the 95 % interval excludes zero.</p>'
        + definitions([COLUMNS[i] for i in shown])
    )


def _tiles(report: ReportInput, rows: list[ArmSummary], inks: Inks) -> str:
    """The three arms of the question, large."""
    by_name = {row.name: row for row in rows}
    names = list(dict.fromkeys(name for name in (report.base, report.power, report.rl) if name))
    tiles = []
    for row in (by_name[name] for name in names):
        low, high = 100 * row.accuracy.low, 100 * row.accuracy.high
        bar = forest(row.accuracy, variable(inks[row.name]))
        tiles.append(
            f'<div class="tile" style="--ink:{variable(inks[row.name])}"><h2>{text(row.label)}</h2>'
            f'<p class="figure">{100 * row.accuracy.value:.1f}<small> % correct</small></p>{bar}'
            f"<p>95 % interval {low:.1f} to {high:.1f}<br>{tokens(row.decode_tokens)} tokens drawn per answer</p></div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _published(report: ReportInput, rows: list[ArmSummary]) -> str:
    if not report.published:
        return ""
    body = "".join(
        f'<tr><th scope="row">{text(what)}</th>{"".join(f"<td>{text(x)}</td>" for x in others)}</tr>'
        for what, *others in published_cells(report, rows)
    )
    head = "".join(f'<th scope="col">{x}</th>' for x in ("Published", "Number", "Here, %", "Why they differ"))
    table = f'<table class="words"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return '<section id="published"><h2>Beside the paper</h2>' + region("Published numbers", table) + "</section>"


def _answers_section(data: dict[str, Any]) -> str:
    n, total = len(data["problems"]), len(data["ids"])
    some = "All are" if n == total else f"The first {n} in the order of their ids are"
    lead = (
        f"Every column is one of {total} problems, in the order of their ids; filled is right, pale is wrong, hollow "
        f"is without a gradable answer. {some} here to read: the first answer of each arm, none picked by hand."
    )
    return f"""<section id="answers"><h2>Read the answers</h2><p class="lead">{text(lead)}</p>
<div id="map" class="map"></div>
<div class="controls"><button type="button" id="previous-problem">← Previous</button>
<label>Problem <select id="problem"></select></label>
<button type="button" id="next-problem">Next →</button>
<label>Show <select id="filter"></select></label><output id="count"></output></div>
<div id="question" class="question"></div><div id="cards" class="cards" aria-live="polite"></div></section>"""


def _chain_section(report: ReportInput, data: dict[str, Any]) -> str:
    if not data["chains"]:
        return ""
    n = len(data["chains"])
    lead = (
        f"How {report.arm(report.power).label} arrives at an answer. Each move keeps the text before a random cut, "
        "redraws the rest, and accepts the new text with probability min(1, e^(log ratio)); a rung is the stretch of "
        "moves before the text may grow by another block. A move is given up early once its rejection is certain. "
        f"Shown: the first chain of the first {n} problems in the order of their ids, to keep the page small."
    )
    return f"""<section id="chains"><h2>Watch a chain</h2><p class="lead">{text(lead)}</p>
<div class="controls"><label>Problem <select id="chain"></select></label>
<button type="button" id="play" aria-pressed="false">▶ Play</button>
<button type="button" id="previous-move" aria-label="Previous move">←</button>
<button type="button" id="next-move" aria-label="Next move">→</button>
<label><input type="checkbox" id="moved-only"> only moves that change the text</label></div>
<div id="ribbon" class="ribbon" aria-hidden="true"></div>
<input type="range" id="move" min="0" value="0" step="1" aria-label="Move; arrow keys step through the chain">
<div id="key" class="key"></div><div id="chain-question" class="question"></div>
<div id="step" class="step" aria-live="polite"></div></section>"""


def page(report: ReportInput, rows: list[ArmSummary], said: Headline, charts: list[Chart]) -> str:
    """The whole page."""
    inks = inks_of(report)
    data = page_data(report, inks)
    verdict, first, *rest = said.verdict, *said.sentences
    sentences = "".join(f"<li>{text(sentence)}</li>" for sentence in rest)
    footer = "".join(f"<li>{text(line)}</li>" for line in footer_lines(report, rows))
    body = f"""<a class="skip" href="#results">Skip to the results</a>
<header><p class="eyebrow">{text(report.title)}</p><h1>{text(report.question)}</h1>
<p class="verdict">{text(verdict)}</p><p class="first">{text(first)}</p>
{_tiles(report, rows, inks)}<ul class="said">{sentences}</ul></header>
<nav aria-label="Sections"><a href="#results">Results</a><a href="#charts">Charts</a><a href="#answers">Answers</a>
{'<a href="#chains">Chains</a>' if data["chains"] else ""}<a href="#made">How it was made</a></nav>
<main><section id="results"><h2>Every arm</h2>{_table(report, rows, inks)}</section>
<section id="charts"><h2>Charts</h2>{"".join(map(figure, charts))}</section>
<noscript><p class="lead">The two sections below need JavaScript; everything above does not.</p></noscript>
{_answers_section(data)}{_chain_section(report, data)}{_published(report, rows)}
<section id="made"><h2>How the numbers were made</h2><ul class="made">{footer}</ul></section></main>
<script type="application/json" id="data">{embedded_json(data)}</script>
<script>{resource("common.js")}{resource("page.js")}</script>"""
    return document(report.title, stylesheet(inks), body)
