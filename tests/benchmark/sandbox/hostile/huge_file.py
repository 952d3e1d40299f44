"""Write 10 GB to a file."""

import os
import tempfile


def attack():
    for folder in (os.getcwd(), "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~")):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.truncate(10**10)
                return True
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
