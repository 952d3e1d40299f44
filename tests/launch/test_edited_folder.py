"""A run's folder may have been handed on and edited since it was checked: what a job reads there is no code either."""

from pathlib import Path

import pytest
import yaml

from reasoning_lab.launch.check import check_run
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.folders import write_submitted
from reasoning_lab.launch.job import work
from reasoning_lab.launch.lanes import Batch, _Lane
from reasoning_lab.launch.options import Launching
from tests.command import TINY

LAUNCHING = Launching(False, False, None, "continue", 1, True)


def submitted(root: Path) -> Path:
    launch = check_run(Composer(), [*TINY, "arms=single", "tracking=local", f"outputs={root / 'outputs'}"])
    write_submitted(launch.runs[0])
    return launch.folder


def edit(folder: Path, key: str, part: str, value: object) -> None:
    file = folder / ".hydra" / "hydra.yaml"
    data = yaml.safe_load(file.read_text())
    data["hydra"][key][part] = value
    file.write_text(yaml.safe_dump(data))


def test_a_logging_section_that_was_edited_in_the_folder_makes_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, canary = submitted(tmp_path), tmp_path / "canary"
    edit(folder, "job_logging", "handlers", {"x": {"()": "subprocess.Popen", "args": ["touch", str(canary)]}})
    error = work(folder).error
    assert error is not None
    assert "hydra.job_logging.handlers.x.()=subprocess.Popen: not allowed" in error
    assert not canary.exists()


def test_a_lane_takes_no_module_from_the_folder_that_it_works_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cell, canary, place = tmp_path / "0", tmp_path / "canary", tmp_path / "project"
    submitted(tmp_path).rename(cell)
    place.mkdir()
    (place / "yaml.py").write_text(f"open({str(canary)!r}, 'w')\n")
    lane = _Lane(Batch(tmp_path, (0,), LAUNCHING, 1, place))
    lane.close()
    assert not canary.exists()
