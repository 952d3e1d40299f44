"""A chat model behind a server: cached, capped, retried."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reasoning_lab.engine.client.http import Attempt, Endpoint
from reasoning_lab.engine.client.patience import Patience
from reasoning_lab.judge.base import ChatRequest, CountingChat, JudgeError, Reply, Usage
from reasoning_lab.judge.client.budget import Budget
from reasoning_lab.judge.client.cache import ReplyCache, json_sha256
from reasoning_lab.judge.client.completion import ChatCompletion, most_prompt_tokens, usual_prompt_tokens


class ChatService(ABC):
    """A server, what is sent to it, and on which terms. Waits are in seconds, caps in dollars or in tokens."""

    model: str
    api_key_env: str | None
    max_tokens: int
    concurrency: int
    retries: int
    first_wait_s: float
    longest_wait_s: float
    cap_dollars: float | None
    cap_tokens: int | None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where requests go."""

    @abstractmethod
    def body_of(self, prompt: str) -> dict[str, Any]:
        """The request's body."""

    @abstractmethod
    def connect(self) -> Endpoint[ChatCompletion]:
        """A connection to the server."""

    @abstractmethod
    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Price of so many tokens; 0 where it isn't known."""


class OpenAIChat(CountingChat):
    """Sends what the cache doesn't hold, `concurrency` requests at a time.

    A failure that may pass (429, 5xx, timeouts, broken or senseless replies) is tried again, after Retry-After or an
    exponential back-off with keyed jitter; then it is a failed reply. Before a request goes out its worst case is
    reserved of the cap, and a reply that was lost counts as its worst case. JudgeError where nothing can succeed.
    """

    def __init__(self, option: ChatService, cache: Path) -> None:
        super().__init__()
        self.option = option
        self.name = option.model
        self._cache = ReplyCache(cache)
        self._budget = Budget(float((option.cap_tokens if option.cap_dollars is None else option.cap_dollars) or 0))
        self._patience = Patience(option.first_wait_s, option.longest_wait_s)

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
        replies = {request: self._cached(request) for request in requests}
        missing = [request for request, reply in replies.items() if reply is None]
        if missing:
            replies |= dict(zip(missing, self._fetch(missing), strict=True))
        return [reply for request in requests if (reply := replies[request]) is not None]

    def _fetch(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """Replies of all requests. The first fatal failure stops the rest; what is in flight still enters the cache."""
        stop, option = threading.Event(), self.option
        with option.connect() as endpoint, ThreadPoolExecutor(min(option.concurrency, len(requests))) as pool:
            try:
                futures = [pool.submit(self._reply, endpoint, stop, request) for request in requests]
                results = [future.result() for future in futures]
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        if fatal := next((reply for reply in results if isinstance(reply, Attempt)), None):
            raise JudgeError(self._explained(fatal))
        replies = [reply for reply in results if isinstance(reply, Reply)]
        if all(reply.refused for reply in replies):
            raise JudgeError(f"{replies[0].failure}; correct judge.model or judge.extra. Nothing was answered.")
        return replies

    def _reply(
        self, endpoint: Endpoint[ChatCompletion], stop: threading.Event, request: ChatRequest
    ) -> Reply | Attempt[ChatCompletion]:
        """The reply to one request, or the attempt that is fatal for all."""
        option = self.option
        dollars = 0.0
        for number in range(option.retries + 1):
            self._patience.wait_for_hold(stop)
            if stop.is_set():
                return Reply(None, "stopped", attempts=number, dollars=dollars)
            if (sent := self._attempt(endpoint, request)) is None:
                return Reply(None, "cap reached", skipped=True, attempts=number, dollars=dollars)
            attempt, spent = sent
            dollars += spent
            if attempt.completion is not None:
                return self._kept(request, attempt.completion, number + 1, dollars)
            is_last = number == option.retries
            if attempt.kind == "fatal" or (is_last and attempt.kind == "unreachable"):
                stop.set()
                return attempt
            refused = attempt.kind == "refused"
            if is_last or refused or (attempt.wait_s or 0.0) > option.longest_wait_s:
                return Reply(None, attempt.failure, refused=refused, attempts=number + 1, dollars=dollars)
            self._back_off(stop, request, number, attempt.wait_s)
        raise AssertionError("the last attempt returns")

    def _attempt(
        self, endpoint: Endpoint[ChatCompletion], request: ChatRequest
    ) -> tuple[Attempt[ChatCompletion], float] | None:
        """One attempt and its dollars; None, with nothing sent, where its worst case does not fit under the cap."""
        most = self._cost(most_prompt_tokens(request.prompt), self.option.max_tokens)
        if not self._budget.reserve(most):
            return None
        attempt = endpoint.post(self.option.body_of(request.prompt))
        cost = self._settled(attempt, most)
        self._budget.settle(most, cost)
        return attempt, self._dollars_of(attempt) if self.option.cap_dollars is None else cost

    def _explained(self, fatal: Attempt[ChatCompletion]) -> str:
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

    def _back_off(self, stop: threading.Event, request: ChatRequest, number: int, asked: float | None) -> None:
        """As Patience, by the name under which a reply is kept."""
        self._patience.back_off(stop, json_sha256(self._name(request)), number, asked)

    # -- cache -----------------------------------------------------------------------------------------------------

    def _name(self, request: ChatRequest) -> dict[str, Any]:
        """What a reply is kept under; the key is no part of it."""
        return {"url": self.option.url, "body": self.option.body_of(request.prompt), "draw": request.repetition}

    def _cached(self, request: ChatRequest) -> Reply | None:
        kept = self._cache.get(self._name(request))
        try:
            return Reply(**kept, cached=True) if kept is not None else None
        except TypeError:  # Written by another version.
            return None

    def _kept(self, request: ChatRequest, completion: ChatCompletion, attempts: int, dollars: float) -> Reply:
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

    def _settled(self, attempt: Attempt, most: float) -> float:
        """What an attempt cost: as the server counts; the worst case where it may have worked and doesn't say."""
        done = attempt.completion
        if done is None:
            return most if attempt.kind == "lost" else 0.0
        if done.prompt_tokens is None or done.completion_tokens is None:
            return most
        return self._cost(done.prompt_tokens, done.completion_tokens)

    def _dollars_of(self, attempt: Attempt[ChatCompletion]) -> float:
        done = attempt.completion
        return self.option.dollars(done.prompt_tokens or 0, done.completion_tokens or 0) if done else 0.0
