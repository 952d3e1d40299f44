"""The one way to refuse a parameter: a ValueError that names it, its value, the bound and the next move."""

from typing import Any, get_args


def require(holds: bool, name: str, value: object, bound: str, advice: str) -> None:
    """ValueError `name=value: must be bound; advice.` unless the bound holds."""
    if not holds:
        raise ValueError(f"{name}={value}: must be {bound}; {advice}.")


def require_positive(owner: Any, *names: str) -> None:
    """Each named field is a number above 0."""
    for name in names:
        value = getattr(owner, name)
        require(value > 0, name, value, "above 0", f"set {name} to a positive number")


MOST_COUNT = 10_000_000
"""More than any count of problems, tokens, steps or rows in use: a larger one is a slip, and would fill the memory."""


def require_count(owner: Any, *names: str, most: int = MOST_COUNT) -> None:
    """Each named field is a whole number of at least 1, and of no more than any real use has."""
    for name in names:
        value = getattr(owner, name)
        require(is_count(value, 1), name, value, "a whole number of at least 1", f"raise {name}")
        require(value <= most, name, value, f"at most {most:,}", f"lower {name}")


def require_one_of(choices: Any, name: str, value: object) -> None:
    """The value is one of a Literal's."""
    known = get_args(choices)
    require(value in known, name, value, f"one of {', '.join(map(str, known))}", f"set {name} to one of them")


def is_count(value: object, at_least: int) -> bool:
    """Whether the value is an int (no bool) of at least `at_least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least
