r"""A short answer as tokens: LaTeX, plain text and any mixture of both.

What does not change the meaning goes here: layout (``\left``, ``\,``, ``\dfrac``), delimiters, colours. What may change
it stays a token: words, percent signs, subscripts. Letters are variables, one each, unless they make up a word: set
upright (``\text{…}``), known (and, or, sin, million), or of four letters and more with no operator beside them.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple

from reasoning_lab.benchmark.grading.words import ABBREVIATIONS, BASES, MEANINGFUL, PARTS, SCALES, UNITS, numeral

Kind = Literal["number", "symbol", "function", "word", "open", "close", "operator", "relation", "separator", "macro"]
MAX_TOKENS = 2000


class Unreadable(ValueError):
    """The text is no notation that is known here."""


class Token(NamedTuple):
    """One mark."""

    kind: Kind
    text: str
    spaced: bool
    """Whether blanks stand before it."""
    value: Fraction | None = None
    """Of a number."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _names("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt abs floor ceil")
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "cbrt": "cbrt"}
_GREEK = _names(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma "
    "tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar"
)
_CONSTANTS = {"pi": "pi", "infty": "infinity", "infinity": "infinity", "inf": "infinity", "infin": "infinity"}
_RELATIONS = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "le": "<=", "leq": "<=", "ge": ">=",
    "geq": ">=", "leqslant": "<=", "geqslant": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "approx": "~",
    "simeq": "~", "sim": "~", "equiv": "==", "in": "in", "leqq": "<=", "geqq": ">=",
}  # fmt: skip
_OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "pm": "±", "mp": "∓", "cup": "cup", "cap": "cap",
    "setminus": "setminus", "backslash": "setminus", "bmod": "mod", "mod": "mod", "bullet": "*",
}  # fmt: skip
_IGNORED = _names(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle "
    "scriptstyle limits nolimits quad qquad hfill noindent large Large rm bf it nonumber notag boldsymbol "
    "mathop mathstrut space enspace thinspace"
)
_UPRIGHT = _names(
    "text textbf textit textrm textsf texttt textnormal textup mbox mathrm mathbf mathit mathsf mathtt "
    "operatorname mathcal hbox boldsymbol bm emph mathbin mathrel underline boxed fbox ensuremath bold "
    "overrightarrow vec hat"
)
_MATHS_INSIDE = _names(
    "mathbf mathit boldsymbol bm boxed fbox underline ensuremath mathcal vec hat overrightarrow bold"
)
_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "±": r"\pm ", "∓": r"\mp ", "√": r"\sqrt ", "°": r"^\circ ",
    "∛": r"\sqrt[3] ", "∜": r"\sqrt[4] ",
    "º": r"^\circ ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "φ": r"\phi ", "λ": r"\lambda ", "∅": r"\emptyset ", "⟨": r"\langle ", "⟩": r"\rangle ", "\u00a0": " ",
    "\u2009": " ", "\u202f": " ", "’": "'", "′": "'", "∖": r"\setminus ", "€": r"\euro ", "£": r"\pounds ",
    "≡": r"\equiv ", "⩽": r"\le ", "⩾": r"\ge ", "ℝ": r"\mathbb{R}", "“": "", "”": "", "≅": r"\approx ",
    "∠": r"\angle ",
    "…": r"\ldots ", "∗": "*", "△": r"\triangle ",
}  # fmt: skip
_TRANSLATED = str.maketrans(_UNICODE)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def with_scripts(text: str) -> str:
    """Unicode's small digits as powers and indices: 10⁻⁵ as 10^{-5}, 52₈ as 52_{8}."""
    text = re.sub("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: f"^{{{power.group().translate(_RAISED)}}}", text)
    return re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda index: f"_{{{index.group().translate(_LOWERED)}}}", text)


def _joined(thousands: re.Match[str]) -> str:
    """10 080 without its blank."""
    return thousands.group().replace(" ", "")


