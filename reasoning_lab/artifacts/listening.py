"""Who hears of the work while it is done: a terminal's bars, a run's heartbeat, a dashboard."""

from collections.abc import Mapping


class Listener:
    """Hears of everything; overrides what it cares for. It runs between two steps of the work: quick, and it never
    raises."""

    def on_progress(self, label: str, total: int, done: int, tokens: int) -> None:
        """Of a build at work: how many answers (sentences, steps) there are in all, how many are done, and tokens so
        far."""

    def on_values(self, label: str, values: Mapping[str, float]) -> None:
        """Of a build at work: what it has measured by now (a loss, an acceptance rate), by name."""
