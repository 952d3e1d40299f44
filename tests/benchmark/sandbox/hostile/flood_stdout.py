"""Print 1 GB."""


def total(numbers):
    for _ in range(1000):
        print("x" * 10**6)
    return sum(numbers)
