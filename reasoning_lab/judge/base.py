"""What a judge is: it names categories of sentences and answers three kinds of questions about them.

A chat model and an offline word statistic answer alike, so every table says by `name` who judged. An answer of None
means that there was none to be read (unparsable, failed, or skipped at a cap): it is counted and never a success.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from reasoning_lab.records import Record


class JudgeError(ValueError):
    """The judge can't work at all (unreachable, key refused, no such model): one line with the next move."""


@dataclass(frozen=True)
class Title(Record):
    """What a judge calls a category."""

    title: str
    """One concept."""
    description: str
    """What such a sentence does, what is included, what is excluded; may have several lines."""


@dataclass(frozen=True)
class Category(Record):
    """One named category of a taxonomy."""

    index: int
    """Of the cluster or latent."""
    title: str
    description: str
    examples: tuple[str, ...] = ()
    """The sentences that the judge saw when it named the category, most typical first."""


@dataclass(frozen=True)
class TitleRequest:
    """Name the category of these sentences."""

    index: int
    """Of the cluster or latent."""
    sentences: tuple[str, ...]
    """In the order in which they are shown."""
    traces: tuple[str, ...]
    """Full reasoning traces, for context."""
    repetition: int
    """Which of the independent sets of titles."""


@dataclass(frozen=True)
class Usage(Record):
    """What questions cost; counts are of different requests, tokens are as the server reports them."""

    asked: int = 0
    cached: int = 0
    """Answered from the cache."""
    sent: int = 0
    """Requests that went out, repeated ones each time."""
    failed: int = 0
    """No reply after all tries."""
    skipped: int = 0
    """Not sent: the cap was reached."""
    cut: int = 0
    """Replies that ended at the token limit."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    """0 where no price is known."""

    def __add__(self, other: "Usage") -> "Usage":
        """Field by field."""
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: "Usage") -> "Usage":
        """Field by field: what came since `other`."""
        return Usage(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


class Judge(ABC):
    """Names and answers. `among` always lists the whole taxonomy: a judge without language tells a category by its
    rivals; a chat model is asked about the category alone, as in Venhoff et al. 2025."""

    name: str
    """Stands in every table."""

    @abstractmethod
    def titles(self, requests: Sequence[TitleRequest]) -> list[Title | None]:
        """A title and description per request; the requests are all categories of one taxonomy."""

    @abstractmethod
    def belongs(
        self, questions: Sequence[tuple[Category, Sequence[str]]], among: Sequence[Category]
    ) -> list[list[bool | None]]:
        """Per question and sentence: does it do what the category's description says?"""

    @abstractmethod
    def fits(self, pairs: Sequence[tuple[Category, str]], among: Sequence[Category]) -> list[int | None]:
        """How well each sentence fits the category, 0 (not at all) to 10 (perfectly)."""

    @abstractmethod
    def similarity(self, pairs: Sequence[tuple[Category, Category]], among: Sequence[Category]) -> list[int | None]:
        """How alike the functions of two categories are, 0 (unrelated) to 10 (the same)."""

    @abstractmethod
    def usage(self) -> Usage:
        """What its questions have cost so far."""

    @abstractmethod
    def dry(self) -> "Judge":
        """A judge that asks the same questions and sends nothing; its `usage()` estimates their cost."""


class JudgeOption(ABC):
    """A line of conf/judge: a frozen dataclass that opens a judge."""

    @abstractmethod
    def open(self, cache: Path, device: str) -> Judge:
        """The judge. `cache` is a folder for its replies, `device` is where a model of ours runs."""

    def chat(self, cache: Path, device: str) -> "Chat | None":
        """The chat model behind it; None where there is none."""
        return None

    def limited(self, max_tokens: int) -> "JudgeOption":
        """The option with replies of at most `max_tokens` [tokens]; itself where replies have no length."""
        del max_tokens
        return self

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What determines its answers, for the key of what it judges: no limit on cost, no path, no secret."""

    @abstractmethod
    def check(self) -> None:
        """A ValueError if the judge can't be opened here (key not set ...); to be called before any work."""


@dataclass(frozen=True)
class ChatRequest:
    """One user turn."""

    prompt: str
    expected_tokens: int = 100
    """Usual length of the reply [tokens]; for estimates alone."""
    repetition: int = 0
    """Which of the independent replies to the same prompt: the cache keeps them apart."""


@dataclass(frozen=True)
class Reply:
    """What came back for one request."""

    text: str | None
    """None: no reply, see `failure`."""
    failure: str = ""
    skipped: bool = False
    """Not sent, for the cap was reached."""
    refused: bool = False
    """The server won't take this very request (too long, unknown parameter ...)."""
    cached: bool = False
    cut: bool = False
    """Ended at the token limit."""
    attempts: int = 0
    """Requests that went out for it."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    """Spent on it, lost attempts included; 0 where no price is known."""

    def usage(self) -> Usage:
        """The reply as a count of one."""
        return Usage(
            asked=1,
            cached=int(self.cached),
            sent=self.attempts,
            failed=int(self.text is None and not self.skipped),
            skipped=int(self.skipped),
            cut=int(self.cut),
            # A cached reply costs nothing again.
            prompt_tokens=0 if self.cached else self.prompt_tokens,
            completion_tokens=0 if self.cached else self.completion_tokens,
            dollars=self.dollars,
        )


class Chat(ABC):
    """A chat model: text in, text out."""

    name: str
    usage: Usage
    """Of all requests so far."""

    @abstractmethod
    def ask(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """One reply per request, in order. A failure is a Reply without text; JudgeError only where no request can
        succeed."""

    @abstractmethod
    def estimate(self, requests: Sequence[ChatRequest]) -> Usage:
        """What `ask` would cost, by expected lengths; sends nothing."""


class CountingChat(Chat):
    """Asks equal requests once and counts what they cost."""

    def __init__(self) -> None:
        self.usage = Usage()

    def ask(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """See Chat."""
        different = list(dict.fromkeys(requests))
        replies = dict(zip(different, self._replies(different), strict=True))
        self.usage += sum((reply.usage() for reply in replies.values()), Usage())
        return [replies[request] for request in requests]

    @abstractmethod
    def _replies(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """One reply per request, all different."""
