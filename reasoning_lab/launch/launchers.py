"""Where the cells of a sweep run: options of the group hydra/launcher."""

from dataclasses import dataclass
from typing import Any

from reasoning_lab.checks import require, require_count

RESOLUTION_SECONDS = 60
"""SLURM may send the warning signal up to this much earlier than asked for [s]."""


@dataclass(frozen=True)
class Launcher:
    """Base of the launchers."""

    processes: int
    """Cells at work side by side, each in a process of its own; under SLURM in one job, on its GPU."""

    def __post_init__(self) -> None:
        require_count(self, "processes")


@dataclass(frozen=True)
class BasicLauncher(Launcher):
    """One cell after the other, shown in this terminal."""

    processes: int = 1


@dataclass(frozen=True)
class LocalLauncher(Launcher):
    """Several cells at a time on this machine; their output is in their folders."""


@dataclass(frozen=True)
class SlurmLauncher(Launcher):
    """Jobs of a SLURM cluster: one array, and before it one job for what cells share."""

    name: str
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    nodes: int
    tasks_per_node: int
    gpus_per_node: int | None
    cpus_per_task: int | None
    mem_gb: float | None
    timeout_min: int
    signal_delay_s: int
    """Warning before the time limit, in which a job saves its chains and is queued again."""
    max_num_timeout: int
    """Most times that one job is queued again."""
    array_parallelism: int
    """Most jobs at a time."""
    additional_parameters: dict[str, Any]
    setup: tuple[str, ...] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "timeout_min", "array_parallelism")
        for one in ("nodes", "tasks_per_node"):
            require(getattr(self, one) == 1, one, getattr(self, one), "1", "a cell runs on one node, in one task")
        require(self.max_num_timeout >= 0, "max_num_timeout", self.max_num_timeout, "at least 0", "0 never goes on")
        longest = self.timeout_min * 60 - RESOLUTION_SECONDS - 10
        require(
            1 <= self.signal_delay_s <= longest,
            "signal_delay_s",
            self.signal_delay_s,
            f"from 1 to {longest}, for SLURM warns up to {RESOLUTION_SECONDS} s earlier than asked",
            "lower signal_delay_s or raise timeout_min; saving takes less than 5 s",
        )
