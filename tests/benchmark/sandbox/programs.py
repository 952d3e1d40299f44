"""What the tests of the sandbox share: whether there can be one, and how a program fares in it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reasoning_lab.benchmark.sandbox.execution import Submission
from reasoning_lab.benchmark.sandbox.levels import Limits
from reasoning_lab.benchmark.sandbox.probes import CheckedSandbox, open_sandbox

ROOT = Path(__file__).parents[3]
MEMORY_MIB = 1000 + os.getpid() % 1000
"""Stands in the command line of every process of these tests, so that they can be told from others'."""
LIMITS = Limits(cpu_s=1, wall_s=2.0, memory_mib=MEMORY_MIB)


def bubblewrap_works() -> bool:
    """Whether this machine allows any bubblewrap at all; if it does, ours must work."""
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_bubblewrap = pytest.mark.skipif(not bubblewrap_works(), reason="bubblewrap is not installed, or not allowed here")


def live_processes(mark: str) -> list[int]:
    """Processes with this argument in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def checked() -> CheckedSandbox:
    return open_sandbox(LIMITS, False)


def run(source: str, test: str = "", prompt: str = "") -> str:
    """The reason that a program gets; its function f(a, b) is to return 3."""
    test = test or "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    return checked().execute(Submission((source,), "f", prompt, test)).reason


REASONS = {
    "def f(a, b):\n    return a + b": "passed",
    "def f(a, b):\n    return 4": "wrong answer",
    "def f(a, b):\n    return 3.0000001": "wrong answer",
    "def f(a, b):\n    return": "wrong answer",
    "def f(a, b)\n    return a + b": "syntax error",
    "def f(a, b):\n    return '\0'": "syntax error",
    "\ud800": "syntax error",
    "(" * 10_000: "syntax error",
    "def f(a, b):\n    return c": "exception: NameError",
    "def g(a, b):\n    return a + b": "exception: KeyError",
    "def f(a):\n    return a": "exception: TypeError",
    "import numpy": "exception: ModuleNotFoundError",
    "def f(a, b):\n    return f(a, b)": "exception: RecursionError",
    "def f(a, b):\n    assert a == b": "exception: AssertionError",
    "def f(a, b):\n    return input()": "exception: EOFError",
    "def f(a, b):\n    open('x', 'w')": "exception: OSError",
    "def f(a, b):\n    raise type('Own', (BaseException,), {})": "exception: Own",
    "def f(a, b):\n    while True: pass": "timeout",
    "import time\ndef f(a, b):\n    time.sleep(1e6)": "timeout",
    "def f(a, b):\n    return [0] * 10**10": "memory",
    "def f(a, b):\n    print('x' * 1_100_000)\n    return a + b": "output limit",
    "def f(a, b):\n    print('x' * 900_000)\n    return a + b": "passed",
    "def f(a, b):\n    return 'x' * 1_100_000": "output limit",
    "import sys\ndef f(a, b):\n    sys.exit()": "early exit",
    "import os\ndef f(a, b):\n    os._exit(0)": "early exit",
    "import os\ndef f(a, b):\n    os.abort()": "crash (signal 6)",
    "def f(a, b):\n    x = 3\n    for _ in range(9000):\n        x = [x]\n    return x": "exception: RecursionError",
}
