r"""A short answer as a tree: numbers, expressions, relations, tuples, sets, intervals, lists, matrices, texts.

The whole text is read or none of it. A list is what commas, "and" or "or" part without brackets; tuples, sets and
intervals have brackets of their own. What is no notation but has words is a text.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from reasoning_lab.benchmark.grading.notation import Token, Unreadable, tokens, with_scripts
from reasoning_lab.benchmark.grading.words import BASES, FILLERS, MEANINGFUL, NEGATIONS, TIMES, UNITS

MAX_DEPTH = 60
MAX_CHARS = 4000
"""Longer answers are not read [characters]; the longest gold answer of MATH500 has 53."""


class Node(NamedTuple):
    """A part of an answer.

    kind: number, symbol, infinity; add, mul, div, pow, neg, call, function, factorial, root, binomial, log, abs,
    plusminus; percent, quantity, degree; list, tuple, set, matrix, union, intersection, without, ratio, relation,
    member; based, clock, not, text, name.
    """

    kind: str
    parts: "tuple[Node, ...]" = ()
    label: str = ""
    """Name of a symbol or function, brackets of a tuple, signs of relations, unit, text as written."""
    value: Fraction | None = None


def read(text: str) -> Node | None:
    """The answer, or None where it can be read neither as notation nor as a text."""
    if len(text) > MAX_CHARS:
        return None
    text = with_scripts(text.strip())
    special = _clock(text) or _based(text)
    if special:
        return special
    try:
        return _Parser(tokens(text)).whole()
    except (Unreadable, RecursionError):
        return _last_step(text) or _equation(text) or _text(text)


_ARROW = re.compile(
    r"\\(?:Rightarrow|Longrightarrow|implies|rightarrow|longrightarrow|iff|Leftrightarrow)(?![A-Za-z])|[⇒→]"
)


def _last_step(text: str) -> Node | None:
    """Of 3x = 15 ⇒ x = 5 the last."""
    steps = _ARROW.split(text)
    return read(steps[-1]) if len(steps) > 1 and steps[-1].strip() else None


def _equation(text: str) -> Node | None:
    """An equation with a left side that is no known notation, such as a determinant, as the name of its value."""
    members, depth, start = [], 0, 0
    for mark in re.finditer(r"\\[{}]|\\(?:le|ge|ne|leq|geq|neq|approx|in)(?![A-Za-z])|[{}()\[\]=<>]", text):
        depth += (mark.group() in "{([") - (mark.group() in "})]")
        if depth == 0 and mark.group() == "=":
            members.append(text[start : mark.start()])
            start = mark.end()
        elif depth == 0 and (mark.group() in "<>" or len(mark.group()) > 2):
            return None
    value = read(text[start:]) if members and "\\" in members[0] + "".join(members) else None
    if value is None or value.kind in ("relation", "text", "list", "name"):
        return None
    return Node("relation", (Node("name", label=members[0].strip()), value), "=")


_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?[\s,~\\]*([aApP])\.?\s?[mM]\.?\s*")
_UPRIGHT = re.compile(r"\\(?:text\w*|mathrm|mbox)\s*\{([^{}]*)\}")
_BASED = re.compile(
    r"\(?\s*([0-9A-Za-z]*\d[0-9A-Za-z]*)\s*\)?\s*_\s*(?:\{\s*(?:\\(?:text|mathrm|textrm)\s*\{)?\s*(\w+)\s*\}?\s*\}|(\w))"
)
_MACROS = re.compile(r"\\(?:text\w*|mathrm|mathbf|mbox|emph|operatorname)\s*|\\[,;:! ]|[{}$~*_`\"“”]|\\[()\[\]]")


def _clock(text: str) -> Node | None:
    found = _CLOCK.fullmatch(_UPRIGHT.sub(r"\1", text).strip("$ "))
    if found is None:
        return None
    hour, minute, half = found.groups()
    return Node("clock", label=f"{int(hour)}:{minute or '00'} {half.lower()}m")


def _based(text: str) -> Node | None:
    found = _BASED.fullmatch(re.sub(r"\\[,;:! ]|\$", "", text).rstrip("."))
    if found is None:
        return None
    digits, base = found.group(1), (found.group(2) or found.group(3)).lower()
    base = str(BASES.get(base, base))
    return _in_base(digits, base) if base.isdecimal() and 2 <= int(base) <= 36 else None


def _in_base(digits: str, base: str) -> Node:
    """A numeral of base 10 is a number."""
    if base == "10" and digits.isdecimal():
        return Node("number", label=digits, value=Fraction(digits))
    return Node("based", label=f"{digits.upper().lstrip('0') or '0'}_{base}")


def _text(text: str) -> Node | None:
    phrase = plain_text(text)
    is_text = re.search(r"[^\W\d_]|\d \d", phrase) and "\\" not in phrase
    return Node("text", label=phrase) if is_text else None


def plain_text(text: str) -> str:
    """A text without layout, case, article and the marks around it."""
    text = " ".join(_MACROS.sub(" ", text).split()).strip(" .,;:!?'").casefold()
    text = re.sub(r"(?<=[(\[]) | (?=[)\].,;:!?])", "", text)
    return re.sub(r"^\(([^()]{2,})\)$", r"\1", re.sub(r"^(?:an?|the) (?=\w{3})", "", text))


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self.tokens, self.at, self.depth = found, 0, 0

    # -- tokens --

    def peek(self, ahead: int = 0) -> Token | None:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else None

    def next_is(self, kind: str, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.kind == kind and (not texts or token.text in texts)

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise Unreadable("it ends too early")
        self.at += 1
        return token

    def expect(self, kind: str, *texts: str) -> Token:
        if not self.next_is(kind, *texts):
            raise Unreadable(f"{texts} is missing")
        return self.take()

    # -- the whole --

    def whole(self) -> Node:
        node = self.listed()
        if self.peek() is not None:
            raise Unreadable("something is left")
        return node

    def listed(self) -> Node:
        """Items between commas, semicolons, and, or."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("too deep")
        groups: list[list[Node]] = [[self.item()]]
        said: list[str] = []
        while self.next_is("separator"):
            marks = [self.take().text]
            while self.next_is("separator"):
                marks.append(self.take().text)
            if self.peek() is None or self.next_is("close"):
                if marks[-1] in ("and", "or"):
                    raise Unreadable("a list ends in and")
                break
            said += marks
            if ";" in marks:
                groups.append([])
            groups[-1].append(self.item())
        self.depth -= 1
        label = "or" if "or" in said else "and" if "and" in said else ","
        if len(groups) > 1 and any(len(group) > 1 for group in groups):
            return Node("list", tuple(Node("list", tuple(g), ",") if len(g) > 1 else g[0] for g in groups), label)
        items = [item for group in groups for item in group]
        return items[0] if len(items) == 1 else Node("list", tuple(items), label)

    def item(self) -> Node:
        """An expression or a chain of relations."""
        if self.next_is("relation", "=", "~", "=="):
            self.take()
        members, signs = [self.member()], []
        while self.next_is("relation"):
            signs.append(self.take().text)
            members.append(self.member())
        if self.next_is("macro", "pmod"):
            self.take()
            self.group()
        if not signs:
            return members[0]
        if signs[0] == "in" and len(signs) == 1:
            return Node("member", tuple(members))
        return Node("relation", tuple(members), " ".join(signs))

    def member(self) -> Node:
        """An expression with the words around it."""
        factor = self.leading()
        if isinstance(factor, Node):
            return factor
        node = self.total()
        if factor is not None:
            node = Node("mul", (factor_node(factor), node))
        return self.trailing(node)

    def leading(self) -> "Fraction | Node | None":
        """Words before an expression: those that negate, multiply or mean nothing; others make a name."""
        factor: Fraction | None = None
        start = self.at
        while self.next_is("word"):
            word = self.take().text.lower()
            if word in ("minus", "negative"):
                factor = -(factor or Fraction(1))
            elif word in TIMES:
                factor = (factor or Fraction(1)) * TIMES[word]
            elif word in NEGATIONS:
                if self.peek() is None:
                    raise Unreadable("a text")
                return Node("not", (self.member(),))
            elif word in MEANINGFUL or (word not in FILLERS and word not in ("dollars", "euros", "pounds")):
                self.at = start
                return self.name()
        if self.peek() is None or self.next_is("close", ")", "}", "group") or self.next_is("separator"):
            raise Unreadable("words alone")
        return factor

    def name(self) -> Node:
        """Words before a relation: Area = 5."""
        words: list[str] = []
        while self.peek() is not None and self.peek().kind in ("word", "symbol"):  # pyright: ignore[reportOptionalMemberAccess]
            words.append(self.take().text)
        if words and self.next_is("relation") and not {word.lower() for word in words} & NEGATIONS:
            return Node("name", label=" ".join(words).casefold())
        if words and self.next_is("operator", ":") and not {word.lower() for word in words} & MEANINGFUL:
            self.take()
            return self.member()
        raise Unreadable("words")

    def trailing(self, node: Node) -> Node:
        """Units, percent, base and other words after an expression."""
        words: list[str] = []
        while True:
            if self.next_is("word") or self._is_unit_letter(node):
                words.append(self.take().text)
                self._unit_power()
            elif self.next_is("operator", "/") and words and (after := self.peek(1)) and after.kind == "word":
                self.take()
                words.append("per")
            elif self.next_is("open", "(") and (aside := self._aside()) is not None:
                words += aside
            elif self.next_is("number") and words and words[-1].lower() == "base":
                return _in_base(_digits(node), self.take().text)
            else:
                break
        if not words:
            return node
        lowered = [word.lower() for word in words]
        if lowered[0] in ("percent", "pct", "percentage") and not set(lowered) & MEANINGFUL:
            return Node("percent", (node,))
        if lowered in (["squared"], ["cubed"]):
            return Node("pow", (node, factor_node(Fraction(2 if lowered == ["squared"] else 3))))
        if lowered in (["factorial"],):
            return Node("factorial", (node,))
        if set(lowered) & MEANINGFUL or len(words) > 8 or words[0] == "k":
            raise Unreadable("words that change it")
        unit = next((UNITS[word] if len(word) > 1 else word for word in (lowered if len(lowered[0]) > 1 else words)
                     if word in UNITS or len(word) == 1), "")  # fmt: skip
        return node if node.kind == "quantity" else Node("quantity", (node,), unit)

    def _is_unit_letter(self, node: Node) -> bool:
        return False if node.kind != "degree" else self.next_is("symbol", "C", "F")

    def _unit_power(self) -> None:
        if self.next_is("operator", "^"):
            self.take()
            self.power_argument()

    def _aside(self) -> list[str] | None:
        """Words in brackets after a value: 7 (seven), 4343 (base 6); they are no factor."""
        end = self.at + 1
        while end < len(self.tokens) and self.tokens[end].kind not in ("open", "close"):
            end += 1
        inside = self.tokens[self.at + 1 : end]
        if end >= len(self.tokens) or not inside or not any(t.kind == "word" or t.text == "words" for t in inside):
            return None
        if inside[0].kind == "word" and inside[0].text.lower() in ("base", "in"):  # left for `trailing`
            del self.tokens[end]
            del self.tokens[self.at]
            return []
        if any(t.text.lower() in MEANINGFUL for t in inside):
            raise Unreadable("an aside that changes it")
        self.at = end + 1
        return [t.text for t in inside if t.kind == "word"]

    # -- expressions --

    def total(self) -> Node:
        node = self.product()
        while self.next_is("operator", "+", "-", "±", "∓", "cup", "cap", "setminus", ":"):
            sign = self.take().text
            other = self.product()
            match sign:
                case "+":
                    node = _joined("add", node, other)
                case "-":
                    node = _joined("add", node, Node("neg", (other,)))
                case "±" | "∓":
                    node = Node("plusminus", (node, other), sign)
                case ":":
                    node = Node("ratio", (*(node.parts if node.kind == "ratio" else (node,)), other))
                case _:
                    node = Node({"cup": "union", "cap": "intersection", "setminus": "without"}[sign], (node, other))
        return node

    def product(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("too deep")
        node = self.signed()
        while True:
            if self.next_is("operator", "*", "/", "mod"):
                sign = self.take().text
                if sign == "mod":
                    self.signed()  # the modulus is named in the problem
                    continue
                other = self.signed()
                node = _joined("mul", node, other) if sign == "*" else Node("div", (node, other))
            elif self._begins_factor() and not self._is_unit_letter(node):
                node = self.beside(node)
            else:
                break
        self.depth -= 1
        return node

    def _begins_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind == "operator" and token.text == "|":
            return self._bars_open
        if token.kind == "open" and token.text in ("(",) and self._is_aside():
            return False
        return (
            token.kind in ("symbol", "function", "number")
            or (token.kind == "open" and token.text in ("(", "group", "floor", "ceil", "matrix"))
            or (token.kind == "macro" and token.text in ("frac", "sqrt", "binom", "name", "overline"))
        )

    _bars_open = False

    def _is_aside(self) -> bool:
        after = self.peek(1)
        return after is not None and (after.kind == "word" or after.text == "words")

    def beside(self, node: Node) -> Node:
        """A factor that is written right after another: 2x, f(x), 4 2/3."""
        token = self.peek()
        assert token is not None
        if _is_whole(node) and self._mixed():
            fraction = self.powered()
            if fraction.kind == "number":
                self.expect("operator", "/")
                below = self.powered()
                fraction = Node("div", (fraction, below))
            negative = node.kind == "neg"
            mixed = Node("add", (node.parts[0] if negative else node, fraction))
            return Node("neg", (mixed,)) if negative else mixed
        if token.kind == "number" and self.tokens[self.at - 1].kind == "number":
            raise Unreadable("two numbers side by side")
        called = token.text == "(" and node.kind == "symbol" and not token.spaced
        other = self.powered()
        if other.kind in ("tuple", "set", "list"):
            if node.kind != "symbol" or other.label != "()":
                raise Unreadable("a tuple as a factor")
            return Node("call", (node, other))
        return Node("call", (node, other)) if called else _joined("mul", node, other)

    def _mixed(self) -> bool:
        """Whether a proper fraction of whole numbers follows."""
        token = self.peek()
        assert token is not None
        if token.kind == "macro" and token.text == "frac":
            shape = self.tokens[self.at + 1 : self.at + 7]
            return (
                len(shape) == 6
                and shape[1].kind == shape[4].kind == "number"
                and shape[2].kind == shape[5].kind == "close"
            )
        after = self.peek(1), self.peek(2)
        return (
            token.kind == "number" and after[0] is not None and after[0].text == "/"
            and after[1] is not None and after[1].kind == "number"
        )  # fmt: skip

    def signed(self) -> Node:
        if self.next_is("operator", "-", "+", "±", "∓"):
            sign = self.take().text
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Unreadable("too deep")
            other = self.signed()
            self.depth -= 1
            if sign in "±∓":
                return Node("plusminus", (factor_node(Fraction(0)), other), sign)
            return Node("neg", (other,)) if sign == "-" else other
        if self.next_is("word", "minus", "negative"):
            self.take()
            return Node("neg", (self.signed(),))
        return self.powered()

    def powered(self) -> Node:
        node = self.primary()
        while True:
            if self.next_is("operator", "^"):
                self.take()
                node = Node("pow", (node, self.power_argument()))
            elif self.next_is("operator", "_"):
                self.take()
                node = self.indexed(node)
            elif self.next_is("operator", "!"):
                self.take()
                node = Node("factorial", (node,))
            elif self.next_is("operator", "percent", "degree"):
                node = Node(self.take().text, (node,))
            else:
                return node

    def power_argument(self) -> Node:
        if self.next_is("operator", "-", "+"):
            negative = self.take().text == "-"
            node = self.power_argument()
            return Node("neg", (node,)) if negative else node
        node = self.primary()
        if self.next_is("operator", "^"):
            self.take()
            node = Node("pow", (node, self.power_argument()))
        return node

    def indexed(self, node: Node) -> Node:
        start = self.at
        index = self.power_argument() if not self.next_is("word") else Node("text", label=self.take().text)
        name = "".join(token.text for token in self.tokens[start : self.at] if token.text != "group")
        if node.kind == "symbol":
            return Node("symbol", label=f"{node.label}_{name}")
        if node.kind == "number" and index.kind in ("number", "text"):
            return _in_base(_digits(node), str(BASES.get(name.lower(), name)))
        raise Unreadable("an index")

    def group(self) -> Node:
        self.expect("open", "group")
        node = self.listed()
        self.expect("close", "group")
        return node

    def primary(self) -> Node:
        token = self.take()
        match token.kind:
            case "number":
                return Node("number", label=token.text, value=token.value)
            case "symbol":
                return Node("infinity") if token.text == "infinity" else Node("symbol", label=token.text)
            case "function":
                return self.function(token.text)
            case "macro":
                return self.macro(token.text)
            case "open" | "close" if token.kind == "open" or token.text == "]":
                return self.bracket(token.text)
            case "operator" if token.text == "|":
                before, self._bars_open = self._bars_open, False
                node = self.total()
                self._bars_open = before
                self.expect("operator", "|")
                return Node("abs", (node,))
            case "word" if self._is_letter(token):
                return Node("symbol", label=token.text)
            case _:
                raise Unreadable(f"{token.text} is out of place")

    def _is_letter(self, token: Token) -> bool:
        return len(token.text) == 1 and token.text.isalpha()

    def macro(self, name: str) -> Node:
        if name == "frac":
            above, below = self.group(), self.group()
            return Node("div", (above, below), "frac")
        if name == "binom":
            return Node("binomial", (self.group(), self.group()))
        if name == "sqrt":
            index = factor_node(Fraction(2))
            if self.next_is("open", "index"):
                self.take()
                index = self.total()
                self.expect("close", "index")
            inner = self.group() if self.next_is("open", "group") else self.primary()
            return Node("root", (inner, index))
        if name in ("name", "overline"):
            letters: list[str] = []
            if name == "overline":
                self.expect("open", "group")
            while self.next_is("symbol"):
                letters.append(self.take().text)
            if name == "overline":
                self.expect("close", "group")
            return Node("name", label="".join(letters))
        raise Unreadable(f"\\{name} is out of place")

    def function(self, name: str) -> Node:
        exponent = base = None
        while self.next_is("operator", "^", "_"):
            if self.take().text == "^":
                exponent = self.power_argument()
            else:
                base = self.power_argument()
        inner = self.argument()
        if name in ("sqrt", "cbrt"):
            node = Node("root", (inner, factor_node(Fraction(2 if name == "sqrt" else 3))))
        elif name in ("log", "ln", "lg") and (base or name == "lg"):
            node = Node("log", (inner, base or factor_node(Fraction(10))))
        elif exponent and _is_minus_one(exponent) and name in ("sin", "cos", "tan"):
            return Node("function", (inner,), f"arc{name}")
        else:
            node = Node("function", (inner,), "ln" if name == "log" else name)
        return Node("pow", (node, exponent)) if exponent else node

    def argument(self) -> Node:
        """A bracket; else the factors up to the next sign or function: sin 2x."""
        if self.next_is("open", "(", "group", "["):
            node = self.primary()
            while self.next_is("operator", "!", "degree"):
                node = Node("factorial" if self.take().text == "!" else "degree", (node,))
            return node
        node = self.powered() if not self.next_is("operator", "-") else self.signed()
        while self._begins_factor() and not self.next_is("function") and not self.next_is("open", "(", "["):
            node = Node("mul", (node, self.powered()))
        return node

    def bracket(self, mark: str) -> Node:
        if mark == "matrix":
            return self.matrix()
        if mark == "{" and self.next_is("close", "}"):
            self.take()
            return Node("set")
        self._bars_open, before = False, self._bars_open
        node = self.listed()
        self._bars_open = before
        token = self.take()
        closes = token.text
        if token.kind != "close" and not (token.text == "[" and mark in "[]("):
            raise Unreadable("a bracket is open")
        if mark in ("group", "index", "floor", "ceil", "{"):
            if closes != {"{": "}"}.get(mark, mark):
                raise Unreadable("brackets that do not match")
            if mark in ("floor", "ceil"):
                return Node("function", (node,), mark)
            if mark == "{":
                return Node("set", node.parts if node.kind == "list" else (node,))
            return node
        if closes not in (")", "]", "["):
            raise Unreadable("brackets that do not match")
        opening = "(" if mark == "]" else mark
        closing = ")" if closes == "[" else closes
        if node.kind == "list":
            return Node("tuple", node.parts, opening + closing)
        if opening + closing not in ("()", "[]") or closes == "[" or mark == "]":
            raise Unreadable("brackets that do not match")
        return node if node.kind in ("tuple", "set", "matrix") or opening == "(" else Node("bracketed", (node,))

    def matrix(self) -> Node:
        rows: list[Node] = []
        while self.next_is("open", "row"):
            self.take()
            cells: list[Node] = []
            while self.next_is("open", "group"):
                cells.append(self.group())
            self.expect("close", "row")
            rows.append(Node("row", tuple(cells)))
        self.expect("close", "matrix")
        if not rows or len({len(row.parts) for row in rows}) > 1:
            raise Unreadable("rows of several lengths")
        return Node("matrix", tuple(rows))


def factor_node(value: Fraction) -> Node:
    """A number that no text wrote."""
    return Node("number", label=str(value), value=value)


def _joined(kind: str, node: Node, other: Node) -> Node:
    """One node of a chain of sums or products, however long: depth is for brackets."""
    return Node(kind, (*(node.parts if node.kind == kind else (node,)), other))


def _is_whole(node: Node) -> bool:
    node = node.parts[0] if node.kind == "neg" else node
    return node.kind == "number" and node.value is not None and node.value.denominator == 1 and node.label.isdecimal()


def _is_minus_one(node: Node) -> bool:
    return node.kind == "neg" and node.parts[0].value == 1


def _digits(node: Node) -> str:
    if node.kind == "number" and node.label.isdecimal():
        return node.label
    raise Unreadable("a base without digits")
