"""A sandbox that leaks is found out, and without one grading refuses."""

import pytest

from reasoning_lab.benchmark.sandbox import probes
from reasoning_lab.benchmark.sandbox.execution import Submission
from reasoning_lab.benchmark.sandbox.levels import SandboxError, Unsandboxed
from reasoning_lab.benchmark.sandbox.probes import CheckedSandbox, measure_slowdown, open_sandbox, self_test
from tests.benchmark.sandbox.programs import LIMITS, REASONS


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
