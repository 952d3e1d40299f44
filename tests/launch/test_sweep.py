"""Sweeps for real: in processes of this machine, and on a SLURM cluster of this machine."""

import json
from pathlib import Path

import pytest

from reasoning_lab.launch.sweep import cell_names
from tests.command import TINY, lab
from tests.launch import slurm_cluster

GRID = ("-m", "sweep=power_grid", "sampler.alpha=2", "sampler.block_size=16,32", "benchmark.n_problems=4", *TINY[1:])


def rows(folder: Path) -> list[dict[str, object]]:
    cells = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    return [json.loads((cell / "row.json").read_text()) for cell in cells]


def sweep_folder(root: Path) -> Path:
    (folder,) = root.glob("outputs/sweeps/power_grid/*")
    return folder


def check_grid(root: Path, output: str) -> None:
    """Both cells done, logged as one group; what they share drawn once, by the launching process."""
    folder = sweep_folder(root)
    found = rows(folder)
    assert [row["status"] for row in found] == ["completed", "completed"]
    assert [row["overrides"]["sampler.block_size"] for row in found] == [16, 32]  # type: ignore[index]
    assert "2 of 2 cells completed" in output
    drawn = [path.name for path in root.glob("outputs/artifacts/completions/*") if path.is_dir()]
    assert sorted(name.split("-")[2] for name in drawn) == ["power", "power", "temperature", "temperature"]
    started = min(row["started"] for row in found)  # type: ignore[type-var]
    shared = list(root.glob("outputs/artifacts/completions/*temperature*/manifest.json"))
    assert all(path.stat().st_mtime < started for path in shared)  # type: ignore[operator]
    groups = {json.loads((folder / n / "metrics.jsonl").open().readline())["info"]["group"] for n in "01"}
    assert groups == {f"power_grid/{folder.name}"}


def test_cells_are_named_by_what_differs() -> None:
    assert cell_names([("a=1", "b=2"), ("a=1", "b=3")]) == ["b=2", "b=3"]
    assert cell_names([("a=1", "b=2")]) == ["a=1 b=2"]


def test_a_sweep_in_processes_of_this_machine(tmp_path: Path) -> None:
    done = lab(tmp_path, *GRID, "stage=report")
    assert done.returncode == 0, done.stdout + done.stderr
    check_grid(tmp_path, done.stdout)
    assert list(sweep_folder(tmp_path).glob("report/*.html"))
    for cell in "01":
        assert list((sweep_folder(tmp_path) / cell).glob("wandb/offline-run-*/*.wandb"))

    again = lab(tmp_path, *GRID, "tracking=local")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len([path for path in tmp_path.glob("outputs/artifacts/completions/*") if path.is_dir()]) == 4


def test_a_bad_cell_stops_a_sweep_before_its_first_job(tmp_path: Path) -> None:
    done = lab(tmp_path, *GRID, "sampler.n_steps=1,0")
    assert done.returncode == 2
    assert "sampler.n_steps=0: must be a whole number of at least 1" in done.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slurm
@pytest.mark.skipif(slurm_cluster.missing() is not None, reason=str(slurm_cluster.missing()))
def test_a_sweep_on_slurm(tmp_path: Path) -> None:
    with slurm_cluster.cluster(tmp_path / "slurm") as client:
        launcher = ("hydra/launcher=slurm", "hydra.launcher.mem_gb=null", "hydra.launcher.cpus_per_task=1")
        done = lab(tmp_path, *GRID, *launcher, **client)
        assert done.returncode == 0, done.stdout + done.stderr
        check_grid(tmp_path, done.stdout)
        submissions = list(sweep_folder(tmp_path).glob(".submitit/*/*_submission.sh"))
        assert len(submissions) == 1, "one job array for all cells"
        assert "#SBATCH --array=0-1%" in submissions[0].read_text()

        failed = lab(tmp_path, *GRID, *launcher, "model_pair.grpo.path=./nowhere", "model_pair.base.path=./nowhere",
                     "runtime.build_shared=false", "outputs=other", **client)  # fmt: skip
        assert failed.returncode == 1
        assert "0 of 2 cells completed" in failed.stdout
        assert "no such folder" in failed.stdout
