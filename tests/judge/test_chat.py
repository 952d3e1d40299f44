"""The paper's questions to a chat model: batches, forms of answer, and what becomes of bad ones."""

import json
import re
from collections.abc import Callable, Sequence

import pytest

from reasoning_lab.judge.base import Category, Chat, ChatRequest, Reply, Title, TitleRequest, Usage
from reasoning_lab.judge.chat import BATCH, ChatJudge

CHECK = Category(3, "Checking", "The sentence checks a step.", ("Check: 1 + 1 = 2.",))
PLAN = Category(5, "Planning", "The sentence announces steps.")


class Scripted(Chat):
    """A chat model that is a function."""

    name = "scripted"

    def __init__(self, answer: Callable[[str], str | None]) -> None:
        self.usage = Usage()
        self.answer = answer
        self.requests: list[ChatRequest] = []

    def ask(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        self.requests += requests
        return [Reply(self.answer(request.prompt)) for request in requests]

    def estimate(self, requests: Sequence[ChatRequest]) -> Usage:
        return Usage(asked=len(requests), completion_tokens=sum(request.expected_tokens for request in requests))


def sentences_of(prompt: str) -> list[str]:
    """Those that the prompt asks about, as a reader would find them."""
    return [json.loads(line) for line in re.findall(r"^\d+\. (\".*\")$", prompt, re.MULTILINE)]


def by_word(word: str) -> Callable[[str], str]:
    """Says yes to sentences with the word."""

    def answer(prompt: str) -> str:
        entries = [
            {"sentence_id": number, "explanation": "", "belongs_to_category": word in sentence}
            for number, sentence in enumerate(sentences_of(prompt), 1)
        ]
        return "```json\n" + json.dumps({"classifications": entries}) + "\n```"

    return answer


def test_membership_is_asked_in_batches_and_answered_in_order() -> None:
    sentences = [f'Check "{n}"\nagain: 2. "x"' if n % 3 == 0 else f"So {n}." for n in range(120)]
    chat = Scripted(by_word("Check"))
    found = ChatJudge(chat).belongs([(CHECK, sentences), (PLAN, ["So."]), (PLAN, [])], [CHECK, PLAN])
    assert found == [[n % 3 == 0 for n in range(120)], [False], []]
    sizes = [len(sentences_of(request.prompt)) for request in chat.requests]
    assert sizes == [50, 50, 20, 1] and max(sizes) <= BATCH
    for request in chat.requests[:3]:
        assert CHECK.title in request.prompt and CHECK.description in request.prompt


def test_a_batch_without_an_answer_is_none_and_leaves_the_others() -> None:
    says = by_word("Check")
    for bad in (None, "I can't.", "yes " * 50):
        chat = Scripted(lambda prompt, bad=bad: bad if "number 60" in prompt else says(prompt))
        found = ChatJudge(chat).belongs([(CHECK, [f"Check number {n}" for n in range(120)])], [CHECK])
        assert found == [[True] * 50 + [None] * 50 + [True] * 20]


def test_titles_show_sentences_and_traces_and_a_repetition_is_asked_anew() -> None:
    chat = Scripted(lambda prompt: "Title: T\nDescription: one\ntwo")
    requests = [TitleRequest(0, ('Wait, "no".', "Hm.\nHm."), ("A trace.",), again) for again in range(2)]
    assert ChatJudge(chat).titles(requests) == [Title("T", "one\ntwo")] * 2
    prompt = chat.requests[0].prompt
    assert sentences_of(prompt) == ['Wait, "no".', "Hm.\nHm."]
    assert "<trace>\nA trace.\n</trace>" in prompt
    assert len(re.findall(r"^Title: .*\nDescription: ", prompt, re.MULTILINE)) == 6  # Five examples and the form.
    assert [request.repetition for request in chat.requests] == [0, 1]


def test_ratings_name_both_sides() -> None:
    chat = Scripted(lambda prompt: "Rating: 8" if "Planning" in prompt else "no idea")
    judge = ChatJudge(chat)
    assert judge.fits([(CHECK, "So."), (PLAN, "So.")], [CHECK, PLAN]) == [None, 8]
    assert judge.similarity([(CHECK, PLAN), (CHECK, CHECK)], [CHECK, PLAN]) == [8, None]
    assert all(text in chat.requests[2].prompt for text in (CHECK.description, PLAN.description))


def test_a_dry_judge_asks_nothing_and_counts_everything() -> None:
    chat = Scripted(lambda prompt: pytest.fail("asked"))
    dry = ChatJudge(chat).dry()
    assert dry.belongs([(CHECK, ["a"] * 60)], [CHECK]) == [[None] * 60]
    assert dry.fits([(CHECK, "a")], [CHECK]) == [None]
    assert dry.usage().asked == 3 and dry.usage().completion_tokens > 0
    assert dry.name == "scripted" and chat.usage == Usage()
