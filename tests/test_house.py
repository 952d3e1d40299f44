"""Style and types of the whole house, and what a reader finds at its door."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)


def test_ruff_is_clean() -> None:
    pytest.importorskip("ruff")
    found = run("ruff", "check", "--no-cache", ".")
    assert found.returncode == 0, found.stdout


def test_every_file_is_formatted() -> None:
    pytest.importorskip("ruff")
    found = run("ruff", "format", "--check", "--no-cache", ".")
    assert found.returncode == 0, found.stdout


def test_pyright_is_clean() -> None:
    if run("pyright", "--version").returncode != 0:
        pytest.skip("pyright can't start here (it needs Node)")
    found = run("pyright", "--pythonpath", sys.executable)
    assert found.returncode == 0, found.stdout


def test_the_top_level_is_the_one_the_user_fixed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines() if not line.startswith(".")}
    assert top == {"pyproject.toml", "README.md", "conf", "reasoning_lab", "tests", "outputs", "multirun_launchers"}


def test_ci_runs_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("reasoning-lab")
    assert commands[1].endswith("pytest")
    assert r"^python3 -m venv .*pytest$" in (ROOT / ".ci" / "run").read_text()


def test_weights_are_small() -> None:
    sizes = [
        file.stat().st_size for file in (ROOT / "reasoning_lab" / "model_pair" / "embedded").rglob("*.safetensors")
    ]
    assert len(sizes) == 3
    assert sum(sizes) <= 6 * 10**6
