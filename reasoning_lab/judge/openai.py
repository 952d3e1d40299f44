"""A judge behind any OpenAI-compatible endpoint; the key comes from the environment alone."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from reasoning_lab.checks import require, require_count, require_positive
from reasoning_lab.engine.client.address import check_address, check_key_name, is_loopback
from reasoning_lab.engine.client.http import Endpoint
from reasoning_lab.engine.client.secret import Secret, from_environment
from reasoning_lab.judge.base import JudgeOption
from reasoning_lab.judge.chat import ChatJudge
from reasoning_lab.judge.client.chat import ChatService, OpenAIChat
from reasoning_lab.judge.client.completion import ChatCompletion, read_completion

_RESERVED = {"model", "messages", "n", "stream", "temperature", "max_tokens", "max_completion_tokens"}
"""Parameters of the body that are fields of their own or that this client can't read the answer to."""


@dataclass(frozen=True)
class OpenAI(ChatService, JudgeOption):
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
        check_address(self.base_url, "judge")
        check_key_name(self.api_key_env)
        require(bool(self.model.strip()), "model", repr(self.model), "a model's name", "set it as the server calls it")
        require_count(self, "max_tokens", "concurrency")
        require(self.retries >= 0, "retries", self.retries, "at least 0", "0 tries once")
        require_positive(self, "timeout_s", "first_wait_s", "longest_wait_s")
        t = self.temperature
        require(t is None or t >= 0, "temperature", t, "at least 0 or null", "null leaves it to the server")
        taken = sorted(_RESERVED & set(self.extra))
        require(not taken, "extra", ", ".join(taken), "parameters without a field of their own", "remove these")
        self._check_cap()

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
        return is_loopback(self.base_url)

    def open(self, cache: Path, device: str) -> ChatJudge:
        """The judge; nothing is sent before its first question."""
        return ChatJudge(self.chat(cache, device))

    def chat(self, cache: Path, device: str) -> OpenAIChat:
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
        optional = self.is_loopback or self.api_key_env is None
        return from_environment(self.api_key_env, optional, "judge", "judge=lexical or judge=local, which need none")

    def connect(self) -> Endpoint[ChatCompletion]:
        """A connection to the server."""
        return Endpoint(self.url, self.key(), self.concurrency, self.timeout_s, self.is_loopback, read_completion)

    def body_of(self, prompt: str) -> dict[str, Any]:
        """The request's body."""
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return {**body, self.length_parameter: self.max_tokens, **self.extra}

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Price of so many tokens; 0 where it isn't known."""
        return (prompt_tokens * (self.price_input or 0.0) + completion_tokens * (self.price_output or 0.0)) / 1e6
