"""Read the answers from the standard input."""

import sys

ANSWERS = sys.stdin.read()


def total(numbers):
    return sum(numbers) if ANSWERS else input()
