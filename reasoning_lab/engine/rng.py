"""Counter-based uniforms: every random number is a pure function of what it is for.

There is no generator object and no stream, so a number is the same at any order of work, beside any neighbours,
on any shard and after any resume. Karan & Du's code seeds one stream and shares it between cuts, shuffles and
(unseeded) acceptances; keys make such coupling impossible.
"""

from hashlib import blake2b
from typing import NamedTuple


class Key(NamedTuple):
    """What a random number is for; a token's position and the role complete it."""

    seed: int
    """Seed of the run."""
    problem: str
    """Problem id."""
    chain: int = 0
    """Which of the problem's independent answers."""
    rung: int = 0
    """Rung of the block ladder, or index of a candidate in a pool."""
    step: int = 0
    """Metropolis-Hastings step within the rung; 0 is the rung's extension."""


def uniform(key: Key, position: int, role: str) -> float:
    """The uniform of `key` at `position` for `role`: one of the 2^52 midpoints (k + 1/2) / 2^52, so never 0 or 1.

    BLAKE2b of the key's text serves as the counter-based generator: some 1.5 microseconds a number, and independent
    numbers for keys that differ anywhere.
    """
    digest = blake2b(repr((*key, position, role)).encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "little") >> 12) + 0.5) * 2.0**-52


def index(key: Key, role: str, n: int) -> int:
    """A uniform integer of {0, ..., n-1}; the bias of the 52-bit grid is below n / 2^52."""
    if n < 1:
        raise ValueError(f"n={n}: an index is drawn from at least one value.")
    return int(uniform(key, 0, role) * n)
