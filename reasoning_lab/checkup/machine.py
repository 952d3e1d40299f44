"""Claims about the machine: that what is loaded fits, and that what is to be drawn ends."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from reasoning_lab.checkup.findings import Broken, Claim

GB = 10**9
LONGEST_DAYS = 7.0
"""Of one run's drawing: longer than queues and machines stay up."""


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes of a device."""

    weights: int
    """Of all its models."""
    cache: int
    """Keys and values of all rows, of the models that advance together."""

    @property
    def total(self) -> int:
        """Both; passes and vectors come on top."""
        return self.weights + self.cache


def memory_claim(need: Need, free: int) -> Claim:
    """Arguments: `free` bytes of the device, before anything is loaded."""
    return Claim("machine", "weights and caches fit", lambda: _memory(need, free))


def speed_claim(tokens: float, drawn: int, seconds: float) -> Claim:
    """Arguments: `tokens` to draw in all; `drawn` tokens took `seconds`."""
    return Claim("machine", "what is to be drawn ends within a week", lambda: _speed(tokens, drawn, seconds))


def free_memory(device: str) -> int:
    """Bytes that are free on a device now; of a CPU those that the system can give, where it says so."""
    if device != "cpu":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _memory(need: Need, free: int) -> str:
    found = f"{need.weights / GB:.2f} GB of weights, {need.cache / GB:.2f} GB of caches; {free / GB:.1f} GB are free"
    if need.total > free:
        raise Broken(
            found, "lower runtime.rows, runtime.max_prompt_tokens or benchmark.max_new_tokens, or take a larger device"
        )
    return found


def _speed(tokens: float, drawn: int, seconds: float) -> str:
    rate = drawn / max(seconds, 1e-9)
    hours = tokens / max(rate, 1e-9) / 3600
    found = f"{rate:,.0f} tokens/s at the run's rows; {tokens:,.0f} tokens to draw: {hours:,.1f} h"
    if not hours <= 24 * LONGEST_DAYS:
        raise Broken(
            found, "lower benchmark.n_problems or sampler.n_steps, raise runtime.rows, or take a faster device"
        )
    return found
