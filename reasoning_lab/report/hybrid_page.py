"""The page of a hybrid model: what it recovers, what its controls recover, and every token that it steered."""

from typing import Any

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
    text,
)
from reasoning_lab.report.hybrid import (
    COLUMNS,
    GROUPS,
    PUBLISHED,
    HybridRow,
    cells,
    footer,
    gap_words,
    grouped,
    headline,
    published_rows,
)
from reasoning_lab.report.hybrid_inputs import HybridReport, VectorView
from reasoning_lab.report.hybrid_plots import inks_of
from reasoning_lab.report.hybrid_tokens import reading_data, unmarked
from reasoning_lab.report.inputs import visible
from reasoning_lab.report.plots import Chart, Inks, stylesheet, variable
from reasoning_lab.report.swatches import swatch, swatch_styles
from reasoning_lab.report.taxonomy import taxonomy_parts

QUESTION = "Steered, does the base model reason as well as its thinking sibling, and is it the categories that do it?"


def page_data(given: HybridReport, inks: Inks) -> dict[str, Any]:
    """What the page's script works on."""
    ids = given.report.problem_ids
    arms = []
    for arm in given.report.arms:
        answers = first_answers(arm)
        about = " · ".join(filter(None, (arm.role, arm.sampler, arm.note)))
        arms.append({"name": arm.name, "label": visible(arm.label), "ink": variable(inks[arm.name]),
                     "about": visible(about),
                     "verdicts": "".join(MARKS[answers[i][1].verdict] for i in ids)})  # fmt: skip
    categories = [{"index": c.index, "title": visible(c.title), "about": visible(c.description),
                   "swatch": swatch(place)} for place, c in enumerate(given.taxonomy.categories)]  # fmt: skip
    return {"arms": arms, "ids": [visible(i) for i in ids], "categories": categories, "base": given.base,
            "hybrid": given.hybrid, "thinking": given.thinking} | reading_data(given, ids)  # fmt: skip


# --- static parts ---------------------------------------------------------------------------------------------


def _tiles(given: HybridReport, rows: list[HybridRow], inks: Inks) -> str:
    by = {row.name: row for row in rows}
    tiles = []
    for row in (by[name] for name in dict.fromkeys((given.base, given.hybrid, given.thinking))):
        ink = variable(inks[row.name])
        low, high = 100 * row.accuracy.low, 100 * row.accuracy.high
        more = f"{row.length:.0f} tokens per answer"
        if row.recovered:
            more = f"gap recovered {gap_words(row.recovered)} %"
        tiles.append(
            f'<div class="tile" style="--ink:{ink}"><h2>{text(row.label)}</h2>'
            f'<p class="figure">{100 * row.accuracy.value:.1f}<small> % correct</small></p>'
            f"{forest(row.accuracy, ink)}<p>95 % interval {low:.1f} to {high:.1f}<br>{text(more)}</p></div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(given: HybridReport, rows: list[HybridRow], inks: Inks) -> str:
    body = {row.name: cells(row) for row in rows}
    shown = [i for i in range(len(COLUMNS)) if i < 2 or any(line[i] != "–" for line in body.values())]
    head = "".join(f'<th scope="col" title="{text(COLUMNS[i][1])}">{text(COLUMNS[i][0])}</th>' for i in shown)
    parts = []
    for heading, members in grouped(rows):
        title = f'<tr><th class="group" scope="rowgroup" colspan="{len(shown)}">{text(heading)}</th></tr>'
        lines = "".join(_row(given, row, body[row.name], shown, inks) for row in members)
        parts.append(f'<tbody class="{"nulls" if heading == GROUPS["nulls"] else "arms"}">{title}{lines}</tbody>')
    table = f"<table><thead><tr>{head}</tr></thead>{''.join(parts)}</table>"
    return (
        region("Results, one row per arm", table)
        + '<p class="caption">Bold differences: the 95 % interval excludes zero.</p>'
        + definitions([COLUMNS[i] for i in shown])
    )


def _row(given: HybridReport, row: HybridRow, words: tuple[str, ...], shown: list[int], inks: Inks) -> str:
    arm, ink = given.report.arm(row.name), variable(inks[row.name])
    about = " · ".join(filter(None, (arm.role, arm.sampler, arm.note)))
    parts = [f'<th scope="row"><div class="name"><span class="dot" style="--ink:{ink}"></span>'
             f"<span>{text(words[0])}<small>{text(about)}</small></span></div></th>"]  # fmt: skip
    for i in shown[1:]:
        clear = i == 3 and row.lead is not None and row.lead.difference.excludes_zero
        bar = forest(row.accuracy, ink) if i == 1 else ""
        kind = "num acc" if i == 1 else "num clear" if clear else "num"
        parts.append(f'<td class="{kind}">{interval_cell(words[i])}{bar}</td>')
    return f'<tr class="arm{" power" if row.name == given.hybrid else ""}">{"".join(parts)}</tr>'


def _vectors(given: HybridReport) -> str:
    if not given.vectors:
        return ""
    places = {c.index: (place, c.title) for place, c in enumerate(given.taxonomy.categories)}
    head = "".join(f'<th scope="col">{x}</th>' for x in VECTOR_COLUMNS)
    widest = max(v.norm for v in given.vectors) or 1.0
    body = "".join(_vector(v, places, widest) for v in given.vectors)
    lead = (
        "Held-out loss: cross-entropy of the base model on steps of the category that no vector was trained on, "
        "without and with the vector [nats/token]. A vector that does not lower it has learned nothing that "
        "carries over."
    )
    table = f'<table class="vectors"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<section id="vectors"><h2>Vectors</h2><p class="lead">{lead}</p>{region("Vectors", table)}</section>'


VECTOR_COLUMNS = ("Vector", "Norm", "Held-out loss without", "With", "Change", "Trained on", "Note")


def _vector(vector: VectorView, places: dict[int, tuple[int, str]], widest: float) -> str:
    place, title = places.get(vector.category, (-1, "bias" if vector.category == -1 else "unnamed"))
    mark = (
        f'<span class="swatch {swatch(place)}">{vector.category}</span>'
        if place >= 0
        else '<span class="swatch"></span>'
    )
    before, after = vector.loss_before, vector.loss_after
    change = "–" if before is None or after is None else f"{after - before:+.3f}".replace("-", "−")
    better = " clear" if before is not None and after is not None and after < before else ""
    losses = "".join(f'<td class="num">{"–" if x is None else f"{x:.3f}"}</td>' for x in (before, after))
    return (
        f'<tr><th scope="row"><div class="name">{mark}<span>{text(title)}</span></div></th>'
        f'<td class="norm"><span class="bar" style="width:{5 * max(0.0, vector.norm) / widest:.2f}rem"></span> '
        f'{vector.norm:.2f}</td>{losses}<td class="num{better}"><span>{change}</span></td>'
        f'<td class="num">{vector.n_examples}</td><td>{text(vector.note)}</td></tr>'
    )


def _published(given: HybridReport, rows: list[HybridRow]) -> str:
    head = "".join(f'<th scope="col">{text(x)}</th>' for x in PUBLISHED)
    body = "".join(
        f'<tr class="{"power" if line[-1] == "here" else "theirs"}"><th scope="row">{text(line[0])}</th>'
        + "".join(f"<td>{interval_cell(x)}</td>" for x in line[1:])
        + "</tr>"
        for line in published_rows(given, rows)
    )
    table = f'<table class="words"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return (
        '<section id="published"><h2>Beside the paper</h2><p class="lead">Tables 2 and 3 of the paper as one: '
        "accuracies and gap, steered fraction and controls. Shaded rows are ours. Other models and other problems: "
        "compare the order of the arms, not the numbers; the published ones have no intervals.</p>"
        f"{region('Published numbers', table)}</section>"
    )


