"""Calls in processes of their own, with a way to report; on a CPU several small models draw faster than one."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from reasoning_lab.artifacts.stopping import end_on_signals, end_with

Report = Callable[[Any], None]
"""What a call tells its parent while it works: any picklable event."""

_report: Report | None = None
_place: Any = None
"""What this process has to itself, of those that `call_all` gave out."""


def call_all(
    function: Callable[..., None], calls: Sequence[tuple[Any, ...]], places: Sequence[Any], on_event: Report
) -> None:
    """function(report, place, *call) for every call, in the order of `calls`, by as many processes as there are places
    (devices), each of which keeps one.

    The first error ends the rest and is raised here; ChildProcessError where a worker was killed. Workers save what
    is at work and end when they are told to, or when this process has died.
    """
    context = get_context("spawn")  # Threads of torch do not survive a fork.
    events, free = context.SimpleQueue(), context.SimpleQueue()
    for place in places:
        free.put(place)
    listener = threading.Thread(target=_listen, args=(events, on_event), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(len(places), context, _start, (events, free, os.getpid())) as pool:
            futures = [pool.submit(_call, function, call) for call in calls]
            try:
                for future in as_completed(futures):
                    future.result()
            except BrokenProcessPool as error:
                raise ChildProcessError(
                    "a drawing process was killed, perhaps for want of memory; lower runtime.workers or runtime.rows. "
                    "What it had finished is kept."
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        events.put(None)
        listener.join()


def _listen(events: Any, on_event: Report) -> None:
    while (event := events.get()) is not None:
        on_event(event)


def _start(events: Any, free: Any, parent: int) -> None:
    global _report, _place
    _report, _place = events.put, free.get()
    end_on_signals()
    end_with(parent)


def _call(function: Callable[..., None], call: tuple[Any, ...]) -> None:
    assert _report is not None
    function(_report, _place, *call)