_LAYOUT: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?=\\[A-Za-z])", ""),  # escaped twice: \\frac
        (
            r",?\\!\s*|(?<=\d)\s*\{\s*,\s*\}(?=\d)|(?<=\d)\\[,;: ](?=\d{3}(?!\d))",
            "\ue000",
        ),  # between thousands, or nothing
        (r"(?<=\d)\ue000(?=\d{3}(?!\d))", "\ue001"),
        ("\ue000", " "),
        (r"\\(?:left|right)\s*\.", " "),
        (r"\\q?quad(?=[A-Za-z])", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\b?cancel(?:to\{\w*\})?(?![A-Za-z])", ""),
        (r"\\(?:hspace|vspace|phantom|hphantom|vphantom|label|tag)\*?\s*\{[^{}]*\}", " "),
        (r"\\(?:text)?color\s*\{\s*\w{1,20}\s*\}", " "),
        (r"(?<=\$)\d{1,3}(?: \d{3})+(?!\d)", _joined),
        (r"(?<!\\)\\[()\[\]]|(?<!\\)\$\$?", " "),
        (r"(?<!\\)\\[,;:! /]|~|&", " "),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"=\s*(-?\d*\.\d+)\s*(?:\\[lc]?dots(?![A-Za-z])|\.{3})", r"\\approx \1"),
        (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])|\\degrees?(?![A-Za-z])", r"\\degree "),
        (r"\\%|%", r"\\percent "),
        (r"\\\$", r"\\dollar "),
        (r"\\(?:dollar|euro|pounds) \s*(?=[\d.])", " "),
        (r"\*\*(?=[^*\s])", "^"),
        (r"(?<=[\d)}])!=", "! ="),
        (r"(?<=[\d)])\s*x\s*(?=\d)", r"\\cdot "),
        (r"(?<=[\d)}])\s*\^\s*\{?\s*\\(?:text|mathrm|textrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?", " "),
        (r"(?<=\d)(?:st|nd|rd|th)\b", " "),
        (r"^(\s*-?\d{1,3})((?: \d{3})+)(?=\s*$|\.\d)", _joined),
    )
)
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.{0,4000}?)\\end\{\1\}", re.DOTALL)
_BRACKETS = {
    r"\{": "{", r"\}": "}", r"\langle": "(", r"\rangle": ")", r"\lfloor": "floor", r"\rfloor": "floor",
    r"\lceil": "ceil", r"\rceil": "ceil", r"\lbrace": "{", r"\rbrace": "}", r"\lbrack": "[", r"\rbrack": "]",
}  # fmt: skip
_PIECE = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>\d{1,3}(?:[,\ue001]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<power>[eE][-+]?\d{1,4}(?![\w.]))?"
    r"|(?P<macro>\\(?:[A-Za-z]+|[{}\\|]))"
    r"|(?P<letters>[A-Za-z]+(?:['’][a-z]+)?(?:-[A-Za-z]{3,})*)"
    r"|(?P<relation><=|>=|!=|==|[=<>])"
    r"|(?P<bracket>[()\[\]{}])"
    r"|(?P<separator>[,;])"
    r"|\ue010(?P<matrix>\d{1,4})\ue011"
    r"|(?P<operator>[-+*/^_!:|'?.])",
    re.ASCII,
)


def tokens(text: str) -> list[Token]:
    """The marks of an answer; Unreadable where it has one that is not known."""
    matrices: list[str] = []

    def put_aside(matrix: re.Match[str]) -> str:
        matrices.append(matrix.group(2))
        return f"\ue010{len(matrices) - 1}\ue011"

    text = _MATRIX.sub(put_aside, with_scripts(text)).translate(_TRANSLATED)
    for pattern, replacement in _LAYOUT:
        text = pattern.sub(replacement, text)
    found = _Lexer(text.strip().rstrip(".,;:").strip(), matrices).run()
    if len(found) > MAX_TOKENS:
        raise Unreadable("too long")
    return _with_values(found)


