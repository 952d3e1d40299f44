"""A made-up hybrid model through every output: numbers by hand and by another bootstrap, the page in Chromium."""

import csv
import json
import re
from dataclasses import replace
from io import StringIO
from itertools import combinations
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from rich.console import Console

from reasoning_lab import statistics as st
from reasoning_lab.records import Annotation, Completion, Grade, Problem
from reasoning_lab.report import (
    ArmResult,
    HybridReport,
    Report,
    TaxonomyView,
    print_hybrid,
    write_hybrid,
    write_taxonomy,
)
from reasoning_lab.report.views import theme
from reasoning_lab.report.views.control_headline import controls_headline, gap_words
from reasoning_lab.report.views.controls import control_metrics, control_rows
from reasoning_lab.report.views.swatches import MAX_DISTINCT, TINTS, swatch
from reasoning_lab.report.views.tokens import reading_data, seen_answers
from reasoning_lab.report.words import visible

from . import hybrid_synthetic
from .test_report import CHROMIUM, HOSTILE, Page, _chromium

RTL = "\u202eevil \u05d0\u05d1"
NASTY = HOSTILE + RTL


@pytest.fixture(scope="module")
def given() -> HybridReport:
    return hybrid_synthetic.hybrid(n_problems=40, draws=2)


@pytest.fixture(scope="module")
def folder(given: HybridReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hybrid")
    write_hybrid(given, out)
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "hybrid.html").read_text(encoding="utf-8"))


def _arm(name: str, right: list[str]) -> ArmResult:
    """One answer of two tokens per letter: problem i's are right[i]."""
    found = [(f"p{i}", chain, verdict) for i, verdicts in enumerate(right) for chain, verdict in enumerate(verdicts)]
    completions = [Completion(p, c, "ab", (1, 2), "stop", -1.0, -1.0, 2) for p, c, _ in found]
    grades = [Grade(p, c, "correct" if v == "c" else "wrong", "1", "") for p, c, v in found]
    return ArmResult(name, name, "hybrid", "", completions, grades, checks=0.5)


def _small(**right: list[str]) -> HybridReport:
    """Arms base, hybrid and thinking, nulls named null*, rivals named rival*; half of each answer is steered."""
    arms = [_arm(name, verdicts) for name, verdicts in right.items()]
    problems = {f"p{i}": Problem(f"p{i}", "q", "1") for i in range(len(right["base"]))}
    notes = {a.name: [Annotation(c.problem, c.chain, (0, 1), (True, False), (1.5, 0.0), (2, 2), (1, 2))
                      for c in a.completions] for a in arms}  # fmt: skip
    taxonomy = TaxonomyView("by hand", "", (), {}, 0)
    return HybridReport(
        Report("t", arms, problems, str, "base", "hybrid", "thinking"),
        tuple(a for a in right if a.startswith("null")), tuple(a for a in right if a.startswith("rival")), notes,
        {a.name: [("a", "b")] * len(a.completions) for a in arms}, {1: "a", 2: "b"}, taxonomy, (), {}, {},
    )  # fmt: skip


# --- numbers --------------------------------------------------------------------------------------------------


