"""The sandbox that this machine can have, tried out before it is trusted."""

import socket
import tempfile
import time
from functools import lru_cache
from typing import NamedTuple

from reasoning_lab.benchmark.sandbox.execution import Outcome, Submission, execute
from reasoning_lab.benchmark.sandbox.levels import Bubblewrap, Level, Limits, Sandbox, SandboxError, Unsandboxed

_CALIBRATION_S = 0.05
"""CPU time of the calibrating loop [s]."""
_WAITING_S = 0.2
"""How long the program that never ends is waited for [s]."""

_PROBES = {
    "an ordinary program runs": "return [given, sorted({'b', 'a'})] == ['x', ['a', 'b']]",
    "no file of the host is seen": "return not os.path.exists(given)",
    "no folder can be written to": (
        "for folder in ('/', '/tmp', '/dev', '/usr/lib', '/dev/shm', os.getcwd(), os.path.dirname(os.__file__)):\n"
        "        try: open(os.path.join(folder, 'reasoning-lab-probe'), 'x')\n"
        "        except OSError: continue\n"
        "        return False\n"
        "    return True"
    ),
    "the environment is empty": "return not set(os.environ) - {'PYTHONHASHSEED', 'PWD', 'LC_CTYPE'}",
    "it is not root": "return os.getuid() != 0 or not os.access('/', os.W_OK)",
    "the host can't be reached": (
        "import socket\n"
        "    try: socket.create_connection(('127.0.0.1', int(given)), 1)\n"
        "    except OSError: return True"
    ),
    "no descriptor but the two pipes is open": (
        "found = []\n"
        "    for number in range(3, 4096):\n"
        "        try: found.append(os.fstat(number).st_mode & 0o170000)\n"
        "        except OSError: continue\n"
        "    return found in ([], [0o010000] * 2)"
    ),
    "no socket can be made": (
        "import socket\n"
        "    for make in (socket.socket, socket.socketpair):\n"
        "        try: make()\n"
        "        except OSError: continue\n"
        "        return False\n"
        "    return True"
    ),
    "no process can be started": "try: return os.fork() < 0\n    except OSError: return True",
    "memory is limited": "try: return not bytearray(int(given))\n    except MemoryError: return True",
}
"""Function bodies that return True when the sandbox holds; `given` is what `_given` says."""


class CheckedSandbox(NamedTuple):
    """A sandbox that has been tried."""

    sandbox: Sandbox
    slowdown: float
    """How much slower than an idle machine this one was at the start; at least 1."""

    @property
    def level(self) -> Level:
        """How strong it is."""
        return self.sandbox.level

    def execute(self, submission: Submission) -> Outcome:
        """Run the tests on the program; from any thread."""
        return execute(self.sandbox, submission, self.sandbox.limits.wall_s * self.slowdown)


@lru_cache(maxsize=8)
def open_sandbox(limits: Limits, allow_unsandboxed: bool) -> CheckedSandbox:
    """The strongest sandbox to be had here, tried out once per process in about half a second.

    ValueError where only the weak level is to be had and `allow_unsandboxed` is false: it says what the machine lacks.
    """
    slowdown = measure_slowdown()
    try:
        sandbox = Bubblewrap(limits)
        self_test(sandbox, slowdown)
    except SandboxError as error:
        if not allow_unsandboxed:
            raise ValueError(
                f"benchmark.allow_unsandboxed=False: there is no sandbox for model code here: {error}. Install "
                "bubblewrap (apt-get install bubblewrap) where user namespaces are allowed, or grade elsewhere; "
                "benchmark.allow_unsandboxed=true runs model code with limits on time and memory alone: it could read "
                "your files and use the network."
            ) from error
        return CheckedSandbox(Unsandboxed(limits), slowdown)
    return CheckedSandbox(sandbox, slowdown)


def measure_slowdown() -> float:
    """Wall time over CPU time of a short loop: the number of programs that share this core."""
    started, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < _CALIBRATION_S:
        pass
    return max(1.0, (time.monotonic() - started) / _CALIBRATION_S)


def self_test(sandbox: Sandbox, slowdown: float) -> None:
    """Try to get out; SandboxError names the first probe that does."""
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        for name, body in _PROBES.items():
            given = {
                "an ordinary program runs": "x",
                "no file of the host is seen": file.name,
                "the host can't be reached": str(server.getsockname()[1]),
                "memory is limited": str((sandbox.limits.memory_mib + 64) * 2**20),
            }.get(name, "")
            outcome = execute(sandbox, _probe(body, given), sandbox.limits.wall_s * slowdown)
            if not outcome.passed:
                raise SandboxError(f"the probe '{name}' failed ({outcome.reason})")
    waiting = execute(sandbox, _probe("import time\n    time.sleep(1e6)", ""), _WAITING_S)
    if waiting.reason != "timeout":
        raise SandboxError(f"the probe 'a program that waits is killed' failed ({waiting.reason})")


def _probe(body: str, given: str) -> Submission:
    source = f"import os\ndef probe(given):\n    {body}\n"
    return Submission((source,), "probe", "", f"def check(candidate):\n    assert candidate({given!r}) is True\n")