def _reading(data: dict[str, Any]) -> str:
    n, total = len(data["problems"]), len(data["ids"])
    models = {data["base"], data["hybrid"], data["thinking"]}
    full = sum(set(problem["answers"]) > models for problem in data["problems"])
    some = (
        f"All {total} problems are"
        if n == total
        else f"The first {n} of {total} problems in the order of their ids are"
    )
    more = "" if full in (n, 0) else f"; the other arms' answers to the first {full}"
    lead = (
        "Colours: the category in force when a token was drawn. Boxes: tokens at which the vector was added. "
        f"{some} here to read{more}: the first answer of each arm, none picked by hand. Point at a token, or move "
        "through an answer with the arrow keys, to see what both models wanted."
    )
    return f"""<section id="read"><h2>Read the answers</h2><p class="lead">{text(lead)}</p>
<div class="controls"><button type="button" id="previous-problem">← Previous</button>
<label>Problem <select id="problem"></select></label>
<button type="button" id="next-problem">Next →</button>
<label>Show <select id="filter"></select></label><output id="count"></output></div>
<div id="question" class="question"></div>
<div class="legend-bar"><div id="legend" class="legend" role="group"
aria-label="Categories; press one to show it alone"></div>
<div class="options"><label><input type="checkbox" id="steered-only"> only steered tokens</label>
<label><input type="checkbox" id="numbers"> category numbers</label></div></div>
<div id="columns" class="columns"></div>
<button type="button" id="add-column">+ Compare another arm</button>
<div id="panel" class="panel" role="status" hidden></div></section>"""


def hybrid_page(given: HybridReport, rows: list[HybridRow], charts: list[Chart]) -> str:
    """The whole page."""
    inks = inks_of(given)
    data = page_data(given, inks)
    verdict, *rest = headline(given, rows)
    sentences = "".join(f"<li>{text(sentence)}</li>" for sentence in rest)
    made = "".join(f"<li>{text(line)}</li>" for line in (*footer(given, rows), *unmarked(given)))
    vectors = _vectors(given)
    body = f"""<a class="skip" href="#results">Skip to the results</a>
<header><p class="eyebrow">{text(given.report.title)}</p><h1>{QUESTION}</h1>
<p class="verdict long">{text(verdict)}</p>{_tiles(given, rows, inks)}<ul class="said">{sentences}</ul></header>
<nav aria-label="Sections"><a href="#results">Results</a><a href="#charts">Charts</a><a href="#taxonomy">Categories</a>
{'<a href="#vectors">Vectors</a>' if vectors else ""}<a href="#read">Answers</a><a href="#published">Published</a>
<a href="#made">How it was made</a></nav>
<main><section id="results"><h2>The hybrid and its controls</h2>{_table(given, rows, inks)}</section>
<section id="charts"><h2>Charts</h2>{"".join(map(figure, charts))}</section>
<section id="taxonomy"><h2>Categories of reasoning steps</h2>{taxonomy_parts(given.taxonomy)}</section>
{vectors}<noscript><p class="lead">The next section needs JavaScript; everything else does not.</p></noscript>
{_reading(data)}{_published(given, rows)}
<section id="made"><h2>How the numbers were made</h2><ul class="made">{made}</ul></section></main>
<script type="application/json" id="data">{embedded_json(data)}</script>
<script>{resource("common.js")}{resource("hybrid.js")}</script>"""
    styles = stylesheet(inks) + swatch_styles()
    return document(given.report.title, styles, body, ("taxonomy.css", "hybrid.css"))