class _Lexer:
    def __init__(self, text: str, matrices: list[str], upright: bool = False) -> None:
        self.text, self.matrices, self.upright = text, matrices, upright
        self.found: list[Token] = []
        self.before: Token | None = None
        self.spaced = False
        self.depth = 0

    def add(self, kind: Kind, text: str, value: Fraction | None = None) -> None:
        self.found.append(Token(kind, text, self.spaced, value))
        self.spaced = False

    def run(self) -> list[Token]:
        at = 0
        while at < len(self.text):
            piece = _PIECE.match(self.text, at)
            if piece is None:
                raise Unreadable(f"{self.text[at]!r} is not known")
            at = piece.end()
            match piece.lastgroup if not piece.group("number") else "number":
                case "space":
                    self.spaced = True
                case "number":
                    at = self._number(piece)
                case "macro":
                    at = self._macro(piece.group()[1:], at)
                case "letters":
                    self._letters(piece.group(), at)
                case "relation":
                    self.add("relation", _RELATIONS[piece.group()])
                case "bracket":
                    self._bracket(piece.group())
                case "separator":
                    self.add("separator", piece.group())
                case "matrix":
                    self._matrix(self.matrices[int(piece.group("matrix"))])
                case _:
                    self._operator(piece.group(), at)
        return self.found

    def _matrix(self, content: str) -> None:
        self.add("open", "matrix")
        rows = [row for row in content.split("\\\\") if row.strip(" \n\\") and row.strip() != "\\hline"]
        for row in rows:
            self.add("open", "row")
            for cell in row.replace("\\hline", "").split("&"):
                self.found += [Token("open", "group", False), *tokens(cell), Token("close", "group", False)]
            self.add("close", "row")
        self.add("close", "matrix")

    def _bracket(self, mark: str) -> None:
        self.depth += 1 if mark in "([" else -1 if mark in ")]" else 0
        self.add("open" if mark in "([{" else "close", {"{": "group", "}": "group"}.get(mark, mark))

    def _operator(self, mark: str, at: int) -> None:
        if mark in "?'":
            if mark == "'" and self.found and self.found[-1].kind == "symbol":
                self.found[-1] = self.found[-1]._replace(text=self.found[-1].text + "'")
                return
            raise Unreadable(f"{mark} is not known")
        if mark == ".":  # the end of a sentence within a formula, or of an abbreviation
            if at < len(self.text) and not self.text[at].isspace():
                raise Unreadable("a dot within")
            return
        self.add("operator", mark)

    def _number(self, piece: re.Match[str]) -> int:
        digits = piece.group("number")
        # In brackets commas part elements: (1,200) is a pair; only explicit thousands are one number there.
        if self.depth > 0 and "," in digits:
            digits = digits[: digits.index(",")]
            self.add("number", digits, Fraction(digits.replace("\ue001", "")))
            return piece.start() + len(digits)
        digits = re.sub("[,\ue001]", "", digits)
        value, end = Fraction(digits), piece.end()
        if power := piece.group("power"):
            exponent = int(power[1:])
            if abs(exponent) > 1000:
                raise Unreadable("too large")
            value, digits = value * Fraction(10) ** exponent, digits + power
        if "." in digits and (repeated := _REPEATED.match(self.text, end)):
            period = repeated.group(1) or repeated.group(2)
            places = len(digits.split(".")[1])
            value += Fraction(int(period), 10 ** len(period) - 1) / 10**places
            digits, end = f"{digits}({period})", repeated.end()
        elif self.text.startswith(".", end) and (repeated := _REPEATED.match(self.text, end + 1)):
            period = repeated.group(1) or repeated.group(2)
            value += Fraction(int(period), 10 ** len(period) - 1)
            digits, end = f"{digits}.({period})", repeated.end()
        self.add("number", digits, value)
        return end

    def _macro(self, name: str, at: int) -> int:
        if f"\\{name}" in _BRACKETS:
            mark = _BRACKETS[f"\\{name}"]
            opens = name in ("{", "langle", "lfloor", "lceil", "lbrace", "lbrack")
            self.depth += 1 if opens else -1
            self.add("open" if opens else "close", mark)
        elif name in _IGNORED or name == "\\":
            self.spaced = True
        elif name == "|":
            self.add("operator", "|")
        elif name in _UPRIGHT or name == "mathbb":
            return self._upright(name, at)
        elif name in _RELATIONS and name.isalpha():
            self.add("relation", _RELATIONS[name])
        elif name in _OPERATORS:
            self.add("operator", _OPERATORS[name])
        elif name in ("frac", "sqrt", "binom", "overline", "pmod"):
            return self._arguments(name, at)
        elif name in FUNCTIONS or name in _ALIASES:
            self.add("function", _ALIASES.get(name, name))
        elif name in _CONSTANTS or name in _GREEK:
            self.add("symbol", _CONSTANTS.get(name, name))
        elif name in ("lor", "vee", "land", "wedge"):
            self.add("separator", "or" if name in ("lor", "vee") else "and")
        elif name in ("emptyset", "varnothing"):
            self.add("open", "{")
            self.add("close", "}")
        elif name in ("percent", "degree"):
            self.add("operator", name)
        elif name in ("dollar", "euro", "pounds"):
            self.add("word", {"dollar": "dollars", "euro": "euros", "pounds": "pounds"}[name])
        elif name in ("angle", "triangle", "measuredangle"):
            self.add("macro", "name")
        else:
            raise Unreadable(f"\\{name} is not known")
        return at

    def _arguments(self, name: str, at: int) -> int:
        """A macro; of arguments without braces, \\frac12 and \\sqrt3, each is one character."""
        self.add("macro", name)
        for _ in range({"frac": 2, "binom": 2}.get(name, 1)):
            blank = re.compile(r"\s*").match(self.text, at)
            at = blank.end() if blank else at
            if name == "sqrt" and self.text.startswith("[", at):
                end = self.text.find("]", at)
                if end < 0:
                    raise Unreadable("a bracket is open")
                self._group(self.text[at + 1 : end], "index")
                blank = re.compile(r"\s*").match(self.text, end + 1)
                at = blank.end() if blank else end + 1
            if self.text.startswith("{", at):
                end = _closing(self.text, at)
                self._group(self.text[at + 1 : end], "group")
                at = end + 1
            elif at < len(self.text) and self.text[at].isalnum():
                self._group(self.text[at], "group")
                at += 1
            elif name != "sqrt":
                if (
                    at < len(self.text)
                    and self.text[at] == "\\"
                    and (macro := re.compile(r"\\[A-Za-z]+").match(self.text, at))
                ):
                    self._group(macro.group(), "group")
                    at = macro.end()
                else:
                    raise Unreadable(f"\\{name} lacks an argument")
        return at

    def _group(self, text: str, kind: str) -> None:
        inner = _Lexer(text, self.matrices, self.upright)
        inner.depth = 1
        self.add("open", kind)
        self.found += inner.run()
        self.add("close", kind)

    def _upright(self, name: str, at: int) -> int:
        blank = re.compile(r"\*?\s*").match(self.text, at)
        at = blank.end() if blank else at
        if not self.text.startswith("{", at):
            if at < len(self.text) and self.text[at].isalnum():
                self.add("symbol", self.text[at])
                return at + 1
            return at
        end = _closing(self.text, at)
        content = self.text[at + 1 : end]
        if name == "mathbb":
            self.add("symbol", f"mathbb {content.strip()}")
            return end + 1
        maths = name in _MATHS_INSIDE or (name == "mathrm" and content.strip() in ("e", "i", "d", "pi"))
        inner = _Lexer(content, self.matrices, self.upright if maths else True)
        inner.depth, inner.spaced = self.depth, self.spaced or content[:1].isspace()
        inner.before = self.found[-1] if self.found else self.before
        self.found += inner.run()
        self.spaced = content[-1:].isspace()
        return end + 1

    def _letters(self, run: str, at: int) -> None:
        lower = run.lower()
        if lower in ("and", "or"):
            self.add("separator", lower)
        elif self.upright and lower not in FUNCTIONS and lower != "pi":
            # An upright letter is a unit after a value, and a symbol elsewhere.
            before = self.found[-1] if self.found else self.before
            after_value = before is not None and before.kind in ("number", "close", "symbol", "word", "operator")
            if len(run) > 1 or after_value:
                self._words(run)
            else:
                self.add("symbol", run)
        elif lower in FUNCTIONS or lower in _ALIASES:
            self.add("function", _ALIASES.get(lower, lower))
        elif lower in _CONSTANTS or run in _GREEK:
            self.add("symbol", _CONSTANTS.get(lower, run))
        elif len(run) == 1:
            self.add("symbol", run)
        elif self._is_word(run, at):
            self._words(run)
        else:
            self._variables(run)

    def _words(self, run: str) -> None:
        # A hyphen joins numerals (twenty-five, three-fourths).
        for word in (
            run.split("-") if any(part in PARTS or numeral([part]) for part in run.lower().split("-")) else [run]
        ):
            self.add("word", word)

    def _is_word(self, run: str, at: int) -> bool:
        lower, before = run.lower(), self.found[-1] if self.found else None
        after = self.text[at : at + 40].lstrip()[:1]
        follows_value = before is not None and (
            before.kind in ("number", "close") or before.text in ("percent", "degree")
        )
        if lower in ABBREVIATIONS or lower in ("in", "pct"):
            return (before is not None and (follows_value or before.text in ("pi", "word"))) or lower == "pct"
        if lower == "an" and after.isalpha():
            return True
        if run.isupper() and len(run) <= 3 and not (follows_value and lower in MEANINGFUL):
            return False
        if lower in MEANINGFUL or lower in SCALES or lower in PARTS or lower in BASES or lower in UNITS:
            return True
        if lower in (
            "percent",
            "percentage",
            "yes",
            "true",
            "false",
            "odd",
            "even",
            "none",
            "the",
            "is",
            "are",
            "of",
            "per",
        ):
            return True
        if "'" in run or "-" in run:
            return True
        if len(run) < 4 or run.isupper():
            return False
        glued = before is not None and not self.spaced and before.kind in ("symbol", "operator")
        return not (glued or (after and after in "^_+-*/=!("))

    def _variables(self, run: str) -> None:
        for name in sorted(FUNCTIONS, key=len, reverse=True):
            if run.startswith(name) and len(run) <= len(name) + 1:
                self.add("function", name)
                for letter in run[len(name) :]:
                    self.add("symbol", letter)
                return
        for letter in run:
            if not letter.isalpha():
                raise Unreadable(f"{run!r} is not known")
            self.add("symbol", letter)


