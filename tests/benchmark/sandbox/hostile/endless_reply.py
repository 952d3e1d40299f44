"""Return a list that holds itself."""


def total(numbers):
    numbers.append(numbers)
    return numbers
