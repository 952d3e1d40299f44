"""The page of an experiment's arms: what the studied arm reaches, at what cost, and its chains move by move."""

from pathlib import Path

from reasoning_lab.report.data import Report
from reasoning_lab.report.pages.kit import html_page
from reasoning_lab.report.views.arm_table import ARM_COLUMNS, arm_footer, published_arms, write_arm_tables
from reasoning_lab.report.views.arms import ArmSummary, PassSummary, headline_metrics, summarise, summarise_passk
from reasoning_lab.report.views.chains import replay
from reasoning_lab.report.views.charts.convergence import convergence_chart
from reasoning_lab.report.views.charts.cost import cost_chart
from reasoning_lab.report.views.charts.kit import Chart, write_charts
from reasoning_lab.report.views.charts.likelihood import likelihood_chart, scored_arms
from reasoning_lab.report.views.charts.reliability import reliability_chart
from reasoning_lab.report.views.charts.variety import variety_chart
from reasoning_lab.report.views.convergence import convergences, studied_convergence
from reasoning_lab.report.views.convergence_words import (
    RUNG_HEADINGS,
    STEP_HEADINGS,
    convergence_lines,
    convergence_metrics,
    convergence_records,
    rung_table,
    step_table,
)
from reasoning_lab.report.views.diagnostics import diagnose, diagnostics_metrics
from reasoning_lab.report.views.embedded import (
    MARKS,
    JsonObject,
    arms_data,
    first_answers,
    problem_facts,
    shortened,
    within_budget,
)
from reasoning_lab.report.views.headline import Headline, arms_headline
from reasoning_lab.report.views.tables import Group, known, telling, write_csv
from reasoning_lab.report.views.theme import Inks, arm_inks
from reasoning_lab.report.words import natural_key, thousands, visible

MAX_CHAINS = 24
"""Chains that the page replays at most."""
CHAIN_BYTES = 1_500_000
ANSWER_BYTES = 2_000_000
"""Budgets of the embedded texts; with the charts the page stays below 5 MB."""


def write_report(report: Report, out_dir: Path) -> dict[str, float]:
    """Write table.csv, table.md, the charts as PNG, and index.html into `out_dir`; return the headline metrics.

    The same input gives the same bytes. The metrics are flat: `accuracy`, `accuracy_low`, `difference_to_base` ... of
    the studied arm, and `<arm>/<metric>` for every arm.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    rows, passk, diagnostics = summarise(report), summarise_passk(report), diagnose(report)
    said = arms_headline(report, rows, passk, diagnostics)
    write_arm_tables(report, rows, said, out_dir)
    charts = power_charts(report, rows, passk)
    write_charts(charts, out_dir)
    (out_dir / "index.html").write_text(power_page(report, rows, said, charts), encoding="utf-8")
    metrics = headline_metrics(report, rows, passk) | diagnostics_metrics(diagnostics)
    if found := convergences(report):
        write_csv(convergence_records(found), out_dir / "convergence.csv")
    return metrics | known({name: x for each in found for name, x in convergence_metrics(each).items()})


def power_charts(report: Report, rows: list[ArmSummary], passk: list[PassSummary]) -> list[Chart]:
    """Every chart that the data allow, in the page's order."""
    inks = arm_inks(report)
    charts = [cost_chart(rows, inks)]
    if (found := studied_convergence(report)) is not None:
        charts.append(convergence_chart(found, inks))
    if passk:
        charts.append(variety_chart(passk, inks))
    if any(arm.calibration for arm in passk):
        charts.append(reliability_chart(passk, inks))
    if scored_arms(report):
        charts.append(likelihood_chart(report, inks))
    return charts


def power_page(report: Report, rows: list[ArmSummary], said: Headline, charts: list[Chart]) -> str:
    """The whole page."""
    inks = arm_inks(report)
    by_name = {row.name: row for row in rows}
    return html_page(
        "power",
        report.title,
        inks,
        power_data(report, inks),
        report=report,
        said=said,
        convergence=studied_convergence(report),
        convergence_said=tuple(convergence_lines(report)),
        rung_headings=RUNG_HEADINGS,
        rung_table=rung_table,
        step_headings=STEP_HEADINGS,
        step_table=step_table,
        leading=[by_name[name] for name in report.leading],
        cost=lambda row: f"{thousands(row.decode_tokens)} tokens drawn per answer",
        columns=telling(ARM_COLUMNS, rows),
        groups=[Group("", rows)],
        charts=charts,
        published=published_arms(report, rows),
        footer=arm_footer(report, rows),
    )


def power_data(report: Report, inks: Inks) -> JsonObject:
    """What the page's script works on."""
    return arms_data(report, inks) | {"problems": _problems(report), "chains": _chains(report)}


def _problems(report: Report) -> list[JsonObject]:
    """Problems with every arm's first answer, as many as the budget allows."""
    first = {arm.name: first_answers(arm) for arm in report.arms}
    problems = []
    for i in report.problem_ids:
        answers = [[shortened(completion.text), visible(grade.answer or "")]
                   for completion, grade in (first[arm.name][i] for arm in report.arms)]  # fmt: skip
        problems.append(problem_facts(report.problems[i]) | {"answers": answers})
    return within_budget(problems, ANSWER_BYTES)


def _chains(report: Report) -> list[JsonObject]:
    """Replays of the studied arm's first chains, problems in natural order."""
    chains: list[JsonObject] = []
    arm = report.arm(report.studied)
    grades = {(g.problem, g.chain): g for g in arm.grades}
    for completion in sorted(arm.completions, key=lambda c: (natural_key(c.problem), c.chain)):
        if len(chains) == MAX_CHAINS:
            break
        if (chain := replay(completion, report.decode)) is not None:
            grade = grades[completion.problem, completion.chain]
            outcome = {"verdict": MARKS[grade.verdict], "answer": visible(grade.answer or "")}
            chains.append(problem_facts(report.problems[completion.problem]) | outcome | chain)
    return within_budget(chains, CHAIN_BYTES)
