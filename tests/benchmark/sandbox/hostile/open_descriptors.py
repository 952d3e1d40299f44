"""Find a descriptor that somebody else opened: anything but pipes and /dev/null, or a namespace's parent through it."""

import fcntl
import os
import stat

NS_GET_PARENT = 0xB702


def attack():
    for number in range(4096):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        if not stat.S_ISFIFO(mode) and not (number == 0 and stat.S_ISCHR(mode)):
            return True
        try:
            fcntl.ioctl(number, NS_GET_PARENT)
            return True
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
