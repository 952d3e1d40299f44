"""Every I/O call of a small run fails once, in every way; then the same command again must end in the same table.

The level: inside a forked child the interpreter's own file objects (in C, whose writes nothing in Python sees) give
way to the standard library's pure-Python ones (`_pyio`), so that every byte goes through the functions of `os`, and
these are wrapped for all that lies below the run's folder. An audit hook, which the interpreter calls for each open,
rename, unlink, mkdir, rmdir and truncate whoever asks for it, counts the same calls: `bypassed` says by how many the
two differ. Models and modules are loaded once, in the parent.

`python -m tests.artifacts.faults` does the complete loop: for each kind of fault the first call fails, then in another
run the second one, until a run ends in which there was none left to fail.
"""

import _pyio
import builtins
import contextlib
import errno
import functools
import io
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from reasoning_lab.artifacts import base, telling
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.launch import job, status
from reasoning_lab.launch.check import check_run
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.folders import Submitted
from reasoning_lab.launch.start import work_here
from reasoning_lab.model_pair.hashes import HASHES

ROOMY = {"create", "write", "fsync", "rename", "replace", "mkdir"}
"""Calls that need room on the disk."""
CHANGES = ROOMY | {"ftruncate", "unlink", "rmdir"}
READS = {"open", "read", "scandir", "listdir"}
KINDS = {
    "full": ROOMY,  # from the n-th call on no room, until the process ends
    "ENOSPC": ROOMY,
    "EIO": CHANGES | READS,
    "short": {"write"},  # half of it is written, which the caller is told
    "torn": {"write"},  # half of it is written, then there is no room
    "kill": CHANGES,
    "kill torn": {"write"},
}
"""Which calls each kind of fault makes fail."""
SMALL = (
    "stage=grades", "tracking=local", "sampler.n_steps=1", "sampler.block_size=8", "benchmark.n_problems=2",
    "benchmark.max_new_tokens=16", "arms=power", "runtime.rows=2", "runtime.threads=1", "runtime.device=cpu",
    "runtime.workers=1", "runtime.checkpoint_seconds=0",
)  # fmt: skip
ONE_LINE = re.compile(
    r"error: (?P<path>\S+): [^\n]+ \([\d,]+ bytes free[^\n]*\); [^\n]+ run the same command again[^\n]*\n"
    r"\(traceback: [^\n]*\)\n"
)


# --- one process with a fault -----------------------------------------------------------------------------------------


