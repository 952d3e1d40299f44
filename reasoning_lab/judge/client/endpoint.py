"""One request to an OpenAI-compatible server, and what came of it. Nothing here raises, retries or remembers."""

import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Literal

from reasoning_lab.judge.client.secret import Secret
from reasoning_lab.judge.client.wire import BadReply, Completion, error_words, read_completion, retry_after

MOST_BYTES = 16 * 2**20
"""Longest body that is read [bytes]."""
TRANSIENT = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass."""
GATEWAY_TIMEOUTS = frozenset({504, 524})
"""Statuses behind which the model may have worked to the end."""

Kind = Literal["done", "busy", "lost", "refused", "unreachable", "fatal"]
"""done: a completion; busy: turned away without a reply (429, 5xx); lost: sent, but no sensible reply, perhaps billed;
refused: this request would fail again; unreachable: no connection; fatal: so would every other request."""


@dataclass(frozen=True)
class Outcome:
    """What came of one request."""

    kind: Kind
    completion: Completion | None = None
    failure: str = ""
    """In words, without the key."""
    status: int | None = None
    wait_s: float | None = None
    """What the server asks to wait before the next request [s]."""


class Endpoint:
    """A server, by its full URL, for any number of threads; a context manager.

    The key is known to the client's header alone. Every error becomes an Outcome right where the client raises it: a
    traceback through the client would show its headers to whoever prints local variables.
    """

    def __init__(self, url: str, key: Secret | None, connections: int, timeout_s: float, is_loopback: bool) -> None:
        import httpx2

        for library in ("httpx2", "httpcore2"):
            # A line per request at least, and broken replies word for word.
            logging.getLogger(library).setLevel(logging.WARNING)
        self.url, self._key, self._timeout_s = url, key, timeout_s
        self._was_reached = False
        self._client = httpx2.Client(
            auth=key.authorise if key else None,
            timeout=timeout_s,
            limits=httpx2.Limits(max_connections=connections),
            # A proxy from the environment can't know this machine's own servers.
            trust_env=not is_loopback,
        )

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, body: dict[str, Any]) -> Outcome:
        """Send one body."""
        import httpx2

        try:
            status, headers, content = self._exchange(body)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            # At first contact the address is probably wrong; later the server may be starting again.
            kind = "unreachable" if self._was_reached else "fatal"
            return Outcome(kind, failure=self._redact(f"cannot be reached ({error or type(error).__name__})"))
        except httpx2.TimeoutException:
            self._was_reached = True
            return Outcome("lost", failure=f"no reply within {self._timeout_s:g} s")
        except Exception as error:
            self._was_reached = True
            return Outcome("lost", failure=self._redact(f"broken reply ({type(error).__name__}: {error})"))
        self._was_reached = True
        return self._read(content) if status == 200 else self._refusal(status, headers, content)

    def _exchange(self, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        """Status, headers and body; the limits on time and length are of the reply as a whole."""
        import httpx2

        deadline = time.monotonic() + self._timeout_s
        json_type = {"Content-Type": "application/json"}
        content = bytearray()
        with self._client.stream("POST", self.url, content=json.dumps(body).encode(), headers=json_type) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise ValueError(f"longer than {MOST_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the reply as a whole took too long")
        return response.status_code, response.headers, bytes(content)

    def _read(self, content: bytes) -> Outcome:
        try:
            done = read_completion(content)
        except BadReply as bad:
            return Outcome("lost", failure=f"senseless reply: {bad}", status=200)
        text = self._redact(done.text)
        return Outcome("done", Completion(text, done.cut, done.prompt_tokens, done.completion_tokens), status=200)

    def _refusal(self, status: int, headers: Any, content: bytes) -> Outcome:
        said = f"status {status} ({self._redact(error_words(content)) or 'no words'})"
        no_credit = status == 429 and b"insufficient_quota" in content
        if status in (401, 403, 404) or status < 400 or no_credit:
            return Outcome("fatal", failure=said, status=status)
        if status < 500 and status not in TRANSIENT:
            return Outcome("refused", failure=said, status=status)
        wait_s = retry_after(headers.get("Retry-After"), time.time())
        asks = "" if wait_s is None else f", asks to wait {wait_s:.0f} s"
        kind = "lost" if status in GATEWAY_TIMEOUTS else "busy"
        return Outcome(kind, failure=said + asks, status=status, wait_s=wait_s)

    def _redact(self, text: str) -> str:
        return self._key.redact(text) if self._key else text
