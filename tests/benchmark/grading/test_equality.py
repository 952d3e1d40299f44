"""Symbolic comparison: it is right on the references, and nothing makes it wait."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reasoning_lab.benchmark.grading.equality import Verification, VerifierPool, shared_pool, verify_as_text

PATHOLOGICAL = {
    "tower of powers": "9^{9^{9^9}}",
    "tower of tens": "10^{10^{10}}",
    "factorial": "10000000!",
    "binomial": "\\binom{100000000}{50000000}",
    "parentheses": "(" * 2000 + "5" + ")" * 2000,
    "braces": "{" * 1000,
    "roots": "\\sqrt{" * 1000 + "5" + "}" * 1000,
    "continued fraction": "\\frac{1}{" * 300 + "5" + "}" * 300,
    "long sum": "\\sum_{n=1}^{10000000} \\frac{1}{n^3+n+1}",
    "big power of a sum": "(a+b+c+d+e)^{1000}",
    "wide matrix": "\\begin{pmatrix}" + "&".join("1" * 2000) + "\\end{pmatrix}",
    "integral": "\\int_0^1 e^{\\sin(x^x)} dx",
    "digits": "7" * 9000,
    "half a pair": "\ud800",
    "NUL": "\0 + x",
    "backslashes": "\\" * 5000,
    "dollars": "$" * 999 + "x",
    "mixed tower": "2^{3^{4^5}}",
    "power of a power": "(10^{10})^{10^{10}}",
    "tower in a fraction": "\\frac{1}{2^{2^{2^{2^{2^2}}}}}",
    "tower by over": "{1 \\over 2^{3^{4^{5}}}}",
    "big exponent": "7^{100000000}",
    "negative tower": "-9^{-9^{9^{9}}}",
    "exponential tower": "e^{e^{e^{e^{10}}}}",
    "factorial of a factorial": "(50!)!",
    "two factorials": "100!!",
    "gamma": "\\Gamma(10^{9})",
    "logarithm of a tower": "\\log_{2}{3^{10^{9}}}",
    "sine of a power": "\\sin(10^{100})",
    "sixty parentheses": "(" * 60 + "5" + ")" * 60,
    "thirty continued fractions": "\\frac{1}{1+" * 30 + "5" + "}" * 30,
    "nested roots": "\\sqrt{1+" * 60 + "5" + "}" * 60,
    "bars": "|" * 50 + "x" + "|" * 50,
    "product of many": "\\prod_{n=1}^{100000} n",
    "limit": "\\lim_{x\\to 0} \\frac{\\sin x}{x}",
    "double integral": "\\iint e^{x^y} dx dy",
    "long polynomial": "+".join(f"x^{{{n}}}" for n in range(300)),
    "many factors": "".join(f"(x-{n})" for n in range(60)),
    "sum of roots": "+".join(f"\\sqrt{{{n}}}" for n in range(2, 40)),
    "sum of higher roots": "+".join(f"\\sqrt[{n}]{{{n + 1}}}" for n in range(2, 12)),
    "power of a matrix": "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{1000000}",
    "long list": ",".join(str(n) for n in range(400)),
    "long union": "\\cup".join(f"({n},{n + 1})" for n in range(80)),
    "set of roots": "\\{" + ",".join(f"\\sqrt{{{n}}}" for n in range(60)) + "\\}",
    "many signs": "\\pm 1" * 12,
    "modular power": "7^{123456789} \\mod 1000",
    "trigonometric tower": "\\sin^{2}(\\sin(\\sin(\\cos(x))))" * 5,
    "division by zero": "\\frac{1}{0}",
    "nothing but macros": "\\frac\\frac\\frac\\sqrt\\sqrt",
    "environment left open": "\\begin{pmatrix} 1 & 2 \\\\",
}


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    """A pool that gives up early."""
    with VerifierPool(n_workers=2, limit_s=1.0) as pool:
        yield pool


def test_there_are_enough_of_them() -> None:
    assert len(PATHOLOGICAL) >= 40


@pytest.mark.parametrize("name", PATHOLOGICAL)
@pytest.mark.timeout(60)
def test_a_pathological_answer_is_not_correct_and_does_not_hang(pool: VerifierPool, name: str) -> None:
    verification = pool.verify("6", PATHOLOGICAL[name])
    assert verification.verdict in ("wrong", "timeout", "ungradable") and verification.means
    assert pool.verify("6", PATHOLOGICAL[name]) == verification


@pytest.mark.timeout(60)
def test_comparing_by_difference_is_killed_too(pool: VerifierPool) -> None:
    assert pool.difference_is_zero("x", "9**9**9**9") == Verification("timeout", "time limit")
    assert pool.difference_is_zero("2*k+2", "2(k+1)") == Verification("correct", "difference")


@pytest.mark.timeout(60)
def test_the_limit_is_a_verdict_of_its_own_and_the_worker_is_replaced(pool: VerifierPool) -> None:
    assert pool.difference_is_zero("x", "9**9**9**9") == Verification("timeout", "time limit")
    assert pool.verify("p - q", "-q + p") == Verification("correct", "types")


def test_the_limit_is_cpu_time_and_the_next_comparison_needs_no_new_interpreter() -> None:
    """A worker that is kept from the CPU for longer than the limit still answers."""
    with VerifierPool(n_workers=1, limit_s=0.5) as pool:
        assert pool.verify("x + 1", "1 + x").verdict == "correct"
        worker = pool._slots.get()
        assert worker is not None
        pool._slots.put(worker)
        before = worker._process.pid
        assert pool.difference_is_zero("x", "9**9**9**9") == Verification("timeout", "time limit")
        assert worker.alive
        os.killpg(before, signal.SIGSTOP)
        threading.Timer(1.5, os.killpg, (before, signal.SIGCONT)).start()
        assert pool.verify("p - q", "-q + p") == Verification("correct", "types")
        again = pool._slots.get()
        pool._slots.put(again)
        assert again is worker and worker._process.pid == before


def test_a_comparing_child_that_dies_between_two_questions_answers_neither() -> None:
    """A reply too many would be taken for the next question's."""
    with VerifierPool(n_workers=1) as pool:
        assert pool.verify("x + 1", "1 + x").verdict == "correct"
        worker = pool._slots.get()
        assert worker is not None
        pool._slots.put(worker)
        pid = worker._process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        worker._process.wait()
        found = [pool.verify(f"x + {n}", f"{n} + x" if n % 2 else f"{n} - x").verdict for n in range(2, 8)]
    assert found == ["wrong", "correct"] * 3


