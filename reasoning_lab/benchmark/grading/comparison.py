r"""Are two answers, read as trees, equal? Decided by their types.

- numbers and expressions: equal values, exact or at points (`values.py`); a decimal of six significant digits and more
  may be the rounding of what it stands for (0.333333 for 1/3), no shorter one may
- percent: 50% is 0.5, and 50, for the gold answers of MATH leave the sign out; between two signs the number counts
- a unit on one side alone is dropped; two known ones must be the same
- lists and sets: the same elements in any order; tuples: in order and with the same brackets; a list is no tuple
- intervals, inequalities of one unknown, unions and what is left out of the reals: the same set of numbers
- equations: the same up to a factor; x = 5 is 5, but 2x = 10 is not 10
- numerals of a base other than ten, times of day, ratios, texts: the same ones
- "not" equals nothing but "not"
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import mpmath

from reasoning_lab.benchmark.grading import values
from reasoning_lab.benchmark.grading.reading import Node, factor_node, plain_text

MAX_ITEMS = 200
SIGNIFICANT = 6
"""Digits that make a decimal a rounding of what it stands for."""
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "~": "~", "==": "=="}
_REALS = ("mathbb R", "R")


def equal(gold: Node, answer: Node) -> bool:
    """Whether the answer is the gold. TooLarge where the values can't be computed."""
    answer = _in_case_of(gold, answer)
    for rule in _RULES:
        verdict = rule(gold, answer)
        if verdict is not None:
            return verdict
    return _scalars(gold, answer)


def _in_case_of(gold: Node, answer: Node) -> Node:
    """The answer with the gold's unknowns where they differ by case alone: 3r^2 for 3R^2."""
    wanted, found = values.symbols(gold), values.symbols(answer)
    if wanted == found:
        return answer
    by_case = {name.casefold(): name for name in wanted}
    renamed = {name: by_case.get(name.casefold(), name) for name in found - wanted}
    if len(by_case) < len(wanted) or len({name.casefold() for name in found}) < len(found) or not renamed:
        return answer
    return _renamed(answer, renamed)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    if node.kind == "symbol":
        return node._replace(label=names.get(node.label, node.label))
    return node._replace(parts=tuple(_renamed(part, names) for part in node.parts))


def equal_numbers(gold: Node, answer: Node) -> bool | None:
    """The verdict on two exact numbers without units; None of anything else, or where one may round the other."""
    if {gold.kind, answer.kind} & {"percent", "quantity", "degree"}:
        return None
    try:
        ours, theirs = values.exact(gold), values.exact(answer)
    except (values.Undefined, values.TooLarge):
        return None
    if ours is None or theirs is None:
        return None
    if ours == theirs:
        return True
    decimals = [_decimal(node) for node in (gold, answer)]
    return None if any(decimal and decimal[1] >= SIGNIFICANT for decimal in decimals) else False


# --- types that are compared by themselves --------------------------------------------------------------------


def _same(gold: Node, answer: Node) -> bool | None:
    return True if gold == answer and gold.kind != "relation" else None


def _words(gold: Node, answer: Node) -> bool | None:
    kinds = {gold.kind, answer.kind}
    if "text" in kinds or "name" in kinds:
        return _phrase(gold) == _phrase(answer) if kinds <= {"text", "name", "symbol"} else False
    if "not" in kinds:
        return gold.kind == answer.kind and equal(gold.parts[0], answer.parts[0])
    if kinds & {"based", "clock"}:
        gold, answer = (_last_exact(node) if _assignment(node) else node for node in (gold, answer))
        return gold == answer
    return None


def _phrase(node: Node) -> str:
    return plain_text(node.label)


def _number_sets(gold: Node, answer: Node) -> bool | None:
    if not {gold.kind, answer.kind} & {"relation", "union", "intersection", "without", "member"} and not (
        _are_inequalities(gold) or _are_inequalities(answer)
    ):
        return None
    ours, theirs = real_set(gold), real_set(answer, joined=gold.kind == "union")
    return None if ours is None or theirs is None else ours == theirs


