"""How a run or a sweep is launched: keys at the root of the config that are no part of the experiment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from reasoning_lab.checks import require, require_count

RETRY = re.compile(r"retry:([1-9]\d?)")


@dataclass(frozen=True)
class Launching:
    """What happens to a command beyond what it computes."""

    submit: bool
    """Submit the sweep's cells and return at once."""
    dry_run: bool
    """Say what would be done, and do none of it."""
    cells_per_job: int | None
    """Most cells that one process works off, with one load of its models; None is as the launcher finds best."""
    on_error: str
    """What a failed cell does to the others: continue, stop, or retry:n for n more attempts of it."""
    max_cells: int
    """Most cells of a sweep."""
    resume: bool
    """Whether the same sweep, from the same code, config and files, goes on in its folder."""

    def __post_init__(self) -> None:
        require_count(self, "max_cells")
        if self.cells_per_job is not None:
            require_count(self, "cells_per_job")
        known = self.on_error in ("continue", "stop") or RETRY.fullmatch(self.on_error)
        require(
            bool(known), "on_error", self.on_error, "continue, stop or retry:n with n from 1 to 99", "set it to one"
        )

    @property
    def n_retries(self) -> int:
        """Further attempts of a cell that failed."""
        told = RETRY.fullmatch(self.on_error)
        return int(told[1]) if told else 0


KEYS = tuple(field.name for field in fields(Launching))


def split_launching(plain: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved root of the config as (how it is launched, the experiment)."""
    launching = {key: plain[key] for key in KEYS if key in plain}
    return launching, {key: value for key, value in plain.items() if key not in KEYS}
