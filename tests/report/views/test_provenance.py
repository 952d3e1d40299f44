"""Where numbers come from, in words: one line where all agree, a line for each where they don't."""

from dataclasses import replace
from pathlib import Path

from reasoning_lab.report.data import Origin, Provenance, TaxonomyView
from reasoning_lab.report.pages.power import write_report
from reasoning_lab.report.pages.sweep import write_sweep
from reasoning_lab.report.pages.taxonomy import write_taxonomy
from reasoning_lab.report.views.provenance import MOST_NAMES, provenance_dates, provenance_facts
from reasoning_lab.report.views.sweep import SweepCell
from tests.report import synthetic

CPU = ("commit 0123456789ab", "python 3.11.7, torch 2.13", "engine transformers on cpu (X), 2 threads, 16 rows")
GPU = ("commit ba9876543210, with local changes", *CPU[1:2], "engine transformers on cuda (Y), 2 threads, 16 rows")
BASE = Origin("base", "a", "2026-01-02T03:04:05+00:00", "reasoning-lab seed=1", CPU)
POWER = Origin("power", "b", "2026-01-03T00:00:00+00:00", "reasoning-lab seed=1", CPU)
GRPO = Origin("grpo", "c", "2026-01-01T00:00:00+00:00", "reasoning-lab seed=2", GPU)
GIVEN = Provenance(
    (BASE, POWER, GRPO), ("base org/name at commit " + "a" * 40,), "Page written today", (("t", "t.csv"),)
)


def test_where_all_agree_it_is_said_once() -> None:
    assert provenance_facts(Provenance((BASE, POWER))) == [f"All artifacts: {'; '.join(CPU)}."]
    assert provenance_facts(Provenance()) == []


def test_where_they_differ_each_group_is_named() -> None:
    assert provenance_facts(GIVEN) == [
        f"Base, power: {'; '.join(CPU)}.", f"Grpo: {'; '.join(GPU)}.", f"Sources: base org/name at commit {'a' * 40}.",
    ]  # fmt: skip
    many = tuple(replace(BASE, name=f"arm{n}", key=str(n)) for n in range(MOST_NAMES + 3))
    (first, _) = provenance_facts(Provenance((*many, GRPO)))
    assert f"arm{MOST_NAMES - 1} and 3 more: " in first
    unknown = replace(GRPO, settings=())
    assert provenance_facts(Provenance((BASE, unknown)))[1] == (
        "Grpo: built by an earlier version, which recorded nothing."
    )


def test_an_earlier_attempt_by_other_code_is_told() -> None:
    resumed = replace(POWER, earlier=(GPU,))
    assert provenance_facts(Provenance((resumed,)))[1] == f"Power was begun by an earlier attempt: {'; '.join(GPU)}."


def test_dates_and_commands_of_the_page() -> None:
    assert provenance_dates(GIVEN) == [
        "Built 2026-01-01 00:00 to 2026-01-03 00:00 UTC.",
        "Built by: reasoning-lab seed=1; reasoning-lab seed=2.",
        "Page written today",
    ]
    assert provenance_dates(Provenance((BASE,)))[0] == "Built 2026-01-02 03:04 UTC."
    assert provenance_dates(Provenance()) == []


def test_every_page_has_it_and_dates_stand_on_pages_alone(tmp_path: Path) -> None:
    report = replace(synthetic.report(), provenance=GIVEN)
    write_report(report, tmp_path / "power")
    view = TaxonomyView("TopK", "", (), {}, 0, (), GIVEN)
    write_taxonomy(view, tmp_path / "taxonomy")
    cell = SweepCell({"seed": 1}, {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6})
    write_sweep([cell], tmp_path / "sweep", provenance=GIVEN)
    pages = {"power/index.html": "power/table.md", "taxonomy/taxonomy.html": "taxonomy/taxonomy.md",
             "sweep/sweep.html": "sweep/sweep.md"}  # fmt: skip
    for page, table in pages.items():
        html, markdown = ((tmp_path / name).read_text(encoding="utf-8") for name in (page, table))
        for line in provenance_facts(GIVEN):
            assert line in html and line.replace("_", "\\_") in markdown, page
        assert all(line in html and line not in markdown for line in provenance_dates(GIVEN)), page
        assert '<a href="t.csv" download>t</a>' in html, page
        assert "2026-01" not in markdown