def _are_inequalities(node: Node) -> bool:
    return node.kind == "list" and all(part.kind == "relation" and part.label != "=" for part in node.parts)


def _members(gold: Node, answer: Node) -> bool | None:
    """x ∈ S is S; of two, the unknowns don't matter."""
    if "member" not in (gold.kind, answer.kind):
        return None
    return equal(*(node.parts[1] if node.kind == "member" else node for node in (gold, answer)))


def _systems(gold: Node, answer: Node) -> bool | None:
    """x = 2, y = 4 against (2, 4), in this order; against another system by names."""
    ours, theirs = _assigned(gold), _assigned(answer)
    if ours and theirs:
        if {name for name, _ in ours} == {name for name, _ in theirs}:
            found = dict(theirs)
            return all(equal(node, found[name]) for name, node in ours)
        return _in_order([node for _, node in ours], [node for _, node in theirs])
    if ours or theirs:
        other = answer if ours else gold
        if other.kind in ("tuple", "list") and len(other.parts) == len(ours or theirs or ()):
            named = [node for _, node in ours or theirs or ()]
            pair = (named, list(other.parts)) if ours else (list(other.parts), named)
            return other.label != "[]" and _in_order(*pair)
    return None


def _assigned(node: Node) -> list[tuple[str, Node]] | None:
    """Names and values of a list of two or more equations, one for each of several unknowns."""
    if node.kind != "list" or len(node.parts) < 2 or node.label == "or":
        return None
    pairs = [_assignment(part) for part in node.parts]
    if any(pair is None for pair in pairs):
        return None
    found = [pair for pair in pairs if pair]
    return found if len({name for name, _ in found}) == len(found) else None


def _assignment(node: Node) -> tuple[str, Node] | None:
    if node.kind == "relation" and set(node.label.split()) <= {"=", "~"} and is_name(node.parts[0]):
        return str(node.parts[0]), _last_exact(node)
    return None


def _in_order(gold: Sequence[Node], answer: Sequence[Node]) -> bool:
    return len(gold) == len(answer) and all(map(equal, gold, answer))


def _collections(gold: Node, answer: Node) -> bool | None:
    ours, theirs = _items(gold), _items(answer)
    if ours is None and theirs is None:
        return None
    return _matched(ours or [gold], theirs or [answer]) if _may_be_items(gold, answer) else False


def _may_be_items(gold: Node, answer: Node) -> bool:
    """An empty set has no items; a set of one element is no number, though a list of one is."""
    if "set" in (gold.kind, answer.kind) and not all(_items(node) is not None for node in (gold, answer)):
        return False
    empty = [node.kind == "set" and not node.parts for node in (gold, answer)]
    return all(empty) or not any(empty)


def _items(node: Node) -> list[Node] | None:
    """Elements of a list, a set or an expression with ±; of x = 1, 2 and x = ±3 the values."""
    if node.kind in ("list", "set"):
        items: list[Node] = []
        for part in node.parts:
            inner = _as_tuple(part) if part.kind == "list" else part
            items += [inner] if inner.kind == "set" else _items(inner) or [inner]
        return items
    if node.kind == "relation" and set(node.label.split()) == {"="} and is_name(node.parts[0]):
        return _items(node.parts[-1])
    signed = with_signs(node)
    return signed if len(signed) > 1 else None


def _as_tuple(node: Node) -> Node:
    """One group of a list of groups: p=5,q=2; p=7,q=2."""
    assigned = _assigned(node)
    return Node("tuple", tuple(value for _, value in assigned), "()") if assigned else node


def _matched(gold: Sequence[Node], answer: Sequence[Node]) -> bool:
    """Whether each element has its equal on the other side; ones that are there twice count once."""
    if max(len(gold), len(answer)) > MAX_ITEMS:
        raise values.TooLarge("too many items")
    left, right = _distinct(gold), _distinct(answer)
    if len(left) != len(right):
        return False
    free = list(right)
    for item in left:
        found = next((other for other in free if equal(item, other)), None)
        if found is None:
            return False
        free.remove(found)
    return True


