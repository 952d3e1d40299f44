"""A made-up hybrid model through every output: files equal numbers, hostile text stays text, the page in Chromium."""

import csv
import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from rich.console import Console

from reasoning_lab import statistics as st
from reasoning_lab.records import Annotation
from reasoning_lab.report import ArmResult, HybridReport, print_hybrid, write_hybrid, write_taxonomy
from reasoning_lab.report.views.control_headline import controls_headline
from reasoning_lab.report.views.controls import control_metrics, control_rows
from reasoning_lab.report.views.tokens import reading_data
from reasoning_lab.report.words import visible
from tests.report import hybrid_synthetic
from tests.report.browser import CHROMIUM, HOSTILE, Page, chromium
from tests.report.views.test_tokens import unpacked

RTL = "\u202eevil \u05d0\u05d1"


NASTY = HOSTILE + RTL


@pytest.fixture(scope="module")
def folder(given: HybridReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hybrid")
    write_hybrid(given, out)
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "hybrid.html").read_text(encoding="utf-8"))


def test_without_a_clear_gap_the_reason_is_printed(tmp_path: Path) -> None:
    made = hybrid_synthetic.small(base=["c", "w"] * 10, hybrid=["c"] * 20, thinking=["w", "c"] * 10, null_a=["w"] * 20)
    rows = control_rows(made)
    assert all(row.recovered is None for row in rows)
    assert "not clearly above the base (+0.0 points" in controls_headline(made, rows)[0]
    found = write_hybrid(made, tmp_path)
    assert "gap_recovered" not in found and found["hybrid/accuracy"] == 1
    assert "ratio whose denominator may be zero" in (tmp_path / "hybrid.md").read_text()
    html = (tmp_path / "hybrid.html").read_text()
    assert "Accuracy of every arm" in html and "ratio whose denominator may be zero" in html


def test_csv_and_metrics_equal_the_rows(given: HybridReport, folder: Path) -> None:
    rows = control_rows(given)
    found = control_metrics(given, rows)
    assert all(isinstance(value, float) for value in found.values())
    with (folder / "hybrid.csv").open(newline="", encoding="utf-8") as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    assert list(lines) == [row.name for row in rows] and set(lines) == {arm.name for arm in given.report.arms}
    for row in rows:
        assert float(lines[row.name]["accuracy"]) == row.accuracy.value == found[f"{row.name}/accuracy"]
        if row.recovered is None:
            assert lines[row.name]["gap_recovered"] == "" and f"{row.name}/gap_recovered" not in found
        else:
            assert float(lines[row.name]["gap_recovered_low"]) == found[f"{row.name}/gap_recovered_low"]
    hybrid = next(row for row in rows if row.name == "hybrid")
    assert hybrid.recovered is not None and hybrid.steered is not None
    assert found["gap_recovered"] == hybrid.recovered.value and found["steered_fraction"] == hybrid.steered.value
    files = {"hybrid.csv", "hybrid.md", "categories.csv", "vectors.csv", "hybrid.html", "gap_recovered.png",
             "category_shares.png"}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == files


def test_tables_group_nulls_and_competitors(given: HybridReport, folder: Path) -> None:
    text = (folder / "hybrid.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == [
        "Models", "Null controls", "Competitors", "Beside the paper",
    ]  # fmt: skip
    nulls = text.split("## Null controls")[1].split("## Competitors")[0]
    assert "bias only" in nulls and "thinking chooses" not in nulls
    for width in (80, 120, 200):
        console = Console(file=StringIO(), width=width)
        print_hybrid(given, console)
        assert isinstance(console.file, StringIO) and "Null controls" in console.file.getvalue()


def test_what_does_not_fit_is_shown_unmarked_and_counted(given: HybridReport, tmp_path: Path) -> None:
    texts = {**given.token_texts, "hybrid": [("x",)] * 40}
    notes = {**given.annotations, "bias": given.annotations["bias"][:1]}
    odd = replace(given, token_texts=texts, annotations=notes)
    data = reading_data(odd, given.report.problem_ids)
    answer = data["problems"][3]["answers"]["hybrid"]
    assert "c" not in answer and data["texts"][answer["t"][0]] == given.report.arm("hybrid").completions[3].text
    write_hybrid(odd, tmp_path)
    html = (tmp_path / "hybrid.html").read_text(encoding="utf-8")
    assert "hybrid, T = 1: 40 answers have no annotation" in html and "bias only: 39 answers" in html