class Shim:
    """Counts the calls below a folder; makes the n-th of those that a kind is about fail."""

    def __init__(self, root: Path, kind: str, n: int, tell: Callable[[Any], None]) -> None:
        self.root = os.fspath(root)
        self.kind = kind
        self.n = n
        self.tell = tell
        self.calls = 0
        self.made: Counter[str] = Counter()
        self.audited: Counter[str] = Counter()
        self._fds: dict[int, str] = {}
        self._real = {name: getattr(os, name) for name in (
            "open", "close", "write", "read", "fsync", "ftruncate", "rename", "replace", "unlink", "remove", "mkdir",
            "rmdir", "scandir", "listdir",
        )}  # fmt: skip

    def install(self) -> None:
        """From now on, in this process."""
        for name in self._real:
            setattr(os, name, getattr(self, name, None) or functools.partial(self._of_path, name))
        builtins.open = io.open = _pyio.open  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def is_ours(self, path: Any, dir_fd: int | None = None) -> bool:
        """Whether a path, or an open file, lies below the folder."""
        if isinstance(path, int):
            return path in self._fds
        if dir_fd is not None and dir_fd in self._fds:
            return True
        return os.path.abspath(os.fsdecode(path)).startswith(self.root)

    def _count(self, call: str) -> bool:
        """Whether this call is to fail in a way that only it knows (half a write)."""
        self.made[call] += 1
        if call not in KINDS.get(self.kind, ()):
            return False
        self.calls += 1
        if self.calls != self.n and not (self.kind == "full" and self.calls > self.n > 0):
            return False
        if self.calls == self.n:
            self.tell(["fired", call])
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind in ("full", "ENOSPC", "EIO"):
            number = errno.EIO if self.kind == "EIO" else errno.ENOSPC
            raise OSError(number, os.strerror(number))
        return True

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        ours = self.is_ours(path, dir_fd)
        if ours:
            self._count("create" if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) else "open")
        fd = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if ours:
            self._fds[fd] = os.fsdecode(path)
        return fd

    def close(self, fd: int) -> None:
        self._fds.pop(fd, None)
        self._real["close"](fd)

    def write(self, fd: int, data: Any) -> int:
        if not self.is_ours(fd) or not self._count("write"):
            return self._real["write"](fd, data)
        half = self._real["write"](fd, bytes(data)[: max(1, len(data) // 2)])
        if self.kind == "kill torn":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "torn":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return half

    def _of_path(self, name: str, path: Any = ".", *arguments: Any, **options: Any) -> Any:
        """Any other call, whose first argument is a path or an open file."""
        if self.is_ours(path, options.get("dir_fd") or options.get("src_dir_fd")):
            self._count({"remove": "unlink"}.get(name, name))
        return self._real[name](path, *arguments, **options)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        names = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.scandir", "os.listdir"}
        if event in names and isinstance(arguments[0], (str, bytes, int, os.PathLike)):
            dir_fd = arguments[-1] if event in ("os.remove", "os.rmdir") and arguments[-1] != -1 else None
            if self.is_ours(arguments[0], dir_fd):
                self.audited[event] += 1

    @property
    def bypassed(self) -> int:
        """Calls that the interpreter has seen beyond those that went through here."""
        made = self.made
        seen = {
            "open": made["create"] + made["open"], "os.rename": made["rename"] + made["replace"],
            "os.remove": made["unlink"], "os.mkdir": made["mkdir"], "os.rmdir": made["rmdir"],
            "os.truncate": made["ftruncate"], "os.scandir": made["scandir"], "os.listdir": made["listdir"],
        }  # fmt: skip
        return sum(max(0, self.audited[event] - n) for event, n in seen.items())


@dataclass
class Told:
    """What a child told, and how it ended."""

    status: int | None
    """Exit status; None where it was killed."""
    fired: str | None = None
    logged: list[str] = field(default_factory=list)
    graded: int = 0
    stderr: str = ""
    made: dict[str, int] = field(default_factory=dict)
    bypassed: int = 0
    raised: str = ""
    """A traceback that would have reached the user."""


def child(root: Path, run: Callable[[Path], None], kind: str = "none", n: int = 0) -> Told:
    """`run(root)` in a forked child with a fault, and what it told."""
    (root / "run").mkdir(exist_ok=True)  # As the check before a run makes it.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _live(root, run, kind, n, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        lines = pipe.read().splitlines()
    _, how = os.waitpid(pid, 0)
    told = Told(os.waitstatus_to_exitcode(how) if os.WIFEXITED(how) else None)
    for word, *rest in map(json.loads, lines):
        if word == "logged":
            told.logged.append(rest[0])
        elif word == "graded":
            told.graded += 1
        else:
            setattr(told, word, rest[0])
    return told


def _live(root: Path, run: Callable[[Path], None], kind: str, n: int, pipe: int) -> None:
    """The child's life; what it tells goes through the pipe line by line, so that a kill costs none of it."""
    write, end = os.write, os._exit

    def tell(event: Any) -> None:
        write(pipe, json.dumps(event).encode() + b"\n")

    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    _listen(tell)
    shim, status = Shim(root, kind, n, tell), 0
    shim.install()
    try:
        run(root)
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    except BaseException:
        status = 70
        tell(["raised", traceback.format_exc()])
    tell(["stderr", sys.stderr.getvalue()])
    tell(["made", shim.made])
    tell(["bypassed", shim.bypassed])
    end(status)


def _listen(tell: Callable[[Any], None]) -> None:
    """Tells of every record that is in a log, and of every verdict."""
    append, grade = RunLog.append, Arithmetic.grade

    def told(self: RunLog, record: dict[str, Any]) -> None:
        append(self, record)
        if "state" not in record:
            item = record.get("completion", record)
            tell(["logged", f"{self.path.parent.name}/{self.path.stem} {item['problem']} {item['chain']}"])

    def counted(self: Arithmetic, *rest: Any) -> Any:
        tell(["graded"])
        return grade(self, *rest)

    RunLog.append, Arithmetic.grade = told, counted  # type: ignore[method-assign]


# --- the small run ----------------------------------------------------------------------------------------------------


@functools.cache
def submitted() -> Submitted:
    """The run as it is written down; where it writes is set by each child."""
    return check_run(Composer(), SMALL).runs[0]


def warm() -> None:
    """Load once what every child inherits: modules, models, the checkout's commit."""
    torch.set_num_threads(1)
    telling.Drawing._grade_some = lambda self: None  # type: ignore[method-assign]  # As many as there is time for.
    status.HEARTBEAT_SECONDS = 1e9  # A heartbeat would be one call more, whenever a run takes long.
    base.load_model = functools.cache(base.load_model)
    job.provenance = functools.cache(job.provenance)
    root = Path(tempfile.mkdtemp())
    (root / "run").mkdir()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            small_run(root)
    finally:
        shutil.rmtree(root)


def small_run(root: Path) -> None:
    """stage=grades on two problems by two arms, as a job does it, with status.json and row.json."""
    run = submitted()
    hydra = run.hydra | {"job_logging": None}
    HASHES._known.clear()
    logging.getLogger().handlers = [logging.FileHandler(root / "run" / "main.log", delay=True)]
    sys.exit(work_here(Submitted(root / "run", run.config | {"outputs": str(root)}, run.overrides, hydra)))


def table(root: Path) -> dict[str, bytes]:
    """The metrics of the row, and the content of all finished artifacts; manifests carry times."""
    row = json.loads((root / "run" / "row.json").read_text())
    found = {"metrics": json.dumps(row["metrics"], sort_keys=True).encode(), "status": row["status"].encode()}
    files = sorted(each for each in (root / "artifacts").rglob("*.jsonl"))
    return found | {str(file.relative_to(root)): file.read_bytes() for file in files}


def leftovers(root: Path) -> list[str]:
    """What a finished run leaves no trace of."""
    words = (".partial-", ".corrupt-", ".log")
    return [str(path) for path in (root / "artifacts").rglob("*") if any(word in path.name for word in words)]


# --- the loop ---------------------------------------------------------------------------------------------------------


@dataclass
class Loop:
    """The undisturbed run, and what faults did to others."""

    folder: Path
    undisturbed: Told = field(init=False)
    table: dict[str, bytes] = field(init=False)
    tried: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    """How the disturbed runs ended: killed, one line, or nothing was to be seen of it."""

    def __post_init__(self) -> None:
        root = self.folder / "undisturbed"
        root.mkdir(parents=True)
        self.undisturbed = child(root, small_run)
        assert self.undisturbed.status == 0, self.undisturbed
        assert self.undisturbed.bypassed == 0, self.undisturbed
        assert not leftovers(root)
        self.table = table(root)

    def all_of(self, kind: str) -> None:
        """Every call fails once."""
        n = 1
        while self.one(kind, n):
            n += 1

    def n_calls(self, kind: str) -> int:
        """How many calls of the undisturbed run a kind is about."""
        return sum(self.undisturbed.made.get(call, 0) for call in KINDS[kind])

    def some_of(self, kind: str, numbers: Iterable[int]) -> None:
        """Some calls fail, each in a run of its own."""
        for n in numbers:
            self.one(kind, n)

    def one(self, kind: str, n: int) -> bool:
        """A run whose n-th call fails, then the same command again; whether there was an n-th call."""
        root = self.folder / f"{kind.replace(' ', '_')}{n}"
        root.mkdir()
        first = child(root, small_run, kind, n)
        where = f"{kind} at call {n} ({first.fired})"
        if first.fired is None:
            assert first.status == 0, f"{where}: {first}"
            shutil.rmtree(root)
            return False
        self.tried[kind] += 1
        self.ends[self._end(first, kind, root, where)] += 1
        again = child(root, small_run)
        assert again.status == 0, f"{where}, then: {again.raised or again.stderr}"
        assert table(root) == self.table, f"{where}: another table"
        assert not leftovers(root), f"{where}: {leftovers(root)}"
        lost = set(self.undisturbed.logged) - set(first.logged) - set(again.logged)
        twice = [item for item, times in Counter(first.logged + again.logged).items() if times > 1]
        assert not lost and not twice, f"{where}: lost {lost}, made twice {twice}"
        n_grades = sum(item.startswith("grades/") for item in first.logged)
        assert again.graded == self.undisturbed.graded - n_grades, f"{where}: {again.graded} graded again"
        shutil.rmtree(root)
        return True

    def _end(self, first: Told, kind: str, root: Path, where: str) -> str:
        """How a disturbed run ended, as it may."""
        if first.status is None:
            assert kind.startswith("kill"), f"{where}: killed"
            return "killed"
        if first.status == 0:
            assert table(root) == self.table, f"{where}: another table"
            return "not to be seen"
        line = ONE_LINE.fullmatch(first.stderr)
        assert line is not None and first.status == 1, f"{where}: {first.raised or first.stderr}"
        assert line["path"].startswith(str(root)), f"{where}: {first.stderr}"
        return "one line"


def main() -> None:
    """The complete loop, with its figures."""
    kinds = sys.argv[1:] or list(KINDS)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        warm()
        loop = Loop(Path(folder) / "runs")
        print(f"a run makes {dict(loop.undisturbed.made)} calls, {loop.undisturbed.bypassed} past the shim")
        for kind in kinds:
            loop.all_of(kind)
            print(
                f"{kind}: {loop.tried[kind]} calls failed, each in a run of its own; every table is the same",
                flush=True,
            )
    print(f"{sum(loop.tried.values())} faults, ends: {dict(loop.ends)}; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
