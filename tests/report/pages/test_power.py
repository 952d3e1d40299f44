"""Made-up arms through every output: the numbers survive, the page is sealed, hostile text stays text."""

import csv
import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import pytest
from rich.console import Console

from reasoning_lab.report import Report, print_table, write_report
from reasoning_lab.report.views.arms import summarise
from reasoning_lab.report.words import visible
from tests.report import synthetic
from tests.report.browser import CHROMIUM, HOSTILE, Page, chromium


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    write_report(report, out)
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def _poisoned(report: Report) -> Report:
    """Every text of the report replaced by, or ending in, the hostile one."""
    arms = [
        replace(arm, label=arm.label + HOSTILE, sampler=HOSTILE, note=HOSTILE, role=HOSTILE,
                completions=[replace(c, text=HOSTILE) for c in arm.completions],
                grades=[replace(g, answer=HOSTILE) for g in arm.grades])
        for arm in report.arms
    ]  # fmt: skip
    bad = {"question": HOSTILE, "gold": HOSTILE, "tags": {HOSTILE: HOSTILE}}
    problems = {key: replace(problem, **bad) for key, problem in report.problems.items()}
    published = [replace(p, what=HOSTILE, published=HOSTILE, difference=HOSTILE) for p in report.published]
    passk = [replace(arm, label=HOSTILE) for arm in report.passk]
    return replace(
        report, title=HOSTILE, question=HOSTILE, arms=arms, passk=passk, problems=problems, footer=[HOSTILE],
        published=published, decode=lambda ids: synthetic.decode(ids) + (HOSTILE if ids else ""),
    )  # fmt: skip


def test_page_is_well_formed_sealed_and_small(folder: Path, page: Page) -> None:
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert page.open == [] and len(html.encode()) < 5_000_000
    assert len(page.ids) == len(set(page.ids))
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "base", "image"}
        assert not {"src", "onclick", "onerror", "onload", "srcset"} & set(attributes)
        href = attributes.get("href")
        assert href is None or href.startswith("#"), href
        assert href is None or href[1:] in page.ids, href
    assert not re.search(r"https?://|@import|url\((?!#)", html)


def test_embedded_data_hold_every_verdict_and_the_first_problems(report: Report, page: Page) -> None:
    data = json.loads(page.scripts[0])
    assert data["ids"] == [f"p{i}" for i in range(40)], "natural order"
    assert [problem["id"] for problem in data["problems"]] == data["ids"]
    assert [chain["id"] for chain in data["chains"]] == data["ids"][:24]
    for arm, shown in zip(report.arms, data["arms"], strict=True):
        assert shown["verdicts"].count("c") == sum(g.correct for g in arm.grades)
        texts = {c.problem: c.text for c in arm.completions}
        index = data["arms"].index(shown)
        assert all(problem["answers"][index][0] == texts[problem["id"]] for problem in data["problems"])


