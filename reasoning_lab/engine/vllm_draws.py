"""Our own draws inside of vLLM: `draw_tokens` at our keyed uniforms for the rows of a batch, and their scalars.

It knows nothing of vLLM: its logits processors call `Draws.emitted` and mask all other ids. Requests come to a worker
as plain data (SamplingParams.extra_args), for it may be another process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from reasoning_lab.engine.ends import finish_of
from reasoning_lab.engine.policy import Chain, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.token import draw_tokens, plan_at

EXTRA = "reasoning_lab"
"""Name in SamplingParams.extra_args."""


class Drawn(NamedTuple):
    """One token with its scalars, as of a Chain."""

    id: int
    log_p: float
    log_q: float
    log_z: float
    negentropy: float
    alternatives: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class WorkerRequest:
    """A request as a worker knows it: what is drawn at each position, and when to give up."""

    name: str
    request: Request
    """Its parent has the right length, insertions and nothing else."""

    @property
    def start(self) -> int:
        """Generated position of the first token that vLLM produces: insertions are part of its prompt."""
        return self.request.keep + len(self.request.forced) * self.request.insert

    def forced(self, j: int) -> int | None:
        """The id that the j-th of those tokens has to be."""
        ids = () if self.request.insert else self.request.forced
        return ids[j] if j < len(ids) else None

    @property
    def n_forced(self) -> int:
        """How many of them are given."""
        return 0 if self.request.insert else len(self.request.forced)


def plain(name: str, request: Request) -> dict[str, Any]:
    """A request without its parent's scalars, as plain data."""
    excluded = request.excluded
    return {
        "name": name,
        "keep": request.keep,
        "inserted": list(request.parent.inserted_before(request.keep)),
        "key": list(request.key),
        "cap": request.cap,
        "stop_ids": sorted(request.stop_ids),
        "temperature": list(request.temperature) if isinstance(request.temperature, tuple) else request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "forced": list(request.forced),
        "insert": request.insert,
        "excluded": sorted(excluded) if isinstance(excluded, frozenset) else excluded,
        "scores_excluded": request.scores_excluded,
        "floor": request.floor,
        "floor_per_length": request.floor_per_length,
        "want_negentropy": request.want_negentropy,
        "n_alternatives": request.n_alternatives,
    }


def asked_of(data: dict[str, Any]) -> WorkerRequest:
    """The request of `plain`."""
    heat, excluded = data["temperature"], data["excluded"]
    parent = Chain((), (0,) * data["keep"], inserted=tuple(data["inserted"]))
    request = Request(
        parent,
        data["keep"],
        Key(*data["key"]),
        data["cap"],
        frozenset(data["stop_ids"]),
        tuple(heat) if isinstance(heat, list) else heat,
        data["top_k"],
        data["top_p"],
        tuple(data["forced"]),
        data["insert"],
        frozenset(excluded) if isinstance(excluded, list) else excluded,
        data["scores_excluded"],
        data["floor"],
        data["floor_per_length"],
        data["want_negentropy"],
        data["n_alternatives"],
    )
    return WorkerRequest(data["name"], request)


class Draws:
    """The book of one worker: by request the tokens drawn so far."""

    def __init__(self) -> None:
        self._book: dict[str, list[Drawn]] = {}

    def emitted(self, logits: Float[Tensor, "row vocab"], rows: Sequence[tuple[WorkerRequest, int]]) -> list[int]:
        """Draw a token for each row and write it down; the ids that vLLM is to produce.

        Arguments: `rows` are the requests with the number of tokens that they have so far: a row that is computed
        again (a prompt read in parts, a preempted request) is written over. Where a request gives up, vLLM is told a
        stop id in place of the token, which ends it; the book has the token.
        """
        requests = [asked.request for asked, _ in rows]
        forced = [asked.forced(j) for asked, j in rows]
        plans = [
            plan_at(asked.request, asked.start + j, id, is_first=j == asked.n_forced)
            for (asked, j), id in zip(rows, forced, strict=True)
        ]
        drawn = draw_tokens(
            logits, plans, any(request.want_negentropy for request in requests),
            max(request.n_alternatives for request in requests),
        )  # fmt: skip
        return [self._written(i, *row, forced[i] is not None, drawn) for i, row in enumerate(rows)]

    def _written(self, row: int, asked: WorkerRequest, j: int, is_forced: bool, drawn: Any) -> int:
        request, tokens = asked.request, self._book.setdefault(asked.name, [])
        del tokens[j:]
        tokens.append(
            Drawn(
                drawn.ids[row],
                drawn.log_p[row],
                drawn.log_q[row],
                drawn.log_z[row],
                drawn.negentropy[row] if request.want_negentropy else 0.0,
                drawn.alternatives[row][: request.n_alternatives],
            )
        )
        id, sum_log_z = drawn.ids[row], sum(each.log_z for each in tokens)
        gives_up = finish_of(request, asked.start + j + 1, id, is_forced, sum_log_z) == "floor"
        return min(request.stop_ids) if gives_up and request.stop_ids else id

    def take(self, names: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """The tokens of finished requests, as plain data; they are no longer kept."""
        return [[tuple(each) for each in self._book.pop(name, [])] for name in names]


DRAWS = Draws()
"""Of this process."""


def taken_from_worker(_worker: Any, names: list[str]) -> list[list[tuple[Any, ...]]]:
    """As Draws.take; what an engine calls in its workers."""
    return DRAWS.take(names)
