"""Reach files through links."""

import os


def attack():
    for link in ("/tmp/hostile", "/hostile", "hostile", "/dev/hostile"):
        for make in (os.symlink, os.link):
            try:
                make("/etc/passwd", link)
                return True
            except OSError:
                continue
    return os.path.exists("/../../etc/passwd") or os.path.exists("/proc/self/cwd/../etc/passwd")


def total(numbers):
    return sum(numbers) if attack() else None