def test_rows_by_hand() -> None:
    """20 problems: base right on 4, hybrid on 12 (among them base's), thinking on 16, a null with two draws on 4.5."""
    made = _small(
        base=["c"] * 4 + ["w"] * 16, hybrid=["c"] * 12 + ["w"] * 8, thinking=["c"] * 16 + ["w"] * 4,
        null_a=["cc"] * 4 + ["cw"] + ["ww"] * 15, rival=["w"] * 4 + ["c"] * 12 + ["w"] * 4,
    )  # fmt: skip
    rows = {row.name: row for row in control_rows(made)}
    assert list(rows) == ["base", "hybrid", "thinking", "null_a", "rival"]
    assert [row.group for row in rows.values()] == ["models", "models", "models", "nulls", "rivals"]
    assert [row.accuracy.value for row in rows.values()] == [0.2, 0.6, 0.8, 0.225, 0.6]
    recovered = {name: row.recovered.value for name, row in rows.items() if row.recovered}
    assert recovered == pytest.approx({"hybrid": 8 / 12, "null_a": 0.5 / 12, "rival": 8 / 12})
    assert rows["null_a"].n_draws == 2 and rows["hybrid"].accuracy == st.wilson(12, 20)
    lead = rows["rival"].lead
    assert lead is not None and lead.difference.value == 0
    assert lead.p_value == 1.0, "four problems each way"
    base = rows["base"].lead
    assert base is not None and base.p_value == pytest.approx(2 * 0.5**8), "McNemar: 8 against 0"
    assert rows["null_a"].lead is not None and rows["null_a"].lead.p_value is None, "several draws have no McNemar p"
    assert rows["hybrid"].steered == pytest.approx((0.5, 0.5, 0.5)) and rows["base"].steered is None
    assert rows["hybrid"].length == 2 and rows["hybrid"].checks == 0.5 and rows["hybrid"].backtracks is None


def test_gap_interval_equals_an_independent_paired_bootstrap(given: HybridReport) -> None:
    """Problems drawn with replacement in a plain loop, all three arms together."""
    means = {}
    for name in ("base", "hybrid", "thinking"):
        found: dict[str, list[bool]] = {}
        for grade in given.report.arm(name).grades:
            found.setdefault(grade.problem, []).append(grade.correct)
        means[name] = np.array([np.mean(found[i]) for i in given.report.problem_ids])
    rng, ratios = np.random.default_rng(5), []
    for _ in range(4000):
        chosen = rng.integers(40, size=40)
        base, arm, top = (means[name][chosen].mean() for name in ("base", "hybrid", "thinking"))
        ratios.append((arm - base) / (top - base))
    row = next(row for row in control_rows(given) if row.name == "hybrid")
    assert row.recovered is not None
    assert row.recovered.low == pytest.approx(np.quantile(ratios, 0.021), abs=0.06)
    assert row.recovered.high == pytest.approx(np.quantile(ratios, 0.979), abs=0.06)


def test_gap_recovered_is_not_clipped() -> None:
    half = ["c", "w"] * 20
    made = _small(base=half, hybrid=["w"] * 30 + ["c"] * 10, thinking=["c"] * 40)
    row = control_rows(made)[1]
    assert row.recovered is not None and row.recovered.value == -0.5 and row.recovered.high < 0
    assert controls_headline(made, control_rows(made))[0].startswith("Hybrid falls clearly below the base (−50.0 [")
    above = _small(base=["w"] * 40, hybrid=["c"] * 40, thinking=half)
    row = control_rows(above)[1]
    assert row.recovered is not None and row.recovered.value == 2.0


def test_without_a_clear_gap_the_reason_is_printed(tmp_path: Path) -> None:
    made = _small(base=["c", "w"] * 10, hybrid=["c"] * 20, thinking=["w", "c"] * 10, null_a=["w"] * 20)
    rows = control_rows(made)
    assert all(row.recovered is None for row in rows)
    assert "not clearly above the base (+0.0 [" in controls_headline(made, rows)[0]
    found = write_hybrid(made, tmp_path)
    assert "gap_recovered" not in found and found["hybrid/accuracy"] == 1
    assert "ratio whose denominator may be zero" in (tmp_path / "hybrid.md").read_text()
    html = (tmp_path / "hybrid.html").read_text()
    assert "Accuracy of every arm" in html and "ratio whose denominator may be zero" in html


def test_bounds_that_say_nothing_are_printed_so() -> None:
    assert gap_words(st.Interval(0.5, float("-inf"), float("inf"))) == "50.0 [< −1000, > 1000]"
    assert gap_words(st.Interval(-0.031, -0.5, 1.25)) == "−3.1 [−50.0, 125.0]"


