"""Never end, and ignore every signal that can be ignored."""

import signal
from contextlib import suppress


def total(numbers):
    for number in signal.valid_signals():
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        numbers = list(numbers)
