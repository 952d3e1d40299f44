"""A sweep: its cells are written down, run by lanes of this machine or by jobs of a cluster, and summed up."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from reasoning_lab.artifacts.stopping import end_on_signals, saved_by, wait_if_ending
from reasoning_lab.launch import slurm
from reasoning_lab.launch.check import Launch, is_folder_given, make_folder
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.folders import read_submitted, write_submitted
from reasoning_lab.launch.identity import files_of
from reasoning_lab.launch.lanes import Batch, Lanes, python_path
from reasoning_lab.launch.launchers import BasicLauncher, Launcher, SlurmLauncher
from reasoning_lab.launch.options import Launching
from reasoning_lab.launch.provenance import git_state, typed
from reasoning_lab.launch.queue import ask, local_id
from reasoning_lab.launch.sweep_folder import AT_WORK, ENDED, CellStatus, SentJob, Sweep
from reasoning_lab.launch.terminal import terminal
from reasoning_lab.launch.tracking.closing import close_sweep
from reasoning_lab.report.collect.provenance import of_sweep
from reasoning_lab.report.collect.sweep import collect_sweep, write_finished
from reasoning_lab.stages import CELLS_SHARE

POLL_SECONDS = 1.0
"""Time between two looks at the cells' status files [s]."""
QUEUE_SECONDS = 5.0
"""Time between two questions to the cluster [s]."""
PAGE_SECONDS = 30.0
"""Least time between two pages of a sweep at work [s]."""


# -- starting ----------------------------------------------------------------------------------------------------------


def create_sweep(launch: Launch, identity: str) -> Sweep:
    """Write the sweep and its cells down."""
    outputs = launch.experiments[0].outputs
    Sweep.refuse_another(launch.folder)
    make_folder(launch.folder, outputs, is_folder_given(launch))
    for run in launch.runs:
        write_submitted(run)
    return Sweep.create(
        launch.folder,
        [run.overrides for run in launch.runs],
        launch.launching,
        command=typed(["-m", *launch.overrides]),
        git=git_state(),
        launcher=launch.launcher_plain,
        identity=identity,
        cwd=str(Path.cwd()),
        is_search=launch.search is not None,
        files=files_of(run.config for run in launch.runs),
    )


def start(
    sweep: Sweep, choose: Callable[[list[CellStatus]], Sequence[int]], console: Console, is_submitted: bool
) -> int:
    """Run or submit the cells that are chosen by how all of them stand; the exit status of the command.

    From the look at them to the note of where they are sent nobody else starts any."""
    with sweep.claimed():
        if not (cells := choose(sweep.states(ask(sweep)))):
            return 0
        cwd = sweep.cwd
        if sweep.is_slurm:
            sent = slurm.submit(sweep, cells_of_jobs(sweep, cells), shares(sweep, cells))
        elif is_submitted:
            sent = [_detach(sweep, cells, cwd)]
        else:
            sent = [SentJob(local_id(), tuple(cells))]
        if not sweep.is_slurm:
            sweep.note_sent(sent)
    if not (sweep.is_slurm or is_submitted):
        return run_here(sweep, cells, console)
    where = f"as jobs {id_words(sent)}" if sweep.is_slurm else "without this terminal"
    verb = "Submitted" if sweep.is_slurm else "Started"
    _print(console, f"{verb} {len(cells)} cells {where}: {sweep.folder}")
    return _follow_up(sweep, console) if is_submitted else _wait(sweep, sent, console)


def _print(console: Console, line: str) -> None:
    """A line as it is, whatever brackets are in it."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _follow_up(sweep: Sweep, console: Console) -> int:
    for verb, what in (("status", "how they stand"), ("collect", "table and page"), ("cancel", "end them")):
        _print(console, f"  reasoning-lab sweep {verb} {shlex.quote(str(sweep.folder))}   # {what}")
    return 0


def id_words(sent: Iterable[SentJob]) -> str:
    """The jobs' ids; of many the first and the last."""
    ids = [job.id for job in sent]
    return ", ".join(ids) if len(ids) <= 8 else f"{', '.join(ids[:3])} ... {ids[-1]} ({len(ids)} jobs)"


