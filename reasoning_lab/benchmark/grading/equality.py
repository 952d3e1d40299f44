"""Are two mathematical answers equal? Decided by the cheapest means that can, and never by waiting.

In this order: the same text; the same letter of a choice or the same words; the same exact number; both read as trees
(`reading.py`) and compared by their types (`comparison.py`) in a worker process. What would keep it busy for ever is
told by its looks (`magnitude.py`) or before it is computed (`values.py`). A comparison that takes more than the limit
of CPU time is ended, and `timeout` is then the verdict, not "wrong". What can't be read is `ungradable`, unless it is
written as the gold is.

Departures from the grader of Karan & Du's code (PRM800K's: a normal form, then whether sympy's difference is 0, in the
same process): it can be killed; unreduced fractions are accepted; sets, matrices, relations and words that have a
value are compared as such; a letter is a unit nowhere.
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

from reasoning_lab.benchmark.grading.comparison import equal_numbers
from reasoning_lab.benchmark.grading.magnitude import unanswerable
from reasoning_lab.benchmark.grading.normal_form import MAX_CHARS, normal_form
from reasoning_lab.benchmark.grading.reading import plain_text, read
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

_WORKER = "reasoning_lab.benchmark.grading.equality_worker"
_ROOT = Path(__file__).parents[3]
_PASSED_ON = ("PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")
Means = Literal["types", "difference"]
"""How a worker compares: by types (`comparison.py`), or by whether sympy's difference is 0 (`compat.py`)."""
_LETTER = re.compile(r"\(?([a-j])(?:\)|(?=[.:]))[.:]?(.*)|([a-j])", re.DOTALL)

_ANOTHER_LETTER = re.compile(r"\([a-j]\)|^\W*(?:or|and|nor|not|maybe|perhaps|possibly)\b|^\s*[,/&;]\s*[a-j]\b")
"""After a letter: no choice."""
_COMMA = re.compile(r"\s*-?(?:0,\d+|\d+,(?!\d{3}\s*$)\d+)\s*", re.ASCII)


class Verification(NamedTuple):
    """A verdict and what decided it."""

    verdict: Verdict
    means: str
    """'exact', 'numbers', 'types', 'time limit' ..."""


def verify_as_text(gold: str, answer: str) -> Verification | None:
    """The verdict as far as texts and exact numbers give one; None leaves it to the comparison by types."""
    if gold.strip() == answer.strip():
        return Verification("correct", "exact")
    if max(len(gold), len(answer)) > MAX_CHARS:
        return Verification("ungradable", "too long")
    if not normal_form(answer):
        return Verification("ungradable", "empty answer")
    letters = [_LETTER.fullmatch(plain_text(text)) for text in (gold, answer)]
    if letters[0] and letters[1] and not letters[0].group(2) and (letters[0].group(1) or letters[1].group(1)):
        if letters[1].group(2) and _ANOTHER_LETTER.search(letters[1].group(2)):
            return Verification("wrong", "letter")
        ours, theirs = (letter.group(1) or letter.group(3) for letter in letters if letter)
        return Verification("correct" if ours == theirs else "wrong", "letter")  # (B) 12
    if why := unanswerable(gold, answer):
        return Verification("ungradable", why)
    try:
        return _verify_read(gold, answer)
    except RecursionError:
        return Verification("ungradable", "nested too deep")


def _verify_read(gold: str, answer: str) -> Verification | None:
    ours, theirs = read(gold), read(answer)
    if ours is None or theirs is None:
        same = normal_form(gold) == normal_form(answer)
        return Verification("correct", "normal form") if same else Verification("ungradable", "not understood")
    if "text" in (ours.kind, theirs.kind) and plain_text(gold) == plain_text(answer):
        return Verification("correct", "text")
    if _comma_as_point(answer) == gold.strip():
        return Verification("correct", "decimal comma")
    same = equal_numbers(ours, theirs)
    return None if same is None else Verification("correct" if same else "wrong", "numbers")


def _comma_as_point(text: str) -> str | None:
    """2,74 as 2.74; None of anything else."""
    return text.strip().replace(",", ".") if _COMMA.fullmatch(text) else None


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
        return verify_as_text(gold, answer) or self._verify_by_worker(gold, answer, "types")

    def difference_is_zero(self, gold: str, answer: str) -> Verification:
        """Whether sympy's gold - answer simplifies to 0, both in the plain notation of `compat.py`."""
        return self._verify_by_worker(gold, answer, "difference")

    def _verify_by_worker(self, gold: str, answer: str, means: Means) -> Verification:
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
        path = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # it has a child, and both are ended as one
        )
        started = self._reply(STARTUP_LIMIT_S)
        if started is None or "error" in started:
            self.kill()
            cause = "it took too long" if started is None else started["error"]
            raise RuntimeError(f"The process that compares answers did not start: {cause}; is sympy installed?")

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
