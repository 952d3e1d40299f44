"""A launcher's shell lines: code for the job by their very purpose, so they come from the command line or from the
lab's own multirun_launchers/, never from a file that was handed in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from reasoning_lab.launch.errors import ConfigError

SHELL_KEYS = ("setup", "teardown", "additional_parameters", "srun_args", "python", "command")
"""Of a launcher: what reaches a shell or sbatch as it is; lists and mappings of any other name are held to the same."""
_KEY = "hydra.launcher"


def check_shell_lines(hydra: Mapping[str, Any], overrides: Sequence[str], own: Path) -> None:
    """ConfigError unless what the resolved launcher gives to the shell is what the command line or the lab says.

    Where a value came from is lost when Hydra has merged it. So what it may be is made anew: the lab's files of the
    chosen launcher and sweep in `own`, then the overrides that were typed, both as they are written.
    """
    launcher = hydra.get("launcher") or {}
    for key, value in launcher.items():
        _check_text(f"{_KEY}.{key}", value)
    allowed = _allowed(hydra, overrides, own)
    for key, value in launcher.items():
        is_shell = key in SHELL_KEYS or isinstance(value, (list, dict))
        if is_shell and value and value != allowed.get(key):
            raise ConfigError(
                f"{_KEY}.{key}: is given to a shell, and comes from a file that is not the lab's; type it out as "
                f"{_KEY}.{key}=... on the command line, or set it in multirun_launchers/hydra/launcher."
            )


def _allowed(hydra: Mapping[str, Any], overrides: Sequence[str], own: Path) -> dict[str, Any]:
    choices = (hydra.get("runtime") or {}).get("choices") or {}
    found = _own_file(own / "hydra" / "launcher", choices.get("hydra/launcher"))
    sweep = _own_file(own / "sweep", choices.get("sweep"))
    found |= ((sweep.get("hydra") or {}).get("launcher")) or {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key == _KEY and isinstance(override.value(), dict):
            found |= override.value()
        elif key.startswith(f"{_KEY}.") and not override.is_delete() and not override.is_sweep_override():
            _set(found, key.removeprefix(f"{_KEY}.").split("."), override.value())
    return found


def _own_file(folder: Path, name: Any) -> dict[str, Any]:
    """One of the lab's files by its option's name, and what it is derived from in the same folder."""
    file = folder / f"{name}.yaml"
    if not isinstance(name, str) or "/" in name or not file.is_file():
        return {}
    data = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    found: dict[str, Any] = {}
    for base in data.get("defaults") or []:
        if isinstance(base, str) and base not in ("_self_", name):
            found |= _own_file(folder, base)
    return found | {key: value for key, value in data.items() if key != "defaults"}


def _set(node: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Sets a nested key without touching what it was copied from."""
    if len(keys) == 1 and isinstance(value, dict) and isinstance(node.get(keys[0]), dict):
        node[keys[0]] = node[keys[0]] | value
    elif len(keys) == 1:
        node[keys[0]] = value
    else:
        inner = node.get(keys[0])
        node[keys[0]] = dict(inner) if isinstance(inner, dict) else {}
        _set(node[keys[0]], keys[1:], value)


def _check_text(where: str, value: Any) -> None:
    """One line: each becomes a line of a batch script, and a second would be a command."""
    texts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else [value]
    if any(isinstance(text, str) and not text.isprintable() for text in texts):
        raise ConfigError(f"{where}: has a line break or a control character; write one line.")
