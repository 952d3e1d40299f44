"""Made-up data through every output: the numbers survive, the page is sealed, hostile text stays text."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import pytest
from rich.console import Console

from reasoning_lab import statistics as st
from reasoning_lab.records import Completion, Grade, Move, Problem
from reasoning_lab.report import ArmResult, Report, print_table, write_report, write_sweep
from reasoning_lab.report.views import theme
from reasoning_lab.report.views.arms import headline_metrics, summarise, summarise_passk
from reasoning_lab.report.views.chains import ACCEPTED, GIVEN_UP, REDRAWN, REJECTED, replay, states_before
from reasoning_lab.report.views.charts.cost import draw_cost
from reasoning_lab.report.views.charts.kit import house_style
from reasoning_lab.report.views.embedded import embedded_json
from reasoning_lab.report.views.headline import arms_headline
from reasoning_lab.report.words import natural_key, relation, visible

from . import synthetic

HOSTILE = (
    "</script><img src=x onerror=alert(1)> <!-- 😀 \\frac{1}{2} $x_1^{$ \x00\x1b[31m \ud800 ]]> \"'`|& \u2028 &lt;b>"
)
CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """What a browser would see of the static page."""

    VOID = frozenset({"meta", "input", "br", "link", "img", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag == "script":
            self.scripts.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def report() -> Report:
    return synthetic.report(n_problems=40, n_passk=12, samples=6, proposals=24)


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


# --- the page -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("text", [HOSTILE, "<!--<script>", "a\ufeffb", "𝔸" * 3])
def test_embedded_json_survives_a_script_element(text: str) -> None:
    document = embedded_json({"text": visible(text)})
    assert not re.search(r"[<>&]", document)
    assert json.loads(document)["text"] == visible(text)
    assert json.loads(Page(f'<script type="application/json">{document}</script>').scripts[0])["text"] == visible(text)


# --- numbers --------------------------------------------------------------------------------------------------


def test_csv_round_trip_equals_the_numbers(report: Report, folder: Path) -> None:
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, summarise(report), strict=True):
        assert (line["name"], line["label"], line["role"]) == (row.name, row.label, row.role)
        assert tuple(float(line[f"accuracy{end}"]) for end in ("", "_low", "_high")) == row.accuracy
        assert float(line["decode_tokens"]) == row.decode_tokens and float(line["length"]) == row.length
        assert int(line["n_ungradable"]) == row.n_ungradable
        if row.difference is None:
            assert line["difference_to_base"] == "" and row.name == report.base
        else:
            found = [float(line[key]) for key in ("difference_to_base", "difference_low", "difference_high")]
            assert tuple(found) == row.difference.difference
        assert line["acceptance"] == ("" if row.acceptance is None else str(row.acceptance))


def test_rows_by_hand() -> None:
    """Four problems, two arms, every number computed on paper."""

    def arm(name: str, right: str, decode: int, proposals: int) -> ArmResult:
        verdicts = {"c": "correct", "w": "wrong", "u": "ungradable", "t": "timeout"}
        completions = [
            Completion(f"p{i}", 0, "x", (1,) * (10 + i), "cap" if i == 3 else "stop", -1.0, -0.5, decode, proposals,
                       proposals // 2, proposals // 4)
            for i in range(4)
        ]  # fmt: skip
        grades = [Grade(f"p{i}", 0, verdicts[v], "1", "") for i, v in enumerate(right)]  # type: ignore[arg-type]
        return ArmResult(name, name, "base", "", completions, grades)

    arms = [arm("base", "cwut", 20, 0), arm("power", "cccw", 800, 40)]
    problems = {f"p{i}": Problem(f"p{i}", "q", "1") for i in range(4)}
    made = Report("t", arms, problems, str, "base", "power", grpo_length=50.0)
    base, power = summarise(made)
    assert (base.accuracy.value, power.accuracy.value) == (0.25, 0.75)
    assert base.difference is None and power.difference is not None
    assert power.difference.difference.value == 0.5 and power.difference.p_value == 0.5
    assert (base.n_ungradable, base.n_timeout, base.n_capped) == (1, 1, 1)
    assert power.grpo_epochs == (2.0, 1.0) and power.length == 11.5
    assert (power.acceptance, power.move_rate, base.acceptance) == (0.5, 0.25, None)
    metrics = headline_metrics(made, [base, power], [])
    assert metrics["accuracy"] == 0.75 and metrics["cost_over_base"] == 40 and metrics["grpo_epochs_16"] == 1
    assert metrics["base/accuracy"] == 0.25 and "difference_to_rl" not in metrics
    said = arms_headline(made, [base, power], [])
    assert said.verdict == "No clear difference from base." and "40.0 times" in " ".join(said.sentences)


def test_metrics_are_flat_numbers_and_equal_the_table(report: Report) -> None:
    rows = summarise(report)
    metrics = headline_metrics(report, rows, summarise_passk(report))
    assert all(isinstance(value, float) for value in metrics.values()), metrics
    power = next(row for row in rows if row.name == "power")
    assert metrics["accuracy"] == metrics["power/accuracy"] == power.accuracy.value
    assert power.difference is not None
    assert metrics["difference_to_base"] == power.difference.difference.value
    assert {"grpo/pass_at_6", "grpo/calibration_error", "grpo/overconfidence_high"} <= set(metrics)


def _outcome(report: Report, better: str, worse: str, n: int) -> Report:
    """The report with the first n problems right only in `better`, the others right in both."""

    def graded(arm: ArmResult) -> ArmResult:
        wrong = {f"p{i}" for i in range(n)} if arm.name == worse else set()
        grades = [replace(g, verdict="wrong" if g.problem in wrong else "correct") for g in arm.grades]
        return replace(arm, grades=grades)

    assert better in {arm.name for arm in report.arms}
    return replace(report, arms=[graded(arm) for arm in report.arms], passk=[])


@pytest.mark.parametrize(
    ("better", "worse", "n", "verdict"),
    [
        ("power", "base", 20, "Clearly above base, T = 1; no clear difference from GRPO, T = 1."),
        ("power", "base", 1, "No clear difference from base, T = 1 and from GRPO, T = 1."),
        ("base", "power", 20, "Clearly below base, T = 1 and GRPO, T = 1."),
        ("power", "grpo", 20, "No clear difference from base, T = 1; clearly above GRPO, T = 1."),
    ],
)
def test_the_headline_says_clear_only_when_the_paired_interval_excludes_zero(
    report: Report, better: str, worse: str, n: int, verdict: str
) -> None:
    made = _outcome(report, better, worse, n)
    assert arms_headline(made, summarise(made), []).verdict == verdict


def test_a_cheaper_better_rival_is_named(report: Report) -> None:
    made = _outcome(report, "vote_16", "power", 25)
    said = " ".join(arms_headline(made, summarise(made), []).sentences)
    assert "Power α = 4 against it: clearly below (−62.5 points" in said


def test_relation() -> None:
    assert relation(st.Interval(0.1, 0.0, 0.2)) == "no clear difference", "touching zero is not clear"
    assert relation(st.Interval(0.1, 0.01, 0.2)) == "clearly above"
    assert relation(st.Interval(-0.1, -0.2, -0.01)) == "clearly below"


# --- chains ---------------------------------------------------------------------------------------------------


def _replayed(chain: dict) -> list[str]:
    """The page's replay, in Python: the text before each move and the last one."""
    text, texts = chain["state"], []
    for _, _, _, at, new, _, kind, appended in chain["moves"]:
        text = appended[0] if isinstance(appended, list) else text + appended
        texts.append(text)
        kept = text.encode("utf-16-le")[: 2 * at].decode("utf-16-le")
        text = kept + new if kind in (ACCEPTED, REDRAWN) else text
    return [*texts, text]


