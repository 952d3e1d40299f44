"""The log that lets a killed build go on: what is finished, one record a line, as it is finished."""

import contextlib
import hashlib
import json
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Container, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from reasoning_lab.disk import fsync, told

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
FSYNC_SECONDS = 1.0
"""Most time between two fsyncs of a run log. Written lines survive the death of the process at once; an fsync guards
against the death of the machine."""
MARK = 16
"""Hexadecimal digits of a line's mark."""


class RunLog:
    """One JSON record a line, each behind a mark that is made of the artifact's key and the record: a torn line, an
    altered one and one of another artifact's log are told from this artifact's.

    The first line is a header with the key and the first attempt's runtime, which has its physical shape; every later
    attempt with another runtime adds its own. Answers of one law in another shape are answers of the same law, with
    other roundings, so a log goes on in another shape (fewer rows, after memory ran out), and the manifest names all
    that had a part in it. A log without its header is set aside; opening one cuts a torn tail first.
    """

    def __init__(
        self, path: Path, key: str, runtime: dict[str, Any] | None = None, note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.path = path
        self.key = key
        self.records: list[dict[str, Any]] = []
        """What earlier attempts wrote, in order."""
        self._note = note
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        with told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            earlier = self._read()
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                self._begin(earlier, runtime or {})
            except BaseException:
                os.close(self._handle)
                raise

    def of(self, items: Container[K], read: Callable[[dict[str, Any]], tuple[K, V]]) -> list[tuple[K, V]]:
        """What earlier attempts wrote of the items that the artifact has, in order; `read` takes a record apart.
        A record of no such item, or one that can't be read, is passed over with a note."""
        found = [pair for record in self.records if (pair := _taken(record, read, items)) is not None]
        if strangers := len(self.records) - len(found):
            self._note(f"{self.path}: {strangers} of {len(self.records)} records are of nothing that is asked for")
        return found

    def append(self, record: dict[str, Any]) -> None:
        """Write one record in one system call; any thread may."""
        with self._lock, told(self.path):
            self._write(record)
            if time.monotonic() - self._synced > FSYNC_SECONDS:
                self._sync()

    def adopt(self, records: Iterable[dict[str, Any]]) -> None:
        """Go on from records that were found elsewhere, too: of another log, or of a finished part."""
        for record in records:
            self.append(record)
            self.records.append(record)

    def attempted(self, runtime: dict[str, Any]) -> None:
        """Name a runtime that had a part in the artifact beside this attempt's; the manifest lists it."""
        with self._lock, told(self.path):
            self._write({"attempt": runtime})

    def sync(self) -> None:
        """Have what is written survive the death of the machine."""
        with self._lock, told(self.path):
            self._sync()

    def close(self) -> None:
        """Sync and close; a thread that comes too late writes nowhere."""
        try:
            self.sync()
        finally:
            with self._lock:
                handle, self._handle = self._handle, -1
                os.close(handle)

    def _read(self) -> bytes:
        """The file's lines, header first; what is no log of this artifact is set aside."""
        if not os.path.lexists(self.path):
            return b""
        is_plain = stat.S_ISREG(self.path.lstat().st_mode)
        whole = self.path.read_bytes() if is_plain else b""
        lines = whole[: whole.rfind(b"\n") + 1]
        if is_plain and (not lines or _is_header(_record(lines[: lines.find(b"\n") + 1], self.key), self.key)):
            return lines
        aside = self.path.with_name(f"{self.path.name}.corrupt-{uuid.uuid4().hex[:8]}")
        os.replace(self.path, aside)
        self._note(
            f"{self.path} does not begin with its artifact's header (another's log, damage, or an earlier version); "
            f"set aside as {aside.name} and begun anew"
        )
        return b""

    def _begin(self, lines: bytes, runtime: dict[str, Any]) -> None:
        """Cut the torn tail, take the records, and say who goes on."""
        os.ftruncate(self._handle, len(lines))
        read = [_record(line, self.key) for line in lines.splitlines(keepends=True)]
        if damaged := read.count(None):
            self._note(f"{self.path}: {damaged} of {len(read)} lines are damaged; what they held is made again")
        found = [record for record in read if record is not None]
        self.records = [record for record in found if not _is_of_attempt(record)]
        if not lines:
            self._write({"key": self.key, "attempt": runtime})
            fsync(self.path.parent)
        elif runtime not in map(_attempt, found):
            self._write({"attempt": runtime})

    def _write(self, record: dict[str, Any]) -> None:
        """One line; a disk that takes only part of it is left without that part."""
        line, start = _line(record, self.key), os.fstat(self._handle).st_size
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, start)
            raise

    def _sync(self) -> None:
        os.fsync(self._handle)
        self._synced = time.monotonic()


def attempts_of(path: Path, key: str) -> list[dict[str, Any]]:
    """The runtimes of all attempts that a log names, in order; none where there is no log."""
    if not path.is_file():
        return []
    found = (_record(line, key) for line in path.read_bytes().splitlines(keepends=True))
    return [record["attempt"] for record in found if record is not None and _is_of_attempt(record)]


def records_of(path: Path, key: str) -> list[dict[str, Any]]:
    """What a build of this key would go on from; the file stays as it is. [] where there is no such log."""
    if not is_log_of(path, key):
        return []
    found = (_record(line, key) for line in path.read_bytes().splitlines(keepends=True))
    return [record for record in found if record is not None and not _is_of_attempt(record)]


def is_log_of(path: Path, key: str) -> bool:
    """Whether a build of this key would go on with a log."""
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return _is_header(_record(opened.readline(), key), key)


def _taken(
    record: dict[str, Any], read: Callable[[dict[str, Any]], tuple[K, V]], items: Container[K]
) -> tuple[K, V] | None:
    """Item and value of a record; None where it is of no such item, or written by another version."""
    try:
        found = read(record)
        return found if found[0] in items else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _is_header(record: dict[str, Any] | None, key: str) -> bool:
    return record is not None and record.keys() == {"key", "attempt"} and record["key"] == key


def _is_of_attempt(record: dict[str, Any]) -> bool:
    return record.keys() <= {"key", "attempt"} and "attempt" in record


def _attempt(record: dict[str, Any]) -> Any:
    return record["attempt"] if _is_of_attempt(record) else None


def _line(record: dict[str, Any], key: str) -> bytes:
    body = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
    return b"%s %s\n" % (_mark(body, key), body)


def _record(line: bytes, key: str) -> dict[str, Any] | None:
    """The record of a whole, unharmed line of this key's log."""
    mark, body = line[:MARK], line[MARK + 1 : -1]
    if line != b"%s %s\n" % (mark, body) or mark != _mark(body, key):
        return None
    return json.loads(body)


def _mark(body: bytes, key: str) -> bytes:
    return hashlib.sha256(f"{key}\n".encode() + body).hexdigest()[:MARK].encode()
