"""A reply of /v1/completions: token ids with their own log p and those of the most probable tokens beside each."""

import json
import math
from dataclasses import dataclass
from typing import Any

from reasoning_lab.engine.client.http import BadReply, Redact

PREFIX = "token_id:"
"""How vLLM writes a token where return_tokens_as_token_ids is set."""
ABOVE_ZERO = 1e-3
"""By how much a log probability may lie above 0, and a sum of probabilities above 1."""


@dataclass(frozen=True)
class Continuation:
    """What a server drew, or what it makes of given tokens."""

    model: str
    """As the server calls what it serves."""
    ids: tuple[int, ...]
    log_p: tuple[float, ...]
    """Of each id."""
    listed: tuple[tuple[float, ...], ...]
    """At each position the log p of different ids, the most probable among them."""
    ended: bool
    """Whether it ended by itself and not at max_tokens."""


def read_continuation(body: bytes, redact: Redact) -> Continuation:
    """The first choice; a given prompt's first token, of which there is no law, is left out."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        given: dict[str, Any] = choice["logprobs"]
        log_p, listed, words = given["token_logprobs"], given["top_logprobs"], given["tokens"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BadReply(f"no completion with logprobs ({type(error).__name__})") from None
    if not len(log_p) == len(listed) == len(words):
        raise BadReply(f"{len(words)} tokens with {len(log_p)} logprobs and {len(listed)} lists of top logprobs")
    first = 1 if log_p and log_p[0] is None else 0
    ids = _ids(words, choice.get("token_ids"))
    return Continuation(
        redact(str(data.get("model"))),
        ids[first:],
        tuple(map(_log_p, log_p[first:])),
        tuple(_listed(top, own) for top, own in zip(listed[first:], log_p[first:], strict=True)),
        choice.get("finish_reason") == "stop",
    )


def _ids(words: list[Any], token_ids: Any) -> tuple[int, ...]:
    if isinstance(token_ids, list) and len(token_ids) == len(words):
        return tuple(map(int, token_ids))
    if all(isinstance(word, str) and word.startswith(PREFIX) for word in words):
        return tuple(int(word.removeprefix(PREFIX)) for word in words)
    raise BadReply("tokens as text, not as ids: different ids may be the same text")


def _log_p(value: Any) -> float:
    if not isinstance(value, (int, float)) or not value <= ABOVE_ZERO:
        raise BadReply(f"a logprob of {value!r}")
    return min(float(value), 0.0)


def _listed(top: Any, own: Any) -> tuple[float, ...]:
    if not isinstance(top, dict) or not top:
        raise BadReply("a token without top logprobs")
    found = tuple(map(_log_p, top.values()))
    if math.fsum(map(math.exp, found)) > 1 + ABOVE_ZERO:
        raise BadReply("top logprobs that sum to more than 1")
    # Some servers leave the token itself out where it is none of the most probable.
    return found if any(math.isclose(each, own, abs_tol=1e-9) for each in found) else (*found, _log_p(own))
