"""Who hears of the work while it is done: a terminal's bars, a run's heartbeat, a dashboard."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LEAST_SECONDS = 2.0
"""Between two times that a build tells what it has measured [s]."""
MOST_SHARE = 0.005
"""Of a build's time that it may spend on telling."""


class Listener:
    """Hears of everything; overrides what it cares for. It runs between two steps of the work: quick, and it never
    raises."""

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        """Of a build at work: how many answers (sentences, steps) there are in all, how many are done, and tokens so
        far."""

    def on_values(self, label: str, values: Mapping[str, float]) -> None:
        """Of a build at work: what it has measured by now (a loss, an acceptance rate), by name."""

    def on_artifact(self, kind: str, slug: str, key: str, folder: Path) -> None:
        """Of an artifact that the run asked for, now that it stands: found, or built."""


class Pace:
    """When something beside the work may be done: at most every `seconds`, and for `share` of the time at most."""

    def __init__(self, seconds: float = LEAST_SECONDS, share: float = MOST_SHARE) -> None:
        self._seconds, self._share = seconds, share
        self._next = time.monotonic() + seconds

    @property
    def is_due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self._next

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While it is done; what it takes puts off the next time."""
        started = time.monotonic()
        yield
        now = time.monotonic()
        self._next = now + max(self._seconds, (now - started) / self._share)
