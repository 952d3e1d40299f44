"""A sweep on a dashboard: its closing run, its workspace, and the same cells for W&B's agents."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.folders import Submitted, write_submitted
from reasoning_lab.launch.tracking.agent import ARGUMENTS, agent_file
from reasoning_lab.launch.tracking.closing import FOLDER, best_cell, close_sweep
from reasoning_lab.launch.tracking.workspace import Board, board_of, save_dashboard, workspace_of
from reasoning_lab.report.collect.sweep import collect_sweep, write_finished
from reasoning_lab.report.data import UNKNOWN
from reasoning_lab.report.views.sweep import SweepCell
from tests.launch.tracked import clean, events
from tests.launch.wandb_records import history, items, of_kind, records, summary

__all__ = ["clean"]
CHOICES = {"model_pair": "embedded", "benchmark": "arithmetic", "sweep": "power_grid", "sampler": "power"}
TRACKING = {
    "_target_": "reasoning_lab.experiment.Tracking", "backend": "wandb", "project": "lab", "entity": None,
    "mode": "offline", "tags": ["mine"], "notes": "a note",
}  # fmt: skip


def write_cell(folder: Path, number: int, alpha: int, size: int, accuracy: float) -> None:
    cell = folder / str(number)
    (cell / "report").mkdir(parents=True)
    (cell / "wandb_id").write_text(f"id{number}")
    metrics = {"accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.1}
    row = {"status": "completed", "overrides": {"sampler.alpha": alpha, "sampler.block_size": size}}
    (cell / "row.json").write_text(json.dumps(row | {"metrics": metrics | {"decode_tokens": 100.0 * alpha}}))


def close(folder: Path) -> None:
    write_finished(collect_sweep(folder), folder / "report", UNKNOWN)
    close_sweep(folder, ["reasoning-lab", "-m"], "c0ffee", {})


def submit(cell: Path, backend: str = "wandb") -> None:
    """What a submitted cell's folder says of its config."""
    config = {"tracking": TRACKING | {"backend": backend}, "arms": {"base": {}, "power": {}}}
    hydra = {"runtime": {"choices": CHOICES}, "mode": "MULTIRUN"}
    write_submitted(Submitted(cell, config, (), hydra))


def test_a_closing_run_has_best_cell_table_heat_map_and_links_and_can_be_written_again(clean: Path) -> None:
    folder = clean / "power_grid" / "now"
    for number, (alpha, size) in enumerate(product((2, 4), (8, 16))):
        write_cell(folder, number, alpha, size, 0.5 + 0.1 * (number == 2))
    submit(folder / "0")
    (folder / "4").mkdir()
    close(folder)
    write_cell(folder, 5, 8, 8, 0.75)
    close(folder)

    runs = [records(run) for run in sorted((folder / FOLDER).glob("wandb/offline-run-*"))]
    assert {run.run_id for found in runs for run in of_kind(found, "run")} == {
        (folder / FOLDER / "wandb_id").read_text()
    }
    first, last = runs
    (run,) = of_kind(last, "run")
    assert (run.run_group, run.job_type) == ("power_grid/now", "sweep")
    assert (run.display_name, list(run.tags)) == (
        "power_grid · 5 cells · embedded · arithmetic", ["embedded", "arithmetic", "power_grid", "mine"]
    )  # fmt: skip
    assert items(run.config.update)["choice/sampler"] == "power"
    told = summary(first)
    assert (told["cells/finished"], told["cells/missing"], told["best/by"]) == (4, 1, "accuracy")
    assert (told["best/sampler.alpha"], told["best/sampler.block_size"], told["best/accuracy"]) == (4, 8, 0.6)
    assert summary(last)["best/sampler.alpha"] == 8
    assert told["path/report"] == str(folder / "report" / "sweep.html")
    assert Path(told["path/report"]).is_file()
    for found, n in ((first, 4), (last, 5)):
        tables = [point for point in history(found).values() if "cells._type" in point]
        assert tables[-1]["cells.nrows"] == n
        assert any(point.get("heatmap._type") == "image-file" for point in history(found).values())
    table = [event for event in events(folder / FOLDER) if event["kind"] == "table"][-1]
    assert table["columns"][:3] == ["sampler.alpha", "sampler.block_size", "accuracy"]
    by_run = {row[-2]: row for row in table["rows"]}
    assert by_run["id2"][:3] == [4, 8, 0.6]
    assert by_run["id2"][-1] == str(folder / "2" / "report")


