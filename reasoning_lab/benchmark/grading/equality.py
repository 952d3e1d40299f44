"""Are two mathematical answers equal? Decided by the cheapest means that can, and never by waiting.

In this order: the same text; the same normal form; the same exact number, where 50% is 0.5 and also 50, for the
gold answers of MATH leave the sign out (two different integers end it here); math-verify in a worker process.
Answers that would keep it busy for ever are told by their looks (`magnitude.py`). A comparison that takes more than
the limit of CPU time is ended, and `timeout` is then the verdict, not "wrong".

Departures from the grader of Karan & Du's code (PRM800K's: a normal form, then whether sympy's difference is 0, in the
same process): it can be killed; unreduced fractions are accepted; sets and matrices are compared as such. What
math-verify accepts is accepted: x=5 for 5, 1,2 for 2,1, 52 for 52_8, and decimals that agree with the gold to
six places.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from queue import LifoQueue
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple

from reasoning_lab.benchmark.grading.intervals import as_interval, is_interval
from reasoning_lab.benchmark.grading.magnitude import unanswerable
from reasoning_lab.benchmark.grading.normal_form import MAX_CHARS, is_percent, normal_form, number
from reasoning_lab.checks import require
from reasoning_lab.records import Verdict

LIMIT_S = 1.0
"""CPU time for one comparison [s]; ordinary ones take about 10 ms, the slowest of 2,960 pairs of MATH500 took 0.2 s."""
SLOWEST_CLOCK = 60.0
"""How many times its CPU time a comparison may take on the clock of a busy machine, before the worker is killed."""
STARTUP_LIMIT_S = 120.0
"""Time for a worker to import sympy [s]: a second, or many on a busy machine."""
MAX_CACHED = 100_000
"""Comparisons remembered by a pool; beyond that it starts afresh."""

_WORKER = Path(__file__).with_name("equality_worker.py")
_PASSED_ON = ("PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")
Means = Literal["math-verify", "difference"]
"""How a worker compares: by math-verify, or by whether sympy's difference is 0 (`compat.py`)."""
_BASED = re.compile(r"(-?[0-9A-Za-z]+)_(?:\{(\w+)\}|(\w))", re.ASCII)
_BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16",
}  # fmt: skip
_LETTER_AND_MORE = re.compile(r"\(([A-J])\).+", re.DOTALL)


class Verification(NamedTuple):
    """A verdict and what decided it."""

    verdict: Verdict
    means: str
    """'exact', 'normal form', 'numbers', 'math-verify', 'time limit' ..."""


def verify_as_text(gold: str, answer: str) -> Verification | None:
    """The verdict as far as texts and exact numbers give one; None leaves it to symbolic comparison."""
    if gold.strip() == answer.strip():
        return Verification("correct", "exact")
    if max(len(gold), len(answer)) > MAX_CHARS:
        return Verification("ungradable", "too long")
    gold_form, form = normal_form(gold), normal_form(answer)
    if not form:
        return Verification("ungradable", "empty answer")
    if gold_form == form:
        return Verification("correct", "normal form")
    if (based := _based(gold_form)) and (other := _based(form)):
        return Verification("correct" if based == other else "wrong", "base")  # math-verify drops the base
    if re.fullmatch("[A-J]", gold_form) and (letter := _LETTER_AND_MORE.fullmatch(form)):
        return Verification("correct" if letter.group(1) == gold_form else "wrong", "letter")  # (B) 12
    if is_interval(gold_form) and "," in form and not re.search(r"[()\[\]{}=<>\\]", form):
        return Verification("wrong", "brackets")  # -1,6 for (-1,6)
    return _verify_numbers(gold, gold_form, answer, form)


def _based(form: str) -> tuple[str, str] | None:
    """Digits and base of a number such as 52_8, or 52_{eight}."""
    written = _BASED.fullmatch(form)
    base = (written.group(2) or written.group(3)) if written else ""
    base = _BASES.get(base, base)
    return (written.group(1), base) if written and base.isdecimal() else None


def _verify_numbers(gold: str, gold_form: str, answer: str, form: str) -> Verification | None:
    gold_number, value = number(gold_form), number(form)
    if gold_number is None or value is None:
        return None
    if gold_number == value:
        return Verification("correct", "numbers")
    # 50% is 0.5 too, but 50% is not 5000%.
    if is_percent(gold) != is_percent(answer) and gold_number * 100 == value * (1 if is_percent(answer) else 10_000):
        return Verification("correct", "percent")
    # Other fractions may still agree to six places, which is math-verify's to say.
    both_integers = gold_number.denominator == value.denominator == 1
    return Verification("wrong", "numbers") if both_integers else None


def _alike(gold: str, answer: str) -> tuple[str, str]:
    """Both as intervals where one is and the other is an inequality, else as they are."""
    forms = normal_form(gold), normal_form(answer)
    if any(map(is_interval, forms)) and (left := as_interval(forms[0])) and (right := as_interval(forms[1])):
        return left, right
    return gold, answer


