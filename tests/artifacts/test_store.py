"""The store and the run log under crashes, corruption and races."""

import errno
import json
import multiprocessing
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reasoning_lab.artifacts.key import Keyed
from reasoning_lab.artifacts.runlog import RunLog, attempts_of, is_log_of
from reasoning_lab.artifacts.store import Store
from reasoning_lab.disk import DiskError

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
    for attempt in range(20):
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


def test_a_build_that_writes_nothing_or_no_plain_files_is_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Toy\.build: it wrote no file"):
        Store(tmp_path).find_or_build(Toy(1), lambda _: None)
    with pytest.raises(RuntimeError, match=r"Toy\.build: sub is no plain file"):
        Store(tmp_path).find_or_build(Toy(1), lambda folder: (folder / "sub").mkdir())
    assert Store(tmp_path).find(Toy(1)) is None


def test_a_result_that_another_job_published_first_stands_only_if_it_is_sound(tmp_path: Path) -> None:
    """Where locks do nothing."""
    for is_sound in (True, False):
        artifact = Toy(int(is_sound))
        store, other = Store(tmp_path), Store(tmp_path)

        def overtaken(folder: Path) -> None:
            write(folder)
            (folder / "mine").write_text("")
            final = other.folder(artifact)
            partial = final.with_name("partial of the other")
            partial.mkdir()
            write(partial)
            if is_sound:
                shutil.copytree(Store(tmp_path / "apart").find_or_build(artifact, write), partial, dirs_exist_ok=True)
            partial.rename(final)

        folder = store.find_or_build(artifact, overtaken)
        assert (folder / "mine").exists() != is_sound
        assert Store(tmp_path).find(artifact) == folder


def test_a_disk_that_can_not_be_read_is_no_proof_of_corruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Store(tmp_path).find_or_build(Toy(1), write)
    real = Path.open

    def failing(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "data.txt":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        with pytest.raises(DiskError, match="toy-.*Input/output error .* see that the disk"):
            Store(tmp_path).find(Toy(1))
    assert Store(tmp_path).find(Toy(1)) == folder


def test_a_manifest_that_comes_to_harm_later_is_not_shown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = store.find_or_build(Toy(1), write) / "manifest.json"
    file.write_text(file.read_text().replace('"runtime": {}', '"runtime": {"device": "none"}'))
    with pytest.raises(ValueError, match="came to harm"):
        store.manifest(Toy(1))


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


def test_a_log_begins_with_the_key_and_the_runtime_of_its_attempts(tmp_path: Path) -> None:
    for rows in (4, 4, 2):
        RunLog(tmp_path / "log", KEY, {"rows": rows}).close()
    lines = [json.loads(line[17:]) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert lines == [{"key": KEY, "attempt": {"rows": 4}}, {"attempt": {"rows": 2}}]
    assert attempts_of(tmp_path / "log", KEY) == [{"rows": 4}, {"rows": 2}]
    assert attempts_of(tmp_path / "log", "6" * 64) == attempts_of(tmp_path / "none", KEY) == []
    told = [is_log_of(tmp_path / name, key) for name, key in (("log", KEY), ("log", "6" * 64), ("none", KEY))]
    assert told == [True, False, False]


def test_a_thread_that_comes_after_the_end_writes_nowhere(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log", KEY)
    log.close()
    with (tmp_path / "next").open("wb") as reused:  # It gets the number that is free now.
        with pytest.raises(OSError):
            log.append({"n": 1})
        assert reused.tell() == 0
    assert (tmp_path / "next").read_bytes() == b""


def filled(path: Path, key: str, *numbers: int) -> list[bytes]:
    """A log's lines, header first."""
    log = RunLog(path, key)
    for n in numbers:
        log.append({"n": n})
    log.close()
    return path.read_bytes().splitlines(keepends=True)


OTHER = "6" * 64
NOT_OURS = {
    "another's": lambda ours, other: other,
    "another's under our header's words": lambda ours, other: [ours[0][:16] + other[0][16:], *other[1:]],
    "of an earlier version": lambda ours, other: [b'0badf00d {"n": 1}\n', b'0badf00d {"n": 2}\n'],
    "without a header": lambda ours, other: ours[1:],
    "a damaged header": lambda ours, other: [ours[0].replace(b"key", b"kay"), *ours[1:]],
    "no text": lambda ours, other: [bytes(range(256)), b"\n"],
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_a_log_that_is_not_the_artifacts_is_set_aside(case: str, tmp_path: Path) -> None:
    ours, other = filled(tmp_path / "a", KEY, 1, 2), filled(tmp_path / "b", OTHER, 7, 8)
    path, notes = tmp_path / "log", []
    path.write_bytes(b"".join(NOT_OURS[case](ours, other)))
    before = path.read_bytes()
    log = RunLog(path, KEY, note=notes.append)
    assert log.records == []
    log.append({"n": 3})
    log.close()
    assert [json.loads(line[17:]) for line in path.read_bytes().splitlines()[1:]] == [{"n": 3}]
    assert "set aside as log.corrupt-" in notes[0] and len(notes) == 1
    (aside,) = tmp_path.glob("log.corrupt-*")
    assert aside.read_bytes() == before, "kept for a look"


def test_a_link_or_a_folder_is_no_log(tmp_path: Path) -> None:
    filled(tmp_path / "elsewhere", KEY, 1)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        log = RunLog(tmp_path / name, KEY)
        assert log.records == []
        log.close()


def test_lines_of_another_log_cost_no_line_of_ours(tmp_path: Path) -> None:
    ours, other = filled(tmp_path / "a", KEY, 1, 2), filled(tmp_path / "b", OTHER, 7, 8)
    notes: list[str] = []
    (tmp_path / "log").write_bytes(b"".join([*ours[:2], *other[1:], ours[2], other[2], ours[2]]))
    log = RunLog(tmp_path / "log", KEY, note=notes.append)
    assert log.records == [{"n": 1}, {"n": 2}, {"n": 2}]
    assert "3 of 7 lines are damaged" in notes[0]
    assert dict(log.of({2}, lambda record: (record["n"], True))) == {2: True}
    assert "1 of 3 records are of nothing that is asked for" in notes[1]
    log.append({"other version": 1})
    log.close()
    again = RunLog(tmp_path / "log", KEY)
    assert list(again.of({2}, lambda record: (record["n"], True))) == [(2, True)] * 2
    again.close()


def test_a_write_that_fails_half_way_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, real = RunLog(tmp_path / "log", KEY), os.write
    log.append({"n": 1})
    calls = [0]

    def full(handle: int, data: Any) -> int:
        calls[0] += 1
        if calls[0] == 1:
            return real(handle, bytes(data)[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskError, match=r"log: No space left on device \([\d,]+ bytes free\)"):
            log.append({"n": 2})
    log.append({"n": 3})
    log.close()
    again = RunLog(tmp_path / "log", KEY)
    assert again.records == [{"n": 1}, {"n": 3}]
    again.close()


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log", KEY)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: log.append({"n": n, "text": "x" * 9999}), range(200)))
    log.close()
    again = RunLog(tmp_path / "log", KEY)
    assert sorted(record["n"] for record in again.records) == list(range(200))
    again.close()


def test_an_unwritable_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        Store(blocked / "artifacts").find_or_build(Toy(1), write)
    assert os.listdir(tmp_path) == ["file"]