def test_a_hanging_comparison_ends_with_its_caller(tmp_path: Path) -> None:
    """A caller that is killed in the middle of a comparison leaves no process that works on."""
    code = (
        "import sys\nfrom reasoning_lab.benchmark.grading.equality import VerifierPool\npool = VerifierPool(1, 2.0)\n"
        "pool.verify('x + 1', '1 + x')\nworker = pool._slots.get()\npool._slots.put(worker)\n"
        "print(worker._process.pid, flush=True)\npool.difference_is_zero('x', '9**9**9**9')\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path)
    assert caller.stdout is not None
    group = int(caller.stdout.readline())
    caller.kill()
    caller.wait()
    caller.stdout.close()
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"process group {group} lives on")


def test_the_gold_comes_first() -> None:
    assert shared_pool().verify("x = 10", "10").verdict == "correct"
    assert shared_pool().verify("m + n", "m + n = 10").verdict == "wrong"
    assert shared_pool().verify("10", "m + n = 10").verdict == "correct"
    assert shared_pool().verify("m + n = 10", "10").verdict == "wrong"


def test_it_works_from_many_threads_at_once() -> None:
    pairs = [(f"x + {n}", f"{n} + x" if n % 2 else f"{n} - x") for n in range(40)]
    with VerifierPool(n_workers=2) as pool, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda pair: pool.verify(*pair).verdict, pairs))
    assert found == ["correct" if n % 2 else "wrong" for n in range(40)]


