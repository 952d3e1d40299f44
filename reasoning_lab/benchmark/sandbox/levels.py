"""Start a process in which a model's program can do no harm.

Level `bubblewrap`: the process sees the interpreter, its standard library and the system's libraries, read-only, and
nothing else: no home, no repository, no installed package, no environment, no network, no other process, no place to
write. It runs under a uid of its own that owns nothing (started by root) or in a user namespace (started by anyone
else), under a filter of system calls (`seccomp.py`), and with limits on CPU time, memory, processes and files
(`inside.py`). There is no scratch folder: a tmpfs bounds bytes but not inodes, and a function needs no file.

Level `none`: the limits alone, in a session of its own with an empty environment. The program can read what its user
can read, and talk to the network.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, ClassVar, Literal, final

from reasoning_lab.benchmark.sandbox.seccomp import seccomp_filter

Level = Literal["bubblewrap", "none"]
Role = Literal["candidate", "tests"]

_INSIDE = Path(__file__).with_name("inside.py")
_UIDS = range(20_000, 60_000)
"""Uids under which a sandbox started by root may run: processes are counted per uid, so each takes its own."""


class SandboxError(RuntimeError):
    """A sandbox that can't be had or did not start: never a program's fault."""


@dataclass(frozen=True)
class Limits:
    """What one process may use."""

    cpu_s: int = 5
    """CPU time [s]: the limit that decides, for it does not depend on what else the machine does."""
    wall_s: float = 20.0
    """Time on an idle machine [s], for programs that wait; stretched on a busy one."""
    memory_mib: int = 1024
    """Address space [MiB]."""
    output_bytes: int = 1_000_000
    """What it may print [bytes]."""


class Sandbox(ABC):
    """Starts the two roles of `inside.py`, and kills them with all that they started."""

    level: ClassVar[Level]

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    @abstractmethod
    def start(self, role: Role, reading: int, writing: int, stdin: IO[bytes] | None) -> subprocess.Popen[bytes]:
        """A process that plays the role, talking to the other one over two pipes' ends.

        Its stdout is a pipe; the candidate's stderr goes there too, the tests' nowhere. SandboxError if it can't
        start.
        """

    @abstractmethod
    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End the process, which nobody has waited for yet, and its descendants."""

    @cached_property
    def _source(self) -> str:
        return _INSIDE.read_text(encoding="utf-8")

    def _interpreter(self, role: Role, uid: int, namespace: int, reading: int, writing: int) -> list[str]:
        """Command line of the interpreter: nothing but the standard library, and sets in the same order every time."""
        numbers = (self.limits.memory_mib * 2**20, self.limits.cpu_s, uid, namespace, reading, writing)
        return [executable(), "-P", "-s", "-S", "-B", "-X", "utf8", "-c", self._source, role, *map(str, numbers)]


def _popen(
    role: Role, command: Sequence[str], stdin: IO[bytes] | None, pass_fds: Sequence[int], env: dict[str, str], cwd: str
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if role == "candidate" else subprocess.DEVNULL,
            pass_fds=pass_fds,
            env=env,
            cwd=cwd,
            start_new_session=True,  # Ctrl-C is the caller's to handle
        )
    except OSError as error:
        raise SandboxError(f"{command[0]} can't be started: {error}.") from error


def executable() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""A program whose answer depends on the order of a set gets the same verdict every time."""


@final
class Bubblewrap(Sandbox):
    """The strong level; a real bubblewrap on Linux, with user namespaces allowed."""

    level = "bubblewrap"

    def __init__(self, limits: Limits) -> None:
        """SandboxError says what the machine lacks."""
        super().__init__(limits)
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxError("bubblewrap (bwrap) is not installed")
        calls = seccomp_filter()
        if calls is None:
            raise SandboxError("the system calls of this kind of machine are not known (x86_64 and aarch64 are)")
        self._filter = calls
        self._namespace = _UserNamespace() if os.geteuid() == 0 else None
        self._walls = [
            program, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try",
            "--die-with-parent", "--new-session", "--clearenv", *_set(_ENVIRONMENT), *_view(), "--chdir", "/",
        ]  # fmt: skip

    def start(self, role: Role, reading: int, writing: int, stdin: IO[bytes] | None) -> subprocess.Popen[bytes]:
        """As `Sandbox.start`; killing the process kills the namespace, for bubblewrap's init dies with it."""
        calls = _readable(self._filter)
        try:
            own, uid = (["--unshare-user"], -1) if self._namespace is None else self._namespace.enter()
            namespace = -1 if self._namespace is None else self._namespace.fd
            command = [*self._walls, *own, "--seccomp", str(calls), "--"]
            return _popen(
                role, command + self._interpreter(role, uid, namespace, reading, writing), stdin,
                [fd for fd in (reading, writing, calls, namespace) if fd >= 0], {}, "/",
            )  # fmt: skip
        finally:
            os.close(calls)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As `Sandbox.kill`; the group too, for a namespace that is still being made does not die with bubblewrap."""
        _kill_group(process)


class _UserNamespace:
    """A user namespace, made once by root, in which uids other than root's exist.

    Bubblewrap alone would map whatever uid it shows inside to root outside, for whom the kernel counts no processes.
    It is held by a file descriptor and goes with this process.
    """

    def __init__(self) -> None:
        code = (
            "import ctypes, os, sys\n"
            "if ctypes.CDLL(None, use_errno=True).unshare(0x10000000): sys.exit(os.strerror(ctypes.get_errno()))\n"
            "print('ready', flush=True); sys.stdin.read()"
        )
        holder = subprocess.Popen(
            [executable(), "-I", "-S", "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, cwd="/",
        )  # fmt: skip
        assert holder.stdout is not None
        try:
            if holder.stdout.readline() != b"ready\n":
                cause = holder.communicate(timeout=60)[1].decode(errors="replace").strip()
                raise SandboxError(f"root may make no user namespace here ({cause})")
            for kind in ("uid", "gid"):
                Path(f"/proc/{holder.pid}/{kind}_map").write_text(
                    f"0 0 1\n{_UIDS.start} {_UIDS.start} {len(_UIDS)}\n", encoding="ascii"
                )
            self.fd = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SandboxError(f"root may map no uids here ({error})") from error
        finally:
            holder.kill()
            holder.communicate()

    def enter(self) -> tuple[list[str], int]:
        """Bubblewrap's options, and a uid for the next process, which takes it and so loses the capabilities."""
        capabilities = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        return ["--userns", str(self.fd), *capabilities], random.SystemRandom().choice(_UIDS)


