r"""A normal form of short mathematical answers, as text and as an exact number.

In the spirit of the normaliser of Hendrycks et al. 2021 (MATH): what does not change the meaning goes, namely layout
(``\left``, ``\,``, ``\dfrac``), delimiters, degree and percent signs, and a unit after a value. Departures: spaces
stay between two words or numbers ("1 2" is not 12), ``x=`` stays (the symbolic comparison knows about it), thousands
commas go only where the whole answer is one number, plain words lose their case and a leading article, a unit may be
in plain words, and numbers are compared as exact fractions.
"""

import re
from collections.abc import Callable
from fractions import Fraction

MAX_CHARS = 10_000
"""Longer texts are left as they are [characters]."""


def _without_spaces(match: re.Match[str]) -> str:
    return match.group().replace(" ", "")


_NO_UNIT = (
    "and|or|mod|plus|minus|times|over|sqrt|pi|sin|cos|tan|log|exp|hundred|thousand|million|billion|trillion|dozen|base"
)
_UNIT = r"(?<=[\w})\]])\s*\\(?:text|mbox|mathrm|textrm)\{(?!i\})[^{}]*\}(?:\s*\^\s*\{?\d\}?)?\s*\.?\s*$"
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


_PERCENT = re.compile(r"\d\s*(?:\\?%|\\text\{\s*percent\s*\}|percent)[\s$.}]*$")


def is_percent(answer: str) -> bool:
    """Whether the answer is a number with a percent sign, which the normal form drops."""
    return len(answer) <= MAX_CHARS and _PERCENT.search(answer) is not None


_SIGNED = r"([-+]?)"
_DECIMAL = re.compile(_SIGNED + r"(\d{1,3}(?:,\d{3})+|\d{0,100})(\.\d{0,100})?", re.ASCII)
_FRACTION = re.compile(_SIGNED + r"(\d{0,50})\\frac\{(-?\d{1,50})\}\{(\d{1,50})\}", re.ASCII)
_SLASH = re.compile(_SIGNED + r"(?:(\d{1,50}) )?(\d{1,50})/(\d{1,50})", re.ASCII)
_REPEATING = re.compile(_SIGNED + r"(\d{0,50})\.(\d{0,50})\\overline\{?(\d{1,50})\}?", re.ASCII)


def number(form: str) -> Fraction | None:
    r"""The exact value of a normal form that is one number: an integer, decimal, a/b, ``\frac``; mixed, 1\frac{4}{5} or
    1 4/5; repeating, 0.1\overline{6}."""
    if len(form) > 200:
        return None
    if match := _DECIMAL.fullmatch(form):
        sign, whole, decimals = match.groups()
        digits = (whole.replace(",", "") or "0") + (decimals or "")
        if not (whole or (decimals and len(decimals) > 1)):
            return None
        value = Fraction(digits.rstrip("."))
    elif match := _FRACTION.fullmatch(form) or _SLASH.fullmatch(form):
        sign, whole, above, below = match.groups()
        if int(below) == 0 or (whole and above.startswith("-")):
            return None
        value = int(whole or "0") + Fraction(int(above), int(below))
    elif match := _REPEATING.fullmatch(form):
        sign, whole, fixed, repeated = match.groups()
        period = Fraction(int(repeated), 10 ** len(repeated) - 1)
        value = int(whole or "0") + (int(fixed or "0") + period) / 10 ** len(fixed)
    else:
        return None
    return -value if sign == "-" else value


_ASSIGNMENT = re.compile(r"^[A-Za-z]=")


def canonical_answer(answer: str) -> str:
    """The form under which answers vote: the exact number if it is one, else the normal form; "x=5" votes as 5."""
    form = _ASSIGNMENT.sub("", normal_form(answer))
    value = number(form)
    return form if value is None else str(value)
