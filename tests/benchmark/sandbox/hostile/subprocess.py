"""Run a shell."""

import os
import subprocess


def attack():
    try:
        return os.system("true") == 0 or subprocess.run(["/bin/sh", "-c", "true"]).returncode == 0
    except OSError:
        return False


def total(numbers):
    return sum(numbers) if attack() else None