def test_replay_leads_to_the_final_text(report: Report) -> None:
    for completion in report.arm("power").completions:
        chain = replay(completion, report.decode)
        assert chain is not None
        assert _replayed(chain)[-1] == chain["final"] == completion.text
        before = states_before(completion)
        assert before is not None and _replayed(chain)[:-1] == [report.decode(state) for state in before]


def test_replay_by_hand_with_characters_of_two_units() -> None:
    text = {1: "😀", 2: "b", 3: "c", 4: "é", 5: "z"}
    moves = (
        Move(1, 1, 1, (2,), (3,), 0.5, True),
        Move(1, 2, 0, (1, 3), (4,), None, False),
        Move(2, 1, 2, (4,), (4,), 0.0, True),
        Move(2, 2, 2, (4,), (5,), -3.0, False),
    )
    final = Completion("p", 0, "", (1, 3, 4), "stop", -1.0, -1.0, 9, 4, 2, 1, moves)
    chain = replay(final, lambda ids: "".join(text[i] for i in ids))
    assert chain is not None
    assert chain["state"] == "😀b" and chain["final"] == "😀cé"
    assert [move[3] for move in chain["moves"]] == [2, 0, 3, 3]
    assert [move[6] for move in chain["moves"]] == [ACCEPTED, GIVEN_UP, REDRAWN, REJECTED]
    assert [move[7] for move in chain["moves"]] == ["", "", "é", ""]
    assert _replayed(chain) == ["😀b", "😀c", "😀cé", "😀cé", "😀cé"]


