"""A run's log with one of everything, and a clean environment for it."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.launch.tracking.log import RunInfo, Tracker
from reasoning_lab.launch.tracking.mirror import LOG
from tests.command import environment

KEY = "feedface" * 5
INFO = RunInfo(
    project="lab",
    entity=None,
    group="power_grid/now",
    kind="report",
    name="power α=4 B=16 · embedded · arithmetic",
    config={"sampler": {"alpha": 4.0}, "arms": ["base", "power"], "choice/sampler": "power"},
    tags=("embedded", "mine"),
    notes="a note",
    command=("reasoning-lab", "sampler.alpha=4"),
    commit="c0ffee",
)
EXAMPLE_LINES = [
    "start", "define", "log", "log", "artifact", "artifact", "table", "images", "summary", "summary", "finish"
]  # fmt: skip


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def files_with(text: str, folder: Path) -> list[Path]:
    """Files below a folder that hold a text."""
    return [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No W&B settings, keys or netrc; a folder."""
    home = tmp_path / "home"
    home.mkdir()
    kept = environment(home)
    for name in list(os.environ):
        if name not in kept:
            monkeypatch.delenv(name)
    for name in ("HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, kept[name])
    return tmp_path


def write_pixel(file: Path) -> None:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0\0"))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + pixel + chunk(b"IEND", b""))


def example(tracker: Tracker, folder: Path) -> None:
    """One of everything: EXAMPLE_LINES."""
    write_pixel(folder / "plot.png")
    tracker.define({"accuracy/power": "graded/power"})
    tracker.log({"accuracy/power": 0.25, "graded/power": 4}, step=0)
    tracker.log({"accuracy/power": 0.5, "graded/power": 8}, step=1)
    tracker.artifact("completions", "embedded-power", "ab" * 32, folder, is_new=True)
    tracker.artifact("completions", "embedded-base", "cd" * 32, folder, is_new=False)
    tracker.table("samples", ["problem", "text", "n"], [["p1", "The answer is 3.", 1], ["p2", ["a", "list"], None]])
    tracker.images({"plot": folder / "plot.png"})
    tracker.summary({"accuracy/power": 0.5, "accuracy/power/low": 0.4})
    tracker.link("page", folder / "report" / "index.html")
