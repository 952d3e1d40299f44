"""Write-once results, named by what they are.

outputs/artifacts/<kind>/<slug>-<key12>/ holds a result's files and manifest.json. It is built in a folder of its own,
the manifest is written last, and a rename publishes it: a crash leaves nothing that looks finished. It is believed
where its manifest is whole, says what the key is the hash of, and names exactly the files that are there, each by a
hash that is bound to the key and to the file's name: neither a folder, nor a file, nor a manifest, nor an entry of one
can pass for another's. (This is against mishaps, not against somebody who computes the hashes anew.) Locks only save
work; where they do nothing (some network file systems) two jobs build the same bytes and one is dropped.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.key import Keyed, digest
from reasoning_lab.artifacts.runlog import RunLog, attempts_of, is_log_of
from reasoning_lab.disk import age_days, fsync, is_abandoned, is_partial, partial_of, remove, told

MANIFEST = "manifest.json"
CORRUPT = ".corrupt-"
KEPT_DAYS = 14.0
"""How long what was set aside is kept for a look [days]."""
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
"""What a file system says that has no locks."""


class Store:
    """The artifacts under one folder."""

    def __init__(self, root: Path, note: Callable[[str], None] = lambda _: None) -> None:
        self.root = root
        self.note = note
        """Receives a line about what is unusual (a corrupt artifact set aside)."""
        self._verified: set[str] = set()
        """Keys of artifacts that this process has verified or built: each is hashed once."""
        self._attempt: dict[str, dict[str, Any]] = {}
        """By key, the runtime of the build at work."""

    def folder(self, artifact: Keyed) -> Path:
        """Where the artifact is or will be."""
        return self.root / artifact.kind / f"{artifact.slug}-{artifact.key[:12]}"

    def find(self, artifact: Keyed) -> Path | None:
        """The finished artifact's folder, verified, or None. A corrupt one is set aside, never used."""
        folder = self.folder(artifact)
        if artifact.key in self._verified:
            return folder
        if not os.path.lexists(folder):
            return None
        if _fault(folder, artifact.key) is None:
            return self._believed(artifact)
        with _lock(folder, is_patient=False) as is_held:  # Who holds it is about to replace it.
            return self._find_locked(artifact) if is_held else None

    def _find_locked(self, artifact: Keyed) -> Path | None:
        """As `find`, for who holds the lock: nobody else sets aside or publishes, if locks work."""
        folder = self.folder(artifact)
        if not os.path.lexists(folder):
            return None
        if (fault := _fault(folder, artifact.key)) is None:
            return self._believed(artifact)
        if (aside := _set_aside(folder)) is not None:
            self.note(f"{folder} is corrupt ({fault}); set aside as {aside.name} and built again")
        return None

    def _believed(self, artifact: Keyed) -> Path:
        """The verified folder; the log of a build that died behind its last step goes."""
        self._verified.add(artifact.key)
        if os.path.lexists(self.log_path(artifact)):
            remove(self.log_path(artifact))
        return self.folder(artifact)

    def manifest(self, artifact: Keyed) -> dict[str, Any]:
        """What a finished artifact's manifest says; ValueError where it has come to harm since it was verified."""
        folder = self.folder(artifact)
        try:
            return _manifest(folder, artifact.key)
        except (_Fault, FileNotFoundError) as fault:
            raise ValueError(f"{folder} came to harm a moment ago ({fault}); run the same command again.") from fault

    def find_or_build(
        self, artifact: Keyed, build: Callable[[Path], None], runtime: Callable[[], dict[str, Any]] = dict
    ) -> Path:
        """The artifact's folder; `build(folder)` writes its files where it does not exist yet.

        `runtime` says what builds it but can't change it (device, rows, versions): kept in its manifest, with that of
        earlier attempts whose log this one went on with. DiskError where the disk is full, failing or closed.
        """
        if (folder := self.find(artifact)) is not None:
            return folder
        final = self.folder(artifact)
        with told(final):
            final.parent.mkdir(parents=True, exist_ok=True)
        with _lock(final):
            if (folder := self._find_locked(artifact)) is not None:
                return folder
            self._build(artifact, build, runtime, final)
        return final

    def _build(
        self, artifact: Keyed, build: Callable[[Path], None], runtime: Callable[[], dict[str, Any]], final: Path
    ) -> None:
        partial = partial_of(final)
        with told(partial):
            partial.mkdir()
        started, self._attempt[artifact.key] = time.time(), runtime()
        try:
            build(partial)
            with told(partial):
                names = sorted(_names(partial))
                if not names:
                    raise _Fault("it wrote no file")
                now = runtime()
                attempts = attempts_of(self.log_path(artifact), artifact.key)
                earlier = [each for n, each in enumerate(attempts) if each != now and each not in attempts[:n]]
                manifest = {
                    "artifact": artifact.canonical(),
                    "key": artifact.key,
                    "seconds": round(time.time() - started, 3),
                    "built": datetime.now(UTC).isoformat(timespec="seconds"),
                    "runtime": now,
                    "earlier_attempts": earlier,
                    "files": {name: _digest(partial / name, artifact.key) for name in names},
                }
                for name in names:
                    fsync(partial / name)
                (partial / MANIFEST).write_text(sealed(manifest), encoding="ascii")
                fsync(partial / MANIFEST)
                fsync(partial)
                self._publish(partial, final, artifact.key)
        except _Fault as fault:
            raise RuntimeError(f"{type(artifact).__name__}.build: {fault}") from fault
        finally:
            del self._attempt[artifact.key]
            shutil.rmtree(partial, ignore_errors=True)
        self._verified.add(artifact.key)
        with told(self.log_path(artifact)):
            self.log_path(artifact).unlink(missing_ok=True)

    def _publish(self, partial: Path, final: Path, key: str) -> None:
        """Rename into place; where another job was first its result stands, if it is to be believed."""
        while not _rename(partial, final):
            if _fault(final, key) is None:
                return
            _set_aside(final)
        fsync(final.parent)

    def log_path(self, artifact: Keyed) -> Path:
        """The run log of an artifact under construction."""
        final = self.folder(artifact)
        return final.with_name(final.name + ".log")

    def is_at_work(self, artifact: Keyed) -> bool:
        """Whether some process builds the artifact at this moment; False where the disk has no locks."""
        folder = self.folder(artifact)
        if not folder.parent.is_dir():
            return False
        with _lock(folder, is_patient=False) as is_held:
            return not is_held

    def is_begun(self, artifact: Keyed) -> bool:
        """Whether an earlier attempt left a log to go on with."""
        return is_log_of(self.log_path(artifact), artifact.key)

    @contextlib.contextmanager
    def log(self, artifact: Keyed) -> Iterator[RunLog]:
        """The run log, open while the artifact is built."""
        log = RunLog(self.log_path(artifact), artifact.key, self._attempt.get(artifact.key, {}), self.note)
        try:
            yield log
        finally:
            log.close()

    def sweep(self) -> None:
        """Remove what dead processes left half done, and what was set aside long ago. Logs of unfinished artifacts
        stay: a later run goes on with them."""
        with contextlib.suppress(OSError):
            for place in [each.path for each in os.scandir(self.root) if each.is_dir()]:
                for name in os.listdir(place):
                    path = Path(place, name)
                    if is_abandoned(path) if is_partial(path) else CORRUPT in name and age_days(path) > KEPT_DAYS:
                        remove(path)


