"""Hang in C code, where Python hears no signal."""


def total(numbers):
    return sum(numbers) if 9 ** (9**9) else None
