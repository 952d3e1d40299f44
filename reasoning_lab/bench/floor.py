"""What a decode step can't go below: the bytes that it must read over what the memory gives."""

import time

import torch

from reasoning_lab.model_pair.size import Footprint

COPIED = 2**28
"""Bytes of the copy that measures a memory."""
TRIES = 5


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second of the best of some large copies, read and written bytes both counted."""
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / min(_seconds(source, target) for _ in range(TRIES))


def _seconds(source: torch.Tensor, target: torch.Tensor) -> float:
    wait_for(source.device)
    start = time.perf_counter()
    target.copy_(source)
    wait_for(source.device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_floor(footprint: Footprint, dtype: str, rows: int, context: float, bandwidth: float) -> float:
    """Seconds of a decode step of `rows` rows with `context` tokens each: all weights once and every row's keys and
    values, at `bandwidth` bytes per second."""
    return footprint.bytes(dtype, round(rows * context)) / bandwidth
