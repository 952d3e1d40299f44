"""The sandbox: what a program sees, what stops it, what the reader is told; and the tests that it can't reach."""

import os
import re
import shutil
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.sandbox import execution, probes
from reasoning_lab.benchmark.sandbox.execution import Submission, execute
from reasoning_lab.benchmark.sandbox.inside import MALFORMED, Opaque, pack, reason_of, unpack
from reasoning_lab.benchmark.sandbox.levels import Bubblewrap, Limits, SandboxError, Unsandboxed
from reasoning_lab.benchmark.sandbox.probes import CheckedSandbox, measure_slowdown, open_sandbox, self_test
from reasoning_lab.benchmark.sandbox.seccomp import seccomp_filter

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


# --- plain data -----------------------------------------------------------------------------------------------

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
    | st.characters(categories=["Cs"])
)  # fmt: skip
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
DATA = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.sets(st.integers() | st.text())
        | st.dictionaries(KEYS, inner)
    ),
    max_leaves=10,
)  # fmt: skip


def form(value: object) -> object:
    """Types and values, whatever the order of a set; the sign of zero and nan included."""
    if isinstance(value, (list, tuple)):
        return type(value), [form(item) for item in value]
    if isinstance(value, set):
        return set, sorted(map(repr, value))
    return (dict, [(form(k), form(v)) for k, v in value.items()]) if isinstance(value, dict) else repr(value)


@given(value=DATA)
@settings(max_examples=100, deadline=None)
def test_plain_data_comes_back_with_its_types(value: object) -> None:
    assert form(unpack(pack(value))) == form(value)


class Sly(int):
    """Equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Named(dict):
    """A dict of another name."""


def test_subclasses_come_back_as_their_bases() -> None:
    found = unpack(pack([Sly(7), Named(a=1), frozenset({1}), True]))
    assert [type(item) for item in found] == [int, dict, set, bool]
    assert found[0] != 8


def test_anything_else_comes_back_as_what_no_test_can_hold() -> None:
    found = unpack(pack([object(), range(3), (n for n in ()), (3).__add__, Sly]))
    assert all(type(item) is Opaque for item in found)
    for use in (
        bool,
        lambda item: item == 3,
        lambda item: item != 3,
        lambda item: item in (3, 4),
        lambda item: abs(item - 3),
    ):
        with pytest.raises(TypeError):
            use(found[0])


@given(data=st.binary(max_size=40) | st.text("LTSDsifcbON+-:0123456789ja", max_size=40).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_no_message_does_more_than_fail(data: bytes) -> None:
    try:
        value = unpack(data)
    except MALFORMED:
        return
    assert type(value) in (type(None), bool, int, float, complex, str, bytes, list, tuple, set, dict, Opaque)


def test_an_exceptions_name_is_told_only_if_it_is_one() -> None:
    assert reason_of("ValueError") == "exception: ValueError"
    assert reason_of("MemoryError") == "memory"
    assert reason_of("SystemExit") == "early exit"
    assert reason_of("x\nnonce passed") == reason_of("é") == reason_of("a" * 61) == "exception"


# --- the filter of system calls -------------------------------------------------------------------------------


def decide(machine: str, architecture: int, number: int) -> int:
    """What the kernel would say: the filter's instructions, one by one."""
    program = seccomp_filter(machine)
    assert program is not None
    steps = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x20:
            loaded = {0: number, 4: architecture}[value]
        elif code == 0x06:
            return value
        else:
            at += if_true if (loaded == value if code == 0x15 else loaded >= value) else if_false


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_refuses_what_it_lists_and_foreign_calls(machine: str, architecture: int) -> None:
    refused = {n for n in range(600) if decide(machine, architecture, n) != 0x7FFF0000}
    listed = {"x86_64": {41, 56, 57, 58, 101, 272, 29, 319, 435}, "aarch64": {198, 220, 117, 97, 194, 279, 435}}
    assert listed[machine] <= refused and len(refused) < 60
    everyday = {"x86_64": {0, 1, 2, 3, 9, 12, 59, 117, 231, 257, 318}, "aarch64": {56, 57, 63, 64, 94, 147, 222, 278}}
    assert not everyday[machine] & refused
    assert decide(machine, 0x40000003, 1) == decide(machine, architecture, 0x40000001) == 0x00050001


