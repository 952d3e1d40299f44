"""Reading a chat model's replies: pure functions that take any text, never raise, and never guess.

What does not have the form that was asked for is None. The authors' code takes the first line of a description for
all of it, a failed rating for 0 (two categories then count as independent), and the letters "yes" anywhere for yes.
"""

import json
import re
from collections.abc import Iterator

from reasoning_lab.judge.base import Title

_THOUGHTS = re.compile(r"^.*</think(?:ing)?>", re.DOTALL)
_PARTS = re.compile(
    r"^[ \t#*_]*Title[ \t*_]*:[ \t*_]*(?P<title>[^\n]*)\n\s*[#*_]*[ \t]*Description[ \t*_]*:[*_]*(?P<description>.*)\Z",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_TITLE_LINE = re.compile(r"^[ \t#*_]*Title[ \t*_]*:", re.IGNORECASE | re.MULTILINE)
_RATING = re.compile(r"^[ \t*_]*Rating[ \t*_]*:[ \t*_]*([^\n]*)$", re.IGNORECASE | re.MULTILINE)
_INTEGER = re.compile(r"(10|[0-9])(?:[ \t]*/[ \t]*10)?[ \t]*[.*_]*")
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
MOST_STARTS = 50
"""Places of a reply at which a JSON object is looked for; bounds the work on garbage."""


def parse_title(text: str) -> Title | None:
    """The `Title:` line and everything after `Description:`, line breaks kept; None unless there is exactly one
    title and neither part is empty."""
    text = answer_part(text)
    parts = _PARTS.search(text)
    if parts is None or len(_TITLE_LINE.findall(text)) != 1:
        return None
    title, description = parts["title"].strip().strip("*_\"'").strip(), parts["description"].strip()
    return Title(title, description) if title and description else None


def parse_belongs(text: str, n: int) -> list[bool | None]:
    """The verdicts on sentences 1 ... n. None for a sentence that is missing, has no plain yes or no, or has two
    different ones."""
    given_of: dict[int, set[bool | None]] = {}
    for entry in _classifications(answer_part(text)):
        if isinstance(entry, dict) and (number := _number(entry.get("sentence_id"))) is not None:
            given_of.setdefault(number, set()).add(_verdict(entry.get("belongs_to_category")))
    verdicts = (given_of.get(number, {None}) for number in range(1, n + 1))
    return [next(iter(given)) if len(given) == 1 else None for given in verdicts]


def parse_rating(text: str) -> int | None:
    """The whole number from 0 to 10 of the last `Rating:` line, or of a reply that is nothing but a number."""
    text = answer_part(text).strip()
    lines = _RATING.findall(text)
    number = _INTEGER.fullmatch(lines[-1].strip() if lines else text)
    return int(number[1]) if number else None


def answer_part(text: str) -> str:
    """What follows a reasoning model's thoughts."""
    return _THOUGHTS.sub("", text)


def _classifications(text: str) -> list[object]:
    for value in _objects(text):
        if isinstance(value, dict) and isinstance(entries := value.get("classifications"), list):
            return entries
    return []


def _objects(text: str) -> Iterator[object]:
    """JSON objects that start somewhere in the text, outermost first."""
    decoder, start = json.JSONDecoder(), -1
    for _ in range(MOST_STARTS):
        if (start := text.find("{", start + 1)) < 0:
            return
        try:
            yield decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue


def _number(value: object) -> int | None:
    """A sentence's number, written as a number or as its digits."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value.strip()):
        return int(value)
    return value if isinstance(value, int) else None


def _verdict(value: object) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    return value if isinstance(value, bool) else None
