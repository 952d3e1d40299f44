"""Write-once results, named by what they are; and the log that lets a killed build go on.

outputs/artifacts/<kind>/<slug>-<key12>/ holds a result's files and manifest.json. It is built in a folder of its own,
the manifest is written last, and a rename publishes it: a crash leaves nothing that looks finished. It is believed
where its manifest names its own key and exactly its files with their hashes. Locks only save work; where they do
nothing (some network file systems) two jobs build the same bytes and one is dropped.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from reasoning_lab.artifacts.key import Keyed

FSYNC_SECONDS = 1.0
"""Most time between two fsyncs of a run log. Written lines survive the death of the process at once; an fsync guards
against the death of the machine."""


class Store:
    """The artifacts under one folder."""

    def __init__(self, root: Path, note: Callable[[str], None] = lambda _: None) -> None:
        self.root = root
        self.note = note
        """Receives a line about what is unusual (a corrupt artifact set aside)."""
        self._verified: set[str] = set()
        """Keys of artifacts that this process has verified or built: each is hashed once."""

    def folder(self, artifact: Keyed) -> Path:
        """Where the artifact is or will be."""
        return self.root / artifact.kind / f"{artifact.slug}-{artifact.key[:12]}"

    def find(self, artifact: Keyed) -> Path | None:
        """The finished artifact's folder, verified, or None. A corrupt one is set aside, never used."""
        folder = self.folder(artifact)
        if artifact.key in self._verified:
            return folder
        if not folder.is_dir():
            return None
        if (fault := _fault(folder, artifact.key)) is None:
            self._verified.add(artifact.key)
            return folder
        aside = folder.with_name(f"{folder.name}.corrupt-{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(FileNotFoundError):  # Another job may have set it aside first.
            os.replace(folder, aside)
        self.note(f"{folder} is corrupt ({fault}); set aside as {aside.name} and built again")
        return None

    def manifest(self, artifact: Keyed) -> dict[str, Any]:
        """What a finished artifact's manifest says."""
        return json.loads((self.folder(artifact) / "manifest.json").read_text())

    def find_or_build(
        self, artifact: Keyed, build: Callable[[Path], None], runtime: Callable[[], dict[str, Any]] = dict
    ) -> Path:
        """The artifact's folder; `build(folder)` writes its files where it does not exist yet.

        `runtime` says what builds it but can't change it (device, rows, versions): kept in its manifest, with that of
        earlier attempts whose log this one went on with.
        """
        if (folder := self.find(artifact)) is not None:
            return folder
        final = self.folder(artifact)
        final.parent.mkdir(parents=True, exist_ok=True)
        with _lock(final.with_name(final.name + ".lock")):
            if (folder := self.find(artifact)) is not None:
                return folder
            self._build(artifact, build, runtime, final)
        return final

    def _build(
        self, artifact: Keyed, build: Callable[[Path], None], runtime: Callable[[], dict[str, Any]], final: Path
    ) -> None:
        partial = final.with_name(f"{final.name}.partial-{uuid.uuid4().hex[:8]}")
        partial.mkdir()
        started, attempts = time.time(), self._attempts(artifact, runtime())
        try:
            build(partial)
            manifest = {
                "artifact": artifact.canonical(),
                "key": artifact.key,
                "seconds": round(time.time() - started, 3),
                "built": datetime.now(UTC).isoformat(timespec="seconds"),
                "runtime": runtime(),
                "earlier_attempts": attempts[:-1],
                "files": {file.name: _sha256(file) for file in sorted(partial.iterdir())},
            }
            for file in partial.iterdir():
                _fsync(file)
            (partial / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
            _fsync(partial / "manifest.json")
            _fsync(partial)
            if _publish(partial, final):
                self._verified.add(artifact.key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self.log_path(artifact).unlink(missing_ok=True)
        self._attempts_path(artifact).unlink(missing_ok=True)

    def _attempts(self, artifact: Keyed, runtime: dict[str, Any]) -> list[dict[str, Any]]:
        """The runtimes of the attempts that share a log, this one's last, each once; noted beside the log."""
        file, earlier = self._attempts_path(artifact), []
        if self.log_path(artifact).exists():
            with contextlib.suppress(OSError, ValueError):
                earlier = [each for each in json.loads(file.read_text()) if each != runtime]
        file.write_text(json.dumps([*earlier, runtime]))
        return [*earlier, runtime]

    def _attempts_path(self, artifact: Keyed) -> Path:
        return self.log_path(artifact).with_suffix(".attempts")

    def log_path(self, artifact: Keyed) -> Path:
        """The run log of an artifact under construction."""
        final = self.folder(artifact)
        return final.with_name(final.name + ".log")

    @contextlib.contextmanager
    def log(self, artifact: Keyed) -> Iterator["RunLog"]:
        """The run log, open while the artifact is built."""
        log = RunLog(self.log_path(artifact))
        try:
            yield log
        finally:
            log.close()


def _publish(partial: Path, final: Path) -> bool:
    """Rename into place; False where another job was first, whose result stands."""
    try:
        os.rename(partial, final)
    except OSError:
        if not (final / "manifest.json").is_file():
            raise
        return False
    _fsync(final.parent)
    return True


def _fault(folder: Path, key: str) -> str | None:
    """What is wrong with the finished artifact of a key, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        files, named = dict(manifest["files"]), manifest["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"manifest.json: {error}"
    if named != key:
        return f"manifest.json names the key {named}, another artifact's"
    named_here = {file.name for file in folder.iterdir() if not file.name.startswith(".")}  # .nfs0001, .DS_Store ...
    if extra := sorted(named_here - {*files, "manifest.json"}):
        return f"{extra[0]} is not of it"
    for name, expected in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _sha256(folder / name) != expected:
            return f"{name} does not match its hash"
    return None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the file's lock; the system frees it when the holder dies, so there is nothing to unlock by hand."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class RunLog:
    """One checksummed JSON record per line, appended as items finish; opening it repairs a torn tail first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.records: list[dict[str, Any]] = []
        """What earlier attempts wrote, in order."""
        self._handle: IO[bytes] = path.open("a+b")
        self._lock = threading.Lock()
        self._repair()
        self._synced = time.monotonic()

    def _repair(self) -> None:
        """Read whole records; cut the file behind the last one."""
        self._handle.seek(0)
        good = 0
        for line in self._handle:
            record = _parse(line)
            if record is None:
                break
            self.records.append(record)
            good += len(line)
        self._handle.truncate(good)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record in one system call; any thread may."""
        body = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
        with self._lock:
            self._handle.write(b"%08x %s\n" % (zlib.crc32(body), body))
            self._handle.flush()
            if time.monotonic() - self._synced > FSYNC_SECONDS:
                self._sync()

    def sync(self) -> None:
        """Have what is written survive the death of the machine."""
        with self._lock:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._handle.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        self._handle.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a whole, unharmed line."""
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    body = line[9:-1]
    try:
        return json.loads(body) if int(line[:8], 16) == zlib.crc32(body) else None
    except ValueError:
        return None
