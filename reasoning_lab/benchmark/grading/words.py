"""Words that have a value, words that change one, and units: what the words around a number mean."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

_SMALL = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "hundreds": 100, "thousands": 10**3, "millions": 10**6, "billions": 10**9, "trillions": 10**12, "dozens": 12,
}  # fmt: skip
_PARTS = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "sixteenth": 16, "twentieth": 20, "hundredth": 100,
    "thousandth": 1000, "millionth": 10**6, "billionth": 10**9,
}  # fmt: skip
PARTS = {**_PARTS, **{f"{part}s": value for part, value in _PARTS.items()}, "halves": 2}
"""Fractions as nouns: three quarters, five hundredths. A second is a time."""
TIMES = {"twice": 2, "double": 2, "thrice": 3, "triple": 3}
BASES = {**_SMALL, "binary": 2, "octal": 8, "decimal": 10, "hexadecimal": 16, "sixteen": 16}
"""Names of a numeral's base."""
NEGATIONS = {"not", "never", "isn't", "aren't", "wasn't", "neither", "nor", "no", "cannot", "can't", "n't"}
MEANINGFUL = {
    *NEGATIONS, *_SMALL, *_TENS, *SCALES, *PARTS, *TIMES, "or", "and", "minus", "negative", "plus", "less", "more",
    "than", "least", "most", "fewer", "greater", "above", "below", "over", "under", "between", "except", "without",
    "am",
    "pm", "times", "squared", "cubed", "divided", "multiplied", "factorial", "base", "off", "nearly", "almost",
    "either", "maybe", "perhaps", "possibly", "if", "unless", "before", "after", "to", "through", "until", "mod",
    "modulo", "noon", "midnight", "tens",
}  # fmt: skip
"""Words that change the value of what they stand beside; an answer that has one is never read as if it had not."""
FILLERS = {
    "a", "an", "the", "about", "approximately", "roughly", "exactly", "only", "just", "around", "equals", "is", "are",
    "total", "of", "rs", "usd", "simply", "precisely", "approx", "value", "values", "solution", "solutions", "answer",
    "final", "answers", "number", "roots", "root", "both", "which", "therefore", "thus", "hence", "so", "be", "will",
    "would", "must", "should", "equal", "get", "we", "have",
}  # fmt: skip
"""Words before a number that do not change it."""

_UNITS = {
    "m": "m meter meters metre metres", "cm": "cm centimeter centimeters centimetre centimetres",
    "mm": "mm millimeter millimeters millimetre millimetres", "km": "km kilometer kilometers kilometre kilometres",
    "in": "in inch inches", "ft": "ft foot feet", "yd": "yd yard yards", "mi": "mi mile miles",
    "s": "s sec secs second seconds", "min": "min mins minute minutes", "h": "h hr hrs hour hours", "day": "day days",
    "week": "week weeks", "month": "month months", "year": "yr yrs year years", "g": "g gram grams",
    "kg": "kg kilogram kilograms", "mg": "mg milligram milligrams", "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces", "L": "l liter liters litre litres", "mL": "ml milliliter milliliters",
    "dollar": "dollar dollars usd", "cent": "cent cents", "degree": "degree degrees", "radian": "radian radians rad",
    "mph": "mph", "t": "t", "N": "n", "J": "j", "W": "w", "V": "v", "A": "a", "K": "k", "C": "c", "F": "f",
    "celsius": "celsius", "fahrenheit": "fahrenheit", "euro": "euro euros",
}  # fmt: skip
UNITS = {word: unit for unit, words in _UNITS.items() for word in words.split()}
"""Spelling -> unit. Others, such as apples, are no more than a word."""
ABBREVIATIONS = {word for word in UNITS if 2 <= len(word) <= 3} - {"day", "in"}
"""Units that may stand in a formula without being set upright."""


class Numeral(NamedTuple):
    """A number in words, and of how many words."""

    value: Fraction
    n_words: int
    is_part: bool
    """Whether it is a fraction, as in "half of 10"."""


def numeral(words: Sequence[str]) -> Numeral | None:
    """The number that the words begin with: "twenty-five" (two words here), "one hundred and five", "three quarters".

    A scale or a part alone (million, hundredths) is none: it needs a number before it.
    """
    total, current, n = 0, None, 0
    while n < len(words):
        word = words[n]
        if word in _SMALL or word in _TENS:
            value = _SMALL.get(word, _TENS.get(word, 0))
            if current is not None and not _may_follow(current, value):
                break
            current = (current or 0) + value
        elif word in SCALES and (current is not None or total):
            scale = SCALES[word]
            if scale == 100:
                current = (current or 1) * 100
            else:
                total, current = total + (current if current is not None else 1) * scale, None
        elif (
            word == "and"
            and n
            and words[n - 1] in SCALES
            and n + 1 < len(words)
            and words[n + 1] in {**_SMALL, **_TENS}
        ):
            pass
        else:
            break
        n += 1
    value = Fraction(total + (current or 0))
    if n == 0:
        skip = 1 if words and words[0] in ("a", "an", "one") else 0
        if len(words) > skip and words[skip] in ("half", "third", "quarter", "fourth", "fifth", "tenth"):
            return Numeral(Fraction(1, PARTS[words[skip]]), skip + 1, is_part=True)
        if len(words) > 1 and skip and words[1] in SCALES:
            return Numeral(Fraction(SCALES[words[1]]), 2, is_part=False)
        return None
    if n < len(words) and words[n] in PARTS:
        return Numeral(value / PARTS[words[n]], n + 1, is_part=True)
    return Numeral(value, n, is_part=False)


def _may_follow(current: int, value: int) -> bool:
    """Whether 5 may follow 20, or 20 follow 100."""
    return (current % 100 == 0 and value < 100) or (current % 10 == 0 and current % 100 >= 20 and 0 < value < 10)
