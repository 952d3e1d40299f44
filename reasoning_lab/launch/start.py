"""From a checked command line to work: a single run here, a sweep in its lanes or jobs."""

import argparse
import sys
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from reasoning_lab.disk import disk_error
from reasoning_lab.launch.check import (
    Launch,
    check_run,
    check_sweep,
    composer_of,
    is_folder_given,
    launching_of,
    make_folder,
)
from reasoning_lab.launch.compose import resolved, resolved_hydra
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.folders import Submitted, write_submitted
from reasoning_lab.launch.identity import identity_of
from reasoning_lab.launch.options import Launching
from reasoning_lab.launch.queue import ask
from reasoning_lab.launch.sweep_folder import CellStatus, find_same
from reasoning_lab.launch.terminal import terminal


def run_one(arguments: argparse.Namespace) -> int:
    """A single run, in this process; the exit status."""
    launch = check_run(composer_of(arguments), arguments.overrides)
    if launch.launching.dry_run:
        return _plan(launch, terminal())
    from reasoning_lab.launch.job import save_on_signals

    make_folder(launch.folder, launch.experiments[0].outputs, is_folder_given(launch))
    save_on_signals()
    return work_here(launch.runs[0])


def work_here(run: Submitted) -> int:
    """Write a run down, and do it in this process; the exit status. Its error, or the disk's, is one line."""
    from reasoning_lab.launch.job import work

    try:
        write_submitted(run)
        error = work(run.folder).error
    except OSError as raised:
        if (told := disk_error(raised, run.folder)) is None:
            raise
        error = str(told)
    if error is not None:
        told = error.removeprefix("ValueError: ").removeprefix("ConfigError: ")
        sys.stderr.write(f"error: {told}\n(traceback: {run.folder / 'main.log'})\n")
    return 0 if error is None else 1


def run_sweep(arguments: argparse.Namespace) -> int:
    """A sweep; the exit status."""
    composer, console = composer_of(arguments), terminal()
    master = composer.compose(arguments.overrides, multirun=True)
    n, launching = composer.count_cells(master), launching_of(master)
    plain = resolved(master) | {"hydra": resolved_hydra(master)}
    identity = identity_of(arguments.overrides, composer.config_dir, arguments.config_name, plain)
    is_named = any(each.startswith("hydra.sweep.dir=") for each in arguments.overrides)
    if launching.resume and not (launching.dry_run or is_named):
        status = _resumed(master, identity, launching, console)
        if status is not None:
            return status
    what = f"up to {n:,} cells, chosen as it goes" if composer.is_search(master) else f"{n:,} cells"
    console.print(f"{what}; composing and checking them", highlight=False)
    launch = check_sweep(composer, master, arguments.overrides)
    if launching.dry_run:
        return _plan(launch, console)
    from reasoning_lab.launch.sweep import create_sweep, start

    sweep = create_sweep(launch, identity)
    if launch.search is not None:
        from reasoning_lab.launch.search import run_search

        return run_search(launch, composer, sweep, console)
    return start(sweep, lambda _: sweep.left(), console, launching.submit)


def _plan(launch: Launch, console: Console) -> int:
    """Say what would be done, and do none of it."""
    from reasoning_lab.artifacts.base import Context
    from reasoning_lab.artifacts.plan_words import print_plan
    from reasoning_lab.artifacts.store import Store
    from reasoning_lab.launch.launchers import SlurmLauncher
    from reasoning_lab.launch.sweep import cells_per_process
    from reasoning_lab.stages import plan_of

    experiments, launcher = launch.experiments, launch.launcher
    each = 1 if launcher is None else cells_per_process(len(experiments), launch.launching, launcher)
    store = Store((Path(experiments[0].outputs) / "artifacts").absolute())
    context = Context(store, experiments[0].runtime, console)
    print_plan(plan_of(experiments, context, each, isinstance(launcher, SlurmLauncher)), console)
    return 0


def _resumed(master: DictConfig, identity: str, launching: Launching, console: Console) -> int | None:
    """Go on in the folder of the same sweep, launched as it is launched now; None where there is none."""
    sweep = find_same(Path(str(master.outputs)), identity)
    if sweep is None or sweep.is_search:
        return None
    states = sweep.states(ask(sweep))
    if all(each.state == "completed" for each in states):
        console.print(
            f"All {len(states)} cells of this sweep were completed before, from the same code, config and files: "
            f"{sweep.folder}\nSweep page: {sweep.folder / 'report' / 'sweep.html'}\n(resume=false starts it anew.)",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        return 0
    from reasoning_lab.launch.sweep import start

    def choose(states: list[CellStatus]) -> list[int]:
        if busy := again.at_work(states):
            raise ConfigError(
                f"{len(busy)} cells of this very sweep are queued or at work: {again.folder}; see `reasoning-lab sweep "
                "status` with that folder, end them by `sweep cancel`, or start another one by resume=false."
            )
        left = [each.number for each in states if each.state != "completed"]
        said = f"Going on with {len(left)} of {len(states)} cells: {again.folder}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
        return left

    again = sweep.launch_again(launching, resolved_hydra(master)["launcher"])
    return start(again, choose, console, launching.submit)