class StoreView(Store):
    """A store that is looked at and stays as it is: a corrupt artifact is missing and not set aside, and nothing is
    built."""

    def find(self, artifact: Keyed) -> Path | None:
        """As Store.find, moving nothing."""
        folder = self.folder(artifact)
        if artifact.key not in self._verified:
            if not folder.is_dir() or _fault(folder, artifact.key) is not None:
                return None
            self._verified.add(artifact.key)
        return folder

    def find_or_build(
        self, artifact: Keyed, build: Callable[[Path], None], runtime: Callable[[], dict[str, Any]] = dict
    ) -> Path:
        """The finished artifact's folder; LookupError where there is none."""
        if (folder := self.find(artifact)) is None:
            raise LookupError(f"{self.folder(artifact)} is not built, and who only looks builds nothing.")
        return folder


# --- what is believed -----------------------------------------------------------------------------------------------


class _Fault(Exception):
    """Why an artifact is not believed."""


def sealed(manifest: Mapping[str, Any]) -> str:
    """A manifest as its file's text, closed by the hash of all the rest."""
    rest = {name: value for name, value in manifest.items() if name != "seal"}
    return json.dumps(rest | {"seal": digest(rest)}, indent=1, sort_keys=True)


def _fault(folder: Path, key: str) -> str | None:
    """What is wrong with the finished artifact of a key, or None. DiskError where it can't be read: that is no proof
    that it is corrupt."""
    with told(folder):
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                return "it is no folder"
            files = _manifest(folder, key)["files"]
            names = _names(folder)
            if extra := sorted(names - files.keys() - {MANIFEST}):
                return f"{extra[0]} is not of it"
            if missing := sorted(files.keys() - names):
                return f"{missing[0]} is missing"
            for name, expected in files.items():
                if _digest(folder / name, key) != expected:
                    return f"{name} does not match its hash"
        except FileNotFoundError as error:
            return f"{Path(error.filename or folder).name} is missing"
        except _Fault as fault:
            return str(fault)
    return None


