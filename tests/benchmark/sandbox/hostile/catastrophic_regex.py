"""Hang in the regular expression engine."""

import re


def total(numbers):
    return sum(numbers) if re.match(r"(a+)+$", "a" * 60 + "b") else None
