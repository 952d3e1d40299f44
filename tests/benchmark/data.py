"""Files of the benchmarks' real problems, for the tests that can have them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shared(name: str) -> str:
    """Path of a data file in $REASONING_LAB_DATA or beside the repository; skips the test where it is absent."""
    folder = Path(os.environ.get("REASONING_LAB_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / name).is_file():
        pytest.skip(f"{name} is not in {folder}; set REASONING_LAB_DATA to a folder that has it")
    return str(folder / name)
