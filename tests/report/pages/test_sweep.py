"""Sweeps and grids of taxonomies: tables, heat maps, elbows."""

import csv
import json
import re
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from reasoning_lab.report import write_grid, write_sweep
from reasoning_lab.report.collect.provenance import of_sweep
from reasoning_lab.report.collect.sweep import collect_sweep, write_finished
from reasoning_lab.report.views.grid import LAYER, SCORE, SIZE
from reasoning_lab.report.views.sweep import SweepCell, SweepInfo
from reasoning_lab.report.words import percent, points
from reasoning_lab.statistics import accuracy_interval, paired_difference
from tests.report.browser import HOSTILE, Page
from tests.report.sweep_folder import unfinish, write_cells
from tests.report.views.test_grid import RULE


def grid_cells(layers: tuple[int, ...] = (1, 2, 3), sizes: tuple[int, ...] = (5, 10, 15, 20, 50)) -> list[Any]:
    cells: list[Any] = []
    for layer in layers:
        for size in reversed(sizes):
            score = 0.5 + 0.1 * layer - abs(size - 10 * layer) / 50
            metrics = {"score/final": score, "score/consistency": score, "nmi": 0.5, "n_dead": 1.0, "fvu": 0.25}
            cells.append(SweepCell({LAYER: layer, SIZE: size, "stage": "taxonomy"}, metrics))
    return cells


