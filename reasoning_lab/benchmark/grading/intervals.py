r"""Inequalities of one variable as intervals, so that x > 2 and (2,\infty) can be compared.

Works on normal forms. Only where one side is an interval and the other an inequality is anything rewritten: two
inequalities are math-verify's to compare, and an interval is never made of a point.
"""

import re

_BOUND = r"\s?([^<>=\s][^<>=]{0,100}?)\s?"
_LESS = r"(<|\\leq?(?![A-Za-z])|\\leqslant(?![A-Za-z])|≤|<=)"
_MORE = r"(>|\\geq?(?![A-Za-z])|\\geqslant(?![A-Za-z])|≥|>=)"
_NAME = r"\s?([A-Za-z])\s?"
_BETWEEN = re.compile(_BOUND + _LESS + _NAME + _LESS + _BOUND)
_BETWEEN_DOWN = re.compile(_BOUND + _MORE + _NAME + _MORE + _BOUND)
_BELOW = re.compile(_NAME + _LESS + _BOUND)
_ABOVE = re.compile(_NAME + _MORE + _BOUND)
_BELOW_BACK = re.compile(_BOUND + _MORE + _NAME)
_ABOVE_BACK = re.compile(_BOUND + _LESS + _NAME)
_OR = re.compile(r"\s*(?:\bor\b|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])|\\cup(?![A-Za-z])|,)\s*")
_MEMBER = re.compile(r"^[A-Za-z]\\in(?![A-Za-z])\s*")
_OPEN_BRACKETS = re.compile(r"([\](\[])([^\[\]()]{1,200},[^\[\]()]{1,200})([\[)\]])")


def is_interval(form: str) -> bool:
    r"""Whether a normal form is an interval or a union of some, in ( ) and [ ]."""
    parts = _MEMBER.sub("", form).split("\\cup")
    return all(re.fullmatch(r"\s*[\[(][^\[\]]{1,200},[^\[\]]{1,200}[\])]\s*", part) for part in parts)


def as_interval(form: str) -> str | None:
    r"""An interval or union without ``x\in``, or the one that inequalities of one variable joined by "or" describe.

    None for anything else. ]2,5[, the open ends of ISO 80000-2, is (2,5).
    """
    if is_interval(form):
        return _MEMBER.sub("", form)
    if _OPEN_BRACKETS.fullmatch(form) and (form[0] == "]" or form[-1] == "["):
        return ("(" if form[0] == "]" else form[0]) + form[1:-1] + (")" if form[-1] == "[" else form[-1])
    if not re.search(r"[<>≤≥]|\\[lg]e", form) or len(form) > 400:
        return None
    parts = [_one(part) for part in _OR.split(form)]
    return "\\cup".join(part for part in parts if part) if all(parts) else None


def _one(text: str) -> str | None:
    if match := _BETWEEN.fullmatch(text):
        low, left, _, right, high = match.groups()
        return f"{_opening(left)}{low},{high}{_closing(right)}"
    if match := _BETWEEN_DOWN.fullmatch(text):
        high, right, _, left, low = match.groups()
        return f"{_opening(left)}{low},{high}{_closing(right)}"
    if match := _BELOW.fullmatch(text):
        return f"(-\\infty,{match.group(3)}{_closing(match.group(2))}"
    if match := _BELOW_BACK.fullmatch(text):
        return f"(-\\infty,{match.group(1)}{_closing(match.group(2))}"
    if match := _ABOVE.fullmatch(text):
        return f"{_opening(match.group(2))}{match.group(3)},\\infty)"
    if match := _ABOVE_BACK.fullmatch(text):
        return f"{_opening(match.group(2))}{match.group(1)},\\infty)"
    return None


def _opening(sign: str) -> str:
    return "(" if sign in "<>" else "["


def _closing(sign: str) -> str:
    return ")" if sign in "<>" else "]"