class VerifierPool:
    """Compares answers, with worker processes for those that need symbolic comparison.

    `verify` may be called from any thread. Workers start when first needed and stay; one that hangs, dies or is
    interrupted is replaced. They are fresh interpreters that are talked to by pipes, not multiprocessing's: they
    import nothing of the calling program, need no main guard, and start from daemonic processes too. A context
    manager; `close` ends the workers.
    """

    def __init__(self, n_workers: int = 2, limit_s: float = LIMIT_S) -> None:
        """At most `n_workers` processes, each given `limit_s` of CPU time [s] per comparison."""
        require(n_workers >= 1, "n_workers", n_workers, "at least 1", "a pool without workers can compare nothing")
        require(limit_s > 0, "limit_s", limit_s, "above 0", "set it to seconds of CPU time")
        self.limit_s = limit_s
        self._slots: LifoQueue[_Verifier | None] = LifoQueue()  # last in, first out: the warm worker is taken again
        self._n_workers = n_workers
        for _ in range(n_workers):
            self._slots.put(None)
        self._cache: dict[tuple[str, str, Means], Verification] = {}
        self._lock = threading.Lock()
        self._closed = False

    def verify(self, gold: str, answer: str) -> Verification:
        """Whether `answer` equals `gold`; never raises for what the texts hold, and never takes much over the limit."""
        verification = verify_as_text(gold, answer)
        if verification is None and (why := unanswerable(gold, answer)):
            verification = Verification("ungradable", why)
        return verification or self._verify_by_worker(*_alike(gold, answer))

    def difference_is_zero(self, gold: str, answer: str) -> Verification:
        """Whether sympy's gold - answer simplifies to 0, both in the plain notation of `compat.py`."""
        return self._verify_by_worker(gold, answer, "difference")

    def _verify_by_worker(self, gold: str, answer: str, means: Means = "math-verify") -> Verification:
        with self._lock:
            known = self._cache.get((gold, answer, means))
        if known is not None:
            return known
        verification = self._ask(gold, answer, means)
        with self._lock:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[gold, answer, means] = verification
        return verification

    def _ask(self, gold: str, answer: str, means: Means) -> Verification:
        worker = self._slots.get()
        usable = None
        try:
            if self._closed:
                raise RuntimeError("The pool is closed; open a new one.")
            # One that died while idle (killed for memory, say) has nothing to do with these answers.
            if worker is None or not worker.alive:
                worker = _Verifier()
            verification = worker.verify(gold, answer, means, self.limit_s)
            usable = worker if worker.alive else None
        finally:  # an interrupt between question and answer leaves a worker that would answer the wrong question
            if worker is not None and usable is None:
                worker.kill()
            self._slots.put(usable)
        return verification

    def close(self) -> None:
        """End the workers, waiting for comparisons under way; later ones that need a worker are refused."""
        self._closed = True
        for worker in [self._slots.get() for _ in range(self._n_workers)]:
            if worker is not None:
                worker.kill()
            self._slots.put(None)  # whoever waits for a worker is to learn that there is none

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Verifier:
    """One process, asked one question at a time."""

    def __init__(self) -> None:
        # No more of the environment than an interpreter needs: keys and tokens stay here.
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],  # -P: the benchmarks beside it are not top-level modules
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # it has a child, and both are ended as one
        )
        started = self._reply(STARTUP_LIMIT_S)
        if started is None or "error" in started:
            self.kill()
            cause = "it took too long" if started is None else started["error"]
            raise RuntimeError(f"The process that compares answers did not start: {cause}; is math-verify installed?")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def verify(self, gold: str, answer: str, means: Means, limit_s: float) -> Verification:
        request = {"gold": gold, "answer": answer, "means": means, "limit_s": limit_s}
        try:
            _pipe(self._process.stdin).write(json.dumps(request).encode() + b"\n")
            _pipe(self._process.stdin).flush()
        except BrokenPipeError:
            return _CRASHED
        reply = self._reply(SLOWEST_CLOCK * limit_s)
        if reply is None:
            self.kill()
            return Verification("timeout", "time limit")
        return _CRASHED if "error" in reply else Verification(reply["verdict"], reply["means"])

    def _reply(self, limit_s: float) -> dict[str, Any] | None:
        """The next reply; None past the limit, {"error"} when the process ended instead."""
        pipe = _pipe(self._process.stdout)
        if not wait([pipe.fileno()], limit_s):
            return None
        # A reply is one short write, so that the whole line is there once its first byte is.
        line = pipe.readline()
        return json.loads(line) if line.endswith(b"\n") else {"error": "it ended"}

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                _pipe(pipe).close()
            except BrokenPipeError:  # an unsent request is flushed on closing
                continue


_CRASHED = Verification("ungradable", "the comparing process ended")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "both pipes are asked for"
    return pipe


# --- the pool of this process ---------------------------------------------------------------------------------

_pools: dict[int, VerifierPool] = {}
_pools_lock = threading.Lock()


def shared_pool() -> VerifierPool:
    """The pool of this process, made when first asked for; its workers end with the process, which closes their stdin.

    It is keyed by process, for a forked child must not talk into its parent's pipes.
    """
    with _pools_lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            pool = _pools[os.getpid()] = VerifierPool()
        return pool
