"""A sweep whose cells are chosen as it goes: Hydra's Optuna sweeper proposes, lanes or jobs run, row.json answers."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from reasoning_lab.launch.check import Launch, submitted
from reasoning_lab.launch.compose import Composer, resolved_hydra
from reasoning_lab.launch.folders import write_submitted
from reasoning_lab.launch.sweep import start
from reasoning_lab.launch.sweep_folder import Sweep
from reasoning_lab.launch.typed import build

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@dataclass(frozen=True)
class Trial:
    """What a sweeper wants to hear of a cell."""

    return_value: float


class SearchLauncher:
    """In the place of Hydra's launcher: writes the proposed cells down, runs them, gives their metric."""

    def __init__(self, composer: Composer, master: DictConfig, sweep: Sweep, console: Console) -> None:
        self._composer = composer
        self._master = master
        self._sweep = sweep
        self._console = console

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Trial]:
        """Run a batch of cells; nan of one that did not complete."""
        numbers = [self._add(tuple(overrides)) for overrides in job_overrides]
        start(self._sweep, lambda _: numbers, self._console, is_submitted=False)
        return [Trial(self._objective(number)) for number in numbers]

    def _add(self, overrides: tuple[str, ...]) -> int:
        cell = self._composer.cell(self._master, overrides)
        build(cell.config)
        number = self._sweep.add_cell(overrides)
        write_submitted(submitted(cell, self._sweep.cell(number), number))
        return number

    def _objective(self, number: int) -> float:
        try:
            told = json.loads((self._sweep.cell(number) / "row.json").read_text())
        except (OSError, ValueError):
            return math.nan
        value = told.get("objective")
        return value if told.get("status") == "completed" and value is not None else math.nan


def run_search(launch: Launch, composer: Composer, sweep: Sweep, console: Console) -> int:
    """Let the sweeper propose cells until it has enough; 1 where one did not complete."""
    assert launch.search is not None
    config: Any = OmegaConf.create(OmegaConf.to_container(launch.search, resolve=False))
    with open_dict(config):
        config.hydra.launcher = {"_target_": BASIC}  # Made by the sweeper, and replaced at once.
        config.hydra.sweep.dir = str(launch.folder)
        config.hydra.sweeper = resolved_hydra(launch.search, launch.folder, 0)["sweeper"]  # As it was checked.
    sweeper: Any = Plugins.instance().instantiate_sweeper(
        hydra_context=HydraContext(config_loader=composer.config_loader, callbacks=None),  # type: ignore[arg-type]
        task_function=lambda _: None,
        config=config,
    )
    sweeper.sweeper.launcher = SearchLauncher(composer, launch.search, sweep, console)
    sweeper.sweep([str(line) for line in launch.search.hydra.overrides.task])
    _tell_best(launch, console)
    return 1 if sweep.left() else 0


def _tell_best(launch: Launch, console: Console) -> None:
    """What the sweeper found; it is the best of many and flattered by the choice."""
    file = launch.folder / "optimization_results.yaml"
    told: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    if "best_params" in told:
        values = " ".join(f"{key}={value}" for key, value in told["best_params"].items())
        console.print(
            f"Best of the cells: {told['best_value']:g} at {values}; the best of many is flattered, so confirm it "
            "on other problems.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
