"""Where a command prints."""

import os
import sys

from rich.console import Console

WIDTH = 160
"""Of what is no terminal, such as a log [characters]."""


def terminal() -> Console:
    """This process's output: as wide as its terminal, or wide enough for tables where it has none."""
    is_given = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if is_given else Console(width=WIDTH)