def _manifest(folder: Path, key: str) -> dict[str, Any]:
    """A manifest that is whole and of this key."""
    try:
        text = _read(folder / MANIFEST).decode("ascii")
        manifest = json.loads(text)
        named, seal = manifest["key"], sealed(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Fault(f"{MANIFEST}: {type(error).__name__}: {error}") from error
    if seal != text:  # To the byte: whatever was altered, and however the rest was then made to fit.
        raise _Fault(f"{MANIFEST} is altered, or of an earlier version: its seal does not fit")
    if named != key or digest(manifest.get("artifact")) != key:
        raise _Fault(f"{MANIFEST} names the key {named}, another artifact's")
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise _Fault(f"{MANIFEST} names no files")
    if bad := [name for name, value in files.items() if not _is_name(name) or not isinstance(value, str)]:
        raise _Fault(f"{MANIFEST} names {bad[0]!r}, which is no file of it")
    return manifest


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..", MANIFEST) and "/" not in name and "\0" not in name


def _names(folder: Path) -> set[str]:
    """Names of the plain files in an artifact's folder; hidden ones are the system's (.nfs0001, .DS_Store)."""
    entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    if other := [entry.name for entry in entries if not entry.is_file(follow_symlinks=False)]:
        raise _Fault(f"{min(other)} is no plain file")
    return {entry.name for entry in entries}


def _read(file: Path) -> bytes:
    """A plain file's content; a link leads out of what was verified, and a pipe would block."""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise _Fault(f"{file.name} is no plain file")
    return file.read_bytes()


def _digest(file: Path, key: str) -> str:
    """sha256 of a file's content behind the key and the file's name."""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise _Fault(f"{file.name} is no plain file")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.sha256(f"{key} {file.name}\n".encode())).hexdigest()


def _rename(partial: Path, final: Path) -> bool:
    """Whether a folder got a name that was free."""
    try:
        os.rename(partial, final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _set_aside(path: Path) -> Path | None:
    """Rename to a name under which nobody looks; None where another job was first."""
    aside = path.with_name(f"{path.name}{CORRUPT}{uuid.uuid4().hex[:8]}")
    with told(path):
        try:
            os.replace(path, aside)
        except FileNotFoundError:
            return None
    return aside


# --- locks ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _lock(final: Path, is_patient: bool = True) -> Iterator[bool]:
    """Hold the lock of an artifact's folder, or, not patient, hold it only where it is free; whether it is held. The
    system frees it when the holder dies, so there is nothing to unlock by hand."""
    path = final.with_name(final.name + ".lock")
    with told(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield _locks(handle, fcntl.LOCK_EX if is_patient else fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def _locks(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
