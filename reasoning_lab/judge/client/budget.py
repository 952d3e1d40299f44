"""A cap that can't be exceeded: the worst case is reserved before a request goes out, and settled when it is back."""

import threading


class Budget:
    """Spending up to `cap`, by any number of threads. Dollars or tokens, as the caller counts."""

    def __init__(self, cap: float) -> None:
        self.cap = cap
        self.spent = 0.0
        """Settled so far."""
        self._reserved = 0.0
        self._in_flight = 0
        self._changed = threading.Condition()

    def reserve(self, most: float) -> bool:
        """Set `most` aside. Where that would pass the cap, wait for what is in flight, which mostly costs less than
        was set aside for it; False when nothing is and there is still no room."""
        with self._changed:
            while self.spent + self._reserved + most > self.cap:
                if self._in_flight == 0:
                    return False
                self._changed.wait()
            self._reserved += most
            self._in_flight += 1
            return True

    def settle(self, most: float, cost: float) -> None:
        """Replace a reservation by what was spent."""
        with self._changed:
            self._in_flight -= 1
            # Sums of floats drift; with nothing in flight nothing is reserved.
            self._reserved = self._reserved - most if self._in_flight else 0.0
            self.spent += cost
            self._changed.notify_all()
