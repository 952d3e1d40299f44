"""What runs inside the sandbox: the candidate (a model's program) or its tests, each alone.

The tests hold the nonce; the candidate holds neither. A test that calls the function sends its arguments
over a pipe and gets back plain data, which the tests compare: an object whose `==` is always true can't travel. The
source is handed to the interpreter by `-c`, so that no file of the repository is visible inside, and imports next to
nothing, for it starts once per program.

Arguments of the command line: role, address space [bytes], CPU time [s], uid to become (-1: stay), the descriptor of
the user namespace to close (-1: none), and the two ends of the pipes to the other role, for reading and for writing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would take longer than all the rest
    from typing import Any, NoReturn
else:
    Any, NoReturn = object, None

MAX_FRAME = 1_000_000
"""Longest message of a candidate [bytes]."""

# --- plain data as text: exact types, no code, no references --------------------------------------------------


class Opaque:
    """Stands for a value that is not plain data. To compare it, or to ask whether it is true, is a TypeError."""

    def __init__(self, kind: str) -> None:
        """The name of its type."""
        self.kind = kind

    def _refuse(self, *others: object) -> NoReturn:
        raise TypeError(f"{self.kind[:60]} is not plain data")

    __eq__ = __ne__ = __bool__ = _refuse  # pyright: ignore[reportAssignmentType]
    __hash__ = object.__hash__


def pack(value: object) -> bytes:
    """None, bool, int, float, complex, str, bytes, list, tuple, set and dict, nested; subclasses as their bases.

    Of anything else only the type's name is sent. ValueError for an int of more digits than Python prints,
    RecursionError for what is nested too deeply.
    """
    out = []
    _pack(value, out)
    return "".join(out).encode("utf-8", "surrogatepass")


def _pack(value: object, out: list[str]) -> None:
    if value is None or value is True or value is False:
        out.append("N+-"[(value is not None) + (value is False)])
    elif isinstance(value, str):
        _pack_atom("s", str.__str__(value), out)
    elif isinstance(value, bytes):
        _pack_atom("b", bytes.decode(value, "latin-1"), out)
    elif isinstance(value, int):
        _pack_atom("i", int.__repr__(value), out)
    elif isinstance(value, float):
        _pack_atom("f", float.__repr__(value), out)
    elif isinstance(value, complex):
        _pack_atom("c", complex.__repr__(value), out)
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
        out.append(f"{'L' if isinstance(value, list) else 'T' if isinstance(value, tuple) else 'S'}{len(items)}:")
        for item in items:
            _pack(item, out)
    elif isinstance(value, dict):
        items = list(value.items())
        out.append(f"D{len(items)}:")
        for key, item in items:
            _pack(key, out)
            _pack(item, out)
    else:
        _pack_atom("O", type(value).__name__, out)


def _pack_atom(kind: str, text: str, out: list[str]) -> None:
    out.append(f"{kind}{len(text)}:{text}")


def unpack(data: bytes) -> Any:
    """The value of `pack`'s bytes; ValueError, TypeError, IndexError, KeyError or RecursionError for any others."""
    text = data.decode("utf-8", "surrogatepass")
    value, end = _unpack(text, 0)
    if end != len(text):
        raise ValueError("more than one value")
    return value


def _unpack(text: str, at: int) -> tuple[Any, int]:
    kind = text[at]
    if kind in "N+-":
        return {"N": None, "+": True, "-": False}[kind], at + 1
    colon = text.index(":", at, at + 12)
    n, at = int(text[at + 1 : colon]), colon + 1
    if n < 0:
        raise ValueError("negative length")
    if kind in _ATOMS:
        return _ATOMS[kind](text[at : at + n]), at + n
    items = []
    for _ in range(2 * n if kind == "D" else n):
        item, at = _unpack(text, at)
        items.append(item)
    return _CONTAINERS[kind](items), at


_ATOMS = {
    "i": int, "f": float, "c": complex, "s": str, "b": lambda text: text.encode("latin-1"), "O": Opaque,
}  # fmt: skip
_CONTAINERS = {"L": list, "T": tuple, "S": set, "D": lambda items: dict(zip(items[::2], items[1::2], strict=True))}

