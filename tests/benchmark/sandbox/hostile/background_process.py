"""Leave a process behind: two forks and a session of its own."""

import os
import time


def attack():
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
    except OSError:
        return False
    return True


def total(numbers):
    return sum(numbers) if attack() else None