def test_a_chain_that_does_not_lead_to_its_text_is_not_shown() -> None:
    moves = (Move(1, 1, 0, (1,), (2,), 0.0, True),)
    assert replay(Completion("p", 0, "", (3,), "stop", -1.0, -1.0, 1, 1, 1, 1, moves), str) is None
    assert replay(Completion("p", 0, "", (3,), "stop", -1.0, -1.0, 1), str) is None


# --- charts, sweep, errors ------------------------------------------------------------------------------------


def test_charts_are_there(folder: Path) -> None:
    assert {p.name for p in folder.glob("*.png")} == {
        "accuracy_by_cost.png", "pass_at_k.png", "reliability.png", "likelihood.png",
    }  # fmt: skip
    assert all(p.read_bytes().startswith(b"\x89PNG") and p.stat().st_size > 20_000 for p in folder.glob("*.png"))


def test_labels_of_the_cost_chart_do_not_overlap(report: Report) -> None:
    rows = summarise(report)
    with house_style("test"):
        figure = draw_cost(rows, theme.arm_inks(report))
        figure.draw_without_rendering()
    texts = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(texts) == len(rows)
    assert not [(i, j) for i, a in enumerate(texts) for j, b in enumerate(texts[:i]) if a.overlaps(b)]


def test_inks_are_legible_on_both_pages(report: Report) -> None:
    inks = theme.arm_inks(report)
    assert len({(ink.light, ink.marker) for ink in inks.values()}) == len(report.arms)
    for ink in inks.values():
        assert theme.contrast(ink.light, theme.BACKGROUND.light) >= 4.5, ink
        assert theme.contrast(ink.dark, theme.BACKGROUND.dark) >= 4.5, ink
    for ink in (theme.TEXT, theme.FAINT):
        assert theme.contrast(ink.light, "#f6f7f9") >= 4.5 and theme.contrast(ink.dark, "#1b1f26") >= 4.5
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)


def test_the_smallest_report(report: Report, tmp_path: Path) -> None:
    """Two arms, no chains, no scores, no repeated samples, no RL arm."""
    arms = [replace(a, scored=None, completions=[replace(c, moves=()) for c in a.completions])
            for a in report.arms if a.name in ("base", "power")]  # fmt: skip
    small = replace(report, arms=arms, passk=[], reference=None, grpo_length=None, published=[], footer=[])
    metrics = write_report(small, tmp_path)
    html = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "chains" not in html.ids and "published" not in html.ids and "difference_to_rl" not in metrics
    assert {p.name for p in tmp_path.iterdir()} == {"index.html", "table.csv", "table.md", "accuracy_by_cost.png"}


