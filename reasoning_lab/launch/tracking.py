"""The local log is the truth; W&B is a mirror of it.

A run appends its events to metrics.jsonl and keeps summary.json beside it. Where W&B is on, a child process reads that
file and repeats it to W&B: nothing that happens there (no network, a hanging server, a crash) can change the run, and
its end waits for the mirror for a few seconds at most. `python -m reasoning_lab.launch.tracking FOLDER` repeats a
finished run's log at any later time, under the same id.
"""

import argparse
import contextlib
import json
import netrc
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

LOG = "metrics.jsonl"
MODES = ("auto", "online", "offline", "disabled")
FINISH_SECONDS = 10.0
"""Most time that a run's end waits for its mirror [s]."""
ALIVE_SECONDS = 3.0
"""Time in which a W&B server must answer anything at all to be tried [s]."""
MOST_ROWS = 500
"""Rows of a table that are logged; the report's files have them all."""


@dataclass(frozen=True)
class RunInfo:
    """What a run is, for a dashboard."""

    project: str
    entity: str | None
    group: str | None
    """The sweep."""
    kind: str
    """The stage."""
    name: str
    config: dict[str, Any]
    """The resolved config as plain data."""


class Tracker:
    """Metrics, tables and images of one run; a context manager."""

    def __init__(self, folder: Path, info: RunInfo | None = None, mode: str = "disabled") -> None:
        self.folder = folder
        self._mode = mode
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
        self._write("start", id=_stable_id(self.folder), info=info)
        if self._mode != "disabled":
            self._mirror = _start_mirror(self.folder, self._mode, offset)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._write("finish", failed=kind is not None)
        assert self._handle is not None
        self._handle.close()
        if self._mirror is not None:
            _await_mirror(self._mirror, self.folder)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """A point of every metric's curve; steps only grow."""
        self._step = self._step + 1 if step is None else max(step, self._step)
        self._write("log", step=self._step, values=dict(metrics))

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

    def link(self, name: str, path: Path) -> None:
        """Where a result lies."""
        self.summary({f"path/{name}": str(path)})

    def _write(self, kind: str, **data: Any) -> None:
        assert self._handle is not None, "Tracker is used outside its with-block"
        self._handle.write(json.dumps({"kind": kind, "time": round(time.time(), 3), **data}, default=_plain) + "\n")
        self._handle.flush()


def _plain(value: Any) -> Any:
    """Numbers of other libraries, paths and records as JSON has them."""
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def _stable_id(folder: Path) -> str:
    """The run's W&B id, made once and kept in its folder, so that a restarted job goes on with its own run."""
    file = folder / "wandb_id"
    if not file.exists():
        file.write_text(secrets.token_hex(6))
    return file.read_text().strip()


# -- which mode --------------------------------------------------------------------------------------------------------