def _distinct(items: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    for item in items:
        if not any(equal(item, other) for other in found):
            found.append(item)
    return found


def with_signs(node: Node) -> list[Node]:
    """The expression with each choice of its ± signs; one with ∓ takes the other sign."""
    n_signs = _count_signs(node)
    if n_signs == 0 or n_signs > 3:
        return [node]
    tied = "∓" in _signs(node)
    choices = [(1,) * n_signs, (-1,) * n_signs] if tied else itertools.product((1, -1), repeat=n_signs)
    return [_with_signs(node, iter(choice)) for choice in choices]


def _signs(node: Node) -> str:
    return ("" if node.kind != "plusminus" else node.label) + "".join(map(_signs, node.parts))


def _count_signs(node: Node) -> int:
    return len(_signs(node))


def _with_signs(node: Node, choice: Iterator[int]) -> Node:
    if node.kind == "plusminus":
        sign = next(choice) * (1 if node.label == "±" else -1)
        left, right = (_with_signs(part, choice) for part in node.parts)
        return Node("add", (left, right if sign > 0 else Node("neg", (right,))))
    return node._replace(parts=tuple(_with_signs(part, choice) for part in node.parts))


def _tuples(gold: Node, answer: Node) -> bool | None:
    gold, answer = _unmatrixed(gold, answer)
    if gold.kind == answer.kind == "tuple":
        return gold.label == answer.label and _in_order(gold.parts, answer.parts)
    if gold.kind == answer.kind == "ratio":
        return _ratios(gold.parts, answer.parts)
    if {gold.kind, answer.kind} & {"tuple", "ratio"}:
        named = [_named_value(node, node is gold) for node in (gold, answer)]
        if named != [gold, answer]:
            return equal(*named)
        return False
    return None


def _unmatrixed(gold: Node, answer: Node) -> tuple[Node, Node]:
    """A column against a point in round brackets is a point."""
    if {gold.kind, answer.kind} == {"matrix", "tuple"}:
        return _column(gold), _column(answer)
    return gold, answer


def _column(node: Node) -> Node:
    if node.kind == "matrix" and all(len(row.parts) == 1 for row in node.parts):
        return Node("tuple", tuple(row.parts[0] for row in node.parts), "()")
    return node


def _ratios(gold: Sequence[Node], answer: Sequence[Node]) -> bool:
    """1:2 is 2:4, unless a zero is in it."""
    if len(gold) != len(answer):
        return False
    if _in_order(gold, answer):
        return True
    pairs = list(zip(gold, answer, strict=True))
    quotients = [_quotient(a, b) for a, b in pairs]
    return quotients[0] is not None and all(quotient == quotients[0] for quotient in quotients)


def _quotient(left: Node, right: Node) -> Fraction | None:
    above, below = values.exact(left), values.exact(right)
    return above / below if above and below else None


# --- relations ------------------------------------------------------------------------------------------------


def _relations(gold: Node, answer: Node) -> bool | None:
    if "relation" not in (gold.kind, answer.kind):
        return None
    if gold.kind == answer.kind:
        return _two_relations(gold, answer)
    ours, theirs = _named_value(gold, of_gold=True), _named_value(answer, of_gold=False)
    if ours.kind == "relation" or theirs.kind == "relation":
        return False
    relation, value = (answer, gold) if answer.kind == "relation" else (gold, answer)
    return equal(ours, theirs) or _by_approximation(relation, value)


def _two_relations(gold: Node, answer: Node) -> bool:
    ours, theirs = _assignment(gold), _assignment(answer)
    if ours and theirs:
        same_name = ours[0] == theirs[0] or not (_is_plain(gold.parts[0]) and _is_plain(answer.parts[0]))
        if same_name and equal(ours[1], theirs[1]):
            return True
        if same_name and not values.symbols(ours[1]) and ours[0] == theirs[0]:
            return False
    for signs, parts in _turned(answer):
        if signs == gold.label.split() and (_in_parts(gold.parts, parts) or _proportional(gold, parts)):
            return True
    return False


def _is_plain(node: Node) -> bool:
    return node.kind == "symbol"


def _turned(node: Node) -> list[tuple[list[str], tuple[Node, ...]]]:
    """The relation and the same one read from right to left."""
    signs = node.label.split()
    return [(signs, node.parts), ([_FLIPPED.get(sign, "?") for sign in reversed(signs)], node.parts[::-1])]


def _in_parts(gold: Sequence[Node], answer: Sequence[Node]) -> bool:
    return len(gold) == len(answer) and all(map(equal, gold, answer))


def _proportional(gold: Node, parts: Sequence[Node]) -> bool:
    """Whether left - right of the one is a constant times that of the other; of an inequality a positive one."""
    if len(gold.parts) != 2 or len(parts) != 2:
        return False
    ours, theirs = (Node("add", (left, Node("neg", (right,)))) for left, right in (gold.parts, parts))
    names = values.symbols(ours) | values.symbols(theirs)
    factor = None
    for point in values.evaluation_points(names) if names else ():
        try:
            left, right = values.value(ours, point), values.value(theirs, point)
        except (values.Undefined, ZeroDivisionError):
            return False
        if isinstance(left, tuple) or isinstance(right, tuple) or not right or not left:
            return False
        factor = left / right if factor is None else factor
        if not values.close(factor, left / right):
            return False
    if factor is None or not values.is_real(factor):
        return False
    return gold.label in ("=", "!=") or mpmath.re(factor) > 0


def is_name(node: Node) -> bool:
    """Whether a left side only names what is asked for: x, x_1, f(x), AB, P(A), (x, y), |AB|, a ratio of such."""
    if node.kind in ("symbol", "name", "text"):
        return True
    if node.kind == "call":
        return node.parts[0].kind == "symbol"
    if node.kind == "mul":
        return all(_is_capital(part) or part.kind == "name" for part in _factors(node))
    if node.kind in ("tuple", "ratio", "abs", "div", "bracketed"):
        return all(map(is_name, node.parts))
    if node.kind == "function":
        return is_name(node.parts[0]) and node.label not in ("ln", "exp", "abs")
    if node.kind == "degree":
        return is_name(node.parts[0])
    return False


def _factors(node: Node) -> list[Node]:
    return [factor for part in node.parts for factor in _factors(part)] if node.kind == "mul" else [node]


def _is_capital(node: Node) -> bool:
    return node.kind == "symbol" and node.label[:1].isupper()


def _named_value(node: Node, of_gold: bool) -> Node:
    """What is stated by an equation that names its value; any other node as it is.

    An answer may also state the value of an expression in several unknowns, or of numbers alone (m + n = 5, 2 + 3 = 5),
    but an equation in one unknown, such as 2x = 10, is not solved.
    """
    if node.kind != "relation" or not set(node.label.split()) <= {"=", "~", "=="}:
        return node
    left, value = node.parts[0], _last_exact(node)
    if value.kind == "symbol" and not _unknowns(left):  # 5 = x
        return left
    if is_name(left):
        return value
    unsolved = len(_unknowns(left)) == 1 and not any(_is_constant(part) for part in node.parts[1:-1])
    if of_gold or ((unsolved or values.symbols(value)) and not _is_identity(left, value)):
        return node
    return value


def _is_constant(node: Node) -> bool:
    """Whether a member between others has no unknown: of πr^2 = π4^2 = 16π; the value of the left is worked out."""
    return not values.symbols(node) and node.kind not in ("name", "text")


def _unknowns(node: Node) -> frozenset[str]:
    """Unknowns, f(1) and f(2) being two."""
    if node.kind == "call" and node.parts[0].kind == "symbol" and node.parts[0].label[:1] in "fghpqFGHPQNT":
        return frozenset([str(node)])
    if node.kind == "symbol":
        return values.symbols(node)
    return frozenset().union(*map(_unknowns, node.parts))


def _is_identity(left: Node, right: Node) -> bool:
    """Whether two sides are equal whatever the unknowns: a simplification, and no equation to be solved."""
    try:
        return values.agree(left, right)
    except values.Undefined:
        return False


def _last_exact(node: Node) -> Node:
    """The last member before the first ≈: x = 1/3 ≈ 0.33 is 1/3, and so is 1/3 ≈ 0.33; x ≈ 11 is 11."""
    signs = node.label.split()
    if signs[0] == "~" and _is_constant(node.parts[0]) and not is_name(node.parts[0]):
        return node.parts[0]
    end = signs.index("~") if "~" in signs[1:] and signs[0] != "~" else len(signs)
    return node.parts[end]


def _by_approximation(relation: Node, value: Node) -> bool:
    """Whether the gold is the decimal after ≈ of what was stated exactly before, and the two agree to a hundredth."""
    if not relation.label.endswith("~") or len(relation.parts) < 2:
        return False
    exactly, roughly = relation.parts[-2:]
    if not equal(value, roughly):
        return False
    return not _is_constant(exactly) or _near(exactly, roughly)


def _near(left: Node, right: Node) -> bool:
    if values.symbols(left) or values.symbols(right):
        return False
    try:
        ours, theirs = values.value(left, {}), values.value(right, {})
    except (values.Undefined, ZeroDivisionError):
        return False
    return not isinstance(ours, tuple) and not isinstance(theirs, tuple) and abs(ours - theirs) <= abs(ours) / 100


# --- sets of real numbers -------------------------------------------------------------------------------------

Bound = tuple[object, int]
"""Where a set begins or ends: a sortable value, and -1, 0 or 1 for just below, at, just above it."""


class RealSet:
    """Disjoint stretches of the real line in order, each (low, high) between sides of points."""

    def __init__(self, stretches: Sequence[tuple[Bound, Bound]]) -> None:
        merged: list[tuple[Bound, Bound]] = []
        for low, high in sorted((s for s in stretches if _before(s[0], s[1])), key=_sort_key):
            if merged and not _before(merged[-1][1], low):
                if _before(merged[-1][1], high):
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        self.stretches = merged

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RealSet)
            and len(self.stretches) == len(other.stretches)
            and all(
                _at(a) == _at(b) and a[1] == b[1]
                for ours, theirs in zip(self.stretches, other.stretches, strict=True)
                for a, b in zip(ours, theirs, strict=True)
            )
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType] -- compared alone

    def union(self, other: "RealSet") -> "RealSet":
        return RealSet([*self.stretches, *other.stretches])

    def complement(self) -> "RealSet":
        edges = [_LOWEST, *(edge for stretch in self.stretches for edge in stretch), _HIGHEST]
        return RealSet(list(zip(edges[::2], edges[1::2], strict=True)))

    def intersection(self, other: "RealSet") -> "RealSet":
        return self.complement().union(other.complement()).complement()


