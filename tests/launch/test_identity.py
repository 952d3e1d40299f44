"""What decides what a sweep does is part of its identity; how it is launched is not."""

import os
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.launch.identity import identity_of

ROOT: dict[str, Any] = {"seed": 0, "submit": False, "hydra": {"searchpath": []}}


def test_another_root_variable_or_file_is_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "mine" / "sampler").mkdir(parents=True)
    (tmp_path / "mine" / "linked").symlink_to(tmp_path / "real")
    file, linked = tmp_path / "mine" / "sampler" / "mine.yaml", tmp_path / "real" / "far.yaml"
    file.write_text("title: ${oc.env:LAB_TITLE,none}")
    linked.write_text("alpha: 2")

    def given(*overrides: str, name: str | None = None, **root: Any) -> str:
        return identity_of(["seed=0,1", *overrides], tmp_path / "mine", name, ROOT | root)

    same = given()
    assert given("submit=true", "hydra/launcher=slurm", "hydra.launcher.processes=3", submit=True) == same
    assert given(name="config") == same
    others = [given("sampler.alpha=3"), given(name="other"), given(seed=1)]
    searched = {"hydra": {"searchpath": [f"file://{tmp_path / 'real'}"]}}
    linked.write_text("alpha: 3")
    others.append(given())
    others.append(given(**searched))
    monkeypatch.setenv("LAB_TITLE", "another")
    others.append(given())
    os.utime(file)
    assert given() == others[-1], "the time of a config's file is no content"
    assert len({same, *others}) == 7