@pytest.mark.slow
def test_page_of_200_problems_and_22_arms_is_small(tmp_path: Path) -> None:
    big = hybrid_synthetic.hybrid(200, n_categories=50, extra=11, draws=1)
    assert len(big.report.arms) == 22
    write_hybrid(big, tmp_path)
    html = (tmp_path / "hybrid.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 5_000_000
    assert len(json.loads(Page(html).scripts[0])["problems"]) == 200, "ordinary answers all fit"


def test_budgets_bound_the_page(given: HybridReport, tmp_path: Path) -> None:
    """Answers of 2 000 distinct tokens each: base, hybrid and thinking come first, then the other arms."""
    rng = np.random.default_rng(0)
    words = [f" word{i}" for i in range(30_000)]

    def longer(arm: ArmResult) -> tuple[ArmResult, list[Annotation], list[tuple[str, ...]]]:
        ids = [tuple(map(int, rng.integers(30_000, size=2000))) for _ in arm.completions]
        texts = [tuple(words[i] for i in each) for each in ids]
        made = [replace(c, ids=i, text="".join(t)) for c, i, t in zip(arm.completions, ids, texts, strict=True)]
        notes = [
            Annotation(c.problem, c.chain, i, (True,) * 2000, (0.5,) * 2000, i[::-1], i)
            for c, i in zip(made, ids, strict=True)
        ]
        return replace(arm, completions=made), notes, texts

    keep = ("base", "hybrid", "thinking", "bias", "no_vector", "power", "published", "thinking_choice")
    found = {arm.name: longer(arm) for arm in given.report.arms if arm.name in keep}
    report = replace(given.report, arms=[arm for arm, _, _ in found.values()])
    write_hybrid(
        replace(given, report=report, annotations={n: notes for n, (_, notes, _) in found.items()},
                token_texts={n: texts for n, (_, _, texts) in found.items()},
                choice_texts=dict(enumerate(words)), shares={}, truths={}),
        tmp_path,
    )  # fmt: skip
    html = (tmp_path / "hybrid.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 5_000_000
    problems = json.loads(Page(html).scripts[0])["problems"]
    whole = [p["id"] for p in problems if "bias" in p["answers"]]
    assert 1 <= len(whole) < len(problems) < 40 and whole == [p["id"] for p in problems[: len(whole)]]
    assert f"The first {len(problems)} of 40 problems" in html and f"answers to the first {len(whole)}" in html


def test_page_is_well_formed_and_sealed(folder: Path, page: Page) -> None:
    html = (folder / "hybrid.html").read_text(encoding="utf-8")
    assert page.open == [] and len(page.ids) == len(set(page.ids)) and len(page.scripts) == 2
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "base", "image"}
        assert not {"src", "onclick", "onerror", "onload", "srcset"} & set(attributes)
        href = attributes.get("href")
        assert href is None or (href.startswith("#") and href[1:] in page.ids), href
    assert "default-src 'none'" in html and not re.search(r"https?://|@import|url\((?!#)", html)


def test_same_input_same_bytes(given: HybridReport, folder: Path, tmp_path: Path) -> None:
    write_hybrid(given, tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def _poisoned(given: HybridReport) -> HybridReport:
    """Every text replaced by, or ending in, the hostile one."""
    n = len(NASTY)
    arms = [
        replace(arm, label=arm.label + NASTY, sampler=NASTY, note=NASTY, role=NASTY,
                completions=[replace(c, text=NASTY, ids=tuple(range(n))) for c in arm.completions],
                grades=[replace(g, answer=NASTY) for g in arm.grades])
        for arm in given.report.arms
    ]  # fmt: skip
    problems = {
        k: replace(p, question=NASTY, gold=NASTY, tags={NASTY: NASTY}) for k, p in given.report.problems.items()
    }
    report = replace(given.report, title=NASTY, arms=arms, problems=problems, footer=[NASTY])
    notes = {a.name: [Annotation(c.problem, c.chain, (0,) * n, (True,) * n, (1.0,) * n, (9,) * n, (8,) * n)
                      for c in a.completions] for a in arms}  # fmt: skip
    categories = tuple(replace(c, title=NASTY, description=NASTY, examples=(NASTY,) * 4, truth=NASTY)
                       for c in given.taxonomy.categories)  # fmt: skip
    taxonomy = replace(given.taxonomy, method=NASTY, judge=NASTY, categories=categories, notes=(NASTY,),
                       scores={NASTY: st.Interval(0.5, 0.4, 0.6)})  # fmt: skip
    return replace(
        given, report=report, annotations=notes,
        token_texts={a.name: [tuple(NASTY)] * len(a.completions) for a in arms},
        choice_texts={8: NASTY, 9: RTL}, taxonomy=taxonomy,
        vectors=tuple(replace(v, note=NASTY) for v in given.vectors),
        truths={name: {NASTY: 1.0} for name in given.truths}, published=((NASTY,) * 7,),
    )  # fmt: skip


def test_hostile_text_stays_text(given: HybridReport, page: Page, tmp_path: Path) -> None:
    poisoned = _poisoned(given)
    write_hybrid(poisoned, tmp_path)
    write_taxonomy(poisoned.taxonomy, tmp_path, Console(file=StringIO(), width=100))
    print_hybrid(poisoned, Console(file=StringIO(), width=200))
    html = (tmp_path / "hybrid.html").read_text(encoding="utf-8")
    bad = Page(html)
    assert bad.open == [] and len(bad.scripts) == 2 and bad.scripts[1] == page.scripts[1]
    assert {tag for tag, _ in bad.tags} <= {tag for tag, _ in page.tags}
    assert not any({"onerror", "src"} & set(attributes) for _, attributes in bad.tags)
    assert "\x00" not in html and "\x1b" not in html
    data = json.loads(bad.scripts[0])
    assert unpacked(data, data["problems"][0]["answers"]["hybrid"])[0] == visible(NASTY)
    parsed = Page((tmp_path / "taxonomy.html").read_text(encoding="utf-8"))
    assert parsed.open == [] and not {"img", "script"} & {tag for tag, _ in parsed.tags}
    for name in ("hybrid.md", "hybrid.csv", "taxonomy.md", "categories.csv"):
        assert "\x00" not in (tmp_path / name).read_text(encoding="utf-8")
    assert "<img" not in (tmp_path / "hybrid.md").read_text(encoding="utf-8")
    if CHROMIUM is not None:
        dom = chromium(tmp_path, "--dump-dom", (tmp_path / "hybrid.html").as_uri())
        assert 'data-ready="yes"' in dom and "<img" not in dom and dom.count("<script") == 2


WATCH = 'addEventListener("error", (e) => { document.documentElement.dataset.error = e.message; });'


PROBE = """<script>
const out = {}, click = (node) => node.click(), all = (query) => [...document.querySelectorAll(query)];
const column = (i) => all(".column")[i], tokensOf = (i) => [...column(i).querySelectorAll(".token")];
const text = (i) => tokensOf(i).map((n) => n.textContent).join("");
const fire = (id, value) => {
  const n = document.getElementById(id);
  n.value = value;
  n.dispatchEvent(new Event("change"));
};
fire("problem", "3");
out.texts = [0, 1, 2].map(text);
out.steered = column(1).querySelectorAll(".steered").length;
const first = column(1).querySelector(".steered");
first.focus();
out.panel = document.getElementById("panel").textContent;
out.hidden = document.getElementById("panel").hidden;
const tokens = tokensOf(1), press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true }));
out.moved = [["Home", 0], ["ArrowRight", 1], ["ArrowLeft", 0]].every(([key, at]) => {
  press(key);
  return document.activeElement === tokens[at];
});
document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
out.escaped = document.getElementById("panel").hidden;
tokens[0].dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
out.hovered = !document.getElementById("panel").hidden;
click(all("#legend button")[2]);
out.off = all(".token").filter((n) => n.classList.contains("off")).length;
out.pressed = all("#legend button").map((n) => n.getAttribute("aria-pressed") === "true").indexOf(true);
click(all("#legend button")[2]);
out.on = all(".token.off").length;
const chooser = column(0).querySelector("select");
chooser.value = "thinking_choice";
chooser.dispatchEvent(new Event("change"));
out.other = text(0);
click(document.getElementById("add-column"));
out.columns = all(".column").length;
const filter = document.getElementById("filter");
filter.selectedIndex = 1;
filter.dispatchEvent(new Event("change"));
out.filtered = [...document.getElementById("problem").options].map((n) => n.textContent);
document.documentElement.dataset.results = encodeURIComponent(JSON.stringify(out));
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_shows_every_token_and_its_reasons(given: HybridReport, folder: Path, tmp_path: Path) -> None:
    html = (folder / "hybrid.html").read_text(encoding="utf-8")
    html = html.replace("<script type", f"<script>{WATCH}</script><script type", 1)
    (tmp_path / "probed.html").write_text(html.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    dom = chromium(tmp_path, "--dump-dom", (tmp_path / "probed.html").as_uri())
    assert "data-error" not in dom and 'data-ready="yes"' in dom
    found = re.search(r'data-results="([^"]*)"', dom)
    assert found is not None
    out = json.loads(unquote(found[1]))
    expected = {arm.name: arm.completions for arm in given.report.arms}
    assert out["texts"] == [expected[name][3].text for name in ("base", "hybrid", "thinking")]
    note, completion = given.annotations["hybrid"][3], expected["hybrid"][3]
    assert out["steered"] == sum(note.steered)
    at = note.steered.index(True)
    assert not out["hidden"] and given.taxonomy.categories[note.categories[at]].title in out["panel"]
    assert f"yes, coefficient {note.coefficients[at]:g}" in out["panel"]
    assert ("the models disagree" in out["panel"]) == (note.base_choices[at] != note.thinking_choices[at])
    own = given.token_texts["hybrid"][3][at]
    for who, made in (("base", note.base_choices[at]), ("thinking", note.thinking_choices[at])):
        text = own if made == completion.ids[at] else given.choice_texts[made]
        assert f"{who} wants{text.replace(' ', '␣') or 'end of text'}" in out["panel"]
    assert out["moved"] and out["escaped"] and out["hovered"] and completion.problem == "p3"
    shown = [given.annotations[name][3] for name in ("base", "hybrid", "thinking")]
    assert out["off"] == sum(c != 2 for each in shown for c in each.categories)
    assert out["pressed"] == 2 and out["on"] == 0
    assert out["other"] == expected["thinking_choice"][3].text and out["columns"] == 4
    verdicts = {name: {g.problem: g.correct for g in given.report.arm(name).grades} for name in ("base", "hybrid")}
    assert out["filtered"] == [i for i in given.report.problem_ids if verdicts["hybrid"][i] and not verdicts["base"][i]]
