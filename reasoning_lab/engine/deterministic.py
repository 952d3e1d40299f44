"""Sums that come out the same each time: what two builds of one artifact share, byte by byte."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def same_bytes_each_time() -> Iterator[None]:
    """Within it torch takes the deterministic form of every operation that has one.

    On a CUDA device `index_add_`, the gradients of gathers and some products otherwise add up in the order in which
    threads arrive. What has no such form goes on as it is, silently: it is no reason to give up a fit. It is for fits
    alone, for the deterministic form of a cache's writes is slow and changes nothing: no position is written twice.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # Read when a device's first product sets cuBLAS up.
    before, only_warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic.*")
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
