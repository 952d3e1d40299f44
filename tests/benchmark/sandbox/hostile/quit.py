"""End as at Python's prompt."""


def total(numbers):
    quit()
