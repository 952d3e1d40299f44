"""When to try again: one wait for all threads that a server has asked to wait, and a jittered back-off for each."""

import threading
import time

from reasoning_lab.engine.rng import Key, uniform


class Patience:
    """Of any number of threads with one server. Waits are in seconds, and end at once where `stop` is set."""

    def __init__(self, first_wait_s: float, longest_wait_s: float) -> None:
        self._first_wait_s, self._longest_wait_s = first_wait_s, longest_wait_s
        self._lock = threading.Lock()
        self._hold_until = 0.0
        """No request goes out before this moment of the monotonic clock: a server asked all of us to wait."""

    def back_off(self, stop: threading.Event, name: str, number: int, asked: float | None) -> None:
        """After the `number`-th failure (from 0 on) of the request called `name`: where the server asks for a wait,
        hold back all requests; else wait 2^number times the first wait, jittered by up to a half."""
        if asked is not None:
            with self._lock:
                self._hold_until = max(self._hold_until, time.monotonic() + asked)
            return
        longest = min(self._longest_wait_s, self._first_wait_s * 2**number)
        stop.wait(longest * (0.5 + 0.5 * uniform(Key(0, name, step=number), 0, "back-off")))

    def wait_for_hold(self, stop: threading.Event) -> None:
        """Until nobody has asked to wait any longer."""
        while (wait := self._hold_until - time.monotonic()) > 0 and not stop.wait(wait):
            pass