def _readable(data: bytes) -> int:
    """A descriptor from which the bytes (fewer than a pipe holds) can be read."""
    reading, writing = os.pipe()
    with open(writing, "wb") as file:
        file.write(data)
    return reading


def _set(environment: dict[str, str]) -> list[str]:
    return [option for name, value in environment.items() for option in ("--setenv", name, value)]


def _view() -> list[str]:
    """Bubblewrap's options for what is to be seen: system libraries, interpreter, standard library, /dev/null."""
    shown = [*_system_libraries(), *_interpreters_own()]
    links = [path for path in shown if path.is_symlink()]
    bound = [path for path in shown if path.exists() and not path.is_symlink()]
    bound = [path for path in bound if not any(other in path.parents for other in bound)]
    parents = sorted({parent for path in bound for parent in path.parents} - {Path("/")})
    options: list[str] = []
    for folder in [*map(str, parents), "/dev"]:  # bubblewrap's own would be closed to any but root
        options += ["--perms", "0755", "--dir", folder]
    for path in dict.fromkeys(map(str, bound)):
        options += ["--ro-bind", path, path]
    for path in dict.fromkeys(links):
        options += ["--symlink", os.readlink(path), str(path)]
    for packages in sorted({packages for path in bound for packages in _packages(path)}):
        options += ["--perms", "0555", "--tmpfs", packages]
    return [*options, "--dev-bind", "/dev/null", "/dev/null", "--remount-ro", "/"]


def _system_libraries() -> list[Path]:
    """The system's libraries and their loader; on Debian and its kin no more of /usr/lib than the machine's own."""
    machine = sysconfig.get_config_var("MULTIARCH") or "none"
    libraries = [Path("/usr/lib64"), Path("/lib64")]
    for folder in (Path("/usr/lib"), Path("/lib")):
        own = folder / machine
        narrow = own.is_dir() and not folder.is_symlink()
        libraries += [own, *folder.glob("ld-*.so*")] if narrow else [folder]
    return libraries


def _interpreters_own() -> list[Path]:
    """The interpreter and its standard library; all libraries of a prefix that is not the system's."""
    prefix = Path(os.path.realpath(sys.base_prefix))
    libraries = [] if prefix == Path("/usr") else [prefix / "lib", prefix / "lib64"]
    return [Path(executable()), Path(os.path.realpath(sysconfig.get_path("stdlib"))), *libraries]


def _packages(folder: Path) -> list[str]:
    """Folders of installed packages under a folder of libraries: not the interpreter's, so not to be seen."""
    if not folder.is_dir():
        return []
    kinds = ("site-packages", "dist-packages")
    folders = [path for kind in kinds for path in (folder / kind, *folder.glob(f"python3*/{kind}"))]
    return [str(path) for path in folders if path.is_dir() and not path.is_symlink()]


@final
class Unsandboxed(Sandbox):
    """The weak level: limits and a session of its own, nothing more."""

    level = "none"

    def start(self, role: Role, reading: int, writing: int, stdin: IO[bytes] | None) -> subprocess.Popen[bytes]:
        """As `Sandbox.start`, in the folder of temporary files."""
        command = self._interpreter(role, -1, -1, reading, writing)
        return _popen(role, command, stdin, [reading, writing], _ENVIRONMENT, tempfile.gettempdir())

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As `Sandbox.kill`, but for descendants that left the session."""
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
