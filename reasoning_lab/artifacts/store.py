"""Write-once results, named by what they are; and the log that lets a killed build go on.

outputs/artifacts/<stage>/<slug>-<key12>/ holds a result's files and manifest.json. It is built in a folder of its own,
the manifest is written last, and a rename publishes it: a crash leaves nothing that looks finished. Locks only save
work; where they do nothing (some network file systems) two jobs build the same bytes and one is dropped.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from reasoning_lab.artifacts.recipes import Recipe

FSYNC_SECONDS = 1.0
"""Most time between two fsyncs of a run log. Written lines survive the death of the process at once; an fsync guards
against the death of the machine."""


class Store:
    """The artifacts under one folder."""

    def __init__(self, root: Path, note: Callable[[str], None] = lambda _: None) -> None:
        self.root = root
        self.note = note
        """Receives a line about what is unusual (a corrupt artifact set aside)."""
        self.runtime: dict[str, Any] = {}
        """What built the next artifact but can't change it (device, rows, versions): kept in its manifest."""

    def folder(self, recipe: Recipe) -> Path:
        """Where the recipe's artifact is or will be."""
        return self.root / recipe.stage / f"{recipe.slug}-{recipe.key[:12]}"

    def get(self, recipe: Recipe) -> Path | None:
        """The finished artifact's folder, verified, or None. A corrupt one is set aside, never used."""
        folder = self.folder(recipe)
        if not folder.is_dir():
            return None
        if (fault := _fault(folder)) is None:
            return folder
        aside = folder.with_name(f"{folder.name}.corrupt-{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(FileNotFoundError):  # Another job may have set it aside first.
            os.replace(folder, aside)
        self.note(f"{folder} is corrupt ({fault}); set aside as {aside.name} and built again")
        return None

    def get_or_build(self, recipe: Recipe, build: Callable[[Path], None]) -> Path:
        """The artifact's folder; `build(folder)` writes its files where it does not exist yet."""
        if (found := self.get(recipe)) is not None:
            return found
        final = self.folder(recipe)
        final.parent.mkdir(parents=True, exist_ok=True)
        with _lock(final.with_name(final.name + ".lock")):
            if (found := self.get(recipe)) is not None:
                return found
            self._build(recipe, build, final)
        return final

    def _build(self, recipe: Recipe, build: Callable[[Path], None], final: Path) -> None:
        partial = final.with_name(f"{final.name}.partial-{uuid.uuid4().hex[:8]}")
        partial.mkdir()
        started = time.time()
        try:
            build(partial)
            manifest = {
                "recipe": recipe.canonical(),
                "key": recipe.key,
                "seconds": round(time.time() - started, 3),
                "runtime": self.runtime,
                "files": {file.name: _sha256(file) for file in sorted(partial.iterdir())},
            }
            for file in partial.iterdir():
                _fsync(file)
            (partial / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
            _fsync(partial / "manifest.json")
            _fsync(partial)
            _publish(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self.log_path(recipe).unlink(missing_ok=True)

    def log_path(self, recipe: Recipe) -> Path:
        """The run log of an artifact under construction."""
        final = self.folder(recipe)
        return final.with_name(final.name + ".log")


def _publish(partial: Path, final: Path) -> None:
    """Rename into place; where another job was first its result stands."""
    try:
        os.rename(partial, final)
    except OSError:
        if not (final / "manifest.json").is_file():
            raise
    _fsync(final.parent)


def _fault(folder: Path) -> str | None:
    """What is wrong with a finished artifact, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"manifest.json: {error}"
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
        """Write one record in one system call."""
        body = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
        self._handle.write(b"%08x %s\n" % (zlib.crc32(body), body))
        self._handle.flush()
        if time.monotonic() - self._synced > FSYNC_SECONDS:
            os.fsync(self._handle.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        os.fsync(self._handle.fileno())
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