def test_a_sweep_that_is_not_tracked_has_no_closing_run(tmp_path: Path) -> None:
    write_cell(tmp_path, 0, 2, 8, 0.5)
    submit(tmp_path / "0", backend="none")
    close(tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_a_folder_without_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sweep's folder"):
        close_sweep(tmp_path, [], None, {})


def test_the_best_cell_is_by_the_metric_that_there_is() -> None:
    measured = ({"nmi": 0.2, "x": 3.0}, {"nmi": 0.1}, {})
    cells = [SweepCell({"a": number}, metrics) for number, metrics in enumerate(measured, start=1)]
    assert best_cell(cells, "nmi") == {"best/by": "nmi", "best/a": 1, "best/nmi": 0.2, "best/x": 3.0}
    assert best_cell(cells, "accuracy") == {}


# -- the workspace -----------------------------------------------------------------------------------------------------


BOARD = Board(
    "lab", "someone", "power_grid/now", "power_grid/now", ("sampler.alpha", "sampler.block_size"),
    ("accuracy", "decode_tokens", "gap_recovered", "steered_fraction"), ("base", "power"),
)  # fmt: skip


def test_a_board_is_read_off_the_sweeps_folder(tmp_path: Path) -> None:
    folder = tmp_path / "power_grid" / "now"
    for number, (alpha, size) in enumerate([(2, 8), (4, 8), (8, 8), (2, 16)]):
        write_cell(folder, number, alpha, size, 0.5)
    submit(folder / "0")
    board = board_of(folder)
    assert (board.project, board.group, board.arms) == ("lab", "power_grid/now", ("base", "power"))
    assert board.axes == ("sampler.alpha", "sampler.block_size")
    assert board.results == ["accuracy"]
    assert "decode_tokens" in board.measured


def test_a_dashboard_without_a_key_is_one_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="the optional extra `board`")
    with pytest.raises(ConfigError, match="no W&B key"):
        save_dashboard(tmp_path, {"HOME": str(tmp_path)})


def panels(board: Board) -> dict[str, dict[str, Any]]:
    """By title, the panels as W&B is sent them."""
    pytest.importorskip("wandb_workspaces", reason="the optional extra `board`")
    told = json.loads(workspace_of(board)._to_model().model_dump_json(by_alias=True))
    sections = told["spec"]["section"]["panelBankConfig"]["sections"]
    shown = [panel for section in sections for panel in section["panels"]]
    named = [panel["config"] | {"type": panel["viewType"]} for panel in shown]
    return {panel["chartTitle"]: panel for panel in named}


def test_a_workspace_shows_the_grid_the_cost_the_gap_and_the_work() -> None:
    shown = panels(BOARD)
    assert shown["Heat map"]["mediaKeys"] == ["heatmap"], "the picture that the closing run logs"
    alpha, size = "config:sampler.value.alpha", "config:sampler.value.block_size"
    lines = shown["accuracy by what was set"]
    assert [column["accessor"] for column in lines["columns"]] == [alpha, size, "summary:accuracy"]
    grid = shown["accuracy over sampler.alpha × sampler.block_size"]
    assert (grid["xAxis"], grid["yAxis"], grid["zAxis"]) == (alpha, size, "summary:accuracy")
    cost = shown["accuracy against tokens"]
    assert (cost["xAxis"], cost["yAxis"]) == ("summary:decode_tokens", "summary:accuracy")
    assert shown["gap recovered"]["metrics"] == ["summary_metrics.gap_recovered"]
    assert {panel["groupBy"] for panel in shown.values() if panel.get("groupAgg")} == {
        "sampler.value.alpha", "sampler.value.block_size"
    }  # fmt: skip
    so_far = shown["accuracy so far: power"]
    assert so_far["metrics"] == ["accuracy/power", "accuracy_low/power", "accuracy_high/power"]
    assert so_far["xAxis"] == "graded/power", "as the run defines it"


