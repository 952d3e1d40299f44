"""Return 10 MB, ten times the longest message."""


def total(numbers):
    return "x" * 10**7