def resolve_mode(wanted: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """online, offline or disabled, and a notice where the user should know why."""
    if wanted != "auto":
        return wanted, None
    named = environment.get("WANDB_MODE", "")
    if named in MODES[1:]:
        return named, None
    if named:
        return "offline", f"W&B: WANDB_MODE={named} is none of {', '.join(MODES[1:])}; this run is logged offline."
    if has_key(environment):
        return "online", None
    return "offline", (
        "W&B: no API key found, so this run is logged offline, in its folder. Set WANDB_API_KEY or run `wandb login` "
        "to log online, `tracking=local` to do without W&B."
    )


def has_key(environment: Mapping[str, str]) -> bool:
    """Whether a W&B key exists, in the environment or in netrc; its value is not kept."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    file = environment.get("NETRC") or str(Path(environment.get("HOME", "~")).expanduser() / ".netrc")
    try:
        return netrc.netrc(file).authenticators(_host(environment)) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _base_url(environment: Mapping[str, str]) -> str:
    return environment.get("WANDB_BASE_URL") or "https://api.wandb.ai"


def _host(environment: Mapping[str, str]) -> str:
    return urlparse(_base_url(environment)).hostname or ""


# -- the mirror's process ----------------------------------------------------------------------------------------------


def _start_mirror(folder: Path, mode: str, offset: int) -> subprocess.Popen[bytes] | None:
    command = [
        sys.executable,
        "-m",
        "reasoning_lab.launch.tracking",
        str(folder),
        "--mode",
        mode,
        "--after",
        str(offset),
    ]
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    try:
        # A session of its own: Ctrl-C reaches the run alone, which then finishes its log, and the mirror with it.
        return subprocess.Popen(
            [*command, "--parent", str(os.getpid())], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
    except OSError as error:
        _notice(f"W&B: not started ({error}); the local log goes on.")
        return None


def _await_mirror(mirror: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        mirror.wait(FINISH_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(mirror.pid, signal.SIGKILL)  # With it its own helper process, which is of the same session.
        mirror.wait()
        again = f"python -m reasoning_lab.launch.tracking {folder}"
        _notice(f"W&B: not done after {FINISH_SECONDS:.0f} s and left; the local log is whole. To repeat it: {again}")


def _notice(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def follow(file: Path, after: int, parent: int | None) -> Iterator[dict[str, Any]]:
    """Events of the log, old and new, until the finish that stands behind byte `after`, or the parent's death."""
    with file.open("rb") as handle:
        while True:
            place = handle.tell()
            line = handle.readline()
            if line.endswith(b"\n"):
                event = _event(line)
                yield event
                if event["kind"] == "finish" and place >= after:
                    return
                continue
            handle.seek(place)  # Nothing new, or half a line.
            if parent is None or os.getppid() != parent:
                yield {"kind": "finish", "failed": True}
                return
            time.sleep(0.2)


def _event(line: bytes) -> dict[str, Any]:
    """The event of a line; one torn by a crash is skipped over."""
    try:
        return json.loads(line)
    except ValueError:
        return {"kind": "torn"}


def mirror(folder: Path, mode: str, after: int = 0, parent: int | None = None) -> None:
    """Repeat a run's log to W&B."""
    try:
        import wandb
    except ImportError:
        _notice("W&B: not installed, so there is the local log alone; `pip install wandb`, or tracking=local.")
        return
    events = follow(folder / LOG, after, parent)
    run = _init(wandb, next(events), folder, mode)
    failed = True
    for number, event in enumerate(events):
        if (values := _values(wandb, event)) is not None:
            run.log(values, step=number)  # The event's place in the log: repeating it twice logs it once.
        elif event["kind"] == "summary":
            run.summary.update(event["values"])
        elif event["kind"] == "finish":
            failed = event["failed"]
    run.finish(exit_code=int(failed))
    os._exit(0)  # All is written and sent; W&B's own usage statistics would wait for a server that may not be there.


def _init(wandb: Any, start: dict[str, Any], folder: Path, mode: str) -> Any:
    """The W&B run; offline with a notice where online can't be had."""
    info = start["info"]
    options = {
        "project": info.get("project") or "reasoning_lab", "entity": info.get("entity"), "group": info.get("group"),
        "job_type": info.get("kind"), "name": info.get("name"), "config": info.get("config"), "id": start["id"],
        "dir": str(folder), "resume": "allow",
    }  # fmt: skip
    settings = {"silent": True, "console": "off", "disable_git": True, "save_code": False, "init_timeout": 8}
    if mode == "online" and (fault := _unreachable(os.environ)) is not None:
        _notice(f"W&B: {_base_url(os.environ)} can't be reached ({fault}); this run is logged offline.")
        mode = "offline"
    try:
        return wandb.init(mode=mode, settings=wandb.Settings(**settings), **options)
    except Exception as error:  # Whatever W&B raises must not cost the log.
        if mode != "online":
            raise
        _notice(f"W&B: {type(error).__name__} at the start; this run is logged offline.")
        return wandb.init(mode="offline", settings=wandb.Settings(**settings), **options)


def _unreachable(environment: Mapping[str, str]) -> str | None:
    """Why no server answers, or None; any HTTP answer below 500 but "too many requests" counts as alive."""
    try:
        with urllib.request.urlopen(_base_url(environment), timeout=ALIVE_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code < 500 and error.code != 429 else f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return type(error).__name__


def _values(wandb: Any, event: dict[str, Any]) -> dict[str, Any] | None:
    """What an event adds to the history, or None."""
    if event["kind"] == "log":
        return event["values"] | {"step": event["step"]}
    if event["kind"] == "table":
        rows = [[str(cell) if isinstance(cell, (list, dict)) else cell for cell in row] for row in event["rows"]]
        return {event["name"]: wandb.Table(columns=event["columns"], data=rows, allow_mixed_types=True)}
    if event["kind"] == "images":
        return {name: wandb.Image(path) for name, path in event["paths"].items() if Path(path).is_file()} or None
    return None


def _main() -> None:
    parser = argparse.ArgumentParser(description="Repeat a run's local log to W&B.")
    parser.add_argument("folder", type=Path, help="the run's folder, with metrics.jsonl")
    parser.add_argument("--mode", choices=MODES, default="auto")
    parser.add_argument("--after", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.folder / LOG).is_file():
        parser.error(f"{arguments.folder} has no {LOG}; give a run's folder.")
    mode, notice = resolve_mode(arguments.mode, os.environ)
    if notice:
        _notice(notice)
    if mode != "disabled":
        mirror(arguments.folder, mode, arguments.after, arguments.parent)


if __name__ == "__main__":
    _main()
