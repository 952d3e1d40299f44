"""A run's events as Trackio has them: a dashboard on this machine, in SQLite, with no account.

Its server's address holds a token that may write: nothing of it is logged here, and no server is started.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ELSEWHERE = (
    "TRACKIO_SPACE_ID",
    "TRACKIO_SERVER_URL",
    "TRACKIO_BUCKET_ID",
    "TRACKIO_WRITE_TOKEN",
    "TRACKIO_WEBHOOK_URL",
)
"""Settings by which Trackio would send what it is told to another machine."""


def repeat_to_trackio(start: dict[str, Any], events: Iterator[dict[str, Any]], folder: Path, mode: str) -> str | None:
    """Repeat a run's events; None, for all of it lies on this machine. Needs the extra `trackio`."""
    del folder, mode
    info = start["info"]
    for name in ELSEWHERE:
        os.environ.pop(name, None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import trackio  # pyright: ignore[reportMissingImports] -- an extra

    project, name = info.get("project") or "reasoning_lab", f"{info.get('name')} ({start['id']})"
    with suppress(ValueError):  # There is none yet. One that is there is written anew: it knows no points twice.
        for earlier in trackio.Api().runs(project):
            if earlier.name == name:
                earlier.delete()
    run = trackio.init(project=project, name=name, group=info.get("group"), config=_config(info), embed=False)
    summary: dict[str, Any] = {}
    for number, event in enumerate(events):
        if (values := _values(trackio, event)) is not None:
            run.log(values, step=number)
        elif event["kind"] == "summary":
            summary |= event["values"]
        elif event["kind"] == "finish":
            run.log({f"final/{name}": value for name, value in summary.items()}, step=number)
    trackio.finish()
    return None


def _config(info: dict[str, Any]) -> dict[str, Any]:
    told = {"tags": ", ".join(info.get("tags") or ()), "notes": info.get("notes"), "stage": info.get("kind")}
    return (
        (info.get("config") or {})
        | told
        | {"command": " ".join(info.get("command") or ()), "commit": info.get("commit")}
    )


def _values(trackio: Any, event: dict[str, Any]) -> dict[str, Any] | None:
    """What an event adds to the curves, or None."""
    if event["kind"] == "log":
        return event["values"]
    if event["kind"] == "images":
        return {name: trackio.Image(path) for name, path in event["paths"].items() if Path(path).is_file()} or None
    if event["kind"] == "table":
        return {event["name"]: trackio.Table(columns=event["columns"], data=event["rows"])}
    return None