_REPEATED = re.compile(r"\\(?:overline|bar|dot)\s*\{(\d{1,50})\}|\((\d{1,50})\)(?=\s*$)")


def _closing(text: str, at: int) -> int:
    """Where the brace that opens at `at` closes."""
    depth = 0
    for brace in re.compile(r"\\[{}]|[{}]").finditer(text, at):
        if len(brace.group()) == 1:
            depth += 1 if brace.group() == "{" else -1
            if depth == 0:
                return brace.start()
    raise Unreadable("a brace is open")


# --- values of words ------------------------------------------------------------------------------------------


def _with_values(found: list[Token]) -> list[Token]:
    """Numbers in words as numbers; million, dozen, hundredths, "half of" as factors."""
    done: list[Token] = []
    at = 0
    while at < len(found):
        token = found[at]
        words = _words_at(found, at)
        after_value = bool(done) and done[-1].kind in ("number", "close")
        if after_value and words and (words[0] in SCALES or words[0] in PARTS):
            factor = Fraction(SCALES[words[0]]) if words[0] in SCALES else Fraction(1, PARTS[words[0]])
            done += [Token("operator", "*", False), Token("number", words[0], False, factor)]
            at += 1
        elif words and not after_value and (said := numeral(words)):
            done.append(Token("number", "words", token.spaced, said.value))
            at += said.n_words
            if said.is_part and (n := _of(found, at)):
                done.append(Token("operator", "*", False))
                at += n - 1
                if (scale := found[at].text.lower()) in SCALES:
                    done.append(Token("number", scale, False, Fraction(SCALES[scale])))
                    at += 1
        elif (
            token.text == "percent"
            and at + 2 < len(found)
            and found[at + 1].text == "of"
            and found[at + 2].kind == "number"
        ):
            done += [token, Token("operator", "*", False)]
            at += 2
        else:
            done.append(token)
            at += 1
    return done


def _words_at(found: list[Token], at: int) -> list[str]:
    words: list[str] = []
    for token in found[at : at + 12]:
        if token.kind == "word" or (token.kind == "separator" and token.text == "and" and words):
            words.append(token.text.lower())
        elif token.kind == "symbol" and token.text.lower() == "a" and at + 1 < len(found) and not words:
            words.append("a")
        else:
            break
    return words


def _of(found: list[Token], at: int) -> int | None:
    """How many tokens "of", or "of a", or "a" take before a number,
    counted with the number; None where none follows."""
    for n in (1, 2, 3):
        if at + n - 1 < len(found):
            token = found[at + n - 1]
            if token.kind == "number" or (n > 1 and token.kind in ("symbol", "function", "macro", "open")):
                return n if n > 1 else None
            if token.text.lower() in SCALES or (n > 1 and numeral([token.text.lower()])):
                return n
            if token.text.lower() not in ("of", "a", "the"):
                return None
    return None
