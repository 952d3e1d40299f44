"""A model folder to change."""

import shutil
from pathlib import Path

import pytest

EMBEDDED = Path(__file__).parents[2] / "reasoning_lab" / "model_pair" / "embedded"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A local copy of the embedded base."""
    return Path(shutil.copytree(EMBEDDED / "base", tmp_path / "model"))
