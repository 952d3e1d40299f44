"""Write 1 GB to stderr, past Python."""

import os


def total(numbers):
    for _ in range(1000):
        os.write(2, b"x" * 10**6)
    return sum(numbers)