MALFORMED = (ValueError, TypeError, IndexError, KeyError, RecursionError, MemoryError)


class Ended(BaseException):
    """The other role is gone, or speaks nonsense; a BaseException so that no test's `except Exception` goes on."""


class Pipes:
    """Frames (length, newline, bytes) to and from the other role."""

    def __init__(self, reading: int, writing: int) -> None:
        """The ends to read from and to write to."""
        self.reading, self.writing = reading, writing

    def send(self, data: bytes) -> None:
        """Write one frame; OSError when nobody reads any more."""
        rest = memoryview(b"%d\n" % len(data) + data)
        while rest:
            rest = rest[os.write(self.writing, rest) :]

    def receive(self, most: int) -> bytes:
        """Read one frame of at most `most` bytes."""
        length = b""
        while not length.endswith(b"\n"):
            length += self._bytes(1)
            if len(length) > 12:
                raise Ended("malformed reply")
        if not length[:-1].isdigit():
            raise Ended("malformed reply")
        if int(length) > most:
            raise Ended("output limit")
        return self._bytes(int(length))

    def _bytes(self, n: int) -> bytes:
        parts = []
        while n:
            part = os.read(self.reading, min(n, 65536))
            if not part:
                raise Ended("ended")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)


def confine(memory: int, cpu_s: int, uid: int, namespace: int) -> None:
    """Close the namespace's descriptor, give up root if there is any, then set limits that can't be raised again.

    Past the CPU time the kernel sends SIGXCPU, a second later SIGKILL. No file may grow, no process or thread start.
    """
    import resource

    if namespace >= 0:
        os.closerange(namespace, namespace + 1)  # bubblewrap enters it and leaves it open
    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    limits = {
        "CPU": (cpu_s, cpu_s + 1), "AS": (memory, memory), "FSIZE": (0, 0), "CORE": (0, 0), "NOFILE": (32, 32),
        "MEMLOCK": (0, 0), "MSGQUEUE": (0, 0), "NPROC": (1, 1),
    }  # fmt: skip
    for name, limit in limits.items():
        if hasattr(resource, f"RLIMIT_{name}"):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), limit)


def seed_random(*sources: str) -> None:
    """A verdict is to be a function of the program: what draws from `random` draws the same at every run."""
    if any("random" in source for source in sources):
        import random

        random.seed(0)


# --- the candidate --------------------------------------------------------------------------------------------


def answer_calls(pipes: Pipes) -> None:
    """Run the program, then answer calls of its function until the tests hang up."""
    pipes.send(b"ready")
    submission = unpack(pipes.receive(sys.maxsize))
    seed_random(*submission["sources"])
    module = type(sys)("candidate")
    sys.modules["candidate"] = module
    pipes.send(pack(_load(submission["sources"], module.__dict__)))
    while True:
        args, kwargs = unpack(pipes.receive(sys.maxsize))
        pipes.send(_call(module.__dict__, submission["entry_point"], args, kwargs))


