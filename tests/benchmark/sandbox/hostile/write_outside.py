"""Write wherever it may be possible."""

import os
import sys


def attack():
    folders = {"/", "/tmp", "/dev", "/dev/shm", "/usr/lib", "/root", "/home", os.getcwd(), *sys.path, sys.prefix}
    for folder in folders - {""}:
        try:
            with open(f"{folder}/hostile", "w"):
                return True
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
