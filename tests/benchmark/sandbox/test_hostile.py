"""Programs that try to cheat or to do harm (`hostile/`): none passes, the host stays as it was, the next item too.

Each is a solution of the first made-up problem. Those that look for a way out return the right answer only when they
find one, so that passing means a hole.
"""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from reasoning_lab.benchmark.sandbox.execution import Submission
from reasoning_lab.benchmark.sandbox.levels import Limits, Unsandboxed
from reasoning_lab.benchmark.sandbox.probes import CheckedSandbox
from reasoning_lab.records import Grade
from tests.benchmark.sandbox.programs import live_processes, needs_bubblewrap
from tests.benchmark.test_contract import build

HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.py"))
MEMORY_MIB = 400 + os.getpid() % 400
"""Stands in the command line of every process of this test, so that they can be told from others'."""
SECRET = "sk-planted-5e2f"

REASONS = {
    "infinite_loop": "timeout", "infinite_import": "timeout", "ignore_signals": "timeout", "sleep": "timeout",
    "huge_power": "timeout", "catastrophic_regex": "timeout", "raise_limits": "timeout", "hang_up": "timeout",
    "allocate": "memory", "flood_stdout": "output limit", "flood_stderr": "output limit", "huge_reply": "output limit",
    "sys_exit": "early exit", "os_exit": "early exit", "exit_while_imported": "early exit",
    "exit_at_exit": "early exit", "equal_to_everything": "wrong answer", "integer_equal_to_everything": "wrong answer",
    "segfault": "crash (signal 11)", "redefine_assert": "wrong answer", "raise_passed": "exception: passed",
    "forge_verdict": "malformed reply", "bomb_the_codec": "malformed reply", "fork_bomb": "wrong answer",
}  # fmt: skip
"""What the reader is told, where it is told the same on every machine."""


OTHERS = ("sem.mp-", "psm_", "torch_")
"""Semaphores and shared memory of other processes of this machine, tests beside this one among them."""


class Host(NamedTuple):
    """What a hostile program could reach or change."""

    home: Path
    server: socket.socket

    def aimed(self, source: str) -> str:
        """The program, told where the server and the secret are."""
        source = source.replace("PORT = 9", f"PORT = {self.server.getsockname()[1]}")
        return source.replace('"/secret"', repr(str(self.home / "secret")))

    def state(self) -> list[object]:
        """Files, environment and what else can be compared."""
        files = {path: path.read_bytes() for path in sorted(self.home.rglob("*")) if path.is_file()}
        roots = [sorted(os.listdir(folder)) for folder in ("/", "/dev/shm", "/home") if os.path.isdir(folder)]
        roots = [[name for name in names if not name.startswith(OTHERS)] for names in roots]
        return [files, roots, dict(os.environ), os.getcwd()]

    def connections(self) -> int:
        """1 if somebody connected."""
        try:
            self.server.accept()[0].close()
        except BlockingIOError:
            return 0
        return 1


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A home with a key in it, a key in the environment, a server on the loopback device."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    for name in (".ssh/id_rsa", ".netrc", "secret"):
        (home / name).write_text(SECRET)
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as server:
        patch.setenv("HOME", str(home))
        patch.setenv("OPENAI_API_KEY", SECRET)
        server.setblocking(False)
        yield Host(home, server)


class Verdicts(NamedTuple):
    """Grades by program, of it and of a right answer graded after it, and the host's state before and after."""

    hostile: dict[str, Grade]
    next_item: dict[str, Grade]
    before: list[object]
    after: list[object]
    left: list[int]
    connections: int


@pytest.fixture(scope="module")
def verdicts(host: Host) -> Verdicts:
    """All programs graded, two at a time, each followed by the problem's reference."""
    benchmark = build(
        "humaneval", cpu_limit_s=1, wall_limit_s=2.0, memory_limit_mib=MEMORY_MIB, allow_unsandboxed=False
    )
    first, second, *_ = benchmark.load()

    def both(file: Path) -> tuple[Grade, Grade]:
        source = host.aimed(file.read_text(encoding="utf-8"))
        hostile = benchmark.grade(first, f"```python\n{source}```\n", 0, "stop")
        return hostile, benchmark.grade(second, benchmark.gold_text(second), 0, "stop")

    before = host.state()
    with ThreadPoolExecutor(2) as threads:
        grades = dict(zip([file.stem for file in HOSTILE], threads.map(both, HOSTILE), strict=True))
    left = live_processes(str(MEMORY_MIB * 2**20))
    return Verdicts(
        {name: hostile for name, (hostile, _) in grades.items()},
        {name: after for name, (_, after) in grades.items()},
        before, host.state(), left, host.connections(),
    )  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 30
    assert not set(REASONS) - {file.stem for file in HOSTILE}


@needs_bubblewrap
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [file.stem for file in HOSTILE])
def test_a_hostile_program_does_not_pass(verdicts: Verdicts, name: str) -> None:
    grade = verdicts.hostile[name]
    assert not grade.correct
    rule, outcome, level = grade.reason.split(", ")
    assert (rule, level) == ("fenced", "bubblewrap")
    assert outcome == REASONS.get(name, outcome)
    assert (grade.verdict == "timeout") == (outcome == "timeout")


@pytest.mark.parametrize("name", ["connect_to_the_host", "read_home", "subprocess", "other_sockets", "pair_of_sockets"])
def test_a_hostile_program_passes_where_there_is_a_hole(host: Host, name: str) -> None:
    source = (Path(__file__).parent / "hostile" / f"{name}.py").read_text(encoding="utf-8")
    test = "def check(candidate):\n    assert candidate([1, 2, 3]) == 6\n"
    task = Submission((host.aimed(source),), "total", "", test)
    assert CheckedSandbox(Unsandboxed(Limits(cpu_s=2)), 1.0).execute(task).passed
    host.connections()


@needs_bubblewrap
def test_the_item_after_each_is_graded_as_ever(verdicts: Verdicts) -> None:
    assert {name: grade.reason for name, grade in verdicts.next_item.items() if not grade.correct} == {}


@needs_bubblewrap
def test_the_host_is_as_it_was(verdicts: Verdicts) -> None:
    assert verdicts.before == verdicts.after
    assert verdicts.connections == 0


@needs_bubblewrap
def test_no_process_is_left(verdicts: Verdicts) -> None:
    assert verdicts.left == []


@needs_bubblewrap
def test_no_secret_reaches_a_grade(verdicts: Verdicts) -> None:
    assert not [name for name, grade in verdicts.hostile.items() if SECRET in grade.dumps()]
