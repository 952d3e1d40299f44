"""Return 100 MB."""


def total(numbers):
    return "x" * 10**8
