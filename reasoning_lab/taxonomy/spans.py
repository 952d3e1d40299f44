"""Sentences of a generated text, in characters and in tokens.

Venhoff et al. 2025 split a thinking text after any of . ! ? ; and newline. Their code works on
altered copies of the text and finds sentences and activations again by searching for strings, so that a repeated
sentence maps to its first occurrence and the last one is lost. Here a sentence is a pair of offsets into the text as
it is, and its tokens follow from decoding the generated ids piece by piece: nothing is tokenised twice or searched for.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from reasoning_lab.model_pair.reader import Reader
from reasoning_lab.records import Span

Pooling = Literal["mean_with_previous", "mean", "boundary"]
"""Which positions a sentence's vector is the mean of, its tokens being first ... last-1: first-1 ... last-1 (the paper:
the token before is included); first ... last-1; or first-1 alone, whose output predicts the first token."""

Decode = Callable[[Sequence[int]], str]
"""Text of token ids, as `Reader.decode` gives it."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no character (yet)."""

_END = re.compile(r"""(?:(?P<marks>[.!?;]+)(?:\\?["'”’»)\]}]|\$(?=\s|\Z))*|\n)(?P<newline>\s*\n)?""")
"""A run of terminators, the quotes, brackets and formulas that close behind it, and blank space to its last newline."""

_INNER = re.compile(
    r"""
      (?<=\\)[;!]                                                       # LaTeX's spaces \; and \!
    | (?<![A-Za-z])\.(?=\d)                                             # 3.14, .5
    | (?<=\b[^\W\d_])\.(?=[a-z]|[A-Z]\.|[^\S\n]+[a-z])                  # E. coli, U.S., e.g
    | (?<=\b[a-z]\.[a-z])\.                                             # e.g. Paris, i.e., 5 a.m.
    | (?:(?<=\b[^\W\d_])|(?<=[\d)\]}]))!+(?![^\S\n]+[A-Z])              # n!, 5! ways, (n - k)!, n!! = 15
    | !(?==)                                                            # a != b
    """,
    re.VERBOSE,
)
"""Terminators that end no sentence."""


def sentences(text: str, think_open: str | None = None, think_close: str | None = None) -> list[tuple[int, int]]:
    """(start, stop) of each sentence, in order: they partition the text, or its thinking part, without gap or overlap.

    A sentence ends behind a run of . ! ? ; together with the quotes, brackets and formulas that close directly behind
    it, or behind a newline; further blank space belongs to it up to the last newline, other spaces to the next
    sentence. No sentence is blank unless the whole part is. Short sentences (see `n_words`), repeated ones and the last
    one all stand.

    No sentence ends in a decimal number, in "E. coli" or "e.g.", in a factorial, in a != b or in LaTeX's \\; and \\!. A
    period after a single letter does end one before a capital ("the answer is B. So ..."), which cuts initials
    ("J. Smith"), and so does an exclamation mark after a number ("It is 5! Then ...").

    Arguments: `think_open` and `think_close` enclose the thinking part. A text without the opening tag thinks from its
    start (chat templates put the tag in the prompt), one without the closing tag to its end (it was cut off).

    Source: Venhoff et al. 2025, released code. Departures: the text is never altered; only a quote directly
    behind a terminator goes to the sentence before (theirs moves opening quotes as well); decimals without a leading
    digit, e.g., LaTeX's spaces and != are kept whole.
    """
    start, stop = _thinking(text, think_open, think_close)
    if start == stop:
        return []
    cuts = [start]
    for end in _END.finditer(text, start, stop):
        if _ends_sentence(text, end) and not _blank(text, cuts[-1], end.end()):
            cuts.append(end.end())
    if len(cuts) > 1 and _blank(text, cuts[-1], stop):
        cuts.pop()
    cuts.append(stop)
    return list(pairwise(cuts))


def _thinking(text: str, think_open: str | None, think_close: str | None) -> tuple[int, int]:
    opened = text.find(think_open) if think_open else -1
    start = opened + len(think_open) if think_open and opened >= 0 else 0
    closed = text.find(think_close, start) if think_close else -1
    return start, closed if closed >= 0 else len(text)


def _ends_sentence(text: str, end: re.Match[str]) -> bool:
    if end["marks"] is None or end["newline"] is not None:
        return True
    inner = _INNER.match(text, end.start("marks"))
    return inner is None or inner.end() < end.end("marks")


