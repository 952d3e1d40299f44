"""A sweep: what cells share is built first, Hydra runs the cells, this process watches them and sums up."""

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from rich.console import Console

from reasoning_lab.launch.check import Launch
from reasoning_lab.launch.compose import CONFIG_NAME, conf_dir
from reasoning_lab.launch.job import open_context, work
from reasoning_lab.launch.provenance import typed
from reasoning_lab.report.collect.provenance import of_sweep
from reasoning_lab.report.collect.sweep import collect_sweep, write_finished
from reasoning_lab.stages import share_between_cells

POLL_SECONDS = 1.0
"""Time between two looks at the cells' status files [s]."""


def run_sweep(launch: Launch) -> None:
    """Build what cells share, let Hydra run the cells, then sum up; exit status 1 where a cell failed."""
    context = open_context(launch.experiments[0], typed(sys.argv[1:]))
    try:
        share_between_cells(launch.experiments, context)
    except ValueError as error:
        sys.stderr.write(f"error: {error} No cell was started.\n")
        sys.exit(1)
    names = cell_names([cell.overrides for cell in launch.cells])
    with Watch(launch.folder, names, context.console):
        status = _hydra_status()
    failed = sum_up(launch.folder, names, context.console)
    sys.exit(1 if failed or status else 0)


def hand_over() -> None:
    """Hydra's own main, which reads the command line again and runs `work`."""
    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=CONFIG_NAME)(work)()


def _hydra_status() -> int:
    """Exit status of Hydra's sweep; it ends the process where a job was lost."""
    try:
        hand_over()
    except SystemExit as end:
        return 0 if end.code in (0, None) else 1
    return 0


class Watch:
    """Prints every cell's end as it happens, wherever the cell runs: its status file is all that is looked at."""

    def __init__(self, folder: Path, names: Sequence[str], console: Console) -> None:
        self._folder = folder
        self._names = names
        self._console = console
        self._done: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        for number, name in enumerate(self._names):
            if number in self._done:
                continue
            state = status(self._folder / str(number))
            if state["status"] in ("completed", "failed", "interrupted"):
                self._done.add(number)
                self._print(number, name, state)

    def _print(self, number: int, name: str, state: dict[str, Any]) -> None:
        failed = state["status"] != "completed"
        text = f"cell {number} ({name}): {state['status']}"
        seconds = f" after {state['seconds']:.0f} s" if state.get("seconds") is not None else ""
        error = f": {state['error']}" if failed else ""
        self._console.print(
            f"[{len(self._done)}/{len(self._names)}] {text}{seconds}{error}",
            style="red" if failed else None, highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def cell_names(cells: Sequence[Sequence[str]]) -> list[str]:
    """What tells each cell from the others: its overrides without those that all have."""
    common = set(cells[0]).intersection(*cells[1:]) if len(cells) > 1 else set()
    return [" ".join(override for override in cell if override not in common) for cell in cells]


def status(cell: Path) -> dict[str, Any]:
    """What a cell's status file says; `missing` where there is none."""
    try:
        return json.loads((cell / "status.json").read_text())
    except (OSError, ValueError):
        return {"status": "missing"}


def sum_up(folder: Path, names: Sequence[str], console: Console) -> list[int]:
    """Name the cells that did not finish; write the sweep's table and heat map of those that did."""
    states = [status(folder / str(number)) for number in range(len(names))]
    unfinished = [number for number, state in enumerate(states) if state["status"] != "completed"]
    done = len(names) - len(unfinished)
    console.print(f"{done} of {len(names)} cells completed: {folder}", highlight=False, soft_wrap=True)
    for number in unfinished:
        state = states[number]
        console.print(
            f"  cell {number} ({names[number]}): {state['status']} {state.get('error') or ''} "
            f"(log: {folder / str(number) / 'main.log'})",
            style="red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if unfinished:
        console.print("The same command again does what is missing.")
    if any(state.get("metrics") for state in states):
        show_sweep(folder, console)
    return unfinished


def show_sweep(folder: Path, console: Console) -> None:
    """One table and one heat map of the finished cells of a sweep folder; names the cells that are missing."""
    cells = collect_sweep(folder)
    if cells.missing:
        console.print(f"[bold red]Not finished: cells {', '.join(cells.missing)}[/]; run the same command again.")
    write_finished(cells, folder / "report", of_sweep(folder))
    console.print(f"Sweep page: {folder / 'report' / 'sweep.html'}", highlight=False)
