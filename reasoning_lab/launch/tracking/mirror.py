"""The mirror's process: it repeats a run's log to a dashboard, and sees to it that a whole copy lies somewhere.

It starts the repetition in a process of its own (an *attempt*). One that goes online and fails, early or late, by a
refused key, a server that dies, or data that never arrived, is given up, and the whole log is repeated offline by a
fresh attempt: the log has everything, so the copy does too. What the user is told of it is said once the copy stands.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_lab.launch.tracking.mode import MODES, host_of, resolve_mode, unreachable

LOG = "metrics.jsonl"
BACKENDS = ("wandb", "trackio")
FINISH_SECONDS = 8.0
"""Most time that an attempt online may take after the run's end [s]."""
COPY_SECONDS = 30.0
"""Most time that the copy offline may take after it [s]; it is done in some two."""
POLL_SECONDS = 0.2
"""Between two looks at the log."""
INCOMPLETE = 4
"""Exit status of an attempt that has not taken everything."""
STAY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals to a job that are none to its mirror."""


# -- the run's side ----------------------------------------------------------------------------------------------------


def start_mirror(folder: Path, backend: str, mode: str, after: int) -> subprocess.Popen[bytes] | None:
    """The mirror of a run whose present part of the log begins at byte `after`."""
    command = _command(folder, backend, mode, "--after", str(after), "--parent", str(os.getpid()))
    try:
        # A session of its own: Ctrl-C reaches the run alone, which then finishes its log, and the mirror with it.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, env=_environment()
        )
    except OSError as error:
        notice(f"{title(backend)}: not started ({error}); the local log goes on.")
        return None


def await_mirror(mirror: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until all is repeated, online or offline."""
    limit = FINISH_SECONDS + COPY_SECONDS + 5
    try:
        mirror.wait(limit)
    except subprocess.TimeoutExpired:
        mirror.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            mirror.wait(1)
        _kill(mirror)
        again = f"python -m reasoning_lab.launch.tracking {folder}"
        notice(f"Dashboard: not done after {limit:.0f} s and left; the local log is whole. To repeat it: {again}")


def notice(text: str) -> None:
    """A line for the user."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def title(backend: str) -> str:
    """What a reader calls it."""
    return {"wandb": "W&B", "trackio": "Trackio"}[backend]


def _command(folder: Path, backend: str, mode: str, *more: str) -> list[str]:
    module = ["-m", "reasoning_lab.launch.tracking", str(folder)]
    return [sys.executable, *module, "--backend", backend, "--mode", mode, *more]


def _environment() -> dict[str, str]:
    package_parent = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


def _kill(process: subprocess.Popen[Any]) -> None:
    """With the helper processes of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# -- reading the log ---------------------------------------------------------------------------------------------------


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
            if parent is None or not _is_alive(parent):
                yield {"kind": "finish", "failed": True}
                return
            time.sleep(POLL_SECONDS)


def _is_alive(process: int) -> bool:
    """Whether a process of this machine runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    with contextlib.suppress(OSError):
        os.kill(process, 0)
        return True
    return False


def _event(line: bytes) -> dict[str, Any]:
    """The event of a line; one torn by a crash is skipped over."""
    try:
        return json.loads(line)
    except ValueError:
        return {"kind": "torn"}


# -- the mirror's side -------------------------------------------------------------------------------------------------


class Source:
    """What an attempt repeats: the log of a folder, from its beginning."""

    def __init__(self, folder: Path, after: int, parent: int | None) -> None:
        self.folder, self.after, self.parent = folder, after, parent

    def events(self) -> Iterator[dict[str, Any]]:
        """See `follow`."""
        return follow(self.folder / LOG, self.after, self.parent)

    def start(self) -> dict[str, Any]:
        """The newest beginning: that of the part of the log that is being written, or was written last."""
        lines = (self.folder / LOG).read_bytes().splitlines()
        return [event for line in lines if (event := _event(line))["kind"] == "start"][-1]

    def arguments(self) -> list[str]:
        """For an attempt's command line."""
        parent = ["--parent", str(self.parent)] if self.parent is not None else []
        return ["--after", str(self.after), *parent]


