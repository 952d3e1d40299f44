"""Never become ready to be called."""

while True:
    pass


def total(numbers):
    return sum(numbers)
