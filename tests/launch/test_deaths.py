"""Sweeps that are killed, told to end, cancelled: what is lost is what was not drawn, and every status is true."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.command import environment, lab
from tests.launch.test_sweep import answers, is_drawing, long_sweep, rows, sweep_folder, told, wait_until

LONG = long_sweep("sampler.alpha=2,4")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The answers of LONG."""
    root = tmp_path_factory.mktemp("undisturbed")
    done = lab(root, *LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    return answers(root)


def begun(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """A sweep at work in a process group of its own."""
    command = [sys.executable, "-m", "reasoning_lab.main", *arguments]
    return subprocess.Popen(
        command, cwd=root, env=environment(root), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


def have_begun(root: Path) -> bool:
    return bool(list(root.glob("outputs/sweeps/power_grid/*/sweep.json")))


def test_a_killed_cell_costs_itself_and_its_retry_what_it_had_not_drawn(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    sweep = begun(tmp_path, *LONG)
    wait_until(lambda: have_begun(tmp_path) and is_drawing(tmp_path, 0), "drawing")
    os.kill(told(tmp_path, 0)["pid"], signal.SIGKILL)
    output, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 1
    assert "1 of 2 cells completed" in output
    assert told(tmp_path, 0)["status"] == "killed"
    assert "memory" in told(tmp_path, 0)["error"]
    logged = list(tmp_path.glob("outputs/artifacts/completions/*power*.log"))
    assert logged, "what it had drawn is there"
    shown = lab(tmp_path, "sweep", "status", "outputs/sweeps/power_grid").stdout
    assert "2 cells: 1 killed, 1 completed" in shown or "2 cells: 1 completed, 1 killed" in shown
    again = lab(tmp_path, "sweep", "retry", "outputs/sweeps/power_grid")
    assert again.returncode == 0, again.stdout + again.stderr
    assert answers(tmp_path) == undisturbed


def test_a_told_sweep_saves_its_chains_says_so_and_goes_on(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    sweep = begun(tmp_path, *LONG)
    wait_until(lambda: have_begun(tmp_path) and is_drawing(tmp_path, 0) and is_drawing(tmp_path, 1), "drawing")
    before = time.monotonic()
    os.killpg(sweep.pid, signal.SIGINT)  # As Ctrl-C, which reaches the whole group.
    output, _ = sweep.communicate(timeout=60)
    took = time.monotonic() - before
    print(f"saved and ended after {took:.1f} s")
    assert sweep.returncode == 128 + signal.SIGINT
    assert "goes on" in output
    assert [told(tmp_path, n)["status"] for n in (0, 1)] == ["interrupted"] * 2
    assert rows(sweep_folder(tmp_path))[0]["status"] == "interrupted"
    states = [
        json.loads(line.partition(" ")[2]) for log in tmp_path.glob("outputs/artifacts/completions/*power*.log")
        for line in log.read_text().splitlines()
    ]  # fmt: skip
    assert any("state" in record for record in states), "no ten seconds had passed, and yet chains are saved"

    again = lab(tmp_path, *LONG)  # The same command, in the same folder.
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Going on with 2 of 2 cells" in again.stdout
    assert [told(tmp_path, n)["attempt"] for n in (0, 1)] == [2, 2]
    assert answers(tmp_path) == undisturbed


def test_a_submitted_sweep_needs_no_terminal_and_is_cancelled_from_another(tmp_path: Path) -> None:
    done = lab(tmp_path, *LONG, "submit=true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "without this terminal" in done.stdout
    wait_until(lambda: is_drawing(tmp_path, 0), "drawing")
    refused = lab(tmp_path, *LONG, "submit=true")
    assert refused.returncode == 2
    assert "cells of this very sweep are queued or at work" in refused.stderr
    assert "running" in lab(tmp_path, "sweep", "status", "outputs/sweeps/power_grid").stdout
    assert lab(tmp_path, "sweep", "cancel", "outputs/sweeps/power_grid").returncode == 0
    wait_until(lambda: told(tmp_path, 0)["status"] == "interrupted", "interrupted", 20)
    assert "Nothing of it" in lab(tmp_path, "sweep", "cancel", "outputs/sweeps/power_grid").stdout


@pytest.mark.parametrize(
    ("on_error", "attempts"),
    [("stop", [1, None]), pytest.param("retry:2", [3, 3], marks=pytest.mark.slow)],
    ids=["stop", "retry"],
)
def test_what_a_failed_cell_does_to_the_others(tmp_path: Path, on_error: str, attempts: Sequence[int | None]) -> None:
    # The file is there when the cells are checked, and gone when they run.
    problems = tmp_path / "problems.jsonl"
    problems.write_text(
        json.dumps({"id": "a", "question": "Lily has 2 cards. How many cards?\n", "answer": "2"}) + "\n"
    )
    code = (
        "import reasoning_lab.launch.sweep as s, pathlib; create = s.create_sweep\n"
        "def gone(*a): made = create(*a); pathlib.Path('problems.jsonl').unlink(); return made\n"
        "s.create_sweep = gone"
    )
    done = lab(
        tmp_path, "-m", "sweep=power_grid", "benchmark=jsonl", f"benchmark.path={problems}", "sampler.alpha=2,4",
        "sampler.block_size=8", f"on_error={on_error}", "hydra.launcher.processes=1", "runtime.build_shared=false",
        "tracking=local", "stage=grades", code=code,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert [told(tmp_path, n).get("attempt") for n in (0, 1)] == attempts
    assert "0 of 2 cells completed" in done.stdout