def test_table_on_a_terminal_has_every_arm(report: Report) -> None:
    console = Console(file=StringIO(), width=220)
    print_table(report, console)
    assert isinstance(console.file, StringIO)
    printed = console.file.getvalue()
    assert all(arm.label in printed for arm in report.arms) and "model organism" in printed


@pytest.mark.parametrize("keys", [1, 2, 3])
def test_sweep(keys: int, tmp_path: Path) -> None:
    cells = []
    for i in range(12):
        setting = {"sampler.alpha": [1, 2, 4, 10][i % 4], "sampler.steps": [2, 10, 20][i // 4], "seed": i % 2}
        accuracy = 0.3 + 0.04 * i
        cells.append((dict(list(setting.items())[:keys]), {"accuracy": accuracy, "accuracy_low": accuracy - 0.07,
                      "accuracy_high": accuracy + 0.06, "decode_tokens": 100.0 * i}))  # fmt: skip
    write_sweep(cells, tmp_path, "<b>Sweep</b>")
    with (tmp_path / "sweep.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12
    html = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    parsed = Page(html)
    assert parsed.open == [] and not re.search(r"https?://", html)
    assert ("heatmap.png" in {p.name for p in tmp_path.iterdir()}) == (keys > 1)
    assert (keys == 1) or re.search(r">74\.0 ± 6\.5<|>mean of", html)


def test_errors_name_what_is_wrong(report: Report) -> None:
    base = report.arm("base")
    with pytest.raises(ValueError, match="'nobody' is not an arm"):
        replace(report, studied="nobody")
    with pytest.raises(ValueError, match="without grade"):
        replace(base, grades=base.grades[1:])
    shorter = replace(base, name="short", completions=base.completions[1:], grades=base.grades[1:])
    with pytest.raises(ValueError, match="same problems in every arm"):
        replace(report, arms=[*report.arms, shorter])
    with pytest.raises(ValueError, match="two or more"):
        replace(report, passk=[base])
    with pytest.raises(ValueError, match="no cells"):
        write_sweep([], Path())


def test_natural_order() -> None:
    assert sorted(["p10", "p2", "a", "p2b", "3", "p"], key=natural_key) == ["3", "a", "p", "p2", "p2b", "p10"]


# --- in a browser ---------------------------------------------------------------------------------------------


def _chromium(tmp_path: Path, *arguments: str) -> str:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,2400", "--virtual-time-budget=5000", *arguments,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_draws_the_page_and_runs_its_script(folder: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    picture = tmp_path / "page.png"
    url = (folder / "index.html").as_uri()
    _chromium(tmp_path, f"--screenshot={picture}", url)
    pixels = imread(picture)
    assert pixels.shape[:2] == (2400, 1280)
    assert pixels.std() > 0.03 and len({tuple(p) for p in pixels[::8, ::8, :3].reshape(-1, 3).tolist()}) > 50
    dom = _chromium(tmp_path, "--dump-dom", url)
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
    dom = _chromium(tmp_path, "--dump-dom", (tmp_path / "probed.html").as_uri())
    found = re.search(r'data-results="([^"]*)"', dom)
    assert found is not None
    data = json.loads(page.scripts[0])
    expected = [chain["final"] for chain in data["chains"]]
    assert json.loads(unquote(found[1])) == [*expected, data["problems"][1]["answers"][0][0]]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_finds_no_markup_in_hostile_text(report: Report, tmp_path: Path) -> None:
    write_report(_poisoned(report), tmp_path)
    dom = _chromium(tmp_path, "--dump-dom", (tmp_path / "index.html").as_uri())
    assert 'data-ready="yes"' in dom and "<img" not in dom and dom.count("<script") == 2
