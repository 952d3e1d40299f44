"""Settings of the whole suite, made before any library is imported."""

import os
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("WANDB_MODE", "offline")
if "PYTEST_XDIST_WORKER" in os.environ:  # As many processes as cores: one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> None:
    """Refuses a case that would be named by bytes: they are no words, and may hold a time (gzip's do), so that two
    processes that collect at different seconds would not agree."""
    if isinstance(val, (bytes, bytearray)):
        raise pytest.UsageError(f"{argname}: name this case by words (pytest.param(..., id=...)), not by its bytes")
