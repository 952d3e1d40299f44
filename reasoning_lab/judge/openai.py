"""A judge behind any OpenAI-compatible endpoint: cached, capped, retried; the key comes from the environment alone."""

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from reasoning_lab.checks import require, require_count, require_positive
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.judge.base import ChatRequest, CountingChat, JudgeError, JudgeOption, Reply, Usage
from reasoning_lab.judge.chat import ChatJudge
from reasoning_lab.judge.client.budget import Budget
from reasoning_lab.judge.client.cache import ReplyCache, digest
from reasoning_lab.judge.client.endpoint import Endpoint, Outcome
from reasoning_lab.judge.client.secret import Secret, from_environment
from reasoning_lab.judge.client.wire import Completion, most_prompt_tokens, usual_prompt_tokens

_RESERVED = {"model", "messages", "n", "stream", "temperature", "max_tokens", "max_completion_tokens"}
"""Parameters of the body that are fields of their own or that this client can't read the answer to."""


@dataclass(frozen=True)
class OpenAI(JudgeOption):
    """A chat model by its address."""

    base_url: str
    """Up to and without /chat/completions."""
    model: str
    api_key_env: str | None
    """NAME of the environment variable that holds the key; servers of this machine need none."""
    temperature: float | None
    """None sends none: some reasoning models refuse the parameter."""
    max_tokens: int
    """Longest reply, thoughts included [tokens]."""
    length_parameter: Literal["max_completion_tokens", "max_tokens"]
    """How the server calls it."""
    extra: dict[str, Any]
    """Further parameters of the request's body."""
    concurrency: int
    """Requests at the same time."""
    timeout_s: float
    """Longest wait for one reply [s]."""
    retries: int
    """Tries after the first, where a failure may pass."""
    first_wait_s: float
    """Before the first retry [s]; doubled for each further one."""
    longest_wait_s: float
    """Before any retry [s]; a server that asks for more has failed."""
    price_input: float | None
    """Of prompt tokens [dollars per million]."""
    price_output: float | None
    """Of reply tokens [dollars per million]."""
    cap_dollars: float | None
    """Most that one run may spend."""
    cap_tokens: int | None
    """Or: most prompt and reply tokens of one run."""

    def __post_init__(self) -> None:
        self._check_address()
        name = self.api_key_env
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "api_key_env: must be the NAME of an environment variable, such as OPENAI_API_KEY (what is there is "
                "not shown, for it may be a key); export the key in the shell and name its variable."
            )
        require(bool(self.model.strip()), "model", repr(self.model), "a model's name", "set it as the server calls it")
        require_count(self, "max_tokens", "concurrency")
        require(self.retries >= 0, "retries", self.retries, "at least 0", "0 tries once")
        require_positive(self, "timeout_s", "first_wait_s", "longest_wait_s")
        t = self.temperature
        require(t is None or t >= 0, "temperature", t, "at least 0 or null", "null leaves it to the server")
        taken = sorted(_RESERVED & set(self.extra))
        require(not taken, "extra", ", ".join(taken), "parameters without a field of their own", "remove these")
        self._check_cap()

    def _check_address(self) -> None:
        parts = urlsplit(self.base_url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "base_url: must have no user, password, query or fragment (it is not shown, for it may hold a secret); "
                "name the key's environment variable in judge.api_key_env."
            )
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
        require(good, "base_url", self.base_url, "http://HOST... or https://HOST...", "it usually ends in /v1")

    def _check_cap(self) -> None:
        for field in ("price_input", "price_output", "cap_dollars", "cap_tokens"):
            value = getattr(self, field)
            require(value is None or value >= 0, field, value, "at least 0 or null", "null is unknown")
        cap, other = self.cap_dollars, self.cap_tokens
        one = (cap is None) != (other is None)
        require(one, "cap_dollars", cap, f"null exactly where cap_tokens={other} is not", "set one cap")
        prices = f"price_input={self.price_input} or price_output={self.price_output}"
        known = cap is None or None not in (self.price_input, self.price_output)
        require(known, "cap_dollars", cap, f"null where {prices} is", "set both prices, or cap_tokens instead")

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.base_url.rstrip("/") + "/chat/completions"

    @property
    def is_loopback(self) -> bool:
        """Whether the server is this machine."""
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None

    def open(self, cache: Path, device: str) -> ChatJudge:
        """The judge; nothing is sent before its first question."""
        return ChatJudge(self.chat(cache, device))

    def chat(self, cache: Path, device: str) -> "OpenAIChat":
        """The model; nothing is sent before its first question."""
        return OpenAIChat(self, cache)

    def limited(self, max_tokens: int) -> "OpenAI":
        """As JudgeOption.limited."""
        return replace(self, max_tokens=max_tokens)

    def identity(self) -> dict[str, Any]:
        """Address, model and parameters."""
        return {"judge": "openai", "url": self.url, **self.body_of("")}

    def check(self) -> None:
        """ValueError if no key is set for a server elsewhere."""
        self.key()

    def key(self) -> Secret | None:
        """The key, None where none is needed and none is set."""
        return from_environment(self.api_key_env, optional=self.is_loopback or self.api_key_env is None)

    def connect(self) -> Endpoint:
        """A connection to the server."""
        return Endpoint(self.url, self.key(), self.concurrency, self.timeout_s, self.is_loopback)

    def body_of(self, prompt: str) -> dict[str, Any]:
        """The request's body."""
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return {**body, self.length_parameter: self.max_tokens, **self.extra}

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Price of so many tokens; 0 where it isn't known."""
        return (prompt_tokens * (self.price_input or 0.0) + completion_tokens * (self.price_output or 0.0)) / 1e6


