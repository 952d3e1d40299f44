"""A sweep on disk: its cells as submitted, where they were sent, and how they stand; readable from any terminal."""

import fcntl
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.identity import is_unchanged
from reasoning_lab.launch.launchers import Launcher
from reasoning_lab.launch.options import Launching
from reasoning_lab.launch.status import LOST_SECONDS, is_lost, read_status, write_json

FILE = "sweep.json"
SUBMISSIONS = "submissions"
AT_WORK = ("waiting", "queued", "running", "preempted")
"""States of cells that somebody has, or is about to have, in hand."""
ENDED = ("completed", "failed", "interrupted", "killed")


@dataclass(frozen=True)
class SentJob:
    """Some cells, and the job that has them."""

    id: str
    """SLURM's; of cells of one machine `host:pid:start` of the process that hands them out."""
    cells: tuple[int, ...]
    """Empty for the job that builds what the cells share."""


@dataclass(frozen=True)
class CellStatus:
    """How a cell stands."""

    number: int
    name: str
    """What tells it from the others."""
    state: str
    """waiting, queued, running, preempted, completed, failed, interrupted, killed or lost."""
    why: str
    """SLURM's reason, the progress, the error."""
    job: str | None
    told: Mapping[str, Any]
    """Its status.json."""
    is_held: bool = False
    """Whether its job is queued or at work, and may begin it, or begin it again."""


class Sweep:
    """The sweep of a folder; ConfigError where it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        try:
            self._told = json.loads((folder / FILE).read_text())
            self._overrides = [tuple(cell) for cell in self._told["cells"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{folder}: not the folder of a sweep ({type(error).__name__}: {error}); they lie under outputs/sweeps."
            ) from error

    @staticmethod
    def refuse_another(folder: Path) -> None:
        """ConfigError where the folder has a sweep already."""
        if (folder / FILE).exists():
            raise ConfigError(f"{folder}: is a sweep already; `reasoning-lab sweep retry` goes on with it.")

    @staticmethod
    def create(folder: Path, cells: Sequence[Sequence[str]], launching: Launching, **told: Any) -> "Sweep":
        """Write down a sweep whose cells' folders are made; `told` are its command, launcher and identity."""
        (folder / SUBMISSIONS).mkdir(exist_ok=True)
        plain = {"cells": [list(cell) for cell in cells], "launching": asdict(launching), "created": time.time()}
        write_json(folder / FILE, plain | told)
        return Sweep(folder)

    def add_cell(self, overrides: Sequence[str]) -> int:
        """One more cell, of a sweep that chooses its cells as it goes; its number."""
        self._told["cells"].append(list(overrides))
        self._overrides.append(tuple(overrides))
        write_json(self.folder / FILE, self._told)
        return len(self._overrides) - 1

    def launch_again(self, launching: Launching, launcher: Mapping[str, Any]) -> "Sweep":
        """The same cells, launched otherwise from now on."""
        write_json(self.folder / FILE, self._told | {"launching": asdict(launching), "launcher": launcher})
        return Sweep(self.folder)

    @property
    def overrides(self) -> list[tuple[str, ...]]:
        """Of each cell, as typed."""
        return list(self._overrides)

    @property
    def numbers(self) -> range:
        """Of its cells."""
        return range(len(self._overrides))

    @property
    def command(self) -> str:
        """What was typed."""
        return str(self._told.get("command", ""))

    @property
    def cwd(self) -> Path:
        """Where it was submitted, which is where relative paths begin; ConfigError where that is gone."""
        place = Path(str(self._told.get("cwd", ".")))
        if not place.is_dir():
            raise ConfigError(
                f"{place}: the folder in which this sweep was submitted is gone; start it anew elsewhere."
            )
        return place

    @property
    def is_slurm(self) -> bool:
        """Whether its cells are jobs of a SLURM cluster."""
        return str(self._told["launcher"]["_target_"]).endswith(".SlurmLauncher")

    @property
    def is_search(self) -> bool:
        """Whether its cells are chosen as it goes."""
        return bool(self._told.get("is_search"))

    @cached_property
    def launching(self) -> Launching:
        """How it was launched."""
        from reasoning_lab.launch.typed import build_option  # Which loads torch; looking at a sweep needs none.

        return build_option(Launching, self._told["launching"], "")

    @cached_property
    def launcher(self) -> Launcher:
        """Where it was launched."""
        from reasoning_lab.launch.typed import build_option

        return build_option(Launcher, self._told["launcher"], "hydra.launcher")

    @property
    def names(self) -> list[str]:
        """What tells each cell from the others."""
        return cell_names(self._overrides)

    def cell(self, number: int) -> Path:
        """A cell's folder."""
        return self.folder / str(number)

    def left(self) -> list[int]:
        """Cells that are not completed."""
        return [n for n in self.numbers if read_status(self.cell(n)).get("status") != "completed"]

    # -- where the cells were sent -------------------------------------------------------------------------------------

    def note_sent(self, jobs: Sequence[SentJob]) -> None:
        """Write down where cells were sent; the last word on each holds."""
        file = self.folder / SUBMISSIONS / f"{time.time_ns()}.json"
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"jobs": [asdict(job) for job in jobs]})

    def sent(self) -> list[SentJob]:
        """All jobs, in the order of their submission."""
        found = []
        for file in sorted((self.folder / SUBMISSIONS).glob("*.json")):
            told = json.loads(file.read_text())["jobs"]
            found += [SentJob(str(job["id"]), tuple(job["cells"])) for job in told]
        return found

    def states(self, queue: Mapping[str, tuple[str, str]] | None) -> list[CellStatus]:
        """How every cell stands.

        Arguments: `queue` maps a job's id to (state, reason), as its cluster or machine says now, for jobs that it
        still knows; "unknown" is the state of one that can't be asked from here, which is taken for alive while one of
        its cells has a heartbeat. None where nobody could be asked.
        """
        sent = self.sent()
        queue = None if queue is None else self._judged(queue, sent)
        job_of = {cell: job.id for job in sent for cell in job.cells}
        now, names = time.time(), self.names
        return [self._state(n, names[n], job_of.get(n), queue, now) for n in self.numbers]

    def _judged(self, queue: Mapping[str, tuple[str, str]], sent: Sequence[SentJob]) -> dict[str, tuple[str, str]]:
        """The queue with what is unknown told by the cells."""
        found = dict(queue)
        for job in sent:
            if queue.get(job.id, ("", ""))[0] == "unknown":
                beats = [read_status(self.cell(n)).get("heartbeat", 0.0) for n in job.cells]
                is_alive = time.time() - max(beats, default=0.0) < LOST_SECONDS
                found.pop(job.id, None)
                found |= {job.id: ("running", queue[job.id][1])} if is_alive else {}
        return found

    @staticmethod
    def at_work(states: Sequence[CellStatus]) -> list[int]:
        """Cells that a job has, or may still take, in hand."""
        return [each.number for each in states if each.state != "completed" and (each.is_held or _waits(each))]

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """While the block chooses cells and notes where they are sent, nobody else does."""
        with (self.folder / ".claim").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _state(
        self, number: int, name: str, job: str | None, queue: Mapping[str, tuple[str, str]] | None, now: float
    ) -> CellStatus:
        told = read_status(self.cell(number))
        status = told.get("status")
        in_queue, reason = (queue or {}).get(job or "", (None, ""))
        known = queue is None or in_queue is not None
        if status == "completed":
            state, why = status, ""
        elif (in_queue == "queued" and status in ("running", "interrupted")) or _begins_again(job, in_queue, status):
            state, why = "preempted", f"goes on where it stood; {reason}"
        elif in_queue == "queued":
            state, why = "queued", reason
        elif status == "running":
            is_gone = is_lost(told, now) or not known
            state, why = ("lost", "no heartbeat") if is_gone else ("running", progress_words(told, now))
        elif status is None:
            state = "waiting" if job is None or in_queue is not None or queue is None else "lost"
            why = "" if state == "waiting" else "its job is gone, and it never started"
        else:
            state, why = str(status), str(told.get("error") or "")
        return CellStatus(number, name, state, why, job, told, in_queue is not None)