def mirror(source: Source, backend: str, mode: str) -> None:
    """Repeat a run's log, offline where online did not take everything; tell the user where it is then."""
    if backend == "wandb" and mode == "online":
        fault = unreachable(os.environ)
        why = f"can't be reached ({fault})" if fault else _attempt(source, backend, "online", FINISH_SECONDS)
        if why is None:
            return
        said = f"W&B: {host_of(os.environ)} {why}"
        if _attempt(source, backend, "offline", COPY_SECONDS) is None:
            copy = max(source.folder.glob("wandb/offline-run-*"))
            notice(f"{said}; the whole run is logged offline. To send it: wandb sync {copy}")
        else:
            notice(f"{said}, and no copy could be made; the local log is whole: {source.folder / LOG}")
    elif (why := _attempt(source, backend, mode, COPY_SECONDS)) is not None:
        notice(f"{title(backend)}: {why}; the local log is whole: {source.folder / LOG}")


def _attempt(source: Source, backend: str, mode: str, seconds: float) -> str | None:
    """Why an attempt failed, or None; it may take `seconds` after the run's end."""
    over = threading.Event()
    # What the dashboard's own library prints is not the user's.
    attempt = subprocess.Popen(
        _command(source.folder, backend, mode, "--attempt", *source.arguments()), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, env=_environment(), text=True,
    )  # fmt: skip

    def watch() -> None:
        for _ in source.events():
            pass
        over.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        while attempt.poll() is None and not over.wait(POLL_SECONDS):
            pass
        attempt.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"had not taken everything {seconds:.0f} s after the run's end"
    finally:
        _kill(attempt)
    return None if attempt.returncode == 0 else _why(attempt)


def _why(attempt: "subprocess.Popen[str]") -> str:
    """What a failed attempt said last; it names no secrets."""
    assert attempt.stdout is not None
    said = attempt.stdout.read().strip().splitlines()
    return said[-1] if said else f"ended with status {attempt.returncode}"


def main() -> None:
    """`python -m reasoning_lab.launch.tracking FOLDER`."""
    parser = argparse.ArgumentParser(description="Repeat a run's local log to a dashboard.")
    parser.add_argument("folder", type=Path, help="the run's folder, with metrics.jsonl")
    parser.add_argument("--backend", choices=BACKENDS, default="wandb")
    parser.add_argument("--mode", choices=MODES, default="auto")
    parser.add_argument("--after", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--attempt", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for number in STAY:  # scancel tells every process of a job; this one ends when the run's log does.
        signal.signal(number, signal.SIG_IGN)
    if not (given.folder / LOG).is_file():
        parser.error(f"{given.folder} has no {LOG}; give a run's folder.")
    source = Source(given.folder, given.after, given.parent)
    if given.attempt:
        _repeat(source, given.backend, given.mode)
    mode, why = resolve_mode(given.mode, os.environ)
    if why:
        notice(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Attempts at work are ended on the way out.
    if mode != "disabled":
        mirror(source, given.backend, mode)


def _repeat(source: Source, backend: str, mode: str) -> None:
    """An attempt: ends the process, with what went wrong as its last line."""
    try:
        if backend == "wandb":
            from reasoning_lab.launch.tracking.wandb_run import repeat_to_wandb as repeat
        else:
            from reasoning_lab.launch.tracking.trackio_run import repeat_to_trackio as repeat
        why = repeat(source.start(), source.events(), source.folder, mode)
    except ImportError as error:
        why = f"not installed ({error.name}); `pip install {backend}`, or tracking=local"
    except Exception as error:  # Whatever a dashboard's library raises must not cost the log.
        why = f"failed ({type(error).__name__})"
    os.write(1, (why or "").encode() + b"\n")
    # All is written and sent; W&B's own usage statistics would wait for a server that may not be there.
    os._exit(0 if why is None else INCOMPLETE)
