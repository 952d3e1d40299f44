r"""Formulas and numbers of running text, each as a whole.

A formula stands in ``$…$``, ``\(…\)``, ``\[…\]`` or an environment, or it is what its marks join without delimiters:
numbers, operators, brackets, macros, and letters beside operators. Dollars of money are told from delimiters by the
words between them. Words that change what stands beside them belong to it: minus, half of, million, percent, AM.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from reasoning_lab.benchmark.grading.words import NEGATIONS, PARTS, SCALES, TIMES


class Formula(NamedTuple):
    """A formula at its place in the text."""

    start: int
    end: int
    text: str
    delimited: bool


_DELIMITED = re.compile(
    r"(?<!\\)\$\$(.{1,3000}?)\$\$|\\\[(.{1,3000}?)\\\]|\\\((.{1,3000}?)\\\)"
    r"|\\begin\{(align|equation|gather|eqnarray|multline|aligned|split|alignat)\*?\}(.{1,6000}?)\\end\{\4\*?\}"
    r"|(?<!\\)\$(?!\$)((?:[^$\\]|\\.){1,1500}?)(?<!\\)\$(?!\d)",
    re.DOTALL,
)
_TEXT_MACRO = re.compile(
    r"\\(?:text\w*|mbox|mathrm|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+|\\begin\{\w+\*?\}|\\end\{\w+\*?\}|\{\w+\*?\}"
)
_PLAIN_WORD = re.compile(r"(?:^|[\s,.])[a-z]{3,}(?=[\s,.]|$)")
_ROW_END = re.compile(r"\\\\(?![A-Za-z])(?:\[[^\]]{0,20}\])?")


def formulas(text: str) -> list[Formula]:
    """The formulas and numbers of a text, in their order, without overlap."""
    found: list[Formula] = []
    at = 0
    for formula in _delimited(text):
        found += _plain(text, at, formula.start)
        found.append(formula)
        at = formula.end
    return found + _plain(text, at, len(text))


def _delimited(text: str) -> Iterator[Formula]:
    at = 0
    while match := _DELIMITED.search(text, at):
        content = next(group for group in (*match.groups()[:3], *match.groups()[4:]) if group is not None)
        if match.group(6) is not None and _is_money(content):
            at = match.start() + 1
            continue
        yield Formula(match.start(), match.end(), last_row(content), delimited=True)
        at = match.end()


def _is_money(content: str) -> bool:
    """Whether words stand between two dollars: $5 and then $6."""
    bare = _TEXT_MACRO.sub(" ", content)
    return bool(re.match(r"\d", content.strip()) and _PLAIN_WORD.search(bare)) or len(_PLAIN_WORD.findall(bare)) > 2


def last_row(content: str) -> str:
    """Of aligned rows the last, without the sign that leads it on."""
    if "\\begin{" in content and re.search(r"\\begin\{[pbvBV]?matrix|\\begin\{array|\\begin\{cases", content):
        return content.strip()
    content = re.sub(r"\\(?:begin|end)\{(?:align|aligned|split|gather|gathered|equation)\*?\}", " ", content)
    rows = [row for row in _ROW_END.split(content) if row.replace("&", "").strip(" \n.,;")]
    if not rows:
        return ""
    row = re.sub(r"^(?:[ \n,;]|\.(?!\d))+", "", rows[-1].replace("&", " ")).rstrip(" \n.,;")
    return re.sub(r"^\s*=\s*", "", row)


# --- without delimiters ---------------------------------------------------------------------------------------

_PIECE = re.compile(
    r"(?P<macro>\\(?:[dt]?frac|sqrt|binom|overline|text|mathrm|pi|cdot|times|infty|le|ge|leq|geq|neq|ne|pm|circ|"
    r"degree|left"
    r"|right|cup|cap|in|approx|theta|alpha|beta|log|ln|sin|cos|tan|begin|end|[{}%$,!]|dfrac|tfrac)(?![A-Za-z]))"
    r"|(?P<number>(?:(?<![\w)}])[$€£]\s?)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?![\d/])|"
    r"\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?![\w.]))?|(?<!\d)\.\d+)"
    r"|(?P<function>(?:sqrt|sin|cos|tan|log|ln|exp|pi)(?![A-Za-z]))"
    r"|(?P<times>(?<=[\d)%])[ ]?x[ ]?(?=[$€£]?\d))"
    r"|(?P<letters>[A-Za-z]+(?:['’][A-Za-z]+)?)"
    r"|(?P<relation><=|>=|!=|->|[=<>≤≥≈≠])"
    r"|(?P<operator>[-+*/^_!:|±√∛∜π∞°−–·×÷∪∩²³¹⁰⁴⁵⁶⁷⁸⁹⁻⁺₀₁₂₃₄₅₆₇₈₉½¼¾%])"
    r"|(?P<bracket>[()\[\]{}])"
    r"|(?P<comma>,)"
    r"|(?P<space>[ \t]+)"
    r"|(?P<break>\n+)"
    r"|(?P<other>.)"
)
_JOINING = frozenset(("relation", "operator"))


class _Piece(NamedTuple):
    kind: str
    start: int
    end: int
    text: str


class _Run(list[_Piece]):
    """Pieces of one formula, and how many brackets are open after them."""

    depth = 0

    def append(self, piece: _Piece) -> None:
        super().append(piece)
        self.depth += _opens(piece)

    def pop_last(self) -> None:
        self.depth -= _opens(self.pop())


def _opens(piece: _Piece) -> int:
    return 0 if piece.kind != "bracket" else 1 if piece.text in "([{" else -1


def _plain(text: str, start: int, end: int) -> list[Formula]:
    """Runs of marks between `start` and `end`."""
    pieces = [
        _Piece(
            "operator" if piece.lastgroup == "times" else str(piece.lastgroup),
            piece.start(),
            piece.end(),
            piece.group(),
        )
        for piece in _PIECE.finditer(text, start, end)
    ]
    found: list[Formula] = []
    run = _Run()
    for index, piece in enumerate(pieces):
        belongs = _belongs(pieces, index, run)
        if not belongs and run:
            found += _formula(text, run)
            run = _Run()
            belongs = _belongs(pieces, index, run)
        if belongs:
            run.append(piece)
    return found + (_formula(text, run) if run else [])


def _belongs(pieces: list[_Piece], index: int, run: _Run) -> bool:
    piece = pieces[index]
    match piece.kind:
        case "macro" | "function" | "relation" | "operator":
            return True
        case "number":
            return bool(run) or not (index and pieces[index - 1].kind == "letters" and len(pieces[index - 1].text) > 1)
        case "bracket":
            return bool(run) or piece.text in "([{"
        case "letters":
            return _is_variable(pieces, index, run)
        case "space":
            return bool(run) and _bridges(pieces, index, run)
        case "comma":
            return bool(run) and (run.depth > 0 or _parts_digits(pieces, index))
        case _:
            return False


def _parts_digits(pieces: list[_Piece], index: int) -> bool:
    """Whether a comma stands right between digits: 3,4 or, on the continent, 2,74."""
    return pieces[index - 1].kind == "number" and index + 1 < len(pieces) and pieces[index + 1].kind == "number"


def _neighbour(pieces: list[_Piece], index: int, step: int) -> _Piece | None:
    index += step
    while 0 <= index < len(pieces) and pieces[index].kind == "space":
        index += step
    return pieces[index] if 0 <= index < len(pieces) else None


def _is_variable(pieces: list[_Piece], index: int, run: _Run) -> bool:
    """A letter beside a mark that joins, or within brackets or braces of a run; x alone is a word."""
    piece = pieces[index]
    before, after = _neighbour(pieces, index, -1), _neighbour(pieces, index, 1)
    beside = [other for other in (before, after) if other is not None]
    touching = pieces[max(0, index - 1) : index] + pieces[index + 1 : index + 2]
    glued = [other for other in touching if other.kind in ("number", "operator", "relation", "bracket")]
    if len(piece.text) > 3:
        return bool(run) and run[-1].text == "{"  # \text{cm}
    if piece.text in ("a", "A", "I") or len(piece.text) > 1:
        return (
            any(other.kind in _JOINING and other.text not in "-–:!" for other in glued)
            or (len(piece.text) == 1 and any(other.kind == "relation" for other in beside))
            or bool(run and run.depth > 0 and len(piece.text) == 1)
        )
    if any(other.kind == "relation" or (other.kind == "operator" and other.text not in ":!%|") for other in beside):
        return True
    if run and (run.depth > 0 or (run[-1].kind in ("number", "macro", "function") or run[-1].text in ")}^_*/")):
        return run[-1].kind != "space"
    return bool(glued) and any(other.kind == "number" for other in glued)


def _bridges(pieces: list[_Piece], index: int, run: _Run) -> bool:
    """Whether a blank stands within a formula: beside a sign, in brackets, before the fraction of a mixed number."""
    before, after = run[-1], _neighbour(pieces, index, 1)
    if after is None or after.kind in ("break", "other"):
        return False
    if run.depth > 0:
        return after.kind != "letters" or len(after.text) <= 2
    if after.kind == "operator" and after.text in "-–−":
        follower = pieces[index + 2] if index + 2 < len(pieces) else None
        return follower is not None and (follower.kind == "space" or before.kind in _JOINING)
    rest = "".join(piece.text for piece in pieces[index + 1 : index + 4])
    if before.kind == "number" and re.match(r": \d", rest):  # 4 : 3
        return True
    if before.text == ":" and len(run) > 1 and run[-2].kind == "space":
        return after.kind == "number"
    if before.kind == "function" and before.text != "pi":
        return after.kind in ("number", "function") or after.text in "√π"
    if after.text == "pi":
        return before.kind == "number"
    if (before.kind in _JOINING and before.text not in "!%°:") or (after.kind in _JOINING and after.text not in ":!|"):
        return after.kind != "letters" or len(after.text) == 1 or before.kind in _JOINING
    if before.kind == "number" and after.kind == "number":
        return re.match(r"\d+/\d", rest) is not None
    if before.kind in ("macro", "bracket") or after.kind == "macro":
        return (after.kind in ("macro", "number", "bracket") and before.kind != "bracket") or after.kind == "macro"
    if after.kind == "letters" and after.text == "x" and before.kind == "number":
        return index + 3 < len(pieces) and pieces[index + 3].kind == "number"
    return before.text == "x" and after.kind == "number"


def _formula(text: str, run: _Run) -> list[Formula]:
    """The run without loose ends; none where it holds no value."""
    bars = [piece for piece in run if piece.text == "|"]
    bars = bars if run and run[-1].text == "|" else []
    while run and (run[-1].kind in ("space", "comma", "relation") or run[-1].text in _LOOSE_AT_END or _is_loose(run)):
        run.pop_last()
    first, magnitude = 0, False
    if bars and run and run[0].text == "|" and run[0].end < bars[-1].start and len(bars) % 2 == 0:  # |−7|
        magnitude = run[1].kind != "space"
        run.extend([] if run[-1] is bars[-1] or not magnitude else [bars[-1]])
    while first < len(run) and (
        run[first].kind in ("space", "comma")
        or (run[first].kind == "relation" and not _is_bound(text, run[first]))
        or (run[first].text in _LOOSE_AT_START and not magnitude)
        or (run[first].text in ("-", "–", "−") and _is_hyphen(text, run, first))
    ):
        first += 1
    if not any(
        piece.kind in ("number", "macro", "function", "relation") or piece.text in _VALUES for piece in run[first:]
    ):
        return []
    start, end = run[first].start, run[-1].end
    while start < end and text[start] in "([{" and _unbalanced(text[start:end]) and end - start < 2000:
        start += 1
    said = text[start:end].strip()
    return [Formula(start, end, said, delimited=False)] if said else []


_LOOSE_AT_END = frozenset("-+*/^_:|–·×([{")
_LOOSE_AT_START = frozenset("+*/^_:|·×!%°")
_VALUES = frozenset("π∞½¼¾√")


def _is_loose(run: _Run) -> bool:
    return run.depth < 0 and run[-1].text in (")", "]", "}")


def _is_hyphen(text: str, run: _Run, first: int) -> bool:
    """A stroke after a word or before a blank is no sign."""
    start, after = run[first].start, run[first + 1] if first + 1 < len(run) else None
    return (start > 0 and (text[start - 1].isalnum() or text[start - 1] in ")}")) or (
        after is not None and after.kind == "space"
    )


def _is_bound(text: str, sign: _Piece) -> bool:
    """Whether a sign that leads a formula makes a bound of it: ≥ 5; no arrow, tag or quotation mark of Markdown."""
    return sign.text in ("≥", "≤", ">=", "<=", "≠", "!=") and text[max(0, sign.start - 1) : sign.start] not in (
        "=",
        "-",
    )


def _unbalanced(text: str) -> bool:
    return any(text.count(a) != text.count(b) for a, b in ("()", "[]", "{}")) and not re.fullmatch(
        r"[\[(][^\[\]()]*,[^\[\]()]*[\])]", text
    )


# --- what belongs to a formula --------------------------------------------------------------------------------

_BEFORE = re.compile(
    rf"(?:\b(minus|negative|half(?: of)?(?: a)?|(?:one|two|three|a|four|five) (?:{'|'.join(PARTS)}) of|"
    rf"{'|'.join(TIMES)}"
    r"|(?:square|cube|fourth|fifth) root of|(?:reciprocal|square|cube|opposite|inverse|factorial|logarithm) of"
    r"|at least|at most|more than|less than|fewer than|greater than|between)|(?<![\w)}])([-−]))"
    r"[\s$\\(\[*]{0,4}$",
    re.IGNORECASE,
)
_APPLIED = {
    "cube root of": r"\sqrt[3]{{{}}}", "square of": "({})^2", "cube of": "({})^3", "reciprocal of": "1/({})",
    "opposite of": "-({})",
}  # fmt: skip
"""What words before a value make of it."""
_AFTER = re.compile(
    rf"[\s$\\)\]*]{{0,4}}(?:\b({'|'.join((*SCALES, *PARTS))}|percent|pct|[ap]\.?m\b\.?|squared|cubed|"
    rf"factorial|tens|of (?:a|one) percent|(?:degrees? )?below zero)(?![A-Za-z])"
    r"|(\\?%)|(?:\(?(?:in )?base[- ](\w+)\)?)|(_\s?(?:\{[^{}]{1,20}\}|\w)))",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    rf"(?:\b(?:{'|'.join(sorted(NEGATIONS - {'no', 'nor'}))}|rather than|instead of|other than|different from|"
    r"unequal to)\b|n['’]t)"
    r"(?:\s+(?:be|equal|equals|to|equal to|simply|just|exactly|really|actually))?[\s$\\(\[*]{0,4}(?:\\(?:boxed|"
    r"fbox)\s?\{?)?$",
    re.IGNORECASE,
)

_DENIED = re.compile(
    r"[-−\d.,/]{1,20}[\s$)*]{0,4}(?:is|are)(?:n['’]t|\s+not)\s+(?:the\s+)?(?:right\s+|correct\s+|final\s+)?"
    r"(?:answers?|correct|right|possible|valid)\b",
    re.IGNORECASE,
)


def is_negated(text: str, start: int) -> bool:
    """Whether "not" stands right before a place of the text, or "is not the answer" after the number there."""
    if _DENIED.match(text, start):
        return True
    return _NEGATED.search(text, max(0, start - 40), start) is not None


def with_words(text: str, formula: Formula) -> Formula:
    """The formula with the words beside it that change its value."""
    start, end, said = formula.start, formula.end, formula.text
    before = _BEFORE.search(text, max(0, formula.start - 40), formula.start)
    after = _AFTER.match(text, formula.end)
    if before:
        word = (before.group(1) or "").casefold()
        said = _APPLIED.get(word, f"{before.group(1)} {{}}" if word else "-{}").format(said)
        start = before.start()
    if after:
        word, sign, base, index = after.groups()
        said = f"{said} base {base}" if base else f"{said} {word}" if word else f"{said}{sign or index}"
        end = after.end()
    return Formula(start, end, said, formula.delimited)
