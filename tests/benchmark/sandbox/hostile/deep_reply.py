"""Return lists within lists, deeper than anybody reads."""


def total(numbers):
    found = numbers
    for _ in range(100_000):
        found = [found]
    return found
