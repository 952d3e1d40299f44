"""Hashes of files, each read whole once: tens of gigabytes of weights too, whose middle decides as their ends do."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reasoning_lab.disk import write_whole

CHUNK = 16 * 2**20
"""Read at a time [bytes]."""
TELL_S = 5.0
"""Time between two lines about a file that takes long [s]."""
_SETTLED = 2 * 10**9
"""Age [ns] from which a file's times tell it from any later state: clocks of file systems tick slowly."""

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size [bytes], time of the last change of the content and of the inode [ns]: no program can set the
last one."""


def _deaf(line: str) -> None:
    del line


class FileHashes:
    """sha256 by file, kept in this process under the file's stamp, and for other processes in a folder.

    A file that changed a moment ago or while it was read is not kept. An entry of the folder is written whole, by
    rename; one that is torn or altered is as if it weren't there, and a folder that can't be written keeps nothing.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._tell: Callable[[str], None] = _deaf
        self._known: dict[Stamp, bytes] = {}

    def keep_in(self, folder: Path, tell: Callable[[str], None] = _deaf) -> None:
        """From now on keep them in the folder too; `tell` hears of files that take long."""
        self._folder, self._tell = folder, tell

    def sha256(self, file: Path) -> bytes:
        """Of the whole content."""
        stamp = _stamp(file)
        if not _is_settled(stamp):
            return self._read(file, stamp[2])
        known = self._known.get(stamp) or self._kept(stamp)
        if known is None:
            known = self._read(file, stamp[2])
            if _stamp(file) != stamp:
                return known
            self._keep(stamp, known)
        self._known[stamp] = known
        return known

    def _read(self, file: Path, size: int) -> bytes:
        digest, done, told = hashlib.sha256(), 0, time.monotonic()
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if time.monotonic() - told > TELL_S:
                    told = time.monotonic()
                    self._tell(f"hashing {file.name}: {done / 2**30:.1f} of {size / 2**30:.1f} GiB, once")
        return digest.digest()

    def _kept(self, stamp: Stamp) -> bytes | None:
        if self._folder is None:
            return None
        try:
            entry = json.loads(self._entry(self._folder, stamp).read_bytes())
            content = bytes.fromhex(entry["sha256"])
            return content if entry == _entry_of(stamp, content) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _keep(self, stamp: Stamp, content: bytes) -> None:
        if self._folder is None:
            return
        with suppress(OSError):
            write_whole(self._entry(self._folder, stamp), json.dumps(_entry_of(stamp, content)).encode())

    @staticmethod
    def _entry(folder: Path, stamp: Stamp) -> Path:
        return folder / ("-".join(f"{part:x}" for part in stamp) + ".json")


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_settled(stamp: Stamp) -> bool:
    return max(stamp[3:]) < time.time_ns() - _SETTLED


def _entry_of(stamp: Stamp, content: bytes) -> dict[str, object]:
    """What the folder keeps; the check tells an altered entry from a whole one."""
    told = f"{stamp} {content.hex()}"
    return {"stamp": list(stamp), "sha256": content.hex(), "check": hashlib.sha256(told.encode()).hexdigest()}


HASHES = FileHashes()
"""Of this process."""
