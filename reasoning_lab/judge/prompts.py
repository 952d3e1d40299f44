"""What a chat model is asked: the protocol of Venhoff et al. 2025 (arXiv:2510.07364), in words of our own.

Sentences stand as JSON strings, so that line breaks and quotes in them can't be taken for the prompt's.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from reasoning_lab.judge.base import Category, TitleRequest


class Worked(NamedTuple):
    """A category named as we want them named."""

    title: str
    description: str
    sentences: tuple[str, ...]


WORKED = (
    Worked(
        "Proposing a hypothesis",
        "The sentence puts forward an idea that may turn out wrong and that the following steps can test. It includes "
        "guesses at a pattern, a cause or an answer. It excludes facts that are merely recalled and results that have "
        "been derived.",
        (
            "Maybe the sequence doubles at every second step.",
            "It could be that the two triangles are similar.",
            "Perhaps the rate is constant after the first hour.",
            "I suspect that only even values of n work.",
            "One possibility is that the gas behaves ideally here.",
        ),
    ),
    Worked(
        "Voicing uncertainty",
        "The sentence says how sure the writer is and changes nothing else. It includes doubts about a result, a "
        "memory or the meaning of the question. It excludes sentences that go on to check the doubtful point.",
        (
            "I'm not sure whether the boundary counts.",
            "Hmm, that does not look quite right.",
            "I can't remember if the constant is squared.",
            "It is unclear what they mean by average here.",
            "This may or may not hold for negative numbers.",
        ),
    ),
    Worked(
        "Planning the next steps",
        "The sentence announces what will be done and in which order. It includes splitting a task into parts and "
        "choosing a method. It excludes carrying out a step.",
        (
            "First I will find the height, then the area.",
            "Let me treat the two cases one after the other.",
            "The next thing to do is to compare the rates.",
            "I'll start from the end and work backwards.",
            "To solve this, we need three equations.",
        ),
    ),
    Worked(
        "Making an assumption",
        "The sentence fixes something that the problem leaves open so that the work can go on. It includes "
        "simplifications and values taken for convenience. It excludes conditions that the problem states.",
        (
            "Suppose the container is rigid.",
            "Let us take the price per unit to be 1.",
            "Assume that nobody leaves before noon.",
            "We can ignore friction for now.",
            "I'll treat the two events as independent.",
        ),
    ),
    Worked(
        "Recalling a definition",
        "The sentence states what a term means or what a known rule says, from memory and without reference to the "
        "values at hand. It includes formulas and theorems. It excludes their application to the problem.",
        (
            "A prime has exactly two divisors.",
            "The median is the middle value of sorted data.",
            "By definition, density is mass over volume.",
            "An ionic bond forms when electrons are transferred.",
            "The derivative of sin is cos.",
        ),
    ),
)
"""Five examples, as the paper gives five: hypotheses, uncertainty, planning, assumptions, recalled definitions."""


def title_prompt(request: TitleRequest) -> str:
    """Ask for the name of a cluster's common function."""
    traces = "".join(f"\n<trace>\n{trace}\n</trace>\n" for trace in request.traces)
    context = f"\nFor context, full reasoning traces of the same model:\n{traces}" if traces else ""
    return f"""\
A language model wrote the sentences below while it reasoned about problems. They were put together because the \
model's inner state was alike when it wrote them. Find the job that they do in its reasoning, whatever their subject.

Consider three things:
1. which cognitive function most of the sentences share;
2. which linguistic patterns come back in them;
3. which role such a sentence plays in the reasoning as a whole.

Examples of good categories:
{"".join(map(_worked, WORKED))}{context}
The sentences:
{_numbered(request.sentences)}

Answer with exactly these two parts and nothing else:
Title: a single concept in a few words, without slashes and without parentheses
Description: three to four sentences that say what such a sentence does, what is included and what is excluded
"""


def _worked(example: Worked) -> str:
    sentences = "".join(f"- {sentence}\n" for sentence in example.sentences)
    return f"\nTitle: {example.title}\nDescription: {example.description}\nSentences:\n{sentences}"


def belongs_prompt(category: Category, sentences: Sequence[str]) -> str:
    """Ask of each sentence whether it does what the category says."""
    return f"""\
This category describes what a sentence does in a model's reasoning:
{_described(category)}

Decide for each sentence whether it performs the described function. Judge the function and not the subject.

{_numbered(sentences)}

Answer with JSON alone, one entry for every sentence, in this form:
{{"classifications": [{{"sentence_id": 1, "explanation": "a few words", "belongs_to_category": true}}]}}
"""


def fit_prompt(category: Category, sentence: str) -> str:
    """Ask how well a sentence fits its category."""
    return f"""\
This category describes what a sentence does in a model's reasoning:
{_described(category)}

The sentence:
{_quoted(sentence)}

How well does the sentence fit the category? 0 means not at all, 5 in part, 10 perfectly.
{_RATING}
"""


def similarity_prompt(one: Category, other: Category) -> str:
    """Ask how alike two categories are in function."""
    return f"""\
Two categories describe what sentences do in a model's reasoning.

The first:
{_described(one)}

The second:
{_described(other)}

How alike are their functions? 0 means that they have nothing in common, 10 that they are the same function in other \
words. Judge what the sentences do and not how they are worded.
{_RATING}
"""


_RATING = "Explain in one sentence, then end with a line of this form, with a whole number from 0 to 10:\nRating: 0"


def _described(category: Category) -> str:
    return f"Title: {category.title}\nDescription: {category.description}"


def _numbered(sentences: Sequence[str]) -> str:
    return "\n".join(f"{number}. {_quoted(sentence)}" for number, sentence in enumerate(sentences, 1))


def _quoted(sentence: str) -> str:
    return json.dumps(sentence, ensure_ascii=False)
