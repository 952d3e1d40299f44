"""Run a model's program against tests, held by a process that the program can't reach.

Two sandboxes, each a process of its own, joined by two pipes: the candidate runs the program, the other one runs the
tests and calls the candidate's function. Only the tests have the nonce, and only their stdout, which the candidate does
not hold, can say that they passed.
"""

import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, NamedTuple

from reasoning_lab.benchmark.sandbox.inside import pack
from reasoning_lab.benchmark.sandbox.levels import Sandbox, SandboxError

STARTUP_S = 120.0
"""How long both sides may take to come up [s]: a tenth of a second, or many on a busy machine."""
GRACE_S = 30.0
"""How long a killed process may take to be gone [s]; longer means that the machine is in trouble."""


@dataclass(frozen=True)
class Submission:
    """A program and the tests that it must pass."""

    sources: tuple[str, ...]
    """The program: sources that run one after the other in one namespace."""
    entry_point: str
    """The function that the tests call."""
    prompt: str
    """Trusted source whose other functions the tests may use."""
    test: str
    """Trusted source that defines check(candidate), which raises unless the candidate is right."""


class Outcome(NamedTuple):
    """How a program fared."""

    reason: str
    """'passed', 'wrong answer', 'syntax error', 'exception: X', 'timeout', 'memory', 'output limit', 'early exit',
    'malformed reply', 'crash (signal n)', 'killed', 'the test made no call', or 'the tests ended'."""

    @property
    def passed(self) -> bool:
        """Whether every test held."""
        return self.reason == "passed"


def execute(sandbox: Sandbox, submission: Submission, wall_s: float) -> Outcome:
    """Run the tests on the program; the verdict comes within `wall_s` [s] and a moment.

    Whatever the program does ends in an outcome. SandboxError if the sandbox itself fails.
    """
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryFile() as stdin:
        given = {"nonce": nonce, "sources": list(submission.sources), "entry_point": submission.entry_point,
                 "prompt": submission.prompt, "test": submission.test}  # fmt: skip
        stdin.write(pack(given))
        stdin.seek(0)
        candidate, tests = _start(sandbox, stdin)
    heard, started = _Heard(nonce, sandbox.limits.output_bytes), time.monotonic()
    try:
        deadline = heard.listen(_pipe(tests), _pipe(candidate), wall_s)
        if heard.outcome == "ended":  # its own end says why
            heard.late = not _ends(candidate, deadline)
    finally:
        for process in (candidate, tests):
            sandbox.kill(process)
            process.wait()
    heard.drain(_pipe(candidate), GRACE_S if sandbox.level == "bubblewrap" else 0.0)
    for process in (candidate, tests):
        _pipe(process).close()
    return Outcome(_reason(heard, candidate.returncode, time.monotonic() - started >= sandbox.limits.cpu_s))


def _start(sandbox: Sandbox, stdin: IO[bytes]) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    hears_call, calls = os.pipe()
    hears_reply, replies = os.pipe()
    try:
        candidate = sandbox.start("candidate", hears_call, replies, None)
        try:
            return candidate, sandbox.start("tests", hears_reply, calls, stdin)
        except BaseException:
            sandbox.kill(candidate)
            candidate.wait()
            raise
    finally:
        for end in (hears_call, calls, hears_reply, replies):
            os.close(end)


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None, "stdout is a pipe"
    return process.stdout


def _ends(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Whether the process ends before the deadline [s, monotonic]; it is left to be waited for."""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class _Heard:
    """What the tests and the candidate wrote."""

    def __init__(self, nonce: str, most: int) -> None:
        self.nonce, self.most = nonce, most
        self.tests = b""
        self.printed = b""
        """The first that the candidate printed, for errors."""
        self.n_printed = 0
        self.late = False

    def listen(self, tests: IO[bytes], candidate: IO[bytes], wall_s: float) -> float:
        """Until the tests are done, the candidate printed too much, or `wall_s` [s] after both came up.

        Returns that deadline [s, monotonic].
        """
        started, deadline = False, time.monotonic() + STARTUP_S
        with selectors.DefaultSelector() as pipes:
            for pipe in (tests, candidate):
                pipes.register(pipe, selectors.EVENT_READ)
            while self.n_printed <= self.most:
                ready = pipes.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    self.late = True
                    return deadline
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    if not data:
                        pipes.unregister(key.fileobj)
                        if key.fileobj is tests:
                            return deadline
                    elif key.fileobj is tests:
                        self.tests += data
                    else:
                        self._print(data)
                if self.started and not started:
                    started, deadline = True, time.monotonic() + wall_s
        return deadline

    def drain(self, candidate: IO[bytes], grace_s: float) -> None:
        """Read on until nobody who could print is left; SandboxError if somebody is after `grace_s` [s], unless 0."""
        with selectors.DefaultSelector() as pipes:
            pipes.register(candidate, selectors.EVENT_READ)
            while pipes.select(grace_s):
                data = os.read(candidate.fileno(), 65536)
                if not data:
                    return
                self._print(data)
        if grace_s:
            raise SandboxError(f"a killed program was still there after {grace_s:.0f} s")

    def _print(self, data: bytes) -> None:
        self.n_printed += len(data)
        if len(self.printed) < 1000:
            self.printed += data[:1000]

    @property
    def started(self) -> bool:
        """Whether both sides came up."""
        return self.tests.startswith(b"ready\n")

    @property
    def outcome(self) -> str | None:
        """The tests' word, if they gave one; the nonce shows that it is theirs."""
        before, _, outcome = self.tests.decode("ascii", "replace").partition(f"ready\n{self.nonce} ")
        return outcome.removesuffix("\n") if not before and outcome.endswith("\n") else None


def _reason(heard: _Heard, status: int, cpu_may_be_spent: bool) -> str:
    """`status` is the candidate's exit status, as subprocess or bubblewrap (128 + signal) give it.

    A program that ignores SIGXCPU is killed by SIGKILL, as one that kills itself is: time tells them apart.
    """
    if heard.n_printed > heard.most:
        return "output limit"
    if not heard.started:
        why = heard.printed.decode(errors="replace").strip()
        raise SandboxError(f"the sandbox did not start{' in time' if heard.late else ''}: {why or 'no message'}")
    if heard.late:
        return "timeout"
    if heard.outcome != "ended":
        return heard.outcome or "the tests ended"
    ended_by = -status if status < 0 else status - 128
    if ended_by == signal.SIGXCPU or (ended_by == signal.SIGKILL and cpu_may_be_spent):
        return "timeout"
    if ended_by <= 0:
        return "early exit"
    return "killed" if ended_by == signal.SIGKILL else f"crash (signal {ended_by})"