def test_a_workspace_of_a_taxonomy_grid_has_its_axes_and_no_panel_of_what_was_not_measured() -> None:
    board = Board("lab", "", "g", "g", ("taxonomy.layer", "taxonomy.n_clusters"), ("score/final", "nmi"))
    shown = panels(board)
    grid = shown["score/final over taxonomy.layer × taxonomy.n_clusters"]
    assert grid["xAxis"] == "config:taxonomy.value.layer"
    assert "accuracy against tokens" not in shown
    assert "gap recovered" not in shown


def test_a_workspace_shows_its_sweeps_runs_alone() -> None:
    pytest.importorskip("wandb_workspaces", reason="the optional extra `board`")
    told = workspace_of(BOARD)._to_model().model_dump_json(by_alias=True)
    assert '"power_grid/now"' in told
    filters = json.dumps(json.loads(told)["spec"]["section"]["runSets"][0]["filters"])
    assert '"group"' in filters
    assert '"power_grid/now"' in filters


# -- agents ------------------------------------------------------------------------------------------------------------


def started(text: str) -> list[list[str]]:
    """The commands that agents of a grid sweep start."""
    told = yaml.safe_load(text)
    assert told["method"] == "grid"
    names, values = zip(*((key, each["values"]) for key, each in told["parameters"].items()), strict=True)
    at = told["command"].index(ARGUMENTS)
    return [
        [*told["command"][:at], *(f"{key}={value}" for key, value in zip(names, chosen, strict=True))]
        for chosen in product(*values)
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        ["sweep=power_grid", "sampler.alpha=2,4", "sampler.block_size=8"],
        ["sampler.alpha=2,4.5,1e-3", "sampler=power,power_paper", "benchmark.n_problems=4"],
        ["seed=0,1", "title='a b','c=d'"],
    ],
)
def test_agents_start_the_same_cells(overrides: list[str]) -> None:
    composer = Composer()
    cells = [list(cell.overrides) for cell in composer.cells(composer.compose(overrides, multirun=True))]
    commands = started(agent_file(cells, "grid"))
    heads = {tuple(command[: command.index("-m") + 1] if "-m" in command else command[:1]) for command in commands}
    assert heads == {("reasoning-lab", "-m")} if overrides[0].startswith("sweep=") else {("reasoning-lab",)}
    expanded = {frozenset(command) - {"reasoning-lab", "-m"} for command in commands}
    assert expanded == {frozenset(cell) for cell in cells}
    assert len(commands) == len(cells)


def test_cells_that_are_no_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="its 3 cells are no grid of a, b; an agent would start 4"):
        agent_file([["a=1", "b=1"], ["a=1", "b=2"], ["a=2", "b=1"]], "grid")


# -- Trackio -----------------------------------------------------------------------------------------------------------


def test_trackio_has_the_run_once_however_often_it_is_repeated(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason="the optional extra `trackio`")
    from reasoning_lab.launch.tracking.log import Tracker
    from tests.launch.tracked import INFO, example

    store, folder = clean / "trackio", clean / "run"
    monkeypatch.setenv("TRACKIO_DIR", str(store))
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://127.0.0.1:9/?write_token=feedface")
    with Tracker(folder, INFO, "offline", "trackio") as tracker:
        example(tracker, folder)
    again = [sys.executable, "-m", "reasoning_lab.launch.tracking", str(folder), "--backend", "trackio"]
    subprocess.run([*again, "--mode", "offline"], check=True)
    code = """
import json, sys, trackio
from trackio.sqlite_storage import SQLiteStorage
(run,) = trackio.Api().runs("lab")
print(json.dumps([run.name, run.config, SQLiteStorage.get_logs("lab", run.name)], default=str))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, config, points = json.loads(done.stdout.splitlines()[-1])
    assert name == f"{INFO.name} ({(folder / 'wandb_id').read_text()})"
    assert config["choice/sampler"] == "power"
    assert config["command"] == "reasoning-lab sampler.alpha=4"
    assert [point["accuracy/power"] for point in points if "accuracy/power" in point] == [0.25, 0.5]
    assert [point["final/accuracy/power"] for point in points if "final/accuracy/power" in point] == [0.5]
    assert sum("plot" in point for point in points) == sum("samples" in point for point in points) == 1
    written = [file.read_bytes() for place in (folder, store) for file in place.rglob("*") if file.is_file()]
    assert not any(b"write_token" in each for each in written)
