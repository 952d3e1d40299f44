"""Code and libraries that a result comes from."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

VERSIONS_OF = ("reasoning_lab", "torch", "transformers", "numpy", "hydra-core", "omegaconf", "wandb", "mpmath")
"""Distributions named in every row."""


def typed(arguments: Sequence[str]) -> str:
    """The command with these arguments, as a shell takes it; what names the run's folder is left out."""
    return shlex.join(["reasoning-lab", *(each for each in arguments if not each.startswith("hydra."))])


def provenance(command: str) -> dict[str, Any]:
    """Command, commit and versions."""
    return {"command": command, "git": git_state(), "versions": versions()}


def versions() -> dict[str, str]:
    """Of Python and the libraries that numbers depend on."""
    found = {"python": sys.version.split()[0]}
    for package in VERSIONS_OF:
        try:
            found[package] = version_of(package)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether it differs from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
