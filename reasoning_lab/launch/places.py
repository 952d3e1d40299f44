"""Every folder and file that a run writes lies below `outputs`, links followed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasoning_lab.launch.errors import ConfigError

SAVED_CONFIG = ".hydra"
"""Folder of a run's own config, where status, retries and jobs look for it."""
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,127}", re.ASCII)


def check_places(hydra: Mapping[str, Any], outputs: str) -> None:
    """ConfigError for the folder or file name of a resolved `hydra` node that leaves `outputs`."""
    check_below("hydra.run.dir", hydra["run"]["dir"], outputs)
    sweep = hydra["sweep"]
    check_below("hydra.sweep.dir", sweep["dir"], outputs)
    subdir = str(sweep["subdir"])
    if not _is_below(Path(sweep["dir"], subdir), Path(sweep["dir"])) or _odd(subdir):
        raise ConfigError(f"hydra.sweep.subdir={subdir}: must stay in the sweep's folder; drop the override.")
    check_below("hydra.runtime.output_dir", hydra["runtime"]["output_dir"], outputs)
    if hydra.get("output_subdir") != SAVED_CONFIG:
        raise ConfigError(
            f"hydra.output_subdir={hydra.get('output_subdir')}: must be {SAVED_CONFIG}, where a job looks for its "
            "config; drop the override."
        )
    name = hydra["job"]["name"]
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConfigError(f"hydra.job.name={name}: names a log file; must be letters, digits, '.', '_' and '-'.")
    if (folder := (hydra.get("launcher") or {}).get("submitit_folder")) is not None:
        check_below("hydra.launcher.submitit_folder", folder, outputs)


def check_below(key: str, path: Any, outputs: str) -> None:
    """ConfigError unless the path lies below `outputs`, wherever links on the way lead."""
    if not isinstance(path, str) or not path.strip() or _odd(path):
        raise ConfigError(f"{key}={path!r}: must be a path below outputs={outputs}.")
    if not _is_below(Path(path), Path(outputs)):
        real = os.path.realpath(path)
        led = "" if real == os.path.abspath(path) else f" (it leads to {real})"
        raise ConfigError(f"{key}={path}{led}: must be below outputs={outputs}; set outputs instead.")


def _is_below(path: Path, folder: Path) -> bool:
    """As written and with all links followed: `outputs/runs -> elsewhere` is elsewhere; `outputs` itself may be a
    link."""
    written = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))
    return written and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _odd(text: str) -> bool:
    return text.startswith("~") or not text.isprintable()
