"""Never end."""


def total(numbers):
    while True:
        numbers = list(numbers)
