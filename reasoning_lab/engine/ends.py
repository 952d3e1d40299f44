"""When a request ends: one rule for engines that learn of tokens after they are drawn."""

from reasoning_lab.engine.policy import Finish, Request
from reasoning_lab.engine.scheduler import below_floor


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
