"""The grader of Venhoff et al. 2025's code, for comparison with rules: `grader=venhoff2025` (departures B8).

A chat model reads question, gold and the whole answer, its line breaks gone, and is to say YES or NO in at most
100 tokens. "yes" anywhere in the reply, in any case, is a right answer: "not what it was yesterday" too. A reply that a
reasoning model's thoughts have used up is empty, and so a NO. Where there is no reply the benchmark's own rule for this
grader speaks: the last number.

The prompt says what theirs says, in words of our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_lab.judge.base import Chat, ChatRequest

MAX_TOKENS = 100
"""Longest reply, thoughts included."""
_PROMPT = """Below are a question, its correct answer and a response to grade.

Question: {question}

Correct answer: {gold}

Response: {text}

State the final value of the correct answer and the final value of the response. Then say YES if the two are the same
value, however written, and NO if they are not or if the response reaches no final value."""


@dataclass(frozen=True)
class Case:
    """An answer to be graded."""

    question: str
    gold: str
    text: str


def says_yes(chat: Chat, cases: Sequence[Case]) -> list[bool | None]:
    """Whether each reply holds "yes"; None where there was no reply."""
    replies = chat.ask(verdict_requests(cases))
    return [None if reply.text is None else "yes" in reply.text.lower() for reply in replies]


def verdict_requests(cases: Sequence[Case]) -> list[ChatRequest]:
    """What is asked, one request per case."""
    return [ChatRequest(verdict_prompt(case), expected_tokens=MAX_TOKENS // 2) for case in cases]


def verdict_prompt(case: Case) -> str:
    """What the judge reads."""
    return _PROMPT.format(question=case.question, gold=case.gold, text=" ".join(case.text.split()))