@pytest.mark.parametrize(
    ("null", "rival", "words"),
    [
        ("w" * 30, "c" * 30, ("; clearly above the one null control", "clearly below rival: −33.3 [")),
        ("c" * 19 + "w" * 11, "w" * 30, ("not clearly above the one null control", "clearly above rival: +66.7 [")),
        ("w" * 30, "c" * 20 + "w" * 10, ("; clearly above the one", "no clear paired difference to rival: +0.0 [")),
    ],
)
def test_the_headline_is_decided_by_intervals_and_names_every_rival(
    null: str, rival: str, words: tuple[str, ...]
) -> None:
    made = _small(
        base=["w"] * 30, hybrid=["c"] * 20 + ["w"] * 10, thinking=["c"] * 30, null_a=list(null), rival=list(rival)
    )
    said = controls_headline(made, control_rows(made))
    assert "Hybrid recovers 66.7 [" in said[0]
    assert all(part in said[0] for part in words), said[0]
    assert ("not clearly above null_a" in " ".join(said)) == (null[0] == "c")


def test_the_headline_gives_the_draws_of_random_controls(given: HybridReport) -> None:
    said = " ".join(controls_headline(given, control_rows(given)))
    assert "norm-matched random vectors 2, random category 2, random positions, matched rate 2" in said


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


def test_steered_fraction_averages_over_problems_first() -> None:
    made = _small(base=["w"] * 3, hybrid=["cc", "c", "c"], thinking=["c"] * 3)
    steered = [(True, True)] * 2 + [(False, False)] * 2
    notes = [replace(n, steered=s) for n, s in zip(made.annotations["hybrid"], steered, strict=True)]
    row = control_rows(replace(made, annotations={"hybrid": notes}))[1]
    assert row.steered is not None and row.steered.value == pytest.approx(1 / 3), "not 1/2, the share of answers"


def test_tables_group_nulls_and_competitors(given: HybridReport, folder: Path) -> None:
    text = (folder / "hybrid.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == [
        "Models", "Null controls", "Competitors", "Other arms", "Beside the paper",
    ]  # fmt: skip
    nulls = text.split("## Null controls")[1].split("## Competitors")[0]
    assert "bias only" in nulls and "thinking chooses" not in nulls
    for width in (80, 120, 200):
        console = Console(file=StringIO(), width=width)
        print_hybrid(given, console)
        assert isinstance(console.file, StringIO) and "Null controls" in console.file.getvalue()


# --- tokens ---------------------------------------------------------------------------------------------------


def _unpacked(data: dict, answer: dict) -> tuple[str, list[int]]:
    runs = answer["c"]
    return "".join(data["texts"][t] for t in answer["t"]), [
        c for c, n in zip(runs[::2], runs[1::2], strict=True) for _ in range(n)
    ]