def _blank(text: str, start: int, stop: int) -> bool:
    return not text[start:stop].strip()


def n_words(text: str) -> int:
    """Pieces between white space. The paper leaves sentences with fewer than 3 out of the taxonomy's training."""
    return len(text.split())


def token_spans(
    text: str, ids: Sequence[int], decode: Decode, think_open: str | None = None, think_close: str | None = None
) -> tuple[Span, ...]:
    """The sentences of `text` with the generated tokens that write them; spans partition characters and tokens.

    A token belongs to the sentence of its first visible character; a blank one to that of its first character; one
    that writes nothing (a special token) to the sentence that goes on behind it, or to the last. A sentence without a
    token of its own (one token may hold an end and the whole next sentence) is merged into the one before, so that no
    span is without tokens. With a thinking part, tokens before and after it belong to no span.

    Arguments: `text` is decode(ids), else ValueError.
    """
    cut = sentences(text, think_open, think_close)
    starts = token_starts(text, ids, decode)
    if not cut:
        return ()
    anchors = _anchors(text, starts)
    stop = cut[-1][1]
    end = len(ids) if stop == len(text) else bisect_left(anchors, stop)
    firsts = [*(bisect_left(anchors, start) for start, _ in cut), end]
    own = [index for index in range(len(cut)) if firsts[index] < firsts[index + 1]]
    edges = [cut[0][0], *(cut[index][0] for index in own[1:]), stop]
    return tuple(
        Span(edges[place], edges[place + 1], firsts[index], firsts[index + 1]) for place, index in enumerate(own)
    )


def token_starts(text: str, ids: Sequence[int], decode: Decode) -> list[int]:
    """The character of `text` at which each token starts, never falling; tokens that write one character share it.

    Tokens are decoded in windows, each behind the window before it (a sentencepiece decoder strips a space at the
    start of what it decodes). A window grows until it adds the very characters that the text has there and does not end
    in a replacement character, which more bytes may complete. So the cost is linear in the tokens, but quadratic in the
    length of a run of bytes that are no characters. ValueError if `text` is not decode(ids).
    """
    starts: list[int] = []
    context = first = at = 0
    while first < len(ids):
        within, written = _window(text, ids, decode, context, first, at)
        starts += [at + offset for offset in within]
        context, first, at = first, first + len(within), at + written
    if at != len(text):
        raise ValueError(f"the {len(ids)} ids decode to {at} characters, the text has {len(text)}: {text[:40]!r} ...")
    return starts


def _window(text: str, ids: Sequence[int], decode: Decode, context: int, first: int, at: int) -> tuple[list[int], int]:
    """Offsets from `at` at which the tokens of the window from `first` on start, and the characters that it writes."""
    before = decode(ids[context:first])
    within = [0]
    for last in range(first + 1, len(ids) + 1):
        whole = decode(ids[context:last])
        piece = whole[len(before) :]
        fits = whole.startswith(before) and text.startswith(piece, at)
        if fits and (last == len(ids) or (piece and not piece.endswith(REPLACEMENT))):
            return [min(offset, max(0, len(piece) - 1)) for offset in within], len(piece)
        # What a replacement character stands for is unfinished: the next token may write the same character.
        within.append(max(within[-1], len(piece) - piece.endswith(REPLACEMENT)))
    raise ValueError(f"the ids do not decode to the text from character {at} on: {text[at : at + 40]!r} ...")


def _anchors(text: str, starts: Sequence[int]) -> list[int]:
    """Per token the character that decides its sentence: the first visible one, else the first."""
    anchors = []
    for start, stop in pairwise([*starts, len(text)]):
        piece = text[start:stop]
        blank = len(piece) - len(piece.lstrip())
        anchors.append(start + (blank if blank < len(piece) else 0))
    return anchors


def ending_ids(reader: Reader) -> frozenset[int]:
    """Ids that end a sentence while text is being generated: a rule on the prefix alone.

    Such a token's text, stripped of trailing spaces, ends in one of . ! ? ; or holds a newline. What follows is not yet
    known, so the 3. of 3.14 counts where it is a token, and a quote or bracket behind the terminator starts the next
    sentence: these boundaries are those of `sentences` on plain prose alone. Stop ids decode to nothing and are none.
    """
    return frozenset(index for index in range(len(reader.tokenizer)) if _ends_online(reader.decode((index,))))


def _ends_online(text: str) -> bool:
    return "\n" in text or text.rstrip(" ").endswith((".", "!", "?", ";"))
