"""The HTTP client: one request to an OpenAI-compatible server, and what came of it.

`Endpoint.post` raises, retries and remembers nothing; what a reply says is read by a function that it is given.
"""

import asyncio
import email.utils
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Generic, Literal, TypeVar

from reasoning_lab.engine.client.secret import Secret

MOST_BYTES = 16 * 2**20
"""Longest body that is read [bytes]."""
TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass."""
GATEWAY_TIMEOUTS = frozenset({504, 524})
"""Statuses behind which the model may have worked to the end."""

AttemptKind = Literal["done", "busy", "lost", "refused", "unreachable", "fatal"]
"""done: a reply; busy: turned away without a reply (429, 5xx); lost: sent, but no sensible reply, perhaps billed;
refused: this request would fail again; unreachable: no connection, which may pass; fatal: so would every other
request."""

# --- on the wire ----------------------------------------------------------------------------------------------


class BadReply(Exception):
    """A body that is not what was asked for; the message says why."""


Reply = TypeVar("Reply")
Redact = Callable[[str], str]
"""Strikes the key out of a text."""
ReadReply = Callable[[bytes, Redact], Reply]
"""What a body says; BadReply if it says nothing of the kind."""


def server_words(body: bytes) -> str:
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


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, those that led to it, and the members of groups of them."""
    yield error
    cause = error.__cause__ or error.__context__
    for other in (*(error.exceptions if isinstance(error, ExceptionGroup) else ()), *([cause] if cause else [])):
        yield from _causes(other)


# --- one request ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt(Generic[Reply]):
    """One request, and what came of it."""

    kind: AttemptKind
    completion: Reply | None = None
    failure: str = ""
    """In words, without the key."""
    status: int | None = None
    wait_s: float | None = None
    """What the server asks to wait before the next request [s]."""


class Endpoint(Generic[Reply]):
    """A server, by its full URL, for any number of threads; a context manager.

    One deadline bounds each exchange, from the name's look-up to the last byte: a limit on each read would let a server
    drip its headers for ever. So the client runs on an event loop of its own thread, where any step can be called off.

    The key is known to the client's header alone. Every error becomes an Attempt right where the client raises it: a
    traceback through the client would show its headers to whoever prints local variables.
    """

    def __init__(
        self,
        url: str,
        key: Secret | None,
        connections: int,
        timeout_s: float,
        is_loopback: bool,
        read: ReadReply[Reply],
    ) -> None:
        import httpx2

        for library in ("httpx2", "httpcore2"):
            # A line per request at least, and broken replies word for word.
            logging.getLogger(library).setLevel(logging.WARNING)
        self.url, self._key, self._timeout_s, self._read_reply = url, key, timeout_s, read
        self._was_reached = False
        self._client = httpx2.AsyncClient(
            auth=key.authorise if key else None,
            timeout=None,  # the deadline is the exchange's
            limits=httpx2.Limits(max_connections=connections),
            # A proxy from the environment can't know this machine's own servers.
            trust_env=not is_loopback,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="client", daemon=True)

    def __enter__(self) -> "Endpoint[Reply]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def post(self, body: dict[str, Any]) -> Attempt[Reply]:
        """Send one body."""
        return asyncio.run_coroutine_threadsafe(self._attempt(body), self._loop).result()

    async def _attempt(self, body: dict[str, Any]) -> Attempt[Reply]:
        import httpx2

        sent = asyncio.Event()
        try:
            async with asyncio.timeout(self._timeout_s):
                status, headers, content = await self._exchange(body, sent)
        except httpx2.ConnectError as error:
            return self._unreached(error)
        except TimeoutError as error:
            if not sent.is_set():
                return self._unreached(error)
            self._was_reached = True
            return Attempt("lost", failure=f"no reply within {self._timeout_s:g} s")
        except Exception as error:
            self._was_reached = True
            return Attempt("lost", failure=self._redact(f"broken reply ({type(error).__name__}: {error})"))
        self._was_reached = True
        return self._read(content) if status == 200 else self._refusal(status, headers, content)

    def _unreached(self, error: Exception) -> Attempt[Reply]:
        """Nothing was sent. At first contact the address is probably wrong, unless the machine is there and refuses:
        its server may be starting, as it may be starting again later."""
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error))
        why = f"no connection within {self._timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
        why = "connection refused" if refused else why or type(error).__name__
        kind = "unreachable" if self._was_reached or refused else "fatal"
        return Attempt(kind, failure=self._redact(f"cannot be reached ({why})"))

    async def _exchange(self, body: dict[str, Any], sent: asyncio.Event) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body; `sent` is set once something goes out. The limit on length is of the whole body."""

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            del info
            if event.endswith(".send_request_headers.started"):
                sent.set()

        json_type = {"Content-Type": "application/json"}
        content = bytearray()
        async with self._client.stream(
            "POST", self.url, content=json.dumps(body).encode(), headers=json_type, extensions={"trace": trace}
        ) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise ValueError(f"longer than {MOST_BYTES} bytes")
        return response.status_code, response.headers, bytes(content)

    def _read(self, content: bytes) -> Attempt[Reply]:
        try:
            return Attempt("done", self._read_reply(content, self._redact), status=200)
        except BadReply as bad:
            return Attempt("lost", failure=f"senseless reply: {bad}", status=200)

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> Attempt[Reply]:
        said = f"status {status} ({self._redact(server_words(content)) or 'no words'})"
        no_credit = status == 429 and b"insufficient_quota" in content
        if status in (401, 403, 404) or status < 400 or no_credit:
            return Attempt("fatal", failure=said, status=status)
        if status < 500 and status not in TRANSIENT:
            return Attempt("refused", failure=said, status=status)
        wait_s = retry_after(headers.get("Retry-After"), time.time())
        asks = "" if wait_s is None else f", asks to wait {wait_s:.0f} s"
        kind = "lost" if status in GATEWAY_TIMEOUTS else "busy"
        return Attempt(kind, failure=said + asks, status=status, wait_s=wait_s)

    def _redact(self, text: str) -> str:
        return self._key.redact(text) if self._key else text