def test_budgets_bound_the_page(report: Report, tmp_path: Path) -> None:
    arms = [replace(a, completions=[replace(c, text="word " * 30_000) for c in a.completions]) for a in report.arms]
    write_report(replace(report, arms=arms, decode=lambda ids: "lengthy token " * 40 * len(ids)), tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 5_000_000
    data = json.loads(Page(html).scripts[0])
    assert 1 <= len(data["problems"]) < 40 and 1 <= len(data["chains"]) < 24
    assert f"The first {len(data['problems'])} in the order of their ids" in html
    assert "more characters]" in data["problems"][0]["answers"][0][0]


def test_same_input_same_bytes(report: Report, folder: Path, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in tmp_path.iterdir())
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_hostile_text_stays_text(report: Report, page: Page, tmp_path: Path) -> None:
    poisoned = _poisoned(report)
    write_report(poisoned, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    bad = Page(html)
    assert bad.open == [] and len(bad.scripts) == len(page.scripts) == 2
    assert sorted({tag for tag, _ in bad.tags} - {tag for tag, _ in page.tags}) == []
    assert not any({"onerror", "src"} & set(attributes) for _, attributes in bad.tags)
    assert "\x00" not in html and "\x1b" not in html
    data = json.loads(bad.scripts[0])
    assert data["problems"][0]["answers"][0][0] == visible(HOSTILE)
    assert visible(HOSTILE) in data["chains"][0]["state"]
    assert "".join(bad.words).count(visible(HOSTILE).replace("\n", " ")) > 10
    assert bad.scripts[1] == page.scripts[1]
    for name in ("table.md", "table.csv"):
        assert "\x00" not in (tmp_path / name).read_text(encoding="utf-8")
    assert "<img" not in (tmp_path / "table.md").read_text(encoding="utf-8")
    print_table(poisoned, Console(file=StringIO(), width=200))


def test_csv_round_trip_equals_the_numbers(report: Report, folder: Path) -> None:
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, summarise(report), strict=True):
        assert (line["name"], line["label"], line["role"]) == (row.name, row.label, row.role)
        assert tuple(float(line[f"accuracy{end}"]) for end in ("", "_low", "_high")) == row.accuracy
        assert float(line["decode_tokens"]) == row.decode_tokens and float(line["length"]) == row.length
        assert int(line["n_ungradable"]) == row.n_ungradable
        shares = dict(share.split("=") for share in line["read_by"].split("; "))
        assert shares == {rule: f"{share:.4f}" for rule, share in row.rules} and "conclusion" in shares
        if row.difference is None:
            assert line["difference_to_base"] == "" and row.name == report.base
        else:
            found = [float(line[key]) for key in ("difference_to_base", "difference_low", "difference_high")]
            assert tuple(found) == row.difference.difference
        assert line["acceptance"] == ("" if row.acceptance is None else str(row.acceptance))


def test_charts_are_there(folder: Path) -> None:
    assert {p.name for p in folder.glob("*.png")} == {
        "accuracy_by_cost.png", "pass_at_k.png", "reliability.png", "likelihood.png",
    }  # fmt: skip
    assert all(p.read_bytes().startswith(b"\x89PNG") and p.stat().st_size > 20_000 for p in folder.glob("*.png"))


def test_the_smallest_report(report: Report, tmp_path: Path) -> None:
    """Two arms, no chains, no scores, no repeated samples, no RL arm."""
    arms = [replace(a, scored=None, completions=[replace(c, moves=()) for c in a.completions])
            for a in report.arms if a.name in ("base", "power")]  # fmt: skip
    small = replace(report, arms=arms, passk=[], reference=None, grpo_length=None, published=[], footer=[])
    metrics = write_report(small, tmp_path)
    html = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "chains" not in html.ids and "published" not in html.ids and "difference_to_reference" not in metrics
    assert {p.name for p in tmp_path.iterdir()} == {"index.html", "table.csv", "table.md", "accuracy_by_cost.png"}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_draws_the_page_and_runs_its_script(folder: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    picture = tmp_path / "page.png"
    url = (folder / "index.html").as_uri()
    chromium(tmp_path, f"--screenshot={picture}", url)
    pixels = imread(picture)
    assert pixels.shape[:2] == (2400, 1280)
    assert pixels.std() > 0.03 and len({tuple(p) for p in pixels[::8, ::8, :3].reshape(-1, 3).tolist()}) > 50
    dom = chromium(tmp_path, "--dump-dom", url)
    assert 'data-ready="yes"' in dom
    assert dom.count('class="card"') == 3 and dom.count('class="line"') == 14
    assert 'class="branches"' in dom and dom.count("<option") > 40


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_replays_the_chains_as_python_does(folder: Path, page: Page, tmp_path: Path) -> None:
    """Each chain's last move is stepped to; kept text and winning suffix must be the final text."""
    probe = """<script>
    const results = [], chain = document.getElementById("chain"), move = document.getElementById("move");
    for (const option of chain.options) {
      chain.value = option.value; chain.dispatchEvent(new Event("change"));
      move.value = move.max; move.dispatchEvent(new Event("input"));
      results.push(document.querySelector(".kept").textContent + document.querySelector(".branch.won p").textContent);
    }
    document.getElementById("next-problem").click();
    results.push(document.querySelector(".card .text").textContent);
    document.documentElement.dataset.results = encodeURIComponent(JSON.stringify(results));
    </script>"""
    html = (folder / "index.html").read_text(encoding="utf-8").replace("</body>", probe + "</body>")
    (tmp_path / "probed.html").write_text(html, encoding="utf-8")
    dom = chromium(tmp_path, "--dump-dom", (tmp_path / "probed.html").as_uri())
    found = re.search(r'data-results="([^"]*)"', dom)
    assert found is not None
    data = json.loads(page.scripts[0])
    expected = [chain["final"] for chain in data["chains"]]
    assert json.loads(unquote(found[1])) == [*expected, data["problems"][1]["answers"][0][0]]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_finds_no_markup_in_hostile_text(report: Report, tmp_path: Path) -> None:
    write_report(_poisoned(report), tmp_path)
    dom = chromium(tmp_path, "--dump-dom", (tmp_path / "index.html").as_uri())
    assert 'data-ready="yes"' in dom and "<img" not in dom and dom.count("<script") == 2
