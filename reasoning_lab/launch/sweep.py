"""What the launching process sees of a sweep: cells as they end, and the sum at the end."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_lab.stages import Lab

POLL_SECONDS = 1.0
"""Time between two looks at the cells' status files [s]."""


class Watch:
    """Prints every cell's end as it happens, wherever the cell runs: its status file is all that is looked at."""

    def __init__(self, folder: Path, names: Sequence[str], console: "Console") -> None:
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


def sum_up(folder: Path, names: Sequence[str], lab: "Lab") -> list[int]:
    """Name the cells that did not finish; write the sweep's table and heat map of those that did."""
    states = [status(folder / str(number)) for number in range(len(names))]
    unfinished = [number for number, state in enumerate(states) if state["status"] != "completed"]
    done = len(names) - len(unfinished)
    lab.console.print(f"{done} of {len(names)} cells completed: {folder}", highlight=False, soft_wrap=True)
    for number in unfinished:
        state = states[number]
        lab.console.print(
            f"  cell {number} ({names[number]}): {state['status']} {state.get('error') or ''} "
            f"(log: {folder / str(number) / 'main.log'})",
            style="red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if unfinished:
        lab.console.print("The same command again does what is missing.")
    if any(state.get("metrics") for state in states):
        from reasoning_lab.stages import report_sweep

        report_sweep(folder, lab)
    return unfinished
