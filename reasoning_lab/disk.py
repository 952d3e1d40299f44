"""The disk as it is: full, failing, shared with processes that die. Files appear whole or not at all, an error says
where and what to do next, and what a dead process left half done is told from what a living one is at."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FULL = "free some space there, or set outputs=... to a folder on a larger disk"
BROKEN = "see that the disk or the file server is up"
CLOSED = "let this user read and write there, or set outputs=... to another folder"
MOVES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EIO: BROKEN,
    errno.ESTALE: BROKEN,
    errno.ENXIO: BROKEN,
    errno.ENODEV: BROKEN,
    errno.EROFS: CLOSED,
    errno.EACCES: CLOSED,
    errno.EPERM: CLOSED,
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (fs.file-max)",
}
"""What the user can do about an error of the disk; other OSErrors (of networks, of programs) are none of it."""
FORGOTTEN_DAYS = 14.0
"""Age [days] beyond which half a file of a process that can't be looked up from here is nobody's."""
_PARTIAL = re.compile(r"\.partial-(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}$")


class DiskError(OSError):
    """A disk that is full, failing or closed: one line that names the path, the free bytes and the next move."""

    def __str__(self) -> str:
        return str(self.args[1])


def disk_error(error: OSError, near: Path) -> DiskError | None:
    """The error in one line, about its own path where it names one, else about `near`; None where it is no disk's."""
    if isinstance(error, DiskError):
        return error
    if error.errno not in MOVES:
        return None
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else near
    why, move = os.strerror(error.errno), MOVES[error.errno]
    again = "then run the same command again: what is finished is kept"
    return DiskError(error.errno, f"{path}: {why} ({_room(path)}); {move}, {again}.")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Errors of the disk within the block, which works on `path`, as DiskError."""
    try:
        yield
    except OSError as error:
        found = disk_error(error, path)
        if found is None or found is error:
            raise
        raise found from error


def _room(path: Path) -> str:
    """What is free where a path is or would be."""
    for folder in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            free = os.statvfs(folder)
            is_out_of_names = free.f_files > 0 and free.f_favail == 0
            return f"{free.f_bavail * free.f_frsize:,} bytes free" + (", but no inode" if is_out_of_names else "")
    return "free bytes unknown"


# --- whole files ----------------------------------------------------------------------------------------------------


def write_whole(file: Path, data: bytes, partials: Path | None = None) -> None:
    """Write a file as a whole or not at all, its folder made where it is missing; any number of threads and processes
    may at once. `partials` is where it grows, on the same disk: the file's own folder if not given."""
    partial = partial_of(file if partials is None else partials / file.name)
    with told(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data)
            fsync(partial)
            os.replace(partial, file)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def fsync(path: Path) -> None:
    """Have a file's content, or a folder's names, survive the death of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def partial_of(path: Path) -> Path:
    """Where this process builds a file or folder before it gets its name: beside it, under a name that says whose it
    is."""
    owner = f"{_place()}-{os.getpid()}-{process_start(os.getpid()) or 0}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f"{path.name}.partial-{owner}")


# --- what the dead left ---------------------------------------------------------------------------------------------


def is_partial(path: Path) -> bool:
    """Whether a path's name is that of something half done, ours or of an earlier version."""
    return ".partial-" in path.name


def is_abandoned(partial: Path) -> bool:
    """Whether nobody is at work on something half done.

    Of this machine's processes the system knows: numbers are used again, a number with its time of start is not. Of
    another machine's (or container's) nothing can be known from here: a lock of theirs would tell only where locks
    reach across machines, and where they do not, taking it would prove nothing. So theirs stay until they have not
    changed for longer than anybody works on one artifact.
    """
    owner = _PARTIAL.search(partial.name)
    if owner is not None and owner["place"] == _place():
        return not _is_alive(int(owner["pid"]), owner["start"])
    return age_days(partial) > FORGOTTEN_DAYS


def age_days(path: Path) -> float:
    """Time since a path, or a file of it, last changed or was renamed [days]; 0 for what is gone."""
    newest = 0.0
    for each in (path, *(path.iterdir() if path.is_dir() and not path.is_symlink() else ())):
        with contextlib.suppress(FileNotFoundError):
            found = each.lstat()
            newest = max(newest, found.st_mtime, found.st_ctime)
    return (time.time() - newest) / 86400 if newest else 0.0


def remove(path: Path) -> None:
    """Remove a file, link or folder; what can't be removed now is left for another time."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def process_start(pid: int) -> str | None:
    """When a process of this machine started, in the system's own count; None where there is none (a zombie is none)
    or where the system does not say. With its number it names a process for good: numbers are used again."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else words[19]


def _is_alive(pid: int, start: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Another user's, of whom /proc may say nothing.
        return True
    return start == "0" or process_start(pid) == start


@cache
def _place() -> str:
    """Name of this boot of this machine, and of the container: where a process's number means that process."""
    told: list[str] = [os.uname().nodename]
    with contextlib.suppress(OSError):
        told = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:8]
