"""The cells of a sweep in processes of this machine, one after the other in each: a lane.

The process that hands out the cells loads nothing and outlives whatever happens to a lane: a lane that is killed (the
system was out of memory) costs the cell that it was at.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reasoning_lab.artifacts.stopping import wait_if_ending
from reasoning_lab.launch.options import Launching
from reasoning_lab.launch.status import read_status, write_json

SHARED = -1
"""In place of a cell's number: what the cells share."""
SAVE_SECONDS = 6.0
"""Most time that a lane is given to save its chains [s]."""


@dataclass(frozen=True)
class Batch:
    """Some cells of a sweep, and how they are worked off here."""

    folder: Path
    """The sweep's."""
    cells: tuple[int, ...]
    launching: Launching
    processes: int
    """Lanes."""
    cwd: Path
    """Where relative paths begin."""
    in_terminal: bool = False
    """Whether lanes print here; else into their cells' output.log."""


class Lanes:
    """Works off a batch's cells; those that are completed already are passed over."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
        for cell in batch.cells:
            if read_status(batch.folder / str(cell)).get("status") != "completed":
                self._left.put(cell)
        self._failures: Counter[int] = Counter()
        self._lanes: set[_Lane] = set()
        self._idle: list[_Lane] = []
        self.is_stopped = False
        """Whether no further cell is begun: one failed where that stops the others, or the end was near."""

    def run(self) -> None:
        """Work off all cells."""
        n = min(self._batch.processes, self._left.qsize())
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # With a time, so that this thread stays awake for its signals.
                thread.join(0.2)
        for lane in list(self._lanes):
            self._close(lane)

    def share(self) -> None:
        """Build what the cells share; what goes wrong there goes wrong again in the cells, which say so."""
        lane = self._open()
        if lane.work(SHARED):
            self._idle.append(lane)  # It has the models already.
        else:
            self._close(lane)

    def stop(self) -> None:
        """End all lanes, which save what is at work."""
        self.is_stopped = True
        for lane in list(self._lanes):
            lane.stop()
        by = time.monotonic() + SAVE_SECONDS
        for lane in list(self._lanes):
            lane.wait(max(0.0, by - time.monotonic()))

    def _serve(self) -> None:
        """One lane after the other; each is used until it dies or has worked off its share."""
        lane, worked = None, 0
        while (cell := self._next()) is not None:
            lane = lane or self._open()
            ended = lane.work(cell)
            wait_if_ending()
            if self.is_stopped:
                return
            worked += 1
            if not ended:
                self._record_death(cell, lane)
            if not ended or worked == self._batch.launching.cells_per_job:
                self._close(lane)
                lane, worked = None, 0
            self._look_at(cell)
        if lane is not None:
            self._close(lane)

    def _next(self) -> int | None:
        if self.is_stopped:
            return None
        with suppress(queue.Empty):
            return self._left.get_nowait()
        return None

    def _open(self) -> "_Lane":
        with suppress(IndexError):
            return self._idle.pop()
        lane = _Lane(self._batch)
        self._lanes.add(lane)
        return lane

    def _close(self, lane: "_Lane") -> None:
        lane.close()
        self._lanes.discard(lane)

    def _record_death(self, cell: int, lane: "_Lane") -> None:
        """A lane that died at a cell without a last word; one that had it, on a signal, has it already."""
        folder = self._batch.folder / str(cell)
        told = read_status(folder)
        if told.get("status") == "running" or told.get("pid") != lane.pid:
            write_json(folder / "status.json", told | {"status": "killed", "error": lane.cause()})

    def _look_at(self, cell: int) -> None:
        """What a cell that did not complete does to the others."""
        if read_status(self._batch.folder / str(cell)).get("status") == "completed":
            return
        self._failures[cell] += 1
        if self._batch.launching.on_error == "stop":
            self.is_stopped = True
        elif self._failures[cell] <= self._batch.launching.n_retries:
            self._left.put(cell)


class _Lane:
    """A process that works off the cells whose numbers it is sent, and says when it has ended one."""

    def __init__(self, batch: Batch) -> None:
        reader, writer = os.pipe()
        # -P: the folder that it works in is where relative paths begin, not where modules are looked for.
        lane = ["-P", "-m", "reasoning_lab.launch.lane"]
        command = [sys.executable, *lane, str(batch.folder), str(writer), str(os.getpid())]
        if batch.in_terminal:
            command.append("--in-terminal")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=(writer,), cwd=batch.cwd,
            env=os.environ | {"PYTHONPATH": python_path()},
        )  # fmt: skip
        os.close(writer)
        self._replies: IO[str] = os.fdopen(reader, encoding="utf-8")

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def work(self, cell: int) -> bool:
        """Work on one cell; False where the process died of it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{cell}\n".encode())
            self._process.stdin.flush()
        except OSError:
            return False
        return bool(self._replies.readline())

    def cause(self) -> str:
        """Why it died."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "killed (SIGKILL), as the system does when memory runs out; lower runtime.rows or processes"
        return f"killed ({signal.Signals(-code).name})" if code < 0 else f"its process ended with status {code}"

    def stop(self) -> None:
        """Tell it to save and end."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        """Wait for its end, which comes at the latest now."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def close(self) -> None:
        """No more cells."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._replies.close()


def python_path() -> str:
    """Where a process of ours finds this package first."""
    package = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
