"""Sweeps on a SLURM cluster of this machine: submitted and left, warned, cancelled, refused."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import environment, lab
from tests.launch import slurm_cluster
from tests.launch.test_sweep import (
    GRID,
    answers,
    check_grid,
    is_drawing,
    long_sweep,
    rows,
    sweep_folder,
    told,
    wait_until,
)

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm_cluster.missing() is not None, reason=str(slurm_cluster.missing())),
]
SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=null", "hydra.launcher.cpus_per_task=1")
LONG = long_sweep("sampler.alpha=4")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm") / "root") as environment:
        yield environment


def test_a_submitted_sweep_is_looked_at_and_collected_from_another_terminal(
    tmp_path: Path, client: dict[str, str]
) -> None:
    done = lab(tmp_path, *GRID, *SLURM, "submit=true", **client)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = sweep_folder(tmp_path)
    assert "Submitted 2 cells as jobs " in done.stdout
    assert f"reasoning-lab sweep status {folder}" in done.stdout
    shown = lab(tmp_path, "sweep", "status", "outputs/sweeps/power_grid", **client).stdout
    assert "2 queued" in shown and "pending: Dependency" in shown, "the cells wait for what they share"
    wait_until(lambda: all(told(tmp_path, n).get("status") == "completed" for n in (0, 1)), "completed")
    collected = lab(tmp_path, "sweep", "collect", str(folder), **client)
    check_grid(tmp_path, collected.stdout)
    assert (folder / "report" / "sweep.html").exists()
    arrays = [text for file in folder.glob(".submitit/*/*_submission.sh") if "--array" in (text := file.read_text())]
    assert len(arrays) == 1 and "#SBATCH --array=0-1%2" in arrays[0]
    assert {row["overrides"]["sampler.block_size"] for row in rows(folder)} == {16, 32}
    assert all(told(tmp_path, n)["job"].endswith(f"_{n}") for n in (0, 1))


def test_a_warned_job_saves_is_queued_again_and_a_cancelled_one_says_so(tmp_path: Path, client: dict[str, str]) -> None:
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert lab(undisturbed, *LONG).returncode == 0
    assert lab(tmp_path, *LONG, *SLURM, "submit=true", **client).returncode == 0
    wait_until(lambda: is_drawing(tmp_path, 0), "drawing")
    env = os.environ | client
    (job,) = {told(tmp_path, 0)["job"]}
    subprocess.run(["scancel", "--signal=USR2", job], env=env, check=True)  # As before a time limit.
    wait_until(lambda: told(tmp_path, 0)["status"] == "interrupted", "interrupted", 20)
    shown = lab(tmp_path, "sweep", "status", "outputs/sweeps/power_grid", **client).stdout
    assert "1 preempted" in shown or "1 running" in shown
    wait_until(lambda: told(tmp_path, 0)["attempt"] == 2 and is_drawing(tmp_path, 0), "drawing again")
    cancelled = lab(tmp_path, "sweep", "cancel", "outputs/sweeps/power_grid", **client)
    assert cancelled.returncode == 0 and job in cancelled.stdout
    wait_until(lambda: told(tmp_path, 0)["status"] == "interrupted", "interrupted", 20)
    again = lab(tmp_path, "sweep", "retry", "outputs/sweeps/power_grid", **client)
    assert again.returncode == 0, again.stdout + again.stderr
    wait_until(lambda: told(tmp_path, 0)["status"] == "completed", "completed")
    assert answers(tmp_path) == answers(undisturbed)


def test_a_waiting_launcher_says_what_goes_on_without_it(tmp_path: Path, client: dict[str, str]) -> None:
    command = [sys.executable, "-m", "reasoning_lab.main", *GRID, *SLURM, "tracking=local"]
    waiting = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path, **client), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_until(lambda: bool(list(tmp_path.glob("outputs/sweeps/*/*/submissions/*.json"))), "submitted")
    wait_until(lambda: told(tmp_path, 0) != {}, "begun")
    waiting.send_signal(signal.SIGINT)
    output, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 128 + signal.SIGINT
    assert "goes on: jobs" in output and f"reasoning-lab sweep cancel {sweep_folder(tmp_path)}" in output
    wait_until(lambda: all(told(tmp_path, n).get("status") == "completed" for n in (0, 1)), "completed")


def test_a_cluster_that_takes_no_job_is_told_in_one_line(tmp_path: Path, client: dict[str, str]) -> None:
    refused = lab(tmp_path, *GRID, *SLURM, "hydra.launcher.partition=nowhere", "submit=true", **client)
    assert refused.returncode == 2
    assert "partition" in refused.stderr and refused.stderr.count("\n") == 1


def test_cells_that_fail_in_their_jobs_are_counted(tmp_path: Path, client: dict[str, str]) -> None:
    failed = lab(
        tmp_path, *GRID, *SLURM, "runtime.build_shared=false", "runtime.max_prompt_tokens=2", "tracking=local", **client
    )
    assert failed.returncode == 1
    assert "0 of 2 cells completed" in failed.stdout
    assert "its prompt has" in failed.stdout