def _at(bound: Bound) -> Fraction | str:
    """Bounds within rounding of each other are one: their first 20 digits."""
    return bound[0] if isinstance(bound[0], Fraction) else str(mpmath.nstr(bound[0], 20))


def _before(low: Bound, high: Bound) -> bool:
    if _at(low) == _at(high):
        return low[1] < high[1]
    return bool(_number(low) < _number(high))


def _number(bound: Bound) -> Any:
    number = bound[0]
    return mpmath.mpf(number.numerator) / number.denominator if isinstance(number, Fraction) else number


def _sort_key(stretch: tuple[Bound, Bound]) -> tuple[object, int]:
    return _number(stretch[0]), stretch[0][1]


_LOWEST: Bound = (mpmath.mpf("-inf"), 1)
_HIGHEST: Bound = (mpmath.mpf("inf"), -1)


def real_set(node: Node, joined: bool = False) -> RealSet | None:
    """The set of reals that an interval, an inequality of one unknown, or a union of such describes; None of others.

    `joined`: whether intervals with commas between them count as their union.
    """
    match node.kind:
        case "tuple":
            return _interval(node)
        case "set":
            return _finite(node)
        case "symbol" if node.label in _REALS:
            return RealSet([(_LOWEST, _HIGHEST)])
        case "member":
            return real_set(node.parts[1]) if node.parts[0].kind == "symbol" else None
        case "union" | "intersection" | "without":
            left, right = (real_set(part) for part in node.parts)
            if left is None or right is None:
                return None
            if node.kind == "union":
                return left.union(right)
            return left.intersection(right if node.kind == "intersection" else right.complement())
        case "relation":
            return _solutions(node)
        case "list":
            return _joined(node, joined)
    return None


