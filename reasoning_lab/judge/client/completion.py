"""A chat completion as it is on the wire, and the tokens of what is sent for one."""

import json
import math
from dataclasses import dataclass

from reasoning_lab.engine.client.http import BadReply, Redact

MESSAGE_TOKENS = 64
"""Most tokens that a chat template puts around one user turn (role marks, a default system turn)."""
MOST_COUNT = 10**8
"""Most tokens that a server is believed to have counted, beyond any model's context: more is nonsense, and integers of
hundreds of digits are no prices."""


@dataclass(frozen=True)
class ChatCompletion:
    """What a server answered."""

    text: str
    cut: bool
    """Ended at the token limit."""
    prompt_tokens: int | None
    """As the server counts; None where it doesn't say."""
    completion_tokens: int | None


def read_completion(body: bytes, redact: Redact = str) -> ChatCompletion:
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
    return ChatCompletion(redact(text), choice.get("finish_reason") == "length", *counts)


def _count(value: object) -> int | None:
    """A number of tokens; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNT else None


def most_prompt_tokens(prompt: str) -> int:
    """A bound on a prompt's tokens in any byte-level vocabulary: no token is shorter than a byte."""
    return len(prompt.encode("utf-8", "replace")) + MESSAGE_TOKENS


def usual_prompt_tokens(prompt: str) -> int:
    """About how many tokens a prompt has: 4 bytes each."""
    return math.ceil(len(prompt.encode("utf-8", "replace")) / 4)