def test_packed_tokens_join_to_the_text_and_keep_the_annotation(given: HybridReport) -> None:
    data = reading_data(given, given.report.problem_ids)
    assert [p["id"] for p in data["problems"]] == [f"p{i}" for i in range(40)], "natural order"
    for name in ("base", "hybrid", "random_vectors"):
        seen = seen_answers(given, name)
        for problem in data["problems"]:
            answer, (completion, note) = (
                problem["answers"][name],
                (seen[problem["id"]].completion, seen[problem["id"]].annotation),
            )
            text, categories = _unpacked(data, answer)
            assert text == completion.text and completion.chain == 0
            assert note is not None and tuple(categories) == note.categories
            assert answer["s"] == [i for i, s in enumerate(note.steered) if s]
            assert answer["k"] == [c for c, s in zip(note.coefficients, note.steered, strict=True) if s]
            wanted = dict(zip(answer["b"][::2], answer["b"][1::2], strict=True))
            for i, chosen in enumerate(note.base_choices):
                assert (i in wanted) == (chosen != completion.ids[i])
                assert i not in wanted or data["texts"][wanted[i]] == given.choice_texts[chosen]


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
                nulls=("bias", "no_vector"),
                rivals=("thinking_choice", "published"), token_texts={n: texts for n, (_, _, texts) in found.items()},
                choice_texts=dict(enumerate(words)), shares={}, truths={}),
        tmp_path,
    )  # fmt: skip
    html = (tmp_path / "hybrid.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 5_000_000
    problems = json.loads(Page(html).scripts[0])["problems"]
    whole = [p["id"] for p in problems if "bias" in p["answers"]]
    assert 1 <= len(whole) < len(problems) < 40 and whole == [p["id"] for p in problems[: len(whole)]]
    assert f"The first {len(problems)} of 40 problems" in html and f"answers to the first {len(whole)}" in html


# --- colours --------------------------------------------------------------------------------------------------


def test_fifty_categories_look_different_and_stay_readable() -> None:
    assert MAX_DISTINCT >= 50 and len({swatch(i) for i in range(50)}) == 50
    for tint in TINTS:
        for colour in (tint.light, tint.light_pattern):
            assert theme.contrast(colour, theme.TEXT.light) >= 4.5, tint
        for colour in (tint.dark, tint.dark_pattern):
            assert theme.contrast(colour, theme.TEXT.dark) >= 4.5, tint


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear sRGB, D65."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(matrix @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_tints_differ_without_full_colour_vision() -> None:
    """Severe protanopia and deuteranopia: Machado et al. 2009, Table 1."""
    views = (
        np.eye(3),
        np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
        np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    )
    for colours in ([t.light for t in TINTS], [t.dark for t in TINTS]):
        channels = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        for view in views:
            seen = [_lab(np.clip(view @ c, 1e-6, 1)) for c in linear]
            closest = min(
                combinations(range(len(seen)), 2), key=lambda p: float(np.linalg.norm(seen[p[0]] - seen[p[1]]))
            )
            assert np.linalg.norm(seen[closest[0]] - seen[closest[1]]) >= 11, [colours[i] for i in closest]


# --- the page -------------------------------------------------------------------------------------------------


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
    assert _unpacked(data, data["problems"][0]["answers"]["hybrid"])[0] == visible(NASTY)
    parsed = Page((tmp_path / "taxonomy.html").read_text(encoding="utf-8"))
    assert parsed.open == [] and not {"img", "script"} & {tag for tag, _ in parsed.tags}
    for name in ("hybrid.md", "hybrid.csv", "taxonomy.md", "categories.csv"):
        assert "\x00" not in (tmp_path / name).read_text(encoding="utf-8")
    assert "<img" not in (tmp_path / "hybrid.md").read_text(encoding="utf-8")
    if CHROMIUM is not None:
        dom = _chromium(tmp_path, "--dump-dom", (tmp_path / "hybrid.html").as_uri())
        assert 'data-ready="yes"' in dom and "<img" not in dom and dom.count("<script") == 2


def test_taxonomy_files(given: HybridReport, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=160)
    write_taxonomy(given.taxonomy, tmp_path, console)
    assert {path.name for path in tmp_path.iterdir()} == {"categories.csv", "taxonomy.md", "taxonomy.html"}
    with (tmp_path / "categories.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["share"]) for line in lines] == [c.share for c in given.taxonomy.categories]
    parsed = Page((tmp_path / "taxonomy.html").read_text(encoding="utf-8"))
    assert isinstance(console.file, StringIO)
    for words in (
        "".join(parsed.words),
        (tmp_path / "taxonomy.md").read_text(encoding="utf-8"),
        console.file.getvalue(),
    ):
        assert "lexical (TF-IDF, offline)" in words and "1 category has no sentence." in words and "0.81" in words
        assert all(c.title in words for c in given.taxonomy.categories)
    write_taxonomy(replace(given.taxonomy, categories=(), judge="", scores={}), tmp_path / "none", None)
    assert "Nobody named or scored" in (tmp_path / "none" / "taxonomy.md").read_text(encoding="utf-8")


# --- in a browser ---------------------------------------------------------------------------------------------

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
    dom = _chromium(tmp_path, "--dump-dom", (tmp_path / "probed.html").as_uri())
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
