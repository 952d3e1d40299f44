"""W&B servers that refuse, die, fail and hang: everything is at the server, or in a copy offline; and what is said of
it is true."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.launch.tracking.log import Tracker
from tests.command import environment
from tests.launch.fake_wandb import Fault, Received, fake_wandb
from tests.launch.tracked import INFO, KEY, events, example, files_with
from tests.launch.wandb_records import history, of_kind, offline_run, summary

CASES: dict[str, tuple[Fault, int, str]] = {
    "refuses the key from the start": ("401", 1, ""),
    "refuses it once there is a run": ("401", 0, "file_stream"),
    "answers its first request alone": ("death", 1, ""),
    "dies with the run there": ("death", 6, ""),
    "dies late": ("death", 14, ""),
    "fails for files alone": ("500", 0, "upload"),
    "hangs from the start": ("hang", 0, ""),
    "takes too much": ("429", 0, ""),
}
"""By what the server does: fault, number of requests before it, what a path before it contains."""
MIRROR = """
import sys
from pathlib import Path
from reasoning_lab.launch.tracking import mirror
mirror.FINISH_SECONDS = float(sys.argv[2])
mirror.mirror(mirror.Source(Path(sys.argv[1]), 0, None), "wandb", "online")
"""


RUN = """
import sys, time
from pathlib import Path
from reasoning_lab.launch.tracking.log import Tracker
from tests.launch.tracked import INFO, example
folder = Path(sys.argv[1])
with Tracker(folder, INFO, "online") as tracker:
    started = time.monotonic()
    example(tracker, folder)
    sys.stderr.write(f"{time.monotonic() - started}\\n")
"""
HANGING = "hangs once there is a run"


@dataclass(frozen=True)
class Mirrored:
    """How a mirror of a finished log ended."""

    folder: Path
    said: str
    server: Received


def mirrored(log: Path, folder: Path, fault: Fault, after: int, when: str) -> Mirrored:
    """Repeat a finished run's log towards a server with a fault, in a folder and processes of its own."""
    shutil.copytree(log, folder)
    # One that refuses ends the attempt, however long that takes here; with others it is given up.
    return told(folder, fault, after, when, MIRROR, str(folder), "60" if fault == "401" else "8")


def told(folder: Path, fault: Fault, after: int, when: str, *code: str) -> Mirrored:
    """Run a program towards a server with a fault."""
    with fake_wandb(fault, after, when) as server:
        env = environment(folder, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
        command = [sys.executable, "-c", *code]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    return Mirrored(folder, done.stderr, server)


def is_whole(points: dict[int, dict[str, Any]], folder: Path) -> bool:
    """Whether there is a point for each line that has one, at its place."""
    places = {n for n, line in enumerate(events(folder)) if line["kind"] in ("log", "table", "images")}
    values = [point["accuracy/power"] for _, point in sorted(points.items()) if "accuracy/power" in point]
    return set(points) == places and values == [0.25, 0.5]


def check(found: Mirrored) -> None:
    """Everything is somewhere, and what was said says where."""
    if found.said == "":
        assert found.server.is_complete
        assert is_whole(found.server.history, found.folder)
    else:
        (line,) = found.said.splitlines()
        assert line.startswith("W&B: 127.0.0.1 ")
        assert "; the whole run is logged offline. To send it: wandb sync " in line
        assert line.endswith(str(next(found.folder.glob("wandb/offline-run-*"))))
        copy = offline_run(found.folder)
        assert is_whole(history(copy), found.folder)
        assert summary(copy)["accuracy/power/low"] == 0.4
        assert len(of_kind(copy, "artifact")) == 3, "two of the run, and the one that W&B makes of its table"
        assert [each.exit_code for each in of_kind(copy, "exit")] == [0]
        assert len(list(found.folder.glob("wandb/offline-run-*/files/media/*/*"))) == 2
    assert KEY not in found.said
    assert not files_with(KEY, found.folder)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run that was not mirrored."""
    folder = tmp_path_factory.mktemp("log") / "run"
    with Tracker(folder, INFO) as tracker:
        example(tracker, folder)
    return folder


@pytest.fixture(scope="module")
def endings(log: Path) -> dict[str, Mirrored]:
    """How every case ends; most of its time is waiting, so they are tried side by side."""
    with ThreadPoolExecutor(len(CASES) + 1) as several:
        run = log.parent / "run of its own"
        run.mkdir()
        hanging = several.submit(told, run, "hang", 0, "file_stream", RUN, str(run))
        tried = {
            name: several.submit(mirrored, log, log.parent / str(number), *case)
            for number, (name, case) in enumerate(CASES.items())
        }
        return {name: future.result() for name, future in (tried | {HANGING: hanging}).items()}


@pytest.mark.parametrize("name", CASES)
def test_whatever_the_server_does_everything_is_somewhere_and_the_notice_is_true(
    name: str, endings: dict[str, Mirrored]
) -> None:
    check(endings[name])


def test_what_is_wrong_with_a_server_is_called_that(endings: dict[str, Mirrored]) -> None:
    assert "refuses the key (HTTP 401)" in endings["refuses the key from the start"].said
    assert "can't be reached (TimeoutError)" in endings["hangs from the start"].said
    assert "can't be reached (HTTP 429)" in endings["takes too much"].said
    assert endings["takes too much"].server.n == 1, "a server that answers no is not tried"


def test_a_run_waits_for_nobody_while_it_works(endings: dict[str, Mirrored]) -> None:
    """And at its end for a copy, where the server took the run and then nothing."""
    found = endings[HANGING]
    worked, said = found.said.split("\n", 1)
    assert float(worked) < 2
    check(replace(found, said=said))
    assert "after the run's end" in said
