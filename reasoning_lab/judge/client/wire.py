"""The OpenAI-compatible chat format on the wire: bodies, replies, Retry-After. Pure functions."""

import email.utils
import json
import math
from dataclasses import dataclass
from datetime import UTC
from typing import Any

MESSAGE_TOKENS = 64
"""Most tokens that a chat template puts around one user turn (role marks, a default system turn)."""


class BadReply(Exception):
    """A body that is no chat completion; the message says why."""


@dataclass(frozen=True)
class Completion:
    """What a server answered."""

    text: str
    cut: bool
    """Ended at the token limit."""
    prompt_tokens: int | None
    """As the server counts; None where it doesn't say."""
    completion_tokens: int | None


def read_completion(body: bytes) -> Completion:
    """The first choice of a chat completion; BadReply if the body is anything else.

    A null content (a model that spent all its tokens on thoughts) is an empty text, not an error: it was paid for.
    """
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        content = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BadReply(f"no chat completion ({type(error).__name__})") from None
    if not isinstance(content, str | None):
        raise BadReply(f"content is {type(content).__name__}, not text")
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    # Half a surrogate pair is valid JSON but no text that can be written to a file.
    text = (content or "").encode("utf-8", "replace").decode("utf-8")
    return Completion(text, choice.get("finish_reason") == "length", *counts)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def error_words(body: bytes) -> str:
    """What a server says about an error, on one line of at most 200 characters."""
    text = body[:2000].decode("utf-8", "replace")
    try:
        error = json.loads(body).get("error")
        text = str(error["message"]) if isinstance(error, dict) else str(error or text)
    except (ValueError, KeyError, AttributeError, RecursionError):
        pass
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, a number of seconds or an HTTP date; None if it says nothing.

    `now` is the time since the epoch [s].
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def most_prompt_tokens(prompt: str) -> int:
    """A bound on a prompt's tokens in any byte-level vocabulary: no token is shorter than a byte."""
    return len(prompt.encode("utf-8", "replace")) + MESSAGE_TOKENS


def usual_prompt_tokens(prompt: str) -> int:
    """About how many tokens a prompt has: 4 bytes each."""
    return math.ceil(len(prompt.encode("utf-8", "replace")) / 4)
