"""Sweeps for real, in processes of this machine: written down, killed, resumed, looked at from another terminal."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from reasoning_lab.disk import process_start
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.options import Launching
from reasoning_lab.launch.sweep_folder import SentJob, Sweep, cell_names
from tests.command import TINY, lab

GRID = ("-m", "sweep=power_grid", "sampler.alpha=2", "sampler.block_size=16,32", "benchmark.n_problems=4", *TINY[1:])


def long_sweep(axis: str) -> tuple[str, ...]:
    """A command whose cells work for some ten seconds."""
    return (
        "-m", "sweep=power_grid", axis, "sampler.block_size=8", "benchmark.n_problems=20", "runtime.rows=4",
        "stage=grades", "tracking=local", "runtime.build_shared=false",
        "sampler.n_steps=4", "benchmark.max_new_tokens=96", "sampler.redraw=from_cut",
    )  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    cells = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    return [json.loads((cell / "row.json").read_text()) for cell in cells]


def sweep_folder(root: Path) -> Path:
    (folder,) = root.glob("outputs/sweeps/power_grid/*")
    return folder


def told(root: Path, cell: int) -> dict[str, Any]:
    """A cell's status, {} before its first word."""
    try:
        return json.loads((sweep_folder(root) / str(cell) / "status.json").read_text())
    except (OSError, ValueError):
        return {}


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 120) -> None:
    by = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < by, f"not {what} within {seconds} s"
        time.sleep(0.1)


def is_drawing(root: Path, cell: int) -> bool:
    """Whether a cell is at its own answers, some of which are done."""
    progress = told(root, cell).get("progress") or {}
    return str(progress.get("label")).startswith("power") and 0 < progress["done"] < progress["total"]


def check_grid(root: Path, output: str) -> None:
    """Both cells done, logged as one group; what they share drawn once, before they start."""
    folder = sweep_folder(root)
    found = rows(folder)
    assert [row["status"] for row in found] == ["completed", "completed"]
    assert [row["overrides"]["sampler.block_size"] for row in found] == [16, 32]
    assert "2 of 2 cells completed" in output
    drawn = [path.name for path in root.glob("outputs/artifacts/completions/*") if path.is_dir()]
    assert sorted(name.split("-")[2] for name in drawn) == ["power", "power", "temperature", "temperature"]
    started = min(row["started"] for row in found)
    shared = list(root.glob("outputs/artifacts/completions/*temperature*/manifest.json"))
    assert all(path.stat().st_mtime < started for path in shared)


def answers(root: Path) -> dict[str, bytes]:
    """The graded answers of all arms."""
    files = root.glob("outputs/artifacts/*/*/*.jsonl")
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}


def test_cells_are_named_by_what_differs() -> None:
    assert cell_names([("a=1", "b=2"), ("a=1", "b=3")]) == ["b=2", "b=3"]
    assert cell_names([("a=1", "b=2")]) == ["a=1 b=2"]


# -- a whole sweep -----------------------------------------------------------------------------------------------------


def test_a_sweep_in_processes_of_this_machine(tmp_path: Path) -> None:
    done = lab(tmp_path, *GRID, "stage=report")
    assert done.returncode == 0, done.stdout + done.stderr
    check_grid(tmp_path, done.stdout)
    folder = sweep_folder(tmp_path)
    assert list(folder.glob("report/*.html"))
    for cell in "01":
        assert list((folder / cell).glob("wandb/offline-run-*/*.wandb"))

    # Nothing changed: nothing is composed, loaded or run, and no folder is made.
    again = lab(tmp_path, *GRID, "stage=report")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"All 2 cells of this sweep were completed before, from the same code, config and files: {folder}".replace(
        str(tmp_path) + "/", ""
    ) in again.stdout.replace(str(tmp_path) + "/", "")
    assert sweep_folder(tmp_path) == folder

    anew = lab(tmp_path, *GRID, "resume=false", "tracking=local")
    assert anew.returncode == 0, anew.stdout + anew.stderr
    assert len(list(tmp_path.glob("outputs/sweeps/power_grid/*"))) == 2
    assert len([path for path in tmp_path.glob("outputs/artifacts/completions/*") if path.is_dir()]) == 4

    shown = lab(tmp_path, "sweep", "status", "outputs/sweeps/power_grid")
    assert "2 cells: 2 completed" in shown.stdout
    assert "Nothing to run again" in lab(tmp_path, "sweep", "retry", "outputs/sweeps/power_grid").stdout
    collected = lab(tmp_path, "sweep", "collect", str(folder))
    assert "2 of 2 cells completed" in collected.stdout


