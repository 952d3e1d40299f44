"""Which of a sweep's jobs are not over, as the cluster or this machine says now."""

import os
import socket

from reasoning_lab.disk import process_start
from reasoning_lab.launch.slurm import ask_queue
from reasoning_lab.launch.sweep_folder import Sweep, is_local


def ask(sweep: Sweep) -> dict[str, tuple[str, str]] | None:
    """By id of the sweep's jobs that are not over: (queued or running, why), or (unknown, where) of a process on
    another machine; None where SLURM can't be asked."""
    ids = [job.id for job in sweep.sent()]
    ours = [id for id in ids if is_local(id)]
    queue = ask_queue([id for id in ids if not is_local(id)])
    if queue is None:
        return None
    here = socket.gethostname()
    queue |= {id: ("running", "") for id in ours if host_of_id(id) == here and local_id(pid_of_id(id)) == id}
    return queue | {id: ("unknown", f"on {host_of_id(id)}") for id in ours if host_of_id(id) != here}


def host_of_id(id: str) -> str:
    """The machine of a process."""
    return id.split(":")[0]


def pid_of_id(id: str) -> int:
    """The number of a process."""
    return int(id.split(":")[1])


def local_id(pid: int | None = None) -> str:
    """A process of this machine, by default this one, named for good."""
    pid = pid or os.getpid()
    return f"{socket.gethostname()}:{pid}:{process_start(pid)}"
