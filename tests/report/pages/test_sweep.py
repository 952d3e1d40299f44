"""Sweeps and grids of taxonomies: tables, heat maps, elbows."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.report import write_grid, write_sweep
from reasoning_lab.report.views.grid import LAYER, SIZE
from tests.report.browser import HOSTILE, Page
from tests.report.views.test_grid import RULE


def grid_cells(layers: tuple[int, ...] = (1, 2, 3), sizes: tuple[int, ...] = (5, 10, 15, 20, 50)) -> list[Any]:
    cells: list[Any] = []
    for layer in layers:
        for size in reversed(sizes):
            score = 0.5 + 0.1 * layer - abs(size - 10 * layer) / 50
            metrics = {"score/final": score, "score/consistency": score, "nmi": 0.5, "n_dead": 1.0, "fvu": 0.25}
            cells.append(({LAYER: layer, SIZE: size, "stage": "taxonomy"}, metrics))
    return cells


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


def test_grid_files(tmp_path: Path) -> None:
    write_grid(grid_cells(), tmp_path, {"1": 10.0, "2": 20.0, "3": 15.0}, RULE, f"<b>{HOSTILE}</b>")
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
    cells: list[Any] = [({**setting, "seed": seed}, {**metrics, "score/final": metrics["score/final"] + 0.1 * seed})
             for setting, metrics in grid_cells() for seed in (0, 1)]  # fmt: skip
    write_grid(cells, tmp_path, {}, RULE)
    assert "mean of 2" in (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "20 clusters, 0.750" in (tmp_path / "sweep.md").read_text(encoding="utf-8")


def test_cells_without_a_score_stay_in_the_table(tmp_path: Path) -> None:
    cells = grid_cells()
    del cells[0][1]["score/final"]
    cells[1][1]["score/final"] = float("nan")
    write_grid(cells, tmp_path, {"1": 5.0}, RULE)
    assert len((tmp_path / "sweep.csv").read_text().splitlines()) == 16
    with pytest.raises(ValueError, match="No cell of the sweep has a finite 'score/final'"):
        write_grid([({LAYER: 1, SIZE: 5}, {"nmi": 0.5})], tmp_path, {}, RULE)
    with pytest.raises(ValueError, match="cells=0: must be at least one"):
        write_grid([], tmp_path, {}, RULE)


def test_one_layer_alone(tmp_path: Path) -> None:
    write_grid(grid_cells(layers=(4,)), tmp_path, {"4": 50.0}, RULE)
    assert "Best cell: layer 4, 50 clusters" in (tmp_path / "sweep.md").read_text(encoding="utf-8")


def test_a_sweep_without_accuracies_has_a_table_and_no_heat_map(tmp_path: Path) -> None:
    cells: list[Any] = [
        ({"taxonomy.layer": layer, "seed": seed}, {"n_traces": 8.0}) for layer in (1, 2) for seed in (0, 1)
    ]
    write_sweep(cells, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"sweep.csv", "sweep.md", "sweep.html"}
