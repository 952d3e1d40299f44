"""The store and the run log under crashes, corruption and races."""

import json
import multiprocessing
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from reasoning_lab.artifacts.key import Keyed
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.store import Store

KEY = "5" * 64


@dataclass(frozen=True)
class Toy(Keyed):
    kind: ClassVar[str] = "toy"
    version: ClassVar[int] = 1
    value: int
    extra: int = 0

    @property
    def slug(self) -> str:
        return "toy"


def write(folder: Path) -> None:
    (folder / "data.txt").write_text("forty-two " * 100)


# -- store -------------------------------------------------------------------------------------------------------------


def test_built_once_then_found(tmp_path: Path) -> None:
    store, built = Store(tmp_path), []
    for _ in range(3):
        folder = store.find_or_build(Toy(1), lambda f: (built.append(1), write(f))[1])
    assert len(built) == 1
    assert json.loads((folder / "manifest.json").read_text())["artifact"]["value"] == 1


def test_the_manifest_says_when_and_by_what_it_was_built(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = datetime.now(UTC).replace(microsecond=0)
    store.find_or_build(Toy(1), write, lambda: {"device": "cpu"})
    told = store.manifest(Toy(1))
    assert before <= datetime.fromisoformat(told["built"]) <= datetime.now(UTC)
    assert (told["runtime"], told["earlier_attempts"]) == ({"device": "cpu"}, [])
    store.find_or_build(Toy(1), write, lambda: {"device": "another, which finds it"})
    assert store.manifest(Toy(1)) == told


def test_attempts_that_share_a_log_are_all_named(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def die(folder: Path) -> None:
        with store.log(Toy(1)) as log:
            log.append({"done": 1})
        raise RuntimeError("killed")

    for device in ("cuda", "cpu", "cpu", "mps"):
        with pytest.raises(RuntimeError):
            store.find_or_build(Toy(1), die, lambda device=device: {"device": device})
    store.find_or_build(Toy(1), write, lambda: {"device": "cpu"})
    told = store.manifest(Toy(1))
    assert [each["device"] for each in told["earlier_attempts"]] == ["cuda", "mps"]
    assert told["runtime"] == {"device": "cpu"}
    assert {path.suffix for path in (tmp_path / "toy").iterdir() if path.is_file()} == {".lock"}, "nothing stays beside"
    store.find_or_build(Toy(2), write, lambda: {"device": "cpu"})
    assert store.manifest(Toy(2))["earlier_attempts"] == []


def test_a_failed_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        store.find_or_build(Toy(1), fail)
    assert store.find(Toy(1)) is None
    assert not [path for path in (tmp_path / "toy").iterdir() if path.is_dir()]


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove", "manifest", "manifest gone", "extra file"])
def test_a_corrupt_artifact_is_set_aside_and_built_again(tmp_path: Path, harm: str) -> None:
    notes: list[str] = []
    store = Store(tmp_path, notes.append)
    folder = store.find_or_build(Toy(1), write)
    file = folder / ("manifest.json" if harm.startswith("manifest") else "data.txt")
    if harm == "extra file":
        (folder / "more.txt").write_text("of nobody")
    data = bytearray(file.read_bytes())
    if harm in ("flip", "manifest"):
        data[len(data) // 2] ^= 255
        file.write_bytes(bytes(data))
    elif harm == "extra file":
        file = folder / "more.txt"
    elif harm == "truncate":
        file.write_bytes(bytes(data[:-1]))
    elif harm == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
    assert store.find_or_build(Toy(1), write) == folder, "a process that has verified it believes it"
    again = Store(tmp_path, notes.append).find_or_build(Toy(1), write)
    assert (again / "data.txt").read_text() == "forty-two " * 100
    assert "corrupt" in notes[0]


def test_a_hidden_file_of_the_system_costs_no_artifact(tmp_path: Path) -> None:
    folder = Store(tmp_path).find_or_build(Toy(1), write)
    (folder / ".nfs000000001").write_text("")
    assert Store(tmp_path).find(Toy(1)) == folder


def test_an_artifact_under_anothers_name_is_not_believed(tmp_path: Path) -> None:
    one = Store(tmp_path).find_or_build(Toy(1), write)
    other = Store(tmp_path).folder(Toy(2))
    one.rename(other)
    notes: list[str] = []
    assert Store(tmp_path, notes.append).find(Toy(2)) is None
    assert "another artifact's" in notes[0]


def _race(root: Path, barrier, results) -> None:
    def build(folder: Path) -> None:
        results.put("built")
        write(folder)

    barrier.wait()
    folder = Store(root).find_or_build(Toy(5), build)
    results.put((folder / "data.txt").read_text())


@pytest.mark.parametrize("locks_work", [True, False])
def test_eight_jobs_at_once_make_one_artifact(
    tmp_path: Path, locks_work: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks_work:  # Some network file systems: flock succeeds and does nothing.
        monkeypatch.setattr("fcntl.flock", lambda *_: None)
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        root = tmp_path / str(attempt)
        barrier, results = context.Barrier(8), context.Queue()
        jobs = [context.Process(target=_race, args=(root, barrier, results)) for _ in range(8)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(30)
            assert job.exitcode == 0
        found = [results.get(timeout=5) for _ in range(results.qsize())]
        assert found.count("forty-two " * 100) == 8
        assert found.count("built") == 1 if locks_work else found.count("built") >= 1


# -- run log -----------------------------------------------------------------------------------------------------------


def test_a_torn_tail_is_cut_at_every_byte_before_the_first_append(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = RunLog(path, KEY)
    for n in range(3):
        log.append({"n": n, "text": "é\n" * n})
    log.close()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        log = RunLog(path, KEY)
        kept = len(log.records)
        assert [record["n"] for record in log.records] == list(range(kept))
        assert kept == sum(end >= len(b"".join(lines[: i + 2])) for i in range(3)), "a header, then three records"
        log.append({"n": kept})
        log.close()
        again = RunLog(path, KEY)
        assert [record["n"] for record in again.records] == list(range(kept + 1))
        again.close()


def test_flipped_bytes_are_never_accepted(tmp_path: Path) -> None:
    path, draw = tmp_path / "log", random.Random(0)
    log = RunLog(path, KEY)
    for n in range(5):
        log.append({"n": n})
    log.close()
    whole = path.read_bytes()
    for _ in range(100):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        log = RunLog(path, KEY)
        log.close()
        found = [record["n"] for record in log.records]
        assert (set(found) <= set(range(5)) and len(found) >= 3) or not found, "one flip costs a line, or the header"


def test_an_unwritable_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        Store(blocked / "artifacts").find_or_build(Toy(1), write)
    assert os.listdir(tmp_path) == ["file"]
