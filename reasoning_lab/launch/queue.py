"""Which of a sweep's jobs are not over, as the cluster or this machine says now."""

import os
import socket

from reasoning_lab.disk import process_start
from reasoning_lab.launch.slurm import ask_queue
from reasoning_lab.launch.sweep_folder import Sweep


def ask(sweep: Sweep) -> dict[str, tuple[str, str]] | None:
    """By id of the sweep's jobs that are not over: (queued or running, why); None where nobody can say."""
    ids = [job.id for job in sweep.sent()]
    if sweep.is_slurm:
        return ask_queue(ids)
    if any(id.partition(":")[0] != socket.gethostname() for id in ids):
        return None
    return {id: ("running", "") for id in ids if local_id(int(id.split(":")[1])) == id}


def local_id(pid: int | None = None) -> str:
    """A process of this machine, by default this one, named for good."""
    pid = pid or os.getpid()
    return f"{socket.gethostname()}:{pid}:{process_start(pid)}"