def test_cells_read_the_config_that_was_submitted(tmp_path: Path) -> None:
    """The file is rewritten between the submission and the first cell."""
    (tmp_path / "mine" / "sampler").mkdir(parents=True)
    file = tmp_path / "mine" / "sampler" / "mine.yaml"
    file.write_text("defaults:\n  - power\nalpha: 2\n")
    code = (
        "import reasoning_lab.launch.sweep as s, pathlib; create = s.create_sweep\n"
        "def edited(*a):\n"
        "    made = create(*a); pathlib.Path('mine/sampler/mine.yaml').write_text('_target_: os.system'); return made\n"
        "s.create_sweep = edited"
    )
    words = ("-m", "sampler=mine", "arms=single", "seed=0,1", "tracking=local", *TINY)
    done = lab(tmp_path, "--config-dir", "mine", *words, code=code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "os.system" in file.read_text()
    (folder,) = tmp_path.glob("outputs/sweeps/multirun/*")
    assert [(row["config"]["seed"], row["config"]["sampler"]["alpha"]) for row in rows(folder)] == [(0, 2), (1, 2)]


def test_a_bad_cell_stops_a_sweep_before_its_first_job(tmp_path: Path) -> None:
    done = lab(tmp_path, *GRID, "sampler.n_steps=1,0")
    assert done.returncode == 2
    assert "sampler.n_steps=0: must be a whole number of at least 1" in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("overrides", "n"),
    [
        (("seed=range(0,1000000000000)",), "1,000,000,000,000"),
        (("seed=range(0,5000,2)",), "2,500"),
        (("seed=1,2", "sampler.alpha=range(1,1002)"), "2,002"),
    ],
)
def test_too_many_cells_are_refused_by_their_number_before_they_are_made(
    tmp_path: Path, overrides: tuple[str, ...], n: str
) -> None:
    done = lab(tmp_path, "-m", *overrides)
    assert done.returncode == 2
    assert f"{n} cells are more than max_cells=1,000" in done.stderr
    assert not (tmp_path / "outputs").exists()


# -- as it is told -----------------------------------------------------------------------------------------------------

OPTIONS = Launching(False, False, None, "continue", 10, True)
NOW = {"host": "elsewhere", "pid": 1, "pid_start": "1", "attempt": 1, "progress": None}


def made(root: Path, statuses: Sequence[dict[str, Any] | None], kind: str) -> Sweep:
    """A sweep whose cells say this of themselves, all in one job."""
    for number, status in enumerate(statuses):
        (root / str(number)).mkdir()
        if status is not None:
            (root / str(number) / "status.json").write_text(json.dumps(NOW | status))
        if status is not None and status["status"] == "completed":
            (root / str(number) / "row.json").write_text("{}")
    cells = [[f"seed={n}"] for n in range(len(statuses))]
    launcher = {"_target_": f"reasoning_lab.launch.launchers.{kind}Launcher", "processes": 1}
    return Sweep.create(root, cells, OPTIONS, command="", launcher=launcher, identity="x", files={})


@pytest.mark.parametrize(
    ("status", "in_queue", "expected"),
    [
        (None, None, "waiting"),
        (None, {}, "lost"),
        (None, {"7": ("queued", "pending: Priority")}, "queued"),
        (None, {"7": ("running", "")}, "waiting"),
        ({"status": "running", "heartbeat": "now"}, {"7": ("running", "")}, "running"),
        ({"status": "running", "heartbeat": "now"}, None, "running"),
        ({"status": "running", "heartbeat": "now"}, {}, "lost"),
        ({"status": "running", "heartbeat": "old"}, {"7": ("running", "")}, "lost"),
        ({"status": "running", "heartbeat": "old"}, None, "lost"),
        ({"status": "running", "heartbeat": "old"}, {"7": ("queued", "pending: Requeued")}, "preempted"),
        ({"status": "interrupted", "error": "SIGUSR2"}, {"7": ("queued", "pending")}, "preempted"),
        ({"status": "interrupted", "error": "SIGUSR2"}, {"7": ("running", "")}, "preempted"),
        ({"status": "interrupted", "error": "SIGTERM"}, {}, "interrupted"),
        ({"status": "failed", "error": "ValueError: x"}, {"7": ("running", "")}, "failed"),
        ({"status": "killed", "error": "memory"}, {}, "killed"),
        ({"status": "completed"}, {}, "completed"),
        ({"status": "completed"}, {"7": ("queued", "")}, "completed"),
    ],
)
def test_a_cells_state_is_what_it_says_unless_its_job_or_its_silence_says_otherwise(
    tmp_path: Path, status: dict[str, Any] | None, in_queue: dict[str, tuple[str, str]] | None, expected: str
) -> None:
    if status and "heartbeat" in status:
        status = status | {"heartbeat": time.time() - (0 if status["heartbeat"] == "now" else 1000)}
    sweep = made(tmp_path, [status], "Slurm")
    sweep.note_sent([SentJob("7", (0,))])
    (state,) = sweep.states(in_queue)
    assert state.state == expected


@pytest.mark.parametrize(("beat", "expected"), [(0, ["running", "waiting"]), (1000, ["lost", "lost"])])
def test_what_another_machine_has_is_alive_while_a_cell_of_it_has_a_heartbeat(
    tmp_path: Path, beat: int, expected: list[str]
) -> None:
    at_work = {"status": "running", "heartbeat": time.time() - beat}
    sweep = made(tmp_path, [at_work, None], "Local")
    sweep.note_sent([SentJob("elsewhere:1:2", (0, 1))])
    states = sweep.states({"elsewhere:1:2": ("unknown", "on elsewhere")})
    assert [each.state for each in states] == expected
    assert sweep.at_work(states) == ([0, 1] if beat == 0 else [])


