"""Read keys from the environment, its own and that of others."""

import os


def attack():
    found = repr(os.environ)
    for process in ("self", "1", "2", str(os.getppid())):
        try:
            with open(f"/proc/{process}/environ") as file:
                found += file.read()
        except OSError:
            continue
    return "API_KEY" in found or "HOME" in found or "PATH" in found


def total(numbers):
    return sum(numbers) if attack() else None