def _joined(node: Node, joined: bool) -> RealSet | None:
    sets = [real_set(part) for part in node.parts]
    if any(part.kind == "set" for part in node.parts) or not (joined or _are_inequalities(node)):
        return None
    if len({name for part in node.parts for name in values.symbols(part)}) > 1:
        return None
    found = [each for each in sets if each is not None]
    if len(found) < len(sets):
        return None
    excludes = all(part.label == "!=" for part in node.parts)
    result = found[0]
    for each in found[1:]:
        result = result.intersection(each) if node.label == "and" or excludes else result.union(each)
    return result


def _bound(node: Node, side: int) -> Bound | None:
    """The value of a constant; `side` is where the set's edge lies beside it."""
    sign = -1 if node.kind == "neg" else 1
    inner = node.parts[0] if node.kind == "neg" else node
    if inner.kind == "infinity":
        return _HIGHEST if sign > 0 else _LOWEST
    if values.symbols(node):
        return None
    exactly = values.exact(node)
    if exactly is not None:
        return exactly, side
    try:
        found = values.value(node, {})
    except (values.Undefined, ZeroDivisionError):
        return None
    return (mpmath.re(found), side) if not isinstance(found, tuple) and values.is_real(found) else None


def _interval(node: Node) -> RealSet | None:
    if len(node.parts) != 2:
        return None
    low = _bound(node.parts[0], 1 if node.label[0] == "(" else -1)
    high = _bound(node.parts[1], -1 if node.label[1] == ")" else 1)
    return RealSet([(low, high)]) if low and high else None


