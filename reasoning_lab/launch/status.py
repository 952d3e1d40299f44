"""What a run says of itself, readable from any terminal: status.json, with a heartbeat that a dead one lacks."""

import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.listening import Listener
from reasoning_lab.disk import process_start, write_whole

FILE = "status.json"
HEARTBEAT_SECONDS = 5.0
"""Time between two heartbeats of a run at work [s]."""
LOST_SECONDS = 90.0
"""Age of the last heartbeat beyond which a run that says "running" is lost [s]: clocks of nodes may differ a little,
and a file server may show an old file for a while."""


def write_json(file: Path, data: Mapping[str, Any]) -> None:
    """Write a file as a whole or not at all; several threads and processes may at once."""
    write_whole(file, json.dumps(data, indent=1, default=str).encode())


def read_status(folder: Path) -> dict[str, Any]:
    """What the run in a folder says; {} where it has said nothing yet."""
    try:
        told = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(told, dict):
        return {}
    if told.get("status") == "completed" and not (folder / "row.json").exists():
        return told | {"status": "failed", "error": "completed, but its row.json is gone"}
    return told


def is_lost(told: Mapping[str, Any], now: float) -> bool:
    """Whether a run that says "running" is not: its process is gone from this machine, or it works on another one and
    had no heartbeat for long."""
    if told.get("status") != "running":
        return False
    if told.get("host") == socket.gethostname():
        return not _is_alive(told)
    return now - told.get("heartbeat", 0.0) > LOST_SECONDS


def _is_alive(told: Mapping[str, Any]) -> bool:
    return process_start(told.get("pid", 0)) == told.get("pid_start")


def slurm_job() -> str | None:
    """Id of the SLURM job that this process is part of, as squeue writes it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


class Pulse(Listener):
    """Keeps status.json of a run at work: its progress, and a heartbeat from a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        earlier = read_status(folder)
        self._told: dict[str, Any] = {
            "status": "running",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "pid_start": process_start(os.getpid()),
            "job": slurm_job(),
            "started": round(time.time(), 3),
            "attempt": earlier.get("attempt", 0) + 1,
            "progress": None,
        }
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Say "running" from now on."""
        self._write()
        self._thread.start()

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        """Kept for the next heartbeat."""
        self._told["progress"] = {"label": label, "total": total, "done": done, "tokens": tokens}

    def end(self, status: str, **told: Any) -> None:
        """The last word."""
        with self._lock:
            if not self._is_over.is_set():
                self._is_over.set()
                self._told |= {"status": status} | told
                self._told["heartbeat"] = round(time.time(), 3)
                with suppress(OSError):  # The error that is told is that of the work.
                    write_json(self._folder / FILE, self._told)

    def _beat(self) -> None:
        while not self._is_over.wait(HEARTBEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            if not self._is_over.is_set():
                self._told["heartbeat"] = round(time.time(), 3)
                try:
                    write_json(self._folder / FILE, self._told)
                except OSError:  # A full disk costs heartbeats, which tells enough; the work itself says why.
                    return