# -- on this machine ---------------------------------------------------------------------------------------------------


def run_here(sweep: Sweep, cells: Sequence[int], console: Console) -> int:
    """Run cells in lanes of this machine, and wait for them; 1 where one did not complete."""
    launcher = sweep.launcher
    batch = Batch(
        sweep.folder, tuple(cells), sweep.launching, launcher.processes, sweep.cwd, isinstance(launcher, BasicLauncher)
    )
    lanes = Lanes(batch)
    end_on_signals(lambda name: _say_stopped(name, sweep))
    with saved_by(lanes.stop), Watch(sweep, console):
        if shares(sweep, cells):
            lanes.share()
        lanes.run()
        wait_if_ending()
    return sum_up(sweep, console)


def _say_stopped(name: str, sweep: Sweep) -> None:
    sys.stderr.write(f"\n{name}: the cells at work are saved. The same command, or `{_retry_line(sweep)}`, goes on.\n")
    sys.stderr.flush()


def _retry_line(sweep: Sweep) -> str:
    return f"reasoning-lab sweep retry {shlex.quote(str(sweep.folder))}"


def _detach(sweep: Sweep, cells: Sequence[int], cwd: Path) -> SentJob:
    """Run cells in a process that needs no terminal."""
    code = "import sys; from reasoning_lab.launch.sweep import run_detached; run_detached(*sys.argv[1:])"
    with (sweep.folder / "launcher.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, str(sweep.folder), *map(str, cells)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=cwd,
            env=os.environ | {"PYTHONPATH": python_path()},
        )  # fmt: skip
    return SentJob(local_id(process.pid), tuple(cells))


def run_detached(folder: str, *cells: str) -> None:
    """What the detached process does."""
    sys.exit(run_here(Sweep(Path(folder)), [int(cell) for cell in cells], terminal()))


def shares(sweep: Sweep, cells: Sequence[int]) -> bool:
    """Whether what cells share is built before them."""
    if len(cells) < 2:
        return False
    config = next((found for cell in cells if (found := _config(sweep, cell))), None)
    return config is not None and config["stage"] in CELLS_SHARE and bool(config["runtime"]["build_shared"])


def _config(sweep: Sweep, cell: int) -> dict[str, Any]:
    """A cell's config; {} where its folder is gone, which the cell itself will say."""
    try:
        return read_submitted(sweep.cell(cell)).config
    except ConfigError:
        return {}


# -- on a cluster ------------------------------------------------------------------------------------------------------


