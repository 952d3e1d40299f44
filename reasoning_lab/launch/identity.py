"""What a sweep is made from: the same command from the same code, config and files would do the same again."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_lab.launch.compose import CONFIG_NAME, lab_root
from reasoning_lab.launch.options import KEYS
from reasoning_lab.launch.provenance import versions

HOW = (*KEYS, "hydra/launcher", "hydra.launcher")
"""Keys that say how and where cells run, never what they are."""
VARIABLE = re.compile(r"oc\.env:\s*(\w+)")
"""Name of an environment variable in a config."""
MOST_FILES = 1000
"""Files of a model's folder that are looked at."""


def identity_of(
    overrides: Sequence[str], config_dir: Path | None, config_name: str | None, config: Mapping[str, Any]
) -> str:
    """sha256 over what decides what a sweep does: the overrides that say so, its root as it resolves, the files of
    config and code, the environment variables that those name, the shipped weights, and the libraries' versions.

    Arguments: `config` is the composed root as plain data, Hydra's part with its search path under `hydra`.
    """
    root, package = lab_root(), Path(__file__).resolve().parents[1]
    searched = [Path(each.removeprefix("file://")) for each in config["hydra"].get("searchpath") or []]
    trees = [root / "conf", root / "multirun_launchers", *([config_dir] if config_dir else []), *searched]
    said = [override for override in overrides if not _is_how(override)]
    content, texts = hashlib.sha256(), list(said)
    for file in (*_files(trees, (".yaml", ".yml")), *_files([package], (".py",))):
        data = file.read_bytes()
        content.update(str(file).encode() + b"\0" + data + b"\0")
        texts += [data.decode(errors="replace")] if file.suffix != ".py" else []
    named = sorted({name for text in texts for name in VARIABLE.findall(text)})
    shipped = [
        [str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in _files([package], (".safetensors",))
    ]
    resolved = {key: value for key, value in config.items() if key not in HOW and key != "hydra"}
    told = [
        said, config_name or CONFIG_NAME, content.hexdigest(), {name: os.environ.get(name) for name in named}, shipped,
        resolved, versions(), str(Path.cwd()),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


def _is_how(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    return any(key == how or key.startswith(f"{how}.") for how in HOW)


def _files(folders: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """The folders' files of these suffixes, links followed."""
    found = {
        Path(place, name)
        for folder in folders
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.endswith(suffixes)
    }
    return sorted(found)


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
