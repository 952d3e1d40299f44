"""The last number of the text against the last number of the reference: what Venhoff et al. 2025's code falls back on
where its judge gives no reply (`grader=venhoff2025`, hybrid_steering B8).

Defects on purpose: an answer that was right and went on to another number is wrong, and of a reference that is no
plain number (a fraction, an interval, a text) only the last digits are compared, or nothing.
"""

import re
from decimal import Decimal

from reasoning_lab.records import Grade, Problem

NOTE = (
    "Graded as Venhoff et al. 2025's code does (grader=venhoff2025), for comparison: a chat model's YES or, where none "
    "replied, the last number."
)
_NUMBER = re.compile(r"-?\d[\d,]{0,400}(?:\.\d{1,400})?", re.ASCII)


def last_number(text: str) -> str | None:
    """The last number, without its thousands' separators; None where there is none."""
    found = _NUMBER.findall(text)
    return found[-1].replace(",", "") if found else None


def grade_by_last_number(problem: Problem, text: str, chain: int) -> Grade:
    """Correct if both last numbers are the same number."""
    found, wanted = last_number(text), last_number(problem.gold)
    if found is None:
        return Grade(problem.id, chain, "ungradable", None, "no number" if text.strip() else "empty text")
    is_same = wanted is not None and Decimal(found) == Decimal(wanted)
    return Grade(problem.id, chain, "correct" if is_same else "wrong", found, "last number")
