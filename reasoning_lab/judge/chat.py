"""A judge that asks a chat model: the paper's questions, its forms of answer, and nothing read into a bad one."""

from collections.abc import Sequence

from reasoning_lab.judge.base import Category, Chat, ChatRequest, Judge, Reply, Title, TitleRequest, Usage
from reasoning_lab.judge.prompts import belongs_prompt, fit_prompt, similarity_prompt, title_prompt
from reasoning_lab.judge.replies import parse_belongs, parse_rating, parse_title

BATCH = 50
"""Sentences per question of membership (Venhoff et al. 2025)."""
_TITLE_TOKENS, _VERDICT_TOKENS, _RATING_TOKENS = 150, 35, 40
"""Usual lengths of replies [tokens]: of a title, per verdict, of a rating; for estimates alone."""


class ChatJudge(Judge):
    """Asks `chat`. All questions of one call go out together, so the chat can work on them at the same time."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.name = chat.name

    def titles(self, requests: Sequence[TitleRequest]) -> list[Title | None]:
        """One request per category; a repetition is asked anew."""
        asked = [ChatRequest(title_prompt(request), _TITLE_TOKENS, request.repetition) for request in requests]
        return [None if text is None else parse_title(text) for text in self._texts(asked)]

    def belongs(
        self, questions: Sequence[tuple[Category, Sequence[str]]], among: Sequence[Category]
    ) -> list[list[bool | None]]:
        """One request per category and batch of at most 50 sentences."""
        batches = [
            (number, category, list(sentences[start : start + BATCH]))
            for number, (category, sentences) in enumerate(questions)
            for start in range(0, len(sentences), BATCH)
        ]
        asked = [ChatRequest(belongs_prompt(c, batch), _VERDICT_TOKENS * len(batch)) for _, c, batch in batches]
        answers: list[list[bool | None]] = [[] for _ in questions]
        for (number, _, batch), text in zip(batches, self._texts(asked), strict=True):
            answers[number] += [None] * len(batch) if text is None else parse_belongs(text, len(batch))
        return answers

    def fits(self, pairs: Sequence[tuple[Category, str]], among: Sequence[Category]) -> list[int | None]:
        """One request per pair."""
        return self._ratings([fit_prompt(category, sentence) for category, sentence in pairs])

    def similarity(self, pairs: Sequence[tuple[Category, Category]], among: Sequence[Category]) -> list[int | None]:
        """One request per pair."""
        return self._ratings([similarity_prompt(one, other) for one, other in pairs])

    def usage(self) -> Usage:
        """What the chat has been asked so far."""
        return self.chat.usage

    def dry(self) -> "ChatJudge":
        """Asks a chat that only counts."""
        return ChatJudge(_Meter(self.chat))

    def _ratings(self, prompts: Sequence[str]) -> list[int | None]:
        texts = self._texts([ChatRequest(prompt, _RATING_TOKENS) for prompt in prompts])
        return [None if text is None else parse_rating(text) for text in texts]

    def _texts(self, requests: Sequence[ChatRequest]) -> list[str | None]:
        return [reply.text for reply in self.chat.ask(requests)]


class _Meter(Chat):
    """Estimates and sends nothing."""

    def __init__(self, chat: Chat) -> None:
        self.name = chat.name
        self.usage = Usage()
        self._chat = chat

    def ask(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        self.usage += self.estimate(requests)
        return [Reply(None, "not sent") for _ in requests]

    def estimate(self, requests: Sequence[ChatRequest]) -> Usage:
        return self._chat.estimate(requests)