def test_the_filters_numbers_are_the_kernels() -> None:
    from reasoning_lab.benchmark.sandbox.seccomp import _REFUSED

    headers = {0: "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 1: "/usr/include/asm-generic/unistd.h"}
    if not all(map(os.path.exists, headers.values())):
        pytest.skip("the kernel's headers are not installed")
    for column, header in headers.items():
        pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
        numbers = {name: int(number) for name, number in pairs}
        for name, ours in _REFUSED.items():
            assert name not in numbers or numbers[name] == ours[column], name
        assert len(numbers.keys() & _REFUSED) > 40


def test_no_filter_for_a_machine_whose_calls_are_not_known() -> None:
    assert seccomp_filter("riscv64") is None


# --- what a program is told, and what it sees -----------------------------------------------------------------

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


@needs_bubblewrap
@pytest.mark.parametrize("source", REASONS, ids=lambda source: repr(source[:40]))
def test_the_reader_is_told_why(source: str) -> None:
    assert run(source) == REASONS[source]


@needs_bubblewrap
def test_a_program_sees_the_interpreter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    source = (
        "import os, sys\n"
        "def f(what):\n"
        "    if what == 'environment': return sorted(os.environ)\n"
        "    if what == 'folders': return sorted(os.listdir('/'))\n"
        "    if what == 'packages': return [p for p in sys.path if 'packages' in p and os.listdir(p)]\n"
        "    if what == 'ids': return [os.getuid() == os.geteuid() == os.getgid(), os.getuid() != 0, os.getgroups()]\n"
        "    if what == 'processes': return os.getppid()\n"
    )
    root = os.geteuid() == 0
    top = {"dev", "lib", "lib64", "usr", Path(os.path.realpath(sys.base_prefix)).parts[1]}
    test = (
        "def check(candidate):\n"
        "    assert set(candidate('environment')) <= {'PYTHONHASHSEED', 'PWD', 'LC_CTYPE'}\n"
        f"    assert set(candidate('folders')) <= {top!r}\n"
        "    assert candidate('packages') == []\n"
        f"    assert not {root} or candidate('ids') == [True, True, []]\n"
        "    assert candidate('processes') in (0, 1)\n"
    )
    assert run(source, test) == "passed"


@needs_bubblewrap
def test_the_same_program_gets_the_same_verdict_every_time() -> None:
    told = "def f(a, b):\n    raise type(f'v{hash(str(a)) % 10**6}_{random.randrange(10**6)}', (Exception,), {})\n"
    reasons = {run("import random\n" + told) for _ in range(3)}
    assert len(reasons) == 1 and reasons.pop().startswith("exception: v")


# --- the tests ------------------------------------------------------------------------------------------------


@needs_bubblewrap
def test_values_arrive_as_they_were_sent() -> None:
    values: list[Any] = [
        None, True, 7, -(2**200), 0.1, 1j, "é\ud800\n", b"\xff", [1, [2]], (1,), set(), {1, "a"}, {(1,): [2]}
    ]  # fmt: skip
    test = "import math\ndef check(candidate):\n    assert math.isnan(candidate(math.nan))\n" + "".join(
        f"    got = candidate({value!r})\n    assert type(got) is type({value!r}) and got == {value!r}\n"
        for value in values
    )
    assert run("def f(x):\n    return x\n", test) == "passed"
    keywords = "def check(candidate):\n    assert candidate(1, b=[2]) == (1, [2])\n"
    assert run("def f(a, *, b):\n    return a, b\n", keywords) == "passed"


@needs_bubblewrap
def test_arguments_are_copies() -> None:
    test = "def check(candidate):\n    given = [1]\n    assert candidate(given) == [1, 2] and given == [1]\n"
    assert run("def f(x):\n    x.append(2)\n    return x\n", test) == "passed"


@needs_bubblewrap
def test_the_tests_use_the_prompts_helpers_and_not_the_programs() -> None:
    prompt = "def helper(x):\n    return x + 1\n\ndef f(x):\n    '''Undo helper.'''\n"
    test = "def check(candidate):\n    assert candidate(helper(1)) == 1 == f(helper(1))\n"
    assert run(prompt + "    return x - 1\n", test, prompt) == "passed"
    assert run("def helper(x):\n    return x\n\ndef f(x):\n    return x\n", test, prompt) == "wrong answer"


@needs_bubblewrap
def test_a_test_may_expect_an_error_but_not_hide_an_end() -> None:
    calling = "def check(candidate):\n    try:\n        candidate()\n"
    expected = calling + "    except ValueError:\n        return\n    assert False\n"
    assert run("def f():\n    raise ValueError\n", expected) == "passed"
    assert run("def f():\n    raise KeyError\n", expected) == "exception: KeyError"
    assert run("def f():\n    pass\n", expected) == "wrong answer"
    hiding = calling + "    except BaseException:\n        pass\n"
    assert run("import os\ndef f():\n    os._exit(0)\n", hiding) == "early exit"
    assert run("def f():\n    raise SystemExit\n", hiding) == "early exit"


@needs_bubblewrap
def test_tests_that_test_nothing_are_not_passed() -> None:
    assert run("def f():\n    pass\n", "def check(candidate):\n    pass\n") == "the test made no call"


@needs_bubblewrap
def test_what_a_test_prints_is_no_verdict() -> None:
    test = "def check(candidate):\n    print('ready\\npassed', flush=True)\n    assert candidate() == 1\n"
    assert run("def f():\n    return 1\n", test) == "passed"
    assert run("def f():\n    return 2\n", test) == "wrong answer"


@needs_bubblewrap
def test_tests_without_the_nonce_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = execution.pack
    monkeypatch.setattr(execution, "pack", lambda given: real({**given, "nonce": "0" * 32}))
    assert run("def f(a, b):\n    return a + b") == "the tests ended"


# --- the machine around it ------------------------------------------------------------------------------------


@needs_bubblewrap
def test_it_works_from_many_threads_at_once() -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: run(f"def f(a, b):\n    return a + {n}"), range(8)))
    assert [n for n, reason in enumerate(found) if reason == "passed"] == [2]


