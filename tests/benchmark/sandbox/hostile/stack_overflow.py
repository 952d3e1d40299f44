"""Recur until the stack is gone."""

import sys

sys.setrecursionlimit(10**9)


def total(numbers):
    return total(numbers)
