"""The sandbox: what a program sees, what stops it, what the reader is told; and the tests that it can't reach."""

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.benchmark.sandbox import execution
from reasoning_lab.benchmark.sandbox.execution import Submission, execute
from reasoning_lab.benchmark.sandbox.levels import Bubblewrap, SandboxError
from tests.benchmark.sandbox.programs import (
    LIMITS,
    MEMORY_MIB,
    REASONS,
    ROOT,
    checked,
    live_processes,
    needs_bubblewrap,
    run,
)

# --- what a program is told, and what it sees -----------------------------------------------------------------


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
