"""Wait for longer than anybody would."""

import time


def total(numbers):
    time.sleep(10**8)
    return sum(numbers)
