r"""A normal form of short mathematical answers: as an exact number where they state one, else as text.

In the spirit of the normaliser of Hendrycks et al. 2021 (MATH): what does not change the meaning goes, namely layout
(``\left``, ``\,``, ``\dfrac``), delimiters, degree and percent signs, and a unit after a value. Departures: spaces
stay between two words or numbers ("1 2" is not 12), ``x=`` stays (the symbolic comparison knows about it), thousands
commas go only where the whole answer is one number, plain words lose their case and a leading article, a unit may be
in plain words, and words that change a value stay.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from reasoning_lab.benchmark.grading.magnitude import unanswerable
from reasoning_lab.benchmark.grading.reading import Node, read
from reasoning_lab.benchmark.grading.values import TooLarge, Undefined, exact
from reasoning_lab.benchmark.grading.words import MEANINGFUL

MAX_CHARS = 10_000
"""Longer texts are left as they are [characters]."""


def _without_spaces(match: re.Match[str]) -> str:
    return match.group().replace(" ", "")


_NO_UNIT = "|".join(sorted({*MEANINGFUL, "sqrt", "pi", "sin", "cos", "tan", "log", "exp"}, key=len, reverse=True))
_UNIT = (
    rf"(?<=[\w}})\]])\s*\\(?:text|mbox|mathrm|textrm)\{{(?!i\}})(?![^{{}}]*\b(?:{_NO_UNIT})\b)[^{{}}]*\}}"
    r"(?:\s*\^\s*\{?\d\}?)?\s*\.?\s*$"
)
_PLAIN_UNIT = (
    rf"^(-?\d[\d,./]*)\s(?!(?:{_NO_UNIT})\b)(?:cm|mm|km|kg|mg|ml|ft|in|lb|oz|mi|hr|[A-Za-z]{{3,}})"
    r"(?: [A-Za-z]{3,}){0,3}(?:\^[23])?$"
)
_REPLACEMENTS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[\u2212\u2013\u2010\u2011]", "-"),
        (r"(?<=\d)\\[,;: ](?=\d{3}(?!\d))", ""),  # 10\,080
        (r"\{,\}", ","),  # 10{,}080
        (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset"),
        (r"(?<!\\)\\[\[\]()]", " "),  # \( \) \[ \], but not a matrix's \\[
        (r"\\[$%]|[$%°]", ""),
        (r"\\left(?![A-Za-z])\.?|\\right(?![A-Za-z])\.?|\\(?:displaystyle|limits)(?![A-Za-z])", ""),
        (r"(?<!\\)\\[!,;: ]|~|\\q?quad(?![A-Za-z])", " "),
        (r",\s+(?=\d{3}(?!\d))", ","),  # 10,\!080
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])", ""),
        (r"\\(?:underline|(?:text)?color\s*\{\s*\w{1,20}\s*\})\s*\{([^{}]*)\}", r"\1"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"\s*\\pmod\s*(?:\{[^{}]*\}|\d+)\s*$", ""),  # the modulus is named in the problem
        (r"^\s*[A-Za-z]\s*\\equiv(?![A-Za-z])", ""),
        (_UNIT, ""),
        (r"\\(?:text|mbox|mathrm|textrm|textbf|mathbf|textit)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(frac|sqrt)\s*([0-9A-Za-z])", r"\\\1{\2}"),
        (r"\\frac(\{[^{}]*\})\s*([0-9A-Za-z])", r"\\frac\1{\2}"),
        (r"([_^])\s*\{\s*(\w)\s*\}", r"\1\2"),
        (r"\s+", " "),
        (r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])", ""),
        (r"(?<=\d)\s+(?=[A-Za-z](?![A-Za-z]))", ""),  # 274 i
        (r"^(-?\d{1,3}(?: \d{3})+)$", _without_spaces),  # 10 080
        (r"^\(([0-9A-Za-z]+)\)(?=_)", r"\1"),  # (52)_8
        (_PLAIN_UNIT, r"\1"),
        (r"(?<=.)[.,;:]+$", ""),
        (r"^\(([A-Z])\)$", r"\1"),  # a letter of a multiple choice
    )
)
_ARTICLE = re.compile(r"^(?:an?|the) (?=[A-Za-z]{3})", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z]{3,}(?: [A-Za-z]+)*")


def normal_form(answer: str) -> str:
    """The answer without what does not change its meaning; texts beyond `MAX_CHARS` come back unchanged."""
    if len(answer) > MAX_CHARS:
        return answer
    for pattern, replacement in _REPLACEMENTS:
        answer = pattern.sub(replacement, answer)
    return _ARTICLE.sub("", answer).lower() if _WORDS.fullmatch(_ARTICLE.sub("", answer)) else answer


_ASSIGNMENT = re.compile(r"^[A-Za-z]=")


def canonical_answer(answer: str) -> str:
    """The form under which answers vote: the exact number if it is one, else the normal form; "x=5" votes as 5."""
    value = exact_number(answer)
    return _ASSIGNMENT.sub("", normal_form(answer)) if value is None else str(value)


def exact_number(answer: str) -> Fraction | None:
    """The number that an answer states, without its unit and percent sign; None where it states no exact one."""
    node = _bare(answer)
    try:
        return exact(node) if node else None
    except (Undefined, TooLarge):
        return None


def states_number(answer: str) -> bool:
    """Whether an answer states one number in digits, with a name or a unit at most: "x = 18", "18 dollars"."""
    node = _bare(answer)
    node = node.parts[0] if node and node.kind == "neg" else node
    return node is not None and node.kind == "number" and node.label != "words"


def _bare(answer: str) -> Node | None:
    """What is read, without the name, unit and percent sign of a value."""
    node = read(answer) if unanswerable(answer, answer) is None else None
    if node and node.kind == "relation" and node.label == "=" and node.parts[0].kind in ("symbol", "name"):
        node = node.parts[1]
    while node and node.kind in ("quantity", "degree", "percent", "bracketed"):
        node = node.parts[0]
    return node
