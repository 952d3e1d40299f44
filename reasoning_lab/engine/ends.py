"""When a request ends: one rule for all engines."""

from math import log

from reasoning_lab.engine.policy import Finish, Request


def finish_of(request: Request, length: int, id: int, is_forced: bool, sum_log_z: float) -> Finish | None:
    """Why the request ends with a token, or None.

    Arguments: `length` generated tokens with it, kept ones included; `sum_log_z` over those after the kept ones, of an
    engine that knows bounds alone the upper one.
    """
    if not is_forced and id in request.stop_ids:
        return "stop"
    if length == request.cap:
        return "cap"
    inserted = len(request.parent.inserted_before(request.keep)) + len(request.forced) * request.insert
    return "floor" if not is_forced and below_floor(request, sum_log_z, length - inserted) else None


def below_floor(request: Request, sum_log_z: float, length: int) -> bool:
    """Whether r_j - log j (or r_j alone) is below the request's floor: its rejection is then certain, for log Z <= 0
    makes r_j fall and j grows. `length` is j: insertions are no part of a chain's length."""
    if request.floor is None:
        return False
    return sum_log_z - (log(length) if request.floor_per_length else 0.0) < request.floor
