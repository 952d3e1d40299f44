r"""Pull the final answer out of a text.

The rules, in the order in which they are tried; within each, the last place in the text counts:

1. boxed        ``\boxed{…}`` or ``\fbox{…}``, braces matched; empty, unclosed and overlong boxes don't count
2. hashes       ``#### x`` alone on its line, GSM8K's own mark; ``#### Step 3`` is a heading and doesn't count
3. answer is    ``the answer is x``, ``Answer: x``
4. last number  of a text that ended by itself

The order follows common practice (Hendrycks et al. 2021 for boxes, Cobbe et al. 2021 for hashes). Unlike Karan & Du's
code, the text is the completion alone: theirs falls back to the box in the prompt where the answer has none.

All rules take time linear in the text: a hundred thousand tokens are a completion too.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

AnswerRule = Literal["boxed", "hashes", "answer is", "last number"]

MAX_ANSWER_CHARS = 1000
"""Longer is no answer [characters]; the longest gold answer of MATH500 has 53."""


class Answer(NamedTuple):
    """An answer as it stands in the text, without the marks around it."""

    text: str
    rule: AnswerRule


def extract_answer(text: str, complete: bool = True) -> Answer | None:
    """The answer and the rule that found it, or None.

    `complete`: whether the text ended by itself. In one cut off at the cap, the last number is where the thought
    broke off, so that only the marked answers count.
    """
    rules = _RULES if complete else _RULES[:-1]
    for rule, find in rules:
        if stated := find(text):
            return Answer(stated, rule)
    return None


def _usable(content: str) -> str | None:
    content = content.strip()
    return content if 0 < len(content) <= MAX_ANSWER_CHARS else None


# --- 1. boxed -------------------------------------------------------------------------------------------------

# A box, an escaped character, a brace. \\boxed (escaped twice, as models do) is a box, not a line break.
_BRACES = re.compile(r"\\(?:boxed|fbox)[ \t]{0,8}\{|\\(?!\\(?:boxed|fbox)).|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed[ \t]{1,8}([^\s${}\\]{1,100})")


def last_boxed(text: str) -> str | None:
    r"""Content of the box that opens last among the closed ones; of ``\boxed{\boxed{5}}`` the inner."""
    best: tuple[int, str] | None = None
    opened: list[tuple[int, bool]] = []
    for mark in _BRACES.finditer(text):
        token = mark.group()
        if token == "}" and opened:
            start, is_box = opened.pop()
            # Nested boxes close from the inside out, so a later start must not lose to an earlier one.
            if is_box and (best is None or start > best[0]) and mark.start() - start <= MAX_ANSWER_CHARS:
                content = _usable(text[start : mark.start()])
                best = (start, content) if content else best
        elif token.endswith("{") and token != "\\{":
            opened.append((mark.end(), token != "{"))
    if best:
        return best[1]
    bare = _last(_BARE_BOX, text)
    return bare.group(1).rstrip(".,;") if bare else None


# --- 2. hashes ------------------------------------------------------------------------------------------------

_HASHES = re.compile(r"^[ \t]{0,8}#### ?([^\n]{1,200})$", re.MULTILINE)
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}")


def last_hashes(text: str) -> str | None:
    """What follows the last #### that is no heading, that is: has no word in it."""
    marked = [match.group(1) for match in _HASHES.finditer(text) if not _WORD.search(match.group(1))]
    return _usable(_unmarked(marked[-1])) if marked else None


# --- 3. the answer is -----------------------------------------------------------------------------------------

# Runs of space are bounded: unbounded ones beside each other take quadratic time on a page of blanks.
_ANSWER_IS = re.compile(r"\banswer(?:\s{1,8}is\b\s{0,8}:?|\s{0,8}:)[\s*]{0,8}([^\s*][^\n]{0,1000})", re.IGNORECASE)
_MATHS = re.compile(r"\\\((.{1,999}?)\\\)|\\\[(.{1,999}?)\\\]|(?<!\\)\$(.{1,999}?)(?<!\\)\$")
_NUMBER_THEN_WORDS = re.compile(r"(-?\$?(?:\d[\d,]*)?\.?\d+%?)\s+[A-Za-z]{2}")
_SENTENCE_END = re.compile(r"[.!?](?=\s|\*|$)")


def last_answer_is(text: str) -> str | None:
    """What the last "the answer is" or "answer:" announces: its formula, its number, or the rest of the sentence."""
    match = _last(_ANSWER_IS, text)
    if match is None:
        return None
    said = match.group(1)
    if formula := _MATHS.search(said):
        said = next(group for group in formula.groups() if group)
    elif number := _NUMBER_THEN_WORDS.match(said):
        said = number.group(1)
    elif end := _SENTENCE_END.search(said):
        said = said[: end.start()]
    return _usable(_unmarked(said))


def _unmarked(said: str) -> str:
    """Without Markdown's stars and the punctuation that ends a sentence."""
    return said.strip().strip("*").rstrip(".,;:!").strip("*").strip()


# --- 4. last number -------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(?:(?<![\w)}.])-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+")
"""A number in running text: thousands commas, decimals; a minus only where it can't be a difference."""


def last_number(text: str) -> str | None:
    """The last number of the text, as it is written."""
    match = _last(NUMBER, text)
    return _usable(match.group()) if match else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = None
    for match in pattern.finditer(text):  # noqa: B007 -- the last one is wanted
        pass
    return match


_RULES: tuple[tuple[AnswerRule, Callable[[str], str | None]], ...] = (
    ("boxed", last_boxed),
    ("hashes", last_hashes),
    ("answer is", last_answer_is),
    ("last number", last_number),
)
