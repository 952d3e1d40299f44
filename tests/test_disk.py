"""Errors of the disk in one line, and files that are whole or not there."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from reasoning_lab import disk
from reasoning_lab.disk import MOVES, DiskError, disk_error, told, write_whole


@pytest.mark.parametrize("number", sorted(MOVES), ids=lambda number: errno.errorcode[number])
def test_an_error_of_the_disk_names_path_room_and_next_move(number: int, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there"
    with pytest.raises(DiskError) as caught, told(path):
        raise OSError(number, "as the system says")
    text = str(caught.value)
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    said = int(text.partition("(")[2].partition(" bytes free")[0].replace(",", ""))
    assert text.startswith(f"{path}: {os.strerror(number)} (") and abs(said - free) < 2**30
    assert MOVES[number] in text and "\n" not in text and "run the same command again" in text
    assert caught.value.errno == number
    assert str(pickle.loads(pickle.dumps(caught.value))) == text, "it comes whole out of a worker process"


def test_an_error_is_about_the_path_that_it_names(tmp_path: Path) -> None:
    error = OSError(errno.EACCES, "", str(tmp_path / "weights"))
    assert str(disk_error(error, tmp_path)).startswith(f"{tmp_path}/weights: Permission denied")


def test_what_is_no_matter_of_the_disk_is_left_as_it_is(tmp_path: Path) -> None:
    for error in (ConnectionRefusedError(errno.ECONNREFUSED, ""), FileNotFoundError(errno.ENOENT, ""), OSError("own")):
        with pytest.raises(type(error)) as caught, told(tmp_path):
            raise error
        assert caught.value is error and disk_error(error, tmp_path) is None


def test_an_error_that_has_been_told_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught, told(tmp_path / "outer"), told(tmp_path / "inner"):
        raise OSError(errno.ENOSPC, "")
    assert str(caught.value).startswith(f"{tmp_path}/inner: ")


def test_a_disk_without_inodes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = list(os.statvfs(tmp_path))
    values[5], values[7] = 100, 0  # f_files, f_favail
    monkeypatch.setattr(disk.os, "statvfs", lambda _: os.statvfs_result(values))
    assert "bytes free, but no inode)" in str(disk_error(OSError(errno.ENOSPC, ""), tmp_path))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a" / "b.json"
    write_whole(file, b"one")
    write_whole(file, b"two", partials=tmp_path)
    assert file.read_bytes() == b"two"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(disk.os, "replace", full)
    with pytest.raises(DiskError, match="b.json"):
        write_whole(file, b"three")
    assert file.read_bytes() == b"two" and [each.name for each in file.parent.iterdir()] == ["b.json"]
