"""The end of a process that is told to end: what is at work is saved, then the process ends, within seconds.

A thread of its own does it, woken by the signal itself: the thread that works may be deep in a library, or in an
import, where an exception raised by a signal handler would surface as somebody else's error. Nothing has to be tidied:
whatever the process leaves behind is what a killed one leaves, and is resumed or swept as that is.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

SIGNALS = tuple(
    number
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if (number := getattr(signal, name, None)) is not None
)
"""What ends a process: the system's and SLURM's word, Ctrl-C, a terminal that goes away."""
CHILDREN_SECONDS = 3.0
"""Most time that a process waits for its own processes to save [s]."""

PARENT_SECONDS = 0.5
"""Time between two looks at whether the parent lives [s]."""

_savers: list[Callable[[], None]] = []
_last_words: list[Callable[[str], None]] = []
_is_ending = threading.Event()


@contextmanager
def saved_by(save: Callable[[], None]) -> Iterator[None]:
    """While the block works, `save` is called, from another thread, should the process be told to end."""
    _savers.append(save)
    try:
        yield
    finally:
        _savers.remove(save)


def end_on_signals(at_end: Callable[[str], None] = lambda _: None) -> None:
    """From now on a signal saves what is at work, calls `at_end` with the signal's name and ends the process with
    status 128 + its number. Signals that this process was started to ignore (nohup) stay ignored. Main thread only; of
    several calls the last one's `at_end` is called."""
    is_first = not _last_words
    _last_words[:] = [at_end]
    if not is_first:
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _heard)
    threading.Thread(target=_await, args=(reader,), name="end on signals", daemon=True).start()


def end_with(parent: int) -> None:
    """From now on this process saves and ends, as on SIGTERM, when it has lost its parent, however that died."""
    threading.Thread(target=_outlive, args=(parent,), name="end with parent", daemon=True).start()


def end(number: int) -> None:
    """Save what is at work and end the process, as a signal of this number would."""
    _is_ending.set()
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    name = signal.Signals(number).name
    for call in (*_savers, *(partial(last_word, name) for last_word in _last_words)):
        with suppress(Exception):  # The others are still to be saved.
            call()
    by = time.monotonic() + CHILDREN_SECONDS
    for child in children:
        child.join(max(0.0, by - time.monotonic()))
    os._exit(128 + number)


def wait_if_ending() -> None:
    """Where the process is ending its last word is the signal's: whoever is about to say another one waits here."""
    if _is_ending.is_set():
        threading.Event().wait()


def _heard(*_: object) -> None:
    """The thread has read it already."""


def _await(reader: int) -> None:
    while True:
        for number in os.read(reader, 64):
            if number in SIGNALS:
                end(number)


def _outlive(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    end(signal.SIGTERM)
