"""A run's events as W&B has them."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOST = ("fatal error", "failed to upload", "failed to log artifact", "returned error")
"""In W&B's own log: the words of errors after which not everything has arrived, though its end came in peace."""
SHOWN_SECONDS = 15.0
"""Between two system metrics [s]."""


def repeat_to_wandb(start: dict[str, Any], events: Iterator[dict[str, Any]], folder: Path, mode: str) -> str | None:
    """Repeat a run's events; why they have not all arrived, or None. `start` is the newest beginning among them."""
    info, pid = start["info"], start.get("pid", os.getpid())
    # W&B reads the arguments of this process, and means those of the run.
    sys.argv = list(info.get("command") or ["reasoning-lab"])
    import wandb

    try:
        run = wandb.init(mode=mode, settings=_settings(wandb, info, pid), **_options(info, start["id"], folder))  # pyright: ignore[reportArgumentType]
    except Exception as error:
        return _words(error)
    failed = True
    for number, event in enumerate(events):
        if (values := _values(wandb, event)) is not None:
            run.log(values, step=number)  # The event's place in the log: repeating it twice logs it once.
        elif event["kind"] == "define":
            for name, axis in event["axes"].items():
                run.define_metric(name, step_metric=axis)
        elif event["kind"] == "summary":
            run.summary.update(event["values"])
        elif event["kind"] == "artifact":
            _link(wandb, run, event)
        elif event["kind"] == "finish":
            failed = event["failed"]
    logs = Path(run.settings.log_internal)
    run.finish(exit_code=int(failed))
    return _lost(logs) if mode == "online" else None


def _settings(wandb: Any, info: dict[str, Any], pid: int) -> Any:
    """Program, commit and system metrics are the run's: this process is its mirror."""
    program = sys.argv[0]
    return wandb.Settings(
        silent=True, console="off", save_code=False, init_timeout=8, disable_git=True, git_commit=info.get("commit"),
        program=program, program_abspath=program, program_relpath=program,
        x_stats_pid=pid, x_stats_track_process_tree=True, x_stats_sampling_interval=SHOWN_SECONDS,
    )  # fmt: skip


def _options(info: dict[str, Any], id: str, folder: Path) -> dict[str, Any]:
    return {
        "project": info.get("project") or "reasoning_lab", "entity": info.get("entity"), "group": info.get("group"),
        "job_type": info.get("kind"), "name": info.get("name"), "config": info.get("config"), "id": id,
        "tags": list(info.get("tags") or ()), "notes": info.get("notes") or None, "dir": str(folder), "resume": "allow",
    }  # fmt: skip


def _words(error: Exception) -> str:
    """An error at the start, in words of ours: W&B's own text may hold what the server said."""
    for code, words in (("401", "refuses the key (HTTP 401)"), ("403", "refuses the run (HTTP 403)")):
        if f"error {code}" in str(error):
            return words
    return f"gave no run ({type(error).__name__})"


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


def _link(wandb: Any, run: Any, event: dict[str, Any]) -> None:
    """The run made an artifact, or used it. It is known by its key alone, so every run means the same one."""
    told = {"key": event["key"], "path": event["path"]}
    artifact = wandb.Artifact(event["name"], type=event["type"], metadata=told)
    artifact.add_reference(f"reasoning-lab://{event['type']}/{event['key']}", name=event["key"], checksum=False)
    # As log_artifact and use_artifact, of which the second waits for the server: what fails is told at the end.
    run._log_artifact(
        artifact, aliases=[event["key"][:12]], is_user_created=not event["is_new"], use_after_commit=not event["is_new"]
    )


def _lost(log: Path) -> str | None:
    """Whether W&B's own log tells of data that the server did not take."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if str(told.get("level")).startswith("ERROR") and any(word in told.get("msg", "") for word in LOST):
            return "has not taken everything"
    return None
