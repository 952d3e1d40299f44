"""`reasoning-lab sweep VERB FOLDER`: a sweep seen from any terminal, on any day."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.queue import ask, host_of_id, pid_of_id
from reasoning_lab.launch.slurm import cancel
from reasoning_lab.launch.sweep_folder import CellStatus, Sweep, count_words, is_local
from reasoning_lab.launch.terminal import terminal

MOST_ROWS = 40
"""Cells that status shows one by one."""
SHOWN_FIRST = ("failed", "killed", "lost", "interrupted", "preempted", "running", "queued", "waiting", "completed")
STYLES = {
    "failed": "red",
    "killed": "red",
    "lost": "red",
    "interrupted": "yellow",
    "preempted": "yellow",
    "running": "cyan",
    "completed": "green",
}


def sweep_command(arguments: Sequence[str]) -> int:
    """Do what a verb says; the exit status."""
    told = _parser().parse_args(arguments)
    console = terminal()
    sweep = Sweep(_sweep_folder(told.folder))
    verbs = {"status": _status, "collect": _collect, "cancel": _cancel, "retry": _retry, "dashboard": _dashboard,
             "agent-file": _agent_file}  # fmt: skip
    return verbs[told.verb](sweep, told, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasoning-lab sweep", description="A sweep, from any terminal, on any day.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    told = {
        "status": "how every cell stands",
        "collect": "write table and page of what is completed, also while cells are at work",
        "cancel": "end what is queued or at work; what is done is kept",
        "retry": "run again what is not completed and not at work; finished answers are not drawn again",
    }
    told |= {
        "dashboard": "save a W&B workspace of it: heat map, parallel coordinates, accuracy against tokens",
        "agent-file": "print the yaml of a W&B sweep of the same cells, for `wandb sweep` and `wandb agent`",
    }
    for verb, what in told.items():
        one = verbs.add_parser(verb, help=what, description=what)
        one.add_argument("folder", type=Path, help="the sweep's folder, outputs/sweeps/NAME/TIME; of NAME the newest")
        if verb == "status":
            one.add_argument("--all", action="store_true", help=f"every cell; else at most {MOST_ROWS}")
    return parser


def _sweep_folder(folder: Path) -> Path:
    """The folder, or the newest sweep in it."""
    if (folder / "sweep.json").exists() or not folder.is_dir():
        return folder
    newest = sorted(folder.glob("*/sweep.json"), key=lambda file: file.parent.name)
    return newest[-1].parent if newest else folder


def _states(sweep: Sweep) -> list[CellStatus]:
    return sweep.states(ask(sweep))


def _status(sweep: Sweep, told: argparse.Namespace, console: Console) -> int:
    states = _states(sweep)
    console.print(f"{sweep.folder}\n{sweep.command}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(states)} cells: {count_words(states)}", highlight=False)
    ordered = sorted(states, key=lambda each: (SHOWN_FIRST.index(each.state), each.number))
    shown = ordered if told.all else ordered[:MOST_ROWS]
    table = Table()
    for column in ("cell", "what", "state", "", "job"):
        table.add_column(column, overflow="fold")
    for each in shown:
        state = f"[{STYLES.get(each.state, 'white')}]{each.state}[/]"
        table.add_row(str(each.number), escape(each.name), state, escape(each.why), each.job or "")
    console.print(table)
    if len(shown) < len(ordered):
        console.print(f"... and {len(ordered) - len(shown)} more; --all shows them.")
    return 0


def _collect(sweep: Sweep, told: argparse.Namespace, console: Console) -> int:
    from reasoning_lab.launch.sweep import sum_up

    return sum_up(sweep, console)


def _cancel(sweep: Sweep, told: argparse.Namespace, console: Console) -> int:
    if (found := ask(sweep)) is None:
        raise ConfigError("SLURM does not answer here; cancel it from a machine where it does.")
    alive = sorted(id for id, (state, _) in found.items() if state != "unknown")
    if elsewhere := sorted(
        {host_of_id(id) for id in found if id not in alive and id in {s.job for s in _states(sweep)}}
    ):
        console.print(f"What runs on {', '.join(elsewhere)}, if anything, is cancelled from there.")
    if not alive:
        console.print("Nothing of it is queued or at work.")
        return 0
    for id in filter(is_local, alive):
        os.kill(pid_of_id(id), signal.SIGTERM)
    if jobs := [id for id in alive if not is_local(id)]:
        cancel(jobs)
    console.print(f"Cancelled: {', '.join(alive)}. What was at work is saved; `sweep retry` goes on.", soft_wrap=True)
    return 0


def _retry(sweep: Sweep, told: argparse.Namespace, console: Console) -> int:
    from reasoning_lab.launch.sweep import start

    def choose(states: list[CellStatus]) -> list[int]:
        busy = set(sweep.at_work(states))
        left = [each.number for each in states if each.state != "completed" and each.number not in busy]
        if left:
            console.print(f"Running again {len(left)} of {len(states)} cells.")
        else:
            console.print(f"Nothing to run again: {count_words(states)}.")
        return left

    return start(sweep, choose, console, sweep.launching.submit)


def _dashboard(sweep: Sweep, told: argparse.Namespace, console: Console) -> int:
    from reasoning_lab.launch.tracking.workspace import save_dashboard

    console.print(f"Saved: {save_dashboard(sweep.folder, os.environ)}", highlight=False, soft_wrap=True)
    return 0


def _agent_file(sweep: Sweep, told: argparse.Namespace, console: Console) -> int:
    from reasoning_lab.launch.tracking.agent import agent_file

    sys.stdout.write(agent_file(sweep.overrides, sweep.folder.parent.name))
    return 0