def _finite(node: Node) -> RealSet | None:
    found = [(_bound(part, -1), _bound(part, 1)) for part in node.parts]
    if not all(low and high for low, high in found):
        return None
    return RealSet([(low, high) for low, high in found if low and high])


def _solutions(node: Node) -> RealSet | None:
    """Of x < 3, 2 <= x < 5, x ≠ 1, -x > 2: the unknown alone or with a sign, and constants."""
    signs = node.label.split()
    if not set(signs) <= {"<", "<=", ">", ">=", "!="} or not 2 <= len(node.parts) <= 3:
        return None
    at = 0 if len(node.parts) == 2 and values.symbols(node.parts[0]) else 1
    middle = node.parts[at]
    negative = middle.kind == "neg"
    if not (is_name(middle.parts[0] if negative else middle)) or len(values.symbols(middle)) == 0:
        return None
    result = RealSet([(_LOWEST, _HIGHEST)])
    for left, sign, right in zip(node.parts, signs, node.parts[1:], strict=False):
        if left is middle:
            other, sign = right, sign
        elif right is middle:
            other, sign = left, _FLIPPED[sign]
        else:
            return None
        if negative:
            other, sign = Node("neg", (other,)), _FLIPPED[sign]
        half = _half_line(sign, other)
        if half is None:
            return None
        result = result.intersection(half)
    return result