@pytest.mark.parametrize("keys", [1, 2, 3])
def test_sweep(keys: int, tmp_path: Path) -> None:
    cells = []
    for i in range(12):
        setting = {"sampler.alpha": [1, 2, 4, 10][i % 4], "sampler.steps": [2, 10, 20][i // 4], "seed": i % 2}
        accuracy = 0.3 + 0.04 * i
        metrics = {"accuracy": accuracy, "accuracy_low": accuracy - 0.07, "accuracy_high": accuracy + 0.06}
        cells.append(SweepCell(dict(list(setting.items())[:keys]), metrics | {"decode_tokens": 100.0 * i}))
    write_sweep(cells, tmp_path, SweepInfo("<b>Sweep</b>"))
    with (tmp_path / "sweep.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12
    html = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    parsed = Page(html)
    assert parsed.open == [] and not re.search(r"https?://", html)
    assert ("heatmap.png" in {p.name for p in tmp_path.iterdir()}) == (keys > 1)
    assert "±" not in html and (keys == 1 or ">[67.0, 80.0]<" in html), "both bounds, which may not lie alike"


def test_grid_files(tmp_path: Path) -> None:
    write_grid(grid_cells(), tmp_path, {"1": 10.0, "2": 20.0, "3": 15.0}, RULE, SweepInfo(f"<b>{HOSTILE}</b>"))
    names = {"sweep.csv", "sweep.md", "sweep.html", "heatmap.png", "elbow.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    with (tmp_path / "sweep.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line[LAYER], line[SIZE]) for line in lines[:6]] == [
        ("1", "5"), ("1", "10"), ("1", "15"), ("1", "20"), ("1", "50"), ("2", "5"),
    ], "numbers in order"  # fmt: skip
    assert float(lines[1]["score/final"]) == pytest.approx(0.6)
    text = (tmp_path / "sweep.md").read_text(encoding="utf-8")
    assert RULE in text and "Best cell: layer 2, 20 clusters, 0.700." in text
    assert len(re.findall(r"elbow \|$", text, re.MULTILINE)) == 3 and len(re.findall("best, elbow", text)) == 1
    html = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    parsed = Page(html)
    assert parsed.open == [] and html.count('<svg class="chart"') == 2 and "default-src 'none'" in html
    assert "<image" not in html and "data:" not in html, "the page may load nothing"
    used = set(re.findall(r"var\((--ink-\w+)\)", html))
    assert len(used) == 3 and all(f"{name}:#" in html for name in used), "a line per layer, each with its colour"
    assert not re.search(r"https?://", html) and not {"img", "script"} & {tag for tag, _ in parsed.tags}


def test_several_runs_of_a_cell_are_averaged_and_say_so(tmp_path: Path) -> None:
    cells: list[Any] = [
        SweepCell({**cell.overrides, "seed": seed}, {**cell.metrics, SCORE: cell.metrics[SCORE] + 0.1 * seed})
        for cell in grid_cells() for seed in (0, 1)
    ]  # fmt: skip
    write_grid(cells, tmp_path, {}, RULE)
    assert "mean of 2" in (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "20 clusters, 0.750" in (tmp_path / "sweep.md").read_text(encoding="utf-8")


def test_cells_without_a_score_stay_in_the_table(tmp_path: Path) -> None:
    cells = grid_cells()
    del cells[0].metrics["score/final"]
    cells[1].metrics["score/final"] = float("nan")
    write_grid(cells, tmp_path, {"1": 5.0}, RULE)
    assert len((tmp_path / "sweep.csv").read_text().splitlines()) == 16
    with pytest.raises(ValueError, match="No cell of the sweep has a finite 'score/final'"):
        write_grid([SweepCell({LAYER: 1, SIZE: 5}, {"nmi": 0.5})], tmp_path, {}, RULE)
    with pytest.raises(ValueError, match="cells=0: must be at least one"):
        write_grid([], tmp_path, {}, RULE)


def test_one_layer_alone(tmp_path: Path) -> None:
    write_grid(grid_cells(layers=(4,)), tmp_path, {"4": 50.0}, RULE)
    assert "Best cell: layer 4, 50 clusters" in (tmp_path / "sweep.md").read_text(encoding="utf-8")


def test_a_sweep_without_accuracies_has_a_table_and_no_heat_map(tmp_path: Path) -> None:
    cells: list[Any] = [
        SweepCell({"taxonomy.layer": layer, "seed": seed}, {"n_traces": 8.0}) for layer in (1, 2) for seed in (0, 1)
    ]
    write_sweep(cells, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"sweep.csv", "sweep.md", "sweep.html"}


# -- a sweep's folder, at any moment -----------------------------------------------------------------------------------


def written(folder: Path) -> tuple[str, Page]:
    """The page as it is now."""
    write_finished(collect_sweep(folder), folder / "report", of_sweep(folder))
    html = (folder / "report" / "sweep.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == [] and "default-src 'none'" in html and "script" not in {tag for tag, _ in page.tags}
    assert "±" not in html and not re.search(r"https?://", html)
    return html, page


def body(html: str, label: str) -> list[list[str]]:
    """The words of a table's cells, tags left out."""
    table = html.split(f'aria-label="{label}"')[1].split("</table>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)] for row in rows
    ]


def refreshes(page: Page) -> bool:
    return any(attributes.get("http-equiv") == "refresh" for _, attributes in page.tags)


def test_the_page_of_a_sweep_at_work(tmp_path: Path) -> None:
    folder = tmp_path / "power_grid" / "now"
    cells = write_cells(folder, {"sampler.alpha": [1, 2, 4], "sampler.block_size": [8, 16, 32, 64]})
    unfinish(cells[5], status="running", progress={"done": 9, "total": 20})
    unfinish(cells[7], status="failed", error="ValueError: <b>no</b> room")
    shutil.rmtree(cells[11])
    html, page = written(folder)
    assert "<h2>power_grid · embedded · Arithmetic · seed 0</h2>" in html
    assert "9 of 12 cells completed, 1 running, 1 failed, 1 queued." in html and refreshes(page)
    states = {row[0]: row[1:] for row in body(html, "Cells")}
    assert states["5"] == ["sampler.alpha=2 sampler.block_size=16", "running 45 %"]
    assert states["7"][1] == "failed: ValueError: &lt;b&gt;no&lt;/b&gt; room"
    assert states["11"] == ["sampler.alpha=4 sampler.block_size=64", "queued"]
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    assert links == [f"../{n}/report/index.html" for n in (0, 1, 2, 3, 4, 6, 8, 9, 10)]
    assert all((folder / "report" / link).resolve().is_file() for link in links)
    assert "Command: reasoning-lab -m sweep=power_grid &#39;sampler.alpha=&lt;b&gt;1&lt;/b&gt;&#39;" in html
    assert "commit 0123456789ab" in html
    for row, arms in zip(body(html, "Points"), body(html, "Every arm"), strict=True):
        keys = ("sampler.block_size", "sampler.alpha")
        finished = collect_sweep(folder).finished
        (cell,) = [each for each in finished if [str(each.overrides[key]) for key in keys] == row[:2]]
        given = {arm: accuracy_interval(cell.correct[arm]) for arm in ("base", "low_temperature", "power")}
        assert arms == [*row[:2], *map(percent, given.values())] and row[2] == percent(given["power"])
        paired = paired_difference(cell.correct["power"], cell.correct["base"])
        is_clear = paired.difference.excludes_zero and paired.p_value <= 0.05
        assert row[3] == points(paired.difference) + (" clearly above" if is_clear else "")


def test_a_sweep_that_has_ended_is_a_page_that_stands_still(tmp_path: Path) -> None:
    folder = tmp_path / "steps" / "now"
    cells = write_cells(folder, {"sampler.n_steps": [1, 2, 4]})
    unfinish(cells[1], status="failed", error="boom")
    html, page = written(folder)
    assert not refreshes(page) and "2 of 3 cells completed, 1 failed." in html
    assert (folder / "report" / "curve.png").is_file() and not (folder / "report" / "heatmap.png").exists()


def test_before_a_cell_has_finished_the_page_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "now"
    first, second = write_cells(folder, {"sampler.alpha": [1, 2]})
    unfinish(first)
    unfinish(second, status="running", progress=0.5)
    html, page = written(folder)
    assert "No cell has finished yet." in html and "1 queued, 1 running." in html and refreshes(page)
    assert [row[-1] for row in body(html, "Cells")] == ["queued", "running 50 %"]
    (second / "status.json").write_text("{torn")
    assert [state.words for state in collect_sweep(folder).info.states] == ["queued", "queued"]
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(ValueError, match="has no cell; name a sweep's folder"):
        collect_sweep(folder)


# -- seeds -------------------------------------------------------------------------------------------------------------


def test_cells_that_differ_in_their_seed_alone_are_one_point_with_an_interval_over_seeds(tmp_path: Path) -> None:
    folder = tmp_path / "seeds" / "now"
    write_cells(folder, {"sampler.alpha": [2, 4], "seed": [0, 1, 2, 3, 4]})
    html, _ = written(folder)
    assert "seeds 0, 1, 2, 3, 4" in html and "S − 1 where S is 3 or fewer" in html
    cells = collect_sweep(folder).finished
    for number, row in enumerate(body(html, "Points")):
        draws = {
            arm: tuple(cell.correct[arm] for cell in cells[5 * number : 5 * number + 5]) for arm in ("power", "base")
        }
        expected = accuracy_interval(draws["power"])
        difference = paired_difference(draws["power"], draws["base"]).difference
        assert row[:4] == [("2", "4")[number], "5", percent(expected), points(difference)]
        assert expected.value == pytest.approx(fmean(cell.metrics["accuracy"] for cell in cells[5 * number :][:5]))
        assert "clearly" not in "".join(row), "no cell's test is one of all seeds"


@pytest.mark.parametrize("spoilt", ["no answers", "other problems"])
def test_without_the_same_problems_the_bounds_are_the_means_of_the_seeds(spoilt: str, tmp_path: Path) -> None:
    folder = tmp_path / "seeds" / "now"
    first, *_ = write_cells(folder, {"seed": [0, 1, 2]})
    if spoilt == "no answers":
        shutil.rmtree(first / "report" / "answers")
    else:
        file = first / "report" / "answers" / "power.jsonl"
        file.write_text(file.read_text() + json.dumps({"problem": "other", "verdict": "wrong"}) + "\n")
    cells = collect_sweep(folder).finished
    (row,) = body(written(folder)[0], "Points")
    names = ("accuracy", "accuracy_low", "accuracy_high")
    value, low, high = (f"{100 * fmean(cell.metrics[name] for cell in cells):.1f}" for name in names)
    assert row[:2] == ["3", f"{value} [{low}, {high}]"]


def test_a_number_without_both_bounds_stands_nowhere(tmp_path: Path) -> None:
    cells = [SweepCell({"seed": 1}, {"accuracy": 0.5, "accuracy_low": 0.4, "gap_recovered": 0.25})]
    write_sweep(cells, tmp_path)
    html = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert body(html, "Points") == [["–", "–", "–"]]


def test_a_hybrids_sweep_has_its_gap(tmp_path: Path) -> None:
    gap = {"gap_recovered": 0.25, "gap_recovered_low": -0.1, "gap_recovered_high": 0.7}
    accuracy = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    cells = [SweepCell({"steering.coefficient.value": value}, accuracy | gap) for value in (0.5, 1.0)]
    write_sweep(cells, tmp_path)
    assert body((tmp_path / "sweep.html").read_text(encoding="utf-8"), "Points")[0] == [
        "0.5", "50.0 [40.0, 60.0]", "25.0 [−10.0, 70.0]", "–",
    ]  # fmt: skip


def test_runs_of_a_taxonomy_that_differ_in_their_seed_have_one_elbow(tmp_path: Path) -> None:
    folder = tmp_path / "taxonomy_grid" / "now"
    cells = write_cells(folder, {LAYER: [1], SIZE: [5, 10, 20], "seed": [0, 1]})
    for cell, score in zip(cells, (0.1, 0.3, 0.7, 0.9, 0.8, 1.0), strict=True):
        row = json.loads((cell / "row.json").read_text())
        (cell / "row.json").write_text(json.dumps(row | {"metrics": {SCORE: score}}))
    written(folder)
    text = (folder / "report" / "sweep.md").read_text(encoding="utf-8")
    assert "Best cell: layer 1, 20 clusters, 0.900." in text and len(re.findall(r"elbow \|$", text, re.MULTILINE)) == 2


def test_a_class_is_shown_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "hybrid_controls" / "now"
    write_cells(
        folder, {"steering.gate._target_": [f"reasoning_lab.steering.gate.{name}" for name in ("Always", "Never")]}
    )
    assert [row[1] for row in body(written(folder)[0], "Cells")] == ["steering.gate=Always", "steering.gate=Never"]