def no_process_is_left() -> None:
    mark = str(MEMORY_MIB * 2**20)
    for _ in range(200):
        if not live_processes(mark):
            return
        threading.Event().wait(0.05)
    raise AssertionError(live_processes(mark))


@needs_bubblewrap
def test_an_interrupted_run_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = checked()

    def interrupt(self: object, *pipes: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution._Heard, "listen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sandbox.execute(
            Submission(("def f():\n    while True: pass",), "f", "", "def check(candidate):\n    candidate()")
        )
    no_process_is_left()


@needs_bubblewrap
def test_a_sandbox_killed_while_it_comes_up_leaves_no_process() -> None:
    """Bubblewrap's child waits for its parent before it asks to die with it: killed then, it once stayed for ever."""
    sandbox = Bubblewrap(LIMITS)
    for after_ms in range(0, 20, 2):
        for _ in range(30):
            hears, writes = os.pipe()
            process = sandbox.start("candidate", hears, writes, None)
            os.close(hears)
            os.close(writes)
            threading.Event().wait(after_ms / 1000)
            sandbox.kill(process)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    no_process_is_left()


@needs_bubblewrap
def test_no_file_stays_open() -> None:
    run("def f(a, b):\n    return a + b")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run("def f(a, b):\n    return a + b")
    assert len(os.listdir("/proc/self/fd")) == before


