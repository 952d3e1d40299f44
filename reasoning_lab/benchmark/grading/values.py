"""Values of expressions at given points: exact fractions where there are only those, else 40 digits of mpmath.

Two expressions are equal if they agree at several points, some of them negative. Everything is bounded before it is
computed: exact powers by their number of bits, others by their order of magnitude.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import mpmath

from reasoning_lab.benchmark.grading.reading import Node

DIGITS = 40
TOLERANCE = mpmath.mpf(10) ** -25
"""Relative, between values at 40 digits: what rounding leaves of cancellations."""
MAX_BITS = 400_000
"""Of an exact number; 7^{100000} has 280,736."""
MAX_LOG = 10**5
"""Of the natural logarithm of an inexact number's size."""
N_POINTS = 4

mpmath.mp.dps = DIGITS
Value = Any
"""An mpmath number; a tuple of rows of them for a matrix."""
Point = Mapping[str, Value]


class Undefined(ArithmeticError):
    """The expression has no value there: a division by zero, an infinity, a tuple among numbers."""


class TooLarge(ArithmeticError):
    """The value is too large to compute."""


# --- exact ----------------------------------------------------------------------------------------------------


def exact(node: Node) -> Fraction | None:
    """The value where whole numbers and the four operations, whole powers and factorials make it up; else None."""
    if node.kind == "number":
        return node.value
    rule = _EXACT.get(node.kind)
    if rule is None:
        return None
    parts = [exact(part) for part in node.parts]
    if any(part is None for part in parts):
        return None
    return rule(*parts)


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return _exact_root(base, exponent)
    n = exponent.numerator
    if base == 0 and n < 0:
        raise Undefined("a division by zero")
    if abs(n) * max(base.numerator.bit_length(), base.denominator.bit_length()) > MAX_BITS and abs(base) not in (0, 1):
        raise TooLarge("a power")
    return base**n if base not in (0, 1, -1) else Fraction(base if n % 2 or base >= 0 else 1) if n else Fraction(1)


def _exact_root(base: Fraction, exponent: Fraction) -> Fraction | None:
    """A rational root, such as 4^{1/2}, where there is one."""
    if base < 0 or exponent.denominator > 64 or max(base.numerator, base.denominator).bit_length() > 4000:
        return None
    index = exponent.denominator
    above, below = _whole_root(base.numerator, index), _whole_root(base.denominator, index)
    if above is None or below is None:
        return None
    return _exact_power(Fraction(above, below), Fraction(exponent.numerator))