def test_a_worker_that_was_killed_is_replaced() -> None:
    with VerifierPool(n_workers=1) as pool:
        assert pool.verify("x + 1", "1 + x").verdict == "correct"
        worker = pool._slots.get()
        assert worker is not None
        worker._process.kill()
        worker._process.wait()
        pool._slots.put(worker)
        assert pool.verify("x + 2", "2 + x").verdict == "correct"


def test_an_interrupted_question_is_not_answered_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with VerifierPool(n_workers=1) as pool:
        assert pool.verify("x + 1", "1 + x").verdict == "correct"
        worker = pool._slots.get()
        assert worker is not None
        pool._slots.put(worker)

        def interrupt(limit_s: float) -> None:
            raise KeyboardInterrupt(limit_s)

        monkeypatch.setattr(worker, "_reply", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.verify("x + 2", "2 + x")
        assert not worker.alive
        assert pool.verify("x + 3", "x + 4").verdict == "wrong"


def test_an_alarm_of_the_caller_is_left_alone(pool: VerifierPool) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("alarms belong to the main thread")
    before = signal.alarm(1000)
    try:
        assert pool.verify("y + 1", "1 + y").verdict == "correct"
        assert signal.alarm(0) > 0
    finally:
        signal.alarm(before)


def test_closing_ends_the_workers_and_refuses_more() -> None:
    pool = VerifierPool(n_workers=1)
    assert pool.verify("x + 1", "1 + x").verdict == "correct"
    worker = pool._slots.get()
    assert worker is not None
    pool._slots.put(worker)
    pool.close()
    pool.close()
    assert not worker.alive
    assert pool.verify("1", "1.0").verdict == "correct", "what needs no worker still works"
    with pytest.raises(RuntimeError, match="closed"):
        pool.verify("x + 2", "2 + x")


def test_workers_see_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    with VerifierPool(n_workers=1) as pool:
        assert pool.verify("x + 1", "1 + x").verdict == "correct"
        worker = pool._slots.get()
        pool._slots.put(worker)
        assert worker is not None
        environment = f"/proc/{worker._process.pid}/environ"
        if not os.path.exists(environment):
            pytest.skip("no /proc here")
        with open(environment, "rb") as file:
            assert b"hunter2" not in file.read()


def test_the_shared_pool_is_one_per_process() -> None:
    assert shared_pool() is shared_pool()


@pytest.mark.parametrize(("n_workers", "limit_s"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_a_pool_without_workers_or_time_is_refused(n_workers: int, limit_s: float) -> None:
    with pytest.raises(ValueError, match=r"^(n_workers=0|limit_s=0.0|limit_s=nan): must be (at least 1|above 0); "):
        VerifierPool(n_workers, limit_s)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("5", "5", Verification("correct", "exact")),
        ("\\frac12", "\\dfrac{1}{2}", Verification("correct", "numbers")),
        ("0.5", "\\frac{1}{2}", Verification("correct", "numbers")),
        ("5", "6", Verification("wrong", "numbers")),
        ("0.5", "0.51", Verification("wrong", "numbers")),
        ("5", "$", Verification("ungradable", "empty answer")),
        ("5", "x" * 10_001, Verification("ungradable", "too long")),
        ("\\text{(B)}", "\\text{(B) } 12", Verification("correct", "letter")),
        ("\\text{(B)}", "\\text{(C) } 12", Verification("wrong", "letter")),
        ("\\text{C}", "(C)", Verification("correct", "letter")),
        ("\\text{even}", "Even.", Verification("correct", "text")),
        ("1.22", "1,22", Verification("correct", "decimal comma")),
        ("1,000", "1.000", Verification("wrong", "numbers")),
        ("\\sum_k k", "\\sum_k  k", Verification("correct", "normal form")),
        ("5", "\\frac", Verification("ungradable", "not understood")),
        ("5", "(" * 13 + "5" + ")" * 13, Verification("ungradable", "nested too deep")),
        ("0.5", "50\\%", None),
        ("52_8", "52_9", None),
        ("0.333333", "\\frac{1}{3}", None),
        ("x+1", "1+x", None),
    ],
)
def test_cheap_means_come_first(gold: str, answer: str, expected: Verification | None) -> None:
    assert verify_as_text(gold, answer) == expected
