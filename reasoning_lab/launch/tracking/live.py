"""A run's work as points of curves, while it is done: one point every few seconds at most."""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.listening import Listener
from reasoning_lab.launch.tracking.log import MOST_ROWS, Tracker

POINT_SECONDS = 5.0
"""Least time between two points [s]."""
AXES = ("graded", "step", "epoch", "answers")
"""What is an x axis where it is told: of what is told with it."""
TRAINING = ("step", "epoch")
"""Axes of trainings, whose whole curves become tables."""
LINEAGE = ("completions", "grades", "taxonomy", "naming", "vectors")
"""Kinds of artifacts that a dashboard hears of: what numbers are made of."""


@contextmanager
def watched(context: Context, tracker: Tracker, stage: str) -> Iterator[None]:
    """While the block works, what it does becomes points of the tracker's curves; the last ones at its end."""
    live = Live(tracker, stage)
    context.listeners.append(live)
    try:
        yield
    finally:
        context.listeners.remove(live)
        live.close()


class Live(Listener):
    """Collects what builds tell, and logs the newest of it now and then.

    A value `name` that a build labelled `label` tells is the metric `name/label`, over `axis/label` where it was told
    with one of AXES, else over `seconds`. A curve only goes forward: what lies before its last point is left out
    (grading begins again at an arm's first answer). A full disk costs points, not the run.
    """

    def __init__(self, tracker: Tracker, stage: str, seconds: float = POINT_SECONDS) -> None:
        self._tracker, self._stage, self._seconds = tracker, stage, seconds
        self._started = self._last = time.monotonic()
        self._since = datetime.now(UTC).replace(microsecond=0)
        self._lock = threading.Lock()
        self._pending: dict[str, float] = {}
        self._defined: dict[str, str] = {}
        self._places: dict[str, float] = {}
        self._clocks: dict[str, _Clock] = {}
        self._curves: dict[str, _Curve] = {}
        self._artifacts: set[str] = set()

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        with self._lock:
            self._clocks.setdefault(label, _Clock()).note(total, done)
            self._log_if_due()

    def on_values(self, label: str, values: Mapping[str, float]) -> None:
        with self._lock:
            axis = next((name for name in AXES if name in values), None)
            if axis is not None and not self._goes_on(f"{axis}/{label}", values[axis]):
                return
            if axis in TRAINING:
                self._curves.setdefault(label, _Curve(axis)).add(values)
            named = {f"{name}/{label}": value for name, value in values.items() if name != axis}
            self._define(named, f"{axis}/{label}" if axis else "seconds")
            self._pending |= {f"{name}/{label}": value for name, value in values.items()}
            self._log_if_due()

    def on_artifact(self, kind: str, slug: str, key: str, folder: Path) -> None:
        with self._lock, suppress(OSError, ValueError, KeyError):
            if kind not in LINEAGE or key in self._artifacts:
                return
            self._artifacts.add(key)
            built = datetime.fromisoformat(json.loads((folder / "manifest.json").read_text())["built"])
            self._tracker.artifact(kind, slug, key, folder, is_new=built >= self._since)

    def close(self) -> None:
        """Log what is left, and the trainings' curves."""
        with self._lock, suppress(OSError):
            if self._pending:
                self._log()
            for label, curve in self._curves.items():
                self._tracker.table(f"curve/{label}", *curve.table())

    def _goes_on(self, axis: str, place: float) -> bool:
        """Whether the place is not before the curve's last."""
        if place < self._places.get(axis, place):
            return False
        self._places[axis] = place
        return True

    def _define(self, names: Iterable[str], axis: str) -> None:
        """The metrics' x axis, once."""
        if new := dict.fromkeys((name for name in names if self._defined.get(name) != axis), axis):
            self._defined |= new
            with suppress(OSError):
                self._tracker.define(new)

    def _log_if_due(self) -> None:
        if time.monotonic() - self._last >= self._seconds:
            with suppress(OSError):
                self._log()

    def _log(self) -> None:
        """One point: what was told since the last one, and how far the builds at work are."""
        self._last = now = time.monotonic()
        point: dict[str, float | str] = {
            "seconds": round(now - self._started, 3),
            "stage": self._stage,
            **self._pending,
        }
        self._pending.clear()
        at_work = {label: clock for label, clock in self._clocks.items() if not clock.is_done}
        moved = {f"progress/{label}": clock.share for label, clock in self._clocks.items() if clock.has_moved}
        left = [seconds for clock in at_work.values() if (seconds := clock.tick(now)) is not None]
        if left:
            moved["eta_seconds"] = round(max(left), 1)
        self._define(moved, "seconds")
        point |= moved
        if at_work:
            point["at_work"] = "; ".join(f"{label} {clock.done}/{clock.total}" for label, clock in at_work.items())
        self._tracker.log(point)


class _Clock:
    """How far a build is, and how long the rest will take at the pace of its last points."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.has_moved = False
        self._ticks: list[tuple[float, int]] = []

    def note(self, total: int, done: int) -> None:
        self.has_moved |= done != self.done
        self.total, self.done = total, done

    @property
    def is_done(self) -> bool:
        return self.done >= self.total

    @property
    def share(self) -> float:
        return self.done / max(1, self.total)

    def tick(self, now: float) -> float | None:
        """Seconds to the build's end by the pace since the twelfth last point; None while there is no pace. What an
        earlier attempt left is there before the first point, and no part of it."""
        self.has_moved = False
        self._ticks = [*self._ticks[-11:], (now, self.done)]
        (then, before), *_ = self._ticks
        return (self.total - self.done) * (now - then) / (self.done - before) if self.done > before else None


class _Curve:
    """A training's values over its axis, thinned evenly to MOST_ROWS rows at most."""

    def __init__(self, axis: str) -> None:
        self._axis = axis
        self._rows: list[dict[str, float]] = []
        self._stride, self._n = 1, 0
        self._newest: dict[str, float] = {}

    def add(self, values: Mapping[str, float]) -> None:
        self._newest = dict(values)
        if self._n % self._stride == 0:
            self._rows.append(self._newest)
        self._n += 1
        if len(self._rows) == MOST_ROWS:
            self._rows, self._stride = self._rows[::2], 2 * self._stride

    def table(self) -> tuple[list[str], list[list[float | None]]]:
        """Columns, the axis first, and rows; the last values told are the last row."""
        rows = self._rows if self._rows[-1] is self._newest else [*self._rows, self._newest]
        names = dict.fromkeys(name for row in rows for name in row)
        columns = [self._axis, *(name for name in names if name != self._axis)]
        return columns, [[row.get(name) for name in columns] for row in rows]