def _load(sources: list[str], namespace: dict[str, Any]) -> tuple[str, str | None]:
    for source in sources:
        try:
            code = compile(source, "<program>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return ("syntax error", "")
        try:
            exec(code, namespace)
        except BaseException as error:
            return ("raised", type(error).__name__)
    return ("returned", None)


def _call(namespace: dict[str, Any], entry_point: str, args: tuple, kwargs: dict) -> bytes:
    try:
        return pack(("returned", namespace[entry_point](*args, **kwargs)))
    except BaseException as error:
        return pack(("raised", type(error).__name__))


# --- the tests ------------------------------------------------------------------------------------------------


class CandidateError(Exception):
    """An exception of the candidate that is not one of Python's own."""


class RemoteFunction:
    """The candidate's function as the tests see it: a call goes over the pipes and comes back as plain data."""

    def __init__(self, pipes: Pipes) -> None:
        """The pipes to the candidate."""
        self.pipes = pipes
        self.n_calls = 0
        self.failure: str | None = None
        """Why nothing can make it pass any more, whatever the tests catch."""
        self.error: Exception | None = None
        """The last exception it raised."""
        self.error_name = ""

    def load(self, sources: list[str], entry_point: str) -> None:
        """Hand the program over and hear how it ran; Ended unless it is ready to be called."""
        outcome, name = self._ask({"sources": sources, "entry_point": entry_point})
        if outcome != "returned":
            self._fail("syntax error" if outcome == "syntax error" else reason_of(name))

    def __call__(self, *args: object, **kwargs: object) -> object:
        """The value that the candidate's function returns, or the exception that it raises."""
        self.n_calls += 1
        if self.failure:
            raise Ended(self.failure)
        outcome, value = self._ask((args, kwargs))
        if outcome == "returned":
            return value
        if value in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
            self._fail(reason_of(value))
        self.error, self.error_name = _exception(value), value
        raise self.error

    def _ask(self, question: object) -> tuple[str, Any]:
        message = pack(question)
        try:
            self.pipes.send(message)
            outcome, value = unpack(self.pipes.receive(MAX_FRAME))
            if outcome != "returned" and (outcome not in ("raised", "syntax error") or type(value) is not str):
                raise ValueError("not a reply")
            return outcome, value
        except Ended as ended:
            self._fail(str(ended))
        except OSError:  # nobody reads any more
            self._fail("ended")
        except MALFORMED:
            self._fail("malformed reply")

    def _fail(self, reason: str) -> NoReturn:
        self.failure = reason
        raise Ended(reason)


def _exception(name: str) -> Exception:
    import builtins

    kind = getattr(builtins, name, None) if name.isidentifier() else None
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind()
        except TypeError:
            pass
    return CandidateError()


def reason_of(name: str) -> str:
    """The reason's name of an exception of the candidate, whose own word for it may be anything."""
    if name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        return "early exit"
    if name == "MemoryError":
        return "memory"
    return f"exception: {name}" if name.isascii() and name.isidentifier() and len(name) <= 60 else "exception"


def run_tests(submission: dict[str, Any], candidate: RemoteFunction) -> str:
    """Run the tests on the candidate; 'passed' or the reason why not.

    The tests see the prompt's own helpers as the prompt defines them, not as the program does.
    """
    namespace: dict[str, Any] = {"__name__": "tests"}
    seed_random(submission["test"])
    try:
        candidate.load(submission["sources"], submission["entry_point"])
        exec(compile(submission["prompt"], "<prompt>", "exec", dont_inherit=True), namespace)
        namespace[submission["entry_point"]] = candidate
        exec(compile(submission["test"], "<test>", "exec", dont_inherit=True), namespace)
        namespace["check"](candidate)
    except BaseException as error:
        its_own = error is candidate.error
        return candidate.failure or (reason_of(candidate.error_name) if its_own else "wrong answer")
    return candidate.failure or ("passed" if candidate.n_calls else "the test made no call")


def report_outcome(pipes: Pipes) -> None:
    """Read the submission from stdin, run the tests, and write nonce and outcome to the stdout that only they have."""
    outcomes = os.dup(1)
    os.dup2(2, 1)  # what a test prints is no outcome
    with open(0, "rb", closefd=False) as stdin:
        submission = unpack(stdin.read())
    if pipes.receive(5) != b"ready":
        raise Ended("ended")
    os.write(outcomes, b"ready\n")
    outcome = run_tests(submission, RemoteFunction(pipes))
    os.write(outcomes, f"{submission['nonce']} {outcome}\n".encode("ascii"))


def play() -> None:
    """Confine this process, then play its role."""
    role, (memory, cpu_s, uid, namespace, reading, writing) = sys.argv[1], map(int, sys.argv[2:8])
    confine(memory, cpu_s, uid, namespace)
    pipes = Pipes(reading, writing)
    try:
        (answer_calls if role == "candidate" else report_outcome)(pipes)
    except Ended:
        os._exit(0)


if __name__ == "__main__":
    play()