class OpenAIChat(CountingChat):
    """Sends what the cache doesn't hold, `concurrency` requests at a time.

    A failure that may pass (429, 5xx, timeouts, broken or senseless replies) is tried again, after Retry-After or an
    exponential back-off with keyed jitter; then it is a failed reply. Before a request goes out its worst case is
    reserved of the cap, and a reply that was lost counts as its worst case. JudgeError where nothing can succeed.
    """

    def __init__(self, option: OpenAI, cache: Path) -> None:
        super().__init__()
        self.option = option
        self.name = option.model
        self._cache = ReplyCache(cache)
        self._budget = Budget(float((option.cap_tokens if option.cap_dollars is None else option.cap_dollars) or 0))
        self._lock = threading.Lock()
        self._hold_until = 0.0
        """No request goes out before this moment of the monotonic clock: a server asked all of us to wait."""

    @property
    def spent(self) -> float:
        """So far, in the cap's unit: dollars or tokens."""
        return self._budget.spent

    def estimate(self, requests: Sequence[ChatRequest]) -> Usage:
        """Requests not in the cache, with 4 bytes per prompt token and replies of the expected length."""
        different = list(dict.fromkeys(requests))
        missing = [request for request in different if self._cached(request) is None]
        read = sum(usual_prompt_tokens(request.prompt) for request in missing)
        written = sum(min(request.expected_tokens, self.option.max_tokens) for request in missing)
        return Usage(
            asked=len(different),
            cached=len(different) - len(missing),
            sent=len(missing),
            prompt_tokens=read,
            completion_tokens=written,
            dollars=self.option.dollars(read, written),
        )

    def _replies(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        found = {request: self._cached(request) for request in requests}
        missing = [request for request, reply in found.items() if reply is None]
        if missing:
            found |= dict(zip(missing, self._fetch(missing), strict=True))
        return [reply for request in requests if (reply := found[request]) is not None]

    def _fetch(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """Replies of all requests. The first fatal failure stops the rest; what is in flight still enters the cache."""
        stop, option = threading.Event(), self.option
        with option.connect() as endpoint, ThreadPoolExecutor(min(option.concurrency, len(requests))) as pool:
            try:
                futures = [pool.submit(self._reply, endpoint, stop, request) for request in requests]
                found = [future.result() for future in futures]
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        if fatal := next((reply for reply in found if isinstance(reply, Outcome)), None):
            raise JudgeError(self._explained(fatal))
        replies = [reply for reply in found if isinstance(reply, Reply)]
        if all(reply.refused for reply in replies):
            raise JudgeError(f"{replies[0].failure}; correct judge.model or judge.extra. Nothing was answered.")
        return replies

    def _reply(self, endpoint: Endpoint, stop: threading.Event, request: ChatRequest) -> Reply | Outcome:
        """The reply to one request, or the outcome that is fatal for all."""
        option, body = self.option, self.option.body_of(request.prompt)
        most = self._cost(most_prompt_tokens(request.prompt), option.max_tokens)
        dollars = 0.0
        for attempt in range(option.retries + 1):
            self._wait_for_hold(stop)
            if stop.is_set():
                return Reply(None, "stopped", attempts=attempt, dollars=dollars)
            if not self._budget.reserve(most):
                return Reply(None, "cap reached", skipped=True, attempts=attempt, dollars=dollars)
            outcome = endpoint.post(body)
            cost = self._settled(outcome, most)
            self._budget.settle(most, cost)
            dollars += cost if option.cap_dollars is not None else self._dollars_of(outcome)
            if outcome.completion is not None:
                return self._kept(request, outcome.completion, attempt + 1, dollars)
            is_last = attempt == option.retries
            if outcome.kind == "fatal" or (is_last and outcome.kind == "unreachable"):
                stop.set()
                return outcome
            if is_last or outcome.kind == "refused" or (outcome.wait_s or 0.0) > option.longest_wait_s:
                break
            self._back_off(stop, request, attempt, outcome.wait_s)
        return Reply(
            None, outcome.failure, refused=outcome.kind == "refused", attempts=attempt + 1, dollars=dollars
        )  # fmt: skip

    def _explained(self, fatal: Outcome) -> str:
        """A fatal failure with the next move."""
        option = self.option
        advice = {
            None: "start the server, or correct judge.base_url",
            401: f"the key in {option.api_key_env} is refused: set a valid one",
            403: f"the key in {option.api_key_env} may not use model {option.model}: use another of either",
            404: f"judge.base_url (it usually ends in /v1) or judge.model={option.model} is not what the server has",
            429: "the account has no credit left: add some, or use another judge",
        }.get(fatal.status, "set judge.base_url to the address of the API itself")
        return f"judge at {option.url}: {fatal.failure}; {advice}. All replies so far are kept."

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _back_off(self, stop: threading.Event, request: ChatRequest, attempt: int, asked: float | None) -> None:
        """Where the server asks for a wait, hold back all requests; else wait 2^attempt times the first wait, jittered
        by up to a half."""
        if asked is not None:
            with self._lock:
                self._hold_until = max(self._hold_until, time.monotonic() + asked)
            return
        longest = min(self.option.longest_wait_s, self.option.first_wait_s * 2**attempt)
        jitter = uniform(Key(0, digest(self._name(request)), step=attempt), 0, "back-off")
        stop.wait(longest * (0.5 + 0.5 * jitter))

    def _wait_for_hold(self, stop: threading.Event) -> None:
        while (wait := self._hold_until - time.monotonic()) > 0 and not stop.wait(wait):
            pass

    # -- cache -----------------------------------------------------------------------------------------------------

    def _name(self, request: ChatRequest) -> dict[str, Any]:
        """What a reply is kept under; the key is no part of it."""
        return {"url": self.option.url, "body": self.option.body_of(request.prompt), "draw": request.draw}

    def _cached(self, request: ChatRequest) -> Reply | None:
        kept = self._cache.get(self._name(request))
        try:
            return Reply(**kept, cached=True) if kept is not None else None
        except TypeError:  # Written by another version.
            return None

    def _kept(self, request: ChatRequest, completion: Completion, attempts: int, dollars: float) -> Reply:
        """The reply, once it is in the cache."""
        kept = {
            "text": completion.text,
            "cut": completion.cut,
            "prompt_tokens": completion.prompt_tokens or 0,
            "completion_tokens": completion.completion_tokens or 0,
        }
        self._cache.put(self._name(request), kept)
        return Reply(**kept, attempts=attempts, dollars=dollars)

    # -- money -----------------------------------------------------------------------------------------------------

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """In the cap's unit."""
        if self.option.cap_dollars is None:
            return float(prompt_tokens + completion_tokens)
        return self.option.dollars(prompt_tokens, completion_tokens)

    def _settled(self, outcome: Outcome, most: float) -> float:
        """What a try cost: as the server counts; the worst case where it may have worked and doesn't say."""
        done = outcome.completion
        if done is None:
            return most if outcome.kind == "lost" else 0.0
        if done.prompt_tokens is None or done.completion_tokens is None:
            return most
        return self._cost(done.prompt_tokens, done.completion_tokens)

    def _dollars_of(self, outcome: Outcome) -> float:
        done = outcome.completion
        return self.option.dollars(done.prompt_tokens or 0, done.completion_tokens or 0) if done else 0.0