def _whole_root(number: int, index: int) -> int | None:
    if number < 2:
        return number
    root = 1 << -(-number.bit_length() // index)
    while True:  # Newton's iteration from above
        step = ((index - 1) * root + number // root ** (index - 1)) // index
        if step >= root:
            return root if root**index == number else None
        root = step


def _exact_factorial(n: Fraction) -> Fraction | None:
    if n.denominator != 1 or n < 0:
        return None
    if n > 10_000:
        raise TooLarge("a factorial")
    return Fraction(math.factorial(n.numerator))


def _exact_binomial(n: Fraction, k: Fraction) -> Fraction | None:
    if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        return None
    if n > 10_000:
        raise TooLarge("a binomial")
    return Fraction(math.comb(n.numerator, k.numerator))


def _exact_product(parts: Sequence[Fraction]) -> Fraction:
    if sum(max(part.numerator.bit_length(), part.denominator.bit_length()) for part in parts) > MAX_BITS:
        raise TooLarge("a product")
    return math.prod(parts, start=Fraction(1))


def _exact_quotient(above: Fraction, below: Fraction) -> Fraction:
    if below == 0:
        raise Undefined("a division by zero")
    return above / below


_EXACT: dict[str, Callable[..., Fraction | None]] = {
    "add": lambda *parts: sum(parts, Fraction(0)),
    "mul": lambda *parts: _exact_product(parts),
    "call": lambda *parts: _exact_product(parts),
    "div": _exact_quotient,
    "neg": lambda a: -a,
    "pow": _exact_power,
    "factorial": _exact_factorial,
    "binomial": _exact_binomial,
    "percent": lambda a: a / 100,
    "degree": lambda a: a,
    "quantity": lambda a: a,
    "bracketed": lambda a: a,
    "abs": lambda a: abs(a),
    "root": lambda a, n: _exact_root(a, 1 / n) if n > 0 and n.denominator == 1 else None,
}


# --- numeric --------------------------------------------------------------------------------------------------

CONSTANTS: dict[str, Value] = {"pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1)}
_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc,
    "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan, "sinh": mpmath.sinh, "cosh": mpmath.cosh,
    "tanh": mpmath.tanh, "ln": mpmath.log, "exp": mpmath.exp, "abs": abs,
    "floor": lambda x: mpmath.floor(mpmath.re(x)), "ceil": lambda x: mpmath.ceil(mpmath.re(x)),
}  # fmt: skip
_OF_LARGE = (abs, mpmath.atan, _FUNCTIONS["floor"], _FUNCTIONS["ceil"])
_ANGLES = {"sin", "cos", "tan", "cot", "sec", "csc"}


@functools.lru_cache(maxsize=4096)
def symbols(node: Node) -> frozenset[str]:
    """The unknowns of an expression."""
    if node.kind == "symbol":
        return frozenset() if node.label in CONSTANTS else frozenset([node.label])
    return frozenset().union(*(symbols(part) for part in node.parts))


def evaluation_points(names: frozenset[str]) -> list[Point]:
    """Points of general position, the same for a name everywhere: half of them positive, half of both signs."""
    return [{name: _coordinate(name, n) for name in names} for n in range(N_POINTS if names else 1)]


def _coordinate(name: str, n: int) -> Value:
    digest = hashlib.blake2b(f"{name} {n}".encode(), digest_size=16).digest()
    size = mpmath.mpf(int.from_bytes(digest, "big")) / mpmath.mpf(2) ** 128 * 2 + mpmath.mpf("0.3")
    return -size if n >= N_POINTS // 2 and (digest[0] % 2 or len(name) == 1) else size


def value(node: Node, point: Point, angle: bool = False) -> Value:
    """The value of an expression; Undefined or TooLarge where it has none here. `angle`: whether degrees convert."""
    match node.kind:
        case "number":
            assert node.value is not None
            return mpmath.mpf(node.value.numerator) / node.value.denominator
        case "symbol":
            return CONSTANTS[node.label] + 0 if node.label in CONSTANTS else point[node.label]
        case "matrix":
            return tuple(tuple(value(cell, point) for cell in row.parts) for row in node.parts)
        case "degree":
            inside = value(node.parts[0], point)
            return inside * mpmath.pi / 180 if angle else inside
        case "function":
            inside = value(node.parts[0], point, angle=node.label in _ANGLES)
            return _applied(_FUNCTIONS.get(node.label), inside)
    rule = _RULES.get(node.kind)
    if rule is None:
        raise Undefined(f"a {node.kind} among numbers")
    return _bounded(rule(*(value(part, point, angle) for part in node.parts)))


def _bounded(result: Value) -> Value:
    if isinstance(result, tuple):
        return result
    if not mpmath.isfinite(result):
        raise Undefined("infinite")
    if result and abs(mpmath.mag(result)) > 2 * MAX_LOG:
        raise TooLarge("a value")
    return result


def _applied(function: Callable[[Value], Value] | None, inside: Value) -> Value:
    if function is None or isinstance(inside, tuple):
        raise Undefined("no function of numbers")
    if function is mpmath.log:
        if not inside:
            raise Undefined("log 0")
    elif inside and mpmath.mag(inside) > 17 and function not in _OF_LARGE:  # beyond 131072 exp is beyond the bound
        raise TooLarge("a function's argument")
    return _bounded(function(inside))


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, tuple):
        raise Undefined("a matrix as an exponent")
    if isinstance(base, tuple):
        return _matrix_power(base, exponent)
    if not base:
        if mpmath.re(exponent) <= 0:
            raise Undefined("a power of 0")
        return mpmath.mpf(0)
    if abs(exponent) * (abs(mpmath.mag(base)) + 1) > MAX_LOG:
        raise TooLarge("a power")
    return mpmath.power(base, exponent)


def _root(inside: Value, index: Value) -> Value:
    if isinstance(inside, tuple) or not index:
        raise Undefined("no root")
    odd = mpmath.isint(index) and int(mpmath.re(index)) % 2 == 1
    if odd and mpmath.im(inside) == 0 and mpmath.re(inside) < 0:
        return -_power(-inside, 1 / index)  # the real one, as schools write it
    return _power(inside, 1 / index)


def _quotient(above: Value, below: Value) -> Value:
    if isinstance(below, tuple) or not below:
        raise Undefined("a division by zero")
    return _product(above, 1 / below)


def _product(left: Value, right: Value) -> Value:
    if isinstance(left, tuple) and isinstance(right, tuple):
        if len(left[0]) != len(right):
            raise Undefined("matrices of other shapes")
        columns = list(zip(*right, strict=True))
        return tuple(tuple(sum(map(_times, row, column), mpmath.mpf(0)) for column in columns) for row in left)
    if isinstance(left, tuple):
        left, right = right, left
    if isinstance(right, tuple):
        return tuple(tuple(left * cell for cell in row) for row in right)
    return left * right


def _times(left: Value, right: Value) -> Value:
    return left * right


def _sum(left: Value, right: Value) -> Value:
    if isinstance(left, tuple) != isinstance(right, tuple):
        raise Undefined("a matrix and a number")
    if isinstance(left, tuple):
        if (len(left), len(left[0])) != (len(right), len(right[0])):
            raise Undefined("matrices of other shapes")
        return tuple(tuple(map(_plus, *rows)) for rows in zip(left, right, strict=True))
    return left + right


def _plus(left: Value, right: Value) -> Value:
    return left + right


def _matrix_power(base: Value, exponent: Value) -> Value:
    if not mpmath.isint(exponent) or not 1 <= int(mpmath.re(exponent)) <= 64 or len(base) != len(base[0]):
        raise Undefined("no power of a matrix")
    result = base
    for _ in range(int(mpmath.re(exponent)) - 1):
        result = _product(result, base)
    return result


def _factorial(n: Value) -> Value:
    if isinstance(n, tuple) or (mpmath.im(n) == 0 and mpmath.re(n) < 0 and mpmath.isint(n)):
        raise Undefined("no factorial")
    if abs(n) > 10_000:
        raise TooLarge("a factorial")
    return mpmath.gamma(n + 1)


def _logarithm(inside: Value, base: Value) -> Value:
    below = _applied(mpmath.log, base)
    return _quotient(_applied(mpmath.log, inside), below)


def _absolute(inside: Value) -> Value:
    if isinstance(inside, tuple):
        raise Undefined("a determinant")
    return abs(inside)


_RULES: dict[str, Callable[..., Value]] = {
    "add": lambda *parts: functools.reduce(_sum, parts),
    "mul": lambda *parts: functools.reduce(_product, parts),
    "call": lambda *parts: functools.reduce(_product, parts),
    "div": _quotient,
    "neg": lambda a: _product(mpmath.mpf(-1), a),
    "pow": _power,
    "root": _root,
    "log": _logarithm,
    "factorial": _factorial,
    "binomial": lambda n, k: _quotient(_factorial(n), _product(_factorial(k), _factorial(n - k))),
    "abs": _absolute,
    "percent": lambda a: _quotient(a, mpmath.mpf(100)),
    "quantity": lambda a: a,
    "bracketed": lambda a: a,
}


def close(left: Value, right: Value) -> bool:
    """Whether two values, or all cells of two matrices, agree to the relative tolerance."""
    if isinstance(left, tuple) or isinstance(right, tuple):
        return (
            isinstance(left, tuple) and isinstance(right, tuple)
            and [len(row) for row in left] == [len(row) for row in right]
            and all(close(a, b) for rows in zip(left, right, strict=True) for a, b in zip(*rows, strict=True))
        )  # fmt: skip
    return abs(left - right) <= TOLERANCE * max(abs(left), abs(right)) or max(abs(left), abs(right)) < TOLERANCE**1.5


def is_real(result: Value) -> bool:
    """Whether a value has no imaginary part beyond rounding."""
    if isinstance(result, tuple):
        return all(is_real(cell) for row in result for cell in row)
    return abs(mpmath.im(result)) <= TOLERANCE * max(abs(result), TOLERANCE)


def agree(left: Node, right: Node) -> bool:
    """Whether two expressions are equal, as far as exact values and points tell; TooLarge where they can't be had.

    At points of both signs only real values are compared: x^{2/3} has branches there.
    """
    ours, theirs = exact(left), exact(right)
    if ours is not None and theirs is not None:
        return ours == theirs
    n_agreed = 0
    for n, point in enumerate(evaluation_points(symbols(left) | symbols(right))):
        found, missing = _value_or_none(left, point), _value_or_none(right, point)
        if found is None or missing is None:
            if (found is None) != (missing is None):
                return False
            continue
        if not close(found, missing):
            if n < N_POINTS // 2 or (is_real(found) and is_real(missing)):
                return False
            continue
        n_agreed += 1
    return n_agreed > 0


def _value_or_none(node: Node, point: Point) -> Value | None:
    try:
        return value(node, point)
    except (Undefined, ZeroDivisionError):
        return None
    except (ValueError, OverflowError) as error:
        raise Undefined(str(error)) from error
