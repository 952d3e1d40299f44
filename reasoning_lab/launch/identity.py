"""What a sweep is made from: the same command from the same code, config and files would do the same again."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_lab.launch.compose import CONFIG_NAME, lab_root
from reasoning_lab.launch.options import KEYS
from reasoning_lab.launch.provenance import versions

HOW = (*KEYS, "hydra/launcher", "hydra.launcher")
"""Keys that say how and where cells run, never what they are."""
MOST_FILES = 1000
"""Files of a model's folder that are looked at."""


def identity_of(overrides: Sequence[str], config_dir: Path | None, config_name: str | None = None) -> str:
    """sha256 over the overrides that say what to do, the files of config and code, and the libraries' versions."""
    root, package = lab_root(), Path(__file__).resolve().parents[1]
    trees = [root / "conf", root / "multirun_launchers", *([config_dir] if config_dir else [])]
    said = [override for override in overrides if not _is_how(override)]
    content = hashlib.sha256()
    for file in (*_files(trees, "*.yaml"), *_files([package], "*.py")):
        content.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    told = [said, config_name or CONFIG_NAME, content.hexdigest(), versions(), str(Path.cwd())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _is_how(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    return any(key == how or key.startswith(f"{how}.") for how in HOW)


def _files(folders: Iterable[Path], pattern: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob(pattern))


def files_of(configs: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Size and time [ns] of the local files that the configs name under a key `path`, such as weights and problems."""
    found: dict[str, list[int]] = {}
    for place in {path for config in configs for path in _paths(config)}:
        for file in _within(Path(place)):
            stat = file.stat()
            found[str(file)] = [stat.st_size, stat.st_mtime_ns]
    return found


def _paths(node: Any) -> Iterator[str]:
    """Values of the keys `path` of a tree of plain data."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "path" and isinstance(value, str):
                yield value
            yield from _paths(value)
    elif isinstance(node, list):
        for value in node:
            yield from _paths(value)


def _within(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(file for file in place.iterdir() if file.is_file())[:MOST_FILES] if place.is_dir() else []


def is_unchanged(files: Mapping[str, Sequence[int]]) -> bool:
    """Whether the files are those that were looked at then."""
    for name, (size, time) in files.items():
        try:
            stat = os.stat(name)
        except OSError:
            return False
        if (stat.st_size, stat.st_mtime_ns) != (size, time):
            return False
    return True
