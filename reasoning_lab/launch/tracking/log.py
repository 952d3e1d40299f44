"""The local log is the truth; a dashboard is a mirror of it.

A run appends its events to metrics.jsonl and keeps summary.json beside it. Where a dashboard is wanted, a child process
reads that file and repeats it there (`mirror`): nothing that happens to it (no network, a hanging server, a crash) can
change the run, and the run's end waits for it for a bounded time. `python -m reasoning_lab.launch.tracking FOLDER`
repeats a finished run's log at any later time, under the same id.
"""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from reasoning_lab.launch.tracking.mirror import LOG, await_mirror, start_mirror

MOST_ROWS = 500
"""Rows of a table that are logged; the report's files have them all."""


@dataclass(frozen=True)
class RunInfo:
    """What a run is, for a dashboard."""

    project: str
    entity: str | None
    group: str | None
    """The sweep; of a single run its experiment, or pair and benchmark."""
    kind: str
    """The stage."""
    name: str
    """What a reader sees."""
    config: dict[str, Any]
    """The resolved config as plain data, and short choices as `choice/<group>`."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    command: tuple[str, ...] = ()
    """Program and arguments as they were typed."""
    commit: str | None = None
    """Of the checkout that the code runs from."""


class Tracker:
    """Metrics, tables and images of one run; a context manager."""

    def __init__(
        self, folder: Path, info: RunInfo | None = None, mode: str = "disabled", backend: str = "wandb"
    ) -> None:
        self.folder = folder
        self._mode, self._backend = mode, backend
        self._info = info
        self._step = -1
        self._summary: dict[str, Any] = {}
        self._mirror: subprocess.Popen[bytes] | None = None
        self._handle: IO[str] | None = None

    def __enter__(self) -> "Tracker":
        self.folder.mkdir(parents=True, exist_ok=True)
        offset = (self.folder / LOG).stat().st_size if (self.folder / LOG).exists() else 0
        self._handle = (self.folder / LOG).open("a", encoding="utf-8")
        info = vars(self._info) if self._info else {}
        self._write("start", id=stable_id(self.folder), pid=os.getpid(), info=info)
        if self._mode != "disabled":
            self._mirror = start_mirror(self.folder, self._backend, self._mode, offset)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._write("finish", failed=kind is not None)
        assert self._handle is not None
        self._handle.close()
        if self._mirror is not None:
            await_mirror(self._mirror, self.folder)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """A point of every metric's curve; steps only grow."""
        self._step = self._step + 1 if step is None else max(step, self._step)
        self._write("log", step=self._step, values=dict(metrics))

    def define(self, axes: Mapping[str, str]) -> None:
        """By metric, the one that is its x axis; said before its first point."""
        self._write("define", axes=dict(axes))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final values, one per name."""
        self._summary |= values
        partial = self.folder / "summary.json.partial"
        partial.write_text(json.dumps(self._summary, indent=1, sort_keys=True))
        os.replace(partial, self.folder / "summary.json")
        self._write("summary", values=dict(values))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; beyond MOST_ROWS only its first rows are logged."""
        shown = [list(row) for row in rows[:MOST_ROWS]]
        self._write("table", name=name, columns=list(columns), rows=shown, n=len(rows))

    def images(self, images: Mapping[str, Path]) -> None:
        """Pictures by name."""
        self._write("images", paths={name: str(Path(path).absolute()) for name, path in images.items()})

    def artifact(self, kind: str, slug: str, key: str, folder: Path, is_new: bool) -> None:
        """An artifact that the run made (`is_new`) or found, by reference: a dashboard's lineage of runs."""
        self._write("artifact", name=f"{kind}-{slug}", type=kind, key=key, path=str(folder.absolute()), is_new=is_new)

    def link(self, name: str, path: Path) -> None:
        """Where a result lies."""
        self.summary({f"path/{name}": str(path)})

    def _write(self, kind: str, **data: Any) -> None:
        assert self._handle is not None, "Tracker is used outside its with-block"
        line = json.dumps({"kind": kind, "time": round(time.time(), 3), **data}, default=_plain)
        self._handle.write(line + "\n")
        self._handle.flush()


def _plain(value: Any) -> Any:
    """Numbers of other libraries, paths and records as JSON has them."""
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def stable_id(folder: Path) -> str:
    """The run's id on a dashboard, made once and kept in its folder, so that a restarted job goes on with its own run;
    of a run that a W&B agent started, the one that the agent gave it."""
    file = folder / "wandb_id"
    if not file.exists():
        given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        file.write_text(given or secrets.token_hex(6))
    return file.read_text().strip()