def test_a_failed_cell_whose_launcher_lives_is_not_retried_beside_it(tmp_path: Path) -> None:
    sweep = made(tmp_path, [{"status": "failed", "error": "x"}, {"status": "completed"}], "Local")
    sweep.note_sent([SentJob("7", (0, 1))])
    assert sweep.at_work(sweep.states({"7": ("running", "")})) == [0]
    assert sweep.at_work(sweep.states({})) == []


def test_one_at_a_time_chooses_cells(tmp_path: Path) -> None:
    sweep, order = made(tmp_path, [None], "Local"), list[str]()

    def other() -> None:
        with Sweep(tmp_path).claimed():
            order.append("other")

    with sweep.claimed():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_a_process_that_is_gone_from_this_machine_is_lost_at_once(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    start = process_start(gone.pid)
    gone.wait()
    here = {"host": socket.gethostname(), "status": "running", "heartbeat": time.time()}
    alive = here | {"pid": os.getpid(), "pid_start": process_start(os.getpid())}
    another = here | {"pid": os.getpid(), "pid_start": "0"}
    sweep = made(tmp_path, [here | {"pid": gone.pid, "pid_start": start}, alive, another], "Local")
    assert [each.state for each in sweep.states(None)] == ["lost", "running", "lost"]


def test_a_sweep_of_a_thousand_cells_is_told_in_one_table(tmp_path: Path) -> None:
    cells = [{"status": "completed"}] * 990 + [{"status": "failed", "error": f"ValueError: {n}"} for n in range(10)]
    made(tmp_path, cells, "Local")
    done = lab(tmp_path, "sweep", "status", str(tmp_path))
    assert "1000 cells: 990 completed, 10 failed" in done.stdout
    assert "ValueError: 9" in done.stdout, "what needs a look comes first"
    assert "960 more" in done.stdout


@pytest.mark.parametrize("words", [("status", "nowhere"), ("retry", "."), ("collect", "nowhere")])
def test_a_folder_that_is_no_sweep_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = lab(tmp_path, "sweep", *words)
    assert done.returncode == 2
    assert "not the folder of a sweep" in done.stderr
    assert done.stderr.count("\n") == 1


def test_values_are_counted_without_being_made() -> None:
    composer = Composer()

    def count(*overrides: str) -> int:
        return composer.count_cells(composer.compose(overrides, multirun=True))

    assert count("seed=1,2,3") == 3
    assert count("seed=range(0,10)", "sampler=power,greedy") == 20
    assert count("seed=range(0,10,3)") == 4
    assert count("sweep=power_grid") == 12
    assert count("sweep=power_grid", "sampler.alpha=3") == 3
    assert count("seed=1") == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ("sweep=power_grid",),
        ("sweep=taxonomy_grid", "taxonomy.layer=1,2", "taxonomy.n_clusters=5"),
        ("seed=1,2", "sampler=power,greedy", "arms=single", "+arms.single.label=x,y", "benchmark.n_problems=3"),
        ("benchmark=arithmetic,gsm8k", "sampler.alpha=2", "hydra.launcher.processes=1", "~tracking.project"),
        ("sampler.alpha=2,3", "sampler.alpha=4", "++title=new", "arms.base.sampler.max_new_tokens=5,6"),
    ],
)
def test_cells_composed_together_are_those_that_hydra_composes_one_by_one(overrides: tuple[str, ...]) -> None:
    composer = Composer()
    master = composer.compose(overrides, multirun=True)
    for cell in composer.cells(master):
        alone = composer.config_loader.load_sweep_config(master, list(cell.overrides))
        ours, theirs = (OmegaConf.to_container(config, resolve=False) for config in (cell.config, alone))
        assert isinstance(ours, dict) and isinstance(theirs, dict)
        assert {key: value for key, value in ours.items() if key != "hydra"} == {
            key: value for key, value in theirs.items() if key != "hydra"
        }
        told = ours["hydra"]["overrides"]["task"], ours["hydra"]["runtime"]["choices"], ours["hydra"]["job_logging"]
        assert told == (
            theirs["hydra"]["overrides"]["task"], theirs["hydra"]["runtime"]["choices"], theirs["hydra"]["job_logging"]
        )  # fmt: skip


def test_a_search_is_optunas_and_its_cells_are_ours(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    done = lab(
        tmp_path, "-m", "sweep=power_study", *TINY, "stage=report", "sampler.block_size=8,16", "tracking=local",
        "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = tmp_path.glob("outputs/sweeps/power_study/*")
    found = rows(folder)
    assert [row["status"] for row in found] == ["completed"] * 3
    assert "Best of the cells" in done.stdout
    best = max(row["objective"] for row in found)
    assert f"{best:g}" in (folder / "optimization_results.yaml").read_text()
