"""Become another program."""

import os
from contextlib import suppress


def attack():
    for shell in ("/bin/sh", "/bin/bash", "/usr/bin/env", "/usr/bin/perl"):
        with suppress(OSError):
            os.execv(shell, [shell])
    return False


def total(numbers):
    return sum(numbers) if attack() else None
