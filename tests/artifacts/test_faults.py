"""Every I/O call of a small run may fail: the same command again ends in the same table, nothing lost or made twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.faults import KINDS, SMALL
from tests.command import ROOT, environment

SHARE = 97
"""Every so many-th call fails in the default suite, another residue for each kind; all of them do in the slow one."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the shim is written for Linux")
def test_a_share_of_all_calls(tmp_path: Path) -> None:
    """In a process of its own: the shim's children are forked, and threads of other tests' libraries are not."""
    code = (
        "import sys, json; from pathlib import Path; from tests.artifacts.faults import *; warm();"
        f"loop, n = Loop(Path(sys.argv[1])), {SHARE};"
        "[loop.some_of(kind, range(1 + 3 * at % n, loop.n_calls(kind) + 1, n)) for at, kind in enumerate(KINDS)];"
        "print(json.dumps([loop.tried, loop.ends]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "runs")],
        env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    tried, ends = json.loads(run.stdout.splitlines()[-1])
    assert set(tried) == set(KINDS) and set(ends) <= {"killed", "one line", "not to be seen"}


@pytest.mark.slow
def test_all_calls(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.artifacts.faults"]
    run = subprocess.run(command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]


def is_mounted(place: Path) -> bool:
    """A disk of 1 MiB, where this user may mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    place = tmp_path / "disk"
    try:
        if not is_mounted(place):
            pytest.skip("no right to mount a small disk here")
    except FileNotFoundError:
        pytest.skip("no mount command here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_is_one_line_and_room_is_all_it_takes(small_disk: Path, tmp_path: Path) -> None:
    overrides = [line for line in SMALL if not line.startswith("hydra.")]
    command = [sys.executable, "-m", "reasoning_lab.main", *overrides, f"outputs={small_disk}/out"]

    def lab() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    ballast = small_disk / "ballast"
    room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast.write_bytes(bytes(room - 16 * 4096))  # A page per file: a run needs more than sixteen.
    full = lab()
    errors = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert full.returncode == 1 and len(errors) == 1 and "Traceback" not in full.stderr, full.stderr
    assert f"error: {small_disk}/out" in errors[0] and "No space left on device (0 bytes free" in errors[0]
    ballast.unlink()
    again = lab()
    assert again.returncode == 0, again.stderr
    names = {path.name for path in (small_disk / "out" / "artifacts").rglob("*")}
    assert not [name for name in names if ".partial-" in name or ".corrupt-" in name or name.endswith(".log")]
    assert len(list((small_disk / "out" / "artifacts").rglob("manifest.json"))) == 6
