"""Code and libraries that a result comes from."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

VERSIONS_OF = ("reasoning_lab", "torch", "transformers", "numpy", "hydra-core", "omegaconf", "wandb", "mpmath")
"""Distributions named in every row."""


def provenance() -> dict[str, Any]:
    """Commit and versions."""
    versions = {"python": sys.version.split()[0]}
    for package in VERSIONS_OF:
        try:
            versions[package] = version_of(package)
        except PackageNotFoundError:
            continue
    return {"git": git_state(), "versions": versions}


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
