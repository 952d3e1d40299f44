"""Works off the cells whose numbers come in on stdin, with one load of their models, and answers on a file descriptor,
while its parent lives: `python -m reasoning_lab.launch.lane SWEEP FD PARENT`. Only lanes.py starts it."""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.stopping import end_with
from reasoning_lab.launch.folders import read_submitted
from reasoning_lab.launch.job import failure_words, open_context, save_on_signals, work
from reasoning_lab.launch.lanes import SHARED
from reasoning_lab.launch.status import write_json
from reasoning_lab.launch.typed import build_plain
from reasoning_lab.stages import share_between_cells

OUTPUT = "output.log"


def serve() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("replies", type=int)
    parser.add_argument("parent", type=int)
    parser.add_argument("--in-terminal", action="store_true")
    told = parser.parse_args()
    save_on_signals()
    end_with(told.parent)
    context: Context | None = None
    with os.fdopen(told.replies, "w", encoding="utf-8", buffering=1) as replies:
        for line in sys.stdin:
            number = int(line)
            place = told.folder / ("shared" if number == SHARED else str(number))
            if not told.in_terminal:
                _print_to(place / OUTPUT)
            context = _share(told.folder) if number == SHARED else _cell(place, context)
            replies.write(f"{number}\n")


def _cell(place: Path, context: Context | None) -> Context | None:
    """Work on a cell; what keeps it from saying how that ended is told for it."""
    try:
        return work(place, context).context
    except Exception as error:
        with suppress(OSError):
            write_json(place / "status.json", {"status": "failed", "error": failure_words(error, place)})
        return None


def _share(folder: Path) -> Context:
    """Build what the sweep's cells share."""
    cells = [read_submitted(each) for each in cell_folders(folder)]
    experiments = [build_plain(each.config) for each in cells]
    context = open_context(experiments[0], "")
    try:
        share_between_cells(experiments, context)
    except Exception as error:  # The cells will meet it, each for itself, and say so.
        context.tell(f"What the cells share could not be built: {type(error).__name__}: {error}")
    return context


def cell_folders(folder: Path) -> list[Path]:
    """The cells of a sweep's folder in the order of their numbers."""
    return sorted((each for each in folder.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))


def _print_to(file: Path) -> None:
    """From now on this process, and those that it starts, print into a file."""
    file.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


if __name__ == "__main__":
    serve()