def cells_per_process(n: int, launching: Launching, launcher: Launcher) -> int:
    """Most cells that one process works off, where nothing goes wrong."""
    most = launcher.array_parallelism if isinstance(launcher, SlurmLauncher) else launcher.processes
    return launching.cells_per_job or max(1, -(-n // most))


def cells_of_jobs(sweep: Sweep, cells: Sequence[int]) -> list[tuple[int, ...]]:
    """The cells of each job: those that use the same models in the same way, at most `cells_per_job` of them, by
    default as many as make no more jobs than run at a time."""
    most = cells_per_process(len(cells), sweep.launching, sweep.launcher)
    fitting: dict[str, list[int]] = {}
    for cell in cells:
        config = _config(sweep, cell)
        needs = json.dumps([config.get("model_pair"), config.get("runtime")], sort_keys=True)
        fitting.setdefault(needs, []).append(cell)
    return [tuple(group[i : i + most]) for group in fitting.values() for i in range(0, len(group), most)]


def _wait(sweep: Sweep, sent: Sequence[SentJob], console: Console) -> int:
    """Wait for the cells of a cluster; Ctrl-C ends the waiting alone."""
    end_on_signals(lambda _: _say_running(sweep, sent))
    console.print("Waiting for them; Ctrl-C leaves them running.")
    with Watch(sweep, console):
        while any(each.state in AT_WORK for each in sweep.states(ask(sweep))):
            time.sleep(QUEUE_SECONDS)
    return sum_up(sweep, console)


def _say_running(sweep: Sweep, sent: Sequence[SentJob]) -> None:
    sys.stderr.write(
        f"\nNo longer waiting. What is queued or at work goes on: jobs {id_words(sent)}.\n"
        f"  reasoning-lab sweep status {shlex.quote(str(sweep.folder))}\n"
        f"  reasoning-lab sweep cancel {shlex.quote(str(sweep.folder))}   # ends them\n"
    )
    sys.stderr.flush()


# -- watching ----------------------------------------------------------------------------------------------------------


class Watch:
    """Prints every cell's end as it happens, wherever the cell runs, and keeps the sweep's page up to date."""

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self._sweep = sweep
        self._console = console
        self._told = {_end(each) for each in sweep.states(None) if each.state in ENDED}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._drawn = time.monotonic()

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            if self._look() and time.monotonic() - self._drawn > PAGE_SECONDS:
                write_page(self._sweep, self._sweep.states(ask(self._sweep)))
                self._drawn = time.monotonic()

    def _look(self) -> bool:
        """Whether a cell has ended since the last look."""
        states = self._sweep.states(None)
        new = [each for each in states if each.state in ENDED and _end(each) not in self._told]
        n_ended = sum(each.state in ENDED for each in states)
        for state in new:
            self._told.add(_end(state))
            self._print(state, n_ended, len(states))
        return bool(new)

    def _print(self, state: CellStatus, n_ended: int, n: int) -> None:
        seconds = f" after {state.told['seconds']:.0f} s" if state.told.get("seconds") is not None else ""
        error = f": {state.why}" if state.why else ""
        self._console.print(
            f"[{n_ended}/{n}] cell {state.number} ({state.name}): {state.state}{seconds}{error}",
            style=None if state.state == "completed" else "red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _end(cell: CellStatus) -> tuple[int, str, Any]:
    """An end of a cell: another attempt's is another one."""
    return cell.number, cell.state, cell.told.get("attempt")


# -- summing up --------------------------------------------------------------------------------------------------------


def sum_up(sweep: Sweep, console: Console) -> int:
    """Name the cells that did not complete, write table and page; 1 where there is such a cell."""
    states = sweep.states(_ask_others(sweep))
    left = [each for each in states if each.state != "completed"]
    console.print(
        f"{len(states) - len(left)} of {len(states)} cells completed: {sweep.folder}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    for each in left:
        log = sweep.cell(each.number) / "main.log"
        console.print(
            f"  cell {each.number} ({each.name}): {each.state} {each.why} (log: {log})",
            style="red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if left:
        again = _retry_line(sweep)
        _print(console, f"`{again}`, or the same command again, does what is missing.")
    write_page(sweep, states)
    if len(left) < len(states):
        close_sweep(sweep.folder, [sweep.command], (git_state() or {}).get("commit"), os.environ)
    _print(console, f"Sweep page: {sweep.folder / 'report' / 'sweep.html'}")
    return 1 if left else 0


def _ask_others(sweep: Sweep) -> dict[str, tuple[str, str]] | None:
    """As `ask`, without this process, which has no cell in hand any more."""
    queue = ask(sweep)
    return None if queue is None else {id: told for id, told in queue.items() if id != local_id()}


def write_page(sweep: Sweep, states: Sequence[CellStatus]) -> None:
    """Table, heat map and page of the cells that are completed, and where the others stand."""
    standing = {each.number: f"{each.state} {each.why}".strip() for each in states}
    write_finished(collect_sweep(sweep.folder, standing), sweep.folder / "report", of_sweep(sweep.folder))
