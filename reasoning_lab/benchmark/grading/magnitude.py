r"""Answers whose symbolic comparison would not end, told by their looks in microseconds.

A comparison that hangs costs seconds and a worker, and one model that likes towers of powers would slow the grading of
all. What is told here is no final answer that a benchmark asks for; it is `ungradable` by a named reason instead of a
timeout. What is not told still meets the time limit of `equality.py`.
"""

import re

MAX_DEPTH = 12
"""Brackets within brackets; reading time doubles with each. The gold answers of MATH500 have at most 4."""
MAX_EXPONENT = 100_000
"""Of a number raised to a number."""
MAX_FACTORIAL = 10_000
MAX_SUM_EXPONENT = 300
"""Of a bracket with a letter in it, such as (a+b)^{300}: it is multiplied out."""
MAX_PARTS = 200
"""Commas or unions of one answer."""

_BRACKETS = re.compile(r"\\[{}]|[(){}\[\]]")
_OPEN = r"[{(\s]{0,8}"
_CLOSE = r"[})\s]{0,8}"
_TOWER = re.compile(rf"\d{{1,400}}(?:{_CLOSE}\^{_OPEN}-?\d{{1,400}})+")
_FACTORIAL = re.compile(rf"(\d{{1,400}}){_CLOSE}((?:!{_CLOSE})+)")
_BINOMIAL = re.compile(r"\\[dt]?binom[{\s]{0,8}(\d{1,400})")
_POWER_OF_SUM = re.compile(r"[A-Za-z][^()]{0,200}\)\s?\^[{\s]{0,4}(\d{3,400})")
_UNEVALUATED = re.compile(r"\\(?:sum|prod|int|iint|oint)(?![A-Za-z])")


def unanswerable(gold: str, answer: str) -> str | None:
    """Why the two can't be compared symbolically in time, or None where nothing speaks against trying."""
    for text in (gold, answer):
        if _depth(text) > MAX_DEPTH:
            return "nested too deep"
        if text.count(",") + text.count("\\cup") > MAX_PARTS:
            return "too many parts"
        if _too_large(text):
            return "too large to compute"
    if _UNEVALUATED.search(answer) and not _UNEVALUATED.search(gold):
        return "not worked out"
    return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for mark in _BRACKETS.finditer(text):
        depth = max(depth + (1 if mark.group()[-1] in "({[" else -1), 0)
        deepest = max(deepest, depth)
    return deepest


def _too_large(text: str) -> bool:
    return (
        any(_is_large_tower(re.findall(r"\d+", tower.group())) for tower in _TOWER.finditer(text))
        or any(_is_large_factorial(match.group(1), match.group(2).count("!")) for match in _FACTORIAL.finditer(text))
        or any(int(match.group(1)) > MAX_FACTORIAL for match in _BINOMIAL.finditer(text))
        or any(int(match.group(1)) > MAX_SUM_EXPONENT for match in _POWER_OF_SUM.finditer(text))
    )


def _is_large_tower(numerals: list[str]) -> bool:
    """Whether a^b^c… has an exponent beyond the bound; read from the top, as it binds."""
    exponent = 1
    for numeral in reversed(numerals[1:]):
        base = int(numeral)
        if base > MAX_EXPONENT or (base > 1 and exponent > 20):  # 2^20 is beyond it too
            return True
        exponent = base**exponent
        if exponent > MAX_EXPONENT:
            return True
    return False


def _is_large_factorial(numeral: str, marks: int) -> bool:
    """Whether n!, or (n!)! and so on, is beyond the bound: of n!!, too, (n!)! is an upper bound."""
    value = int(numeral)
    for _ in range(marks):
        if value > MAX_FACTORIAL:
            return True
        # 9! is beyond the bound, which only matters where another mark follows.
        value = MAX_FACTORIAL + 1 if value > 8 else _SMALL_FACTORIALS[value]
    return False


_SMALL_FACTORIALS = (1, 1, 2, 6, 24, 120, 720, 5040, 40320)
