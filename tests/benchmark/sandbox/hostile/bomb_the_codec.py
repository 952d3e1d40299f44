"""Send a message that is small but claims to be huge."""

import sys

sys.modules["__main__"].pack = lambda value: b"T2:s8:returnedL99999999999:" + b"L9:" * 1000


def total(numbers):
    return 0