def _waits(cell: CellStatus) -> bool:
    """Whether somebody has it in hand as far as can be told, where its job could not be asked."""
    return cell.state in AT_WORK and cell.job is not None


def _begins_again(job: str | None, in_queue: str | None, status: str | None) -> bool:
    """Whether a job that SLURM has queued again is at work, but not at this cell yet; a process of one machine that
    lost the cell goes on with others."""
    return in_queue == "running" and status == "interrupted" and not is_local(job or "")


def is_local(id: str) -> bool:
    """Whether a job's id is that of a process, not of a job of SLURM's."""
    return ":" in id


def find_same(outputs: Path, identity: str) -> Sweep | None:
    """The newest sweep that was made from the same, where its files are as they were."""
    for file in sorted(outputs.glob("sweeps/*/*/sweep.json"), key=lambda file: file.parent.name, reverse=True):
        try:
            told = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        if told.get("identity") == identity and is_unchanged(told.get("files", {})):
            return Sweep(file.parent)
    return None


def cell_names(cells: Sequence[Sequence[str]]) -> list[str]:
    """What tells each cell from the others: its overrides without those that all have."""
    common = set(cells[0]).intersection(*cells[1:]) if len(cells) > 1 else set()
    return [" ".join(override for override in cell if override not in common) for cell in cells]


def progress_words(told: Mapping[str, Any], now: float) -> str:
    """How far a cell at work is."""
    beat = f"heartbeat {max(0.0, now - told.get('heartbeat', now)):.0f} s ago"
    progress = told.get("progress")
    if not progress:
        return f"starting, {beat}"
    share = f"{progress['done']:,} of {progress['total']:,}"
    tokens = f", {progress['tokens']:,} tokens" if progress.get("tokens") else ""
    return f"{progress['label']}: {share}{tokens}, {beat}"


def count_words(states: Sequence[CellStatus]) -> str:
    """How many cells stand how."""
    counts = Counter(each.state for each in states)
    return ", ".join(f"{n} {state}" for state, n in counts.most_common())
