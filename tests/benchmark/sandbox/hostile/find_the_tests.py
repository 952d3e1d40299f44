"""Look for the tests' memory and pipes through /proc."""

import glob


def attack():
    for name in glob.glob("/proc/*/fd/*") + glob.glob("/proc/*/mem") + glob.glob("/proc/*/environ"):
        try:
            with open(name, "rb") as file:
                if file.read(100):
                    return True
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