@needs_bubblewrap
def test_a_sandbox_that_does_not_start_is_an_error_and_no_verdict() -> None:
    sandbox = Bubblewrap(LIMITS)
    sandbox._walls.append("--no-such-option")
    with pytest.raises(SandboxError, match="did not start: .*no-such-option"):
        execute(sandbox, Submission(("def f(): pass",), "f", "", "def check(candidate): candidate()"), 5.0)


def test_the_self_test_finds_a_sandbox_that_leaks() -> None:
    with pytest.raises(SandboxError, match="no file of the host is seen"):
        self_test(Unsandboxed(LIMITS), 1.0)


@pytest.mark.parametrize("without", ["bwrap", "filter", "namespaces"])
def test_without_a_sandbox_it_refuses_unless_told_otherwise(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_sandbox.cache_clear()
    if without == "bwrap":
        monkeypatch.setenv("PATH", "/nonexistent")
    elif without == "filter":
        monkeypatch.setattr("reasoning_lab.benchmark.sandbox.levels.seccomp_filter", lambda: None)
    else:
        monkeypatch.setattr(probes, "_PROBES", {"no file of the host is seen": "return False"})
    try:
        with pytest.raises(ValueError, match=r"^benchmark\.allow_unsandboxed=False: .* Install bubblewrap"):
            open_sandbox(LIMITS, False)
        weak = open_sandbox(LIMITS, True)
    finally:
        open_sandbox.cache_clear()
    assert weak.level == "none"
    for source in (
        "def f(a, b):\n    return a + b",
        "def f(a, b):\n    return 4",
        "def f(a, b):\n    while True: pass",
    ):
        task = Submission((source,), "f", "", "def check(candidate):\n    assert candidate(1, 2) == 3\n")
        assert weak.execute(task).reason == REASONS[source]


def test_the_weak_level_keeps_keys_from_the_program_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    source = "import os\ndef f():\n    return sorted(os.environ)"
    test = "def check(candidate):\n    assert set(candidate()) <= {'PYTHONHASHSEED', 'LC_CTYPE'}"
    assert CheckedSandbox(Unsandboxed(LIMITS), 1.0).execute(Submission((source,), "f", "", test)).passed


def test_the_machines_slowdown_is_at_least_one() -> None:
    assert measure_slowdown() >= 1.0


@needs_bubblewrap
def test_a_user_without_rights_gets_the_same_sandbox() -> None:
    python, setpriv = "/usr/bin/python3", shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None or not os.path.exists(python):
        pytest.skip("needs root, setpriv and a system-wide Python")
    code = (
        "import sys; sys.dont_write_bytecode = True\n"
        "from reasoning_lab.benchmark.sandbox.execution import Submission\n"
        "from reasoning_lab.benchmark.sandbox.levels import Limits\n"
        "from reasoning_lab.benchmark.sandbox.probes import open_sandbox\n"
        "sandbox = open_sandbox(Limits(cpu_s=1, wall_s=2.0), False)\n"
        "test = 'def check(candidate):\\n    assert candidate(1, 2) == 3\\n'\n"
        "reasons = [sandbox.execute(Submission((s,), 'f', '', test)).reason for s in\n"
        "           ('def f(a, b): return a + b', 'import os\\ndef f(a, b): return 3 if os.fork() else 4')]\n"
        "print(sandbox.level, reasons)"
    )
    user = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", python, "-c"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    if subprocess.run([*user, "import reasoning_lab.records"], env=environment, capture_output=True).returncode:
        pytest.skip("the checkout can't be read by other users, or the system's Python is too old")
    found = subprocess.run([*user, code], env=environment, capture_output=True, text=True)
    assert found.stdout == "bubblewrap ['passed', 'exception: PermissionError']\n", found.stderr