def _half_line(sign: str, bound: Node) -> RealSet | None:
    below, above = _bound(bound, -1), _bound(bound, 1)
    if below is None or above is None:
        return None
    match sign:
        case "<":
            return RealSet([(_LOWEST, below)])
        case "<=":
            return RealSet([(_LOWEST, above)])
        case ">":
            return RealSet([(above, _HIGHEST)])
        case ">=":
            return RealSet([(below, _HIGHEST)])
        case _:
            return RealSet([(_LOWEST, below), (above, _HIGHEST)])


# --- numbers --------------------------------------------------------------------------------------------------


def _percents(gold: Node, answer: Node) -> bool | None:
    if {gold.kind, answer.kind} & {"percent"} == set():
        return None
    if gold.kind == answer.kind:
        return equal(gold.parts[0], answer.parts[0])
    number = (gold if gold.kind == "percent" else answer).parts[0]
    other = answer if gold.kind == "percent" else gold
    fraction = Node("div", (number, factor_node(Fraction(100))))
    return equal(number, other) or _scalars(fraction, other)


def _units(gold: Node, answer: Node) -> bool | None:
    ours, theirs = _unit(gold), _unit(answer)
    if ours == theirs == None:  # noqa: E711
        return None
    if ours and theirs and ours != theirs:
        return False
    return equal(_bare(gold), _bare(answer))


def _unit(node: Node) -> str | None:
    if node.kind == "degree":
        return "degree"
    return node.label if node.kind == "quantity" else None


def _bare(node: Node) -> Node:
    return node.parts[0] if _unit(node) is not None else node


def _infinities(gold: Node, answer: Node) -> bool | None:
    ends = [_bound(node, 0) for node in (gold, answer)] if "infinity" in _kinds(gold) + _kinds(answer) else None
    if ends is None:
        return None
    return ends[0] is not None and ends[0] == ends[1]


def _kinds(node: Node) -> tuple[str, ...]:
    return (node.kind, *(part.kind for part in node.parts)) if node.kind in ("neg", "infinity") else ()


def _scalars(gold: Node, answer: Node) -> bool:
    try:
        return values.agree(gold, answer) or _is_rounding(gold, answer) or _is_rounding(answer, gold)
    except values.Undefined:
        return False


def _is_rounding(exactly: Node, rounded: Node) -> bool:
    """Whether a long decimal is what the other, which is no decimal, becomes at its last place; or float's noise."""
    digits = _decimal(rounded)
    if digits is None or values.symbols(exactly):
        return False
    places, significant, stated = digits
    other = _decimal(exactly)
    if significant < SIGNIFICANT or (other is not None and significant < 15):
        return False
    try:
        value = values.value(exactly, {})
    except (values.Undefined, ZeroDivisionError):
        return False
    if isinstance(value, tuple) or not values.is_real(value):
        return False
    exact_value = values.exact(exactly)
    if other is None and exact_value is not None and exact_value.denominator == 1 and significant < 15:
        return False  # 7.0000001 is not 7
    slack = mpmath.mpf(10) ** -places if other is None else abs(value) * mpmath.mpf(10) ** -13
    return bool(abs(mpmath.re(value) - mpmath.mpf(stated.numerator) / stated.denominator) < slack)


def _decimal(node: Node) -> tuple[int, int, Fraction] | None:
    """Places, significant digits and value of a decimal as it is written."""
    sign = -1 if node.kind == "neg" else 1
    node = node.parts[0] if node.kind == "neg" else node
    if (
        node.kind != "number"
        or node.value is None
        or "." not in node.label
        or not node.label.replace(".", "").isdecimal()
    ):
        return None
    whole, places = node.label.split(".")
    return len(places), len((whole + places).lstrip("0")), sign * node.value


_RULES: tuple[Callable[[Node, Node], bool | None], ...] = (
    _same, _words, _number_sets, _members, _systems, _collections, _tuples, _relations, _percents, _units, _infinities,
)  # fmt: skip
