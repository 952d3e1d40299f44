r"""Both papers' own graders, for comparison with ours: `grader=reference` and `grader=venhoff2025` of the yaml files.

**Karan & Du 2025** (`grader=reference`; their code at 720a8e9). Mathematics, by the grader of PRM800K: the last
``\boxed``, else the last ``\fbox``; the same string after the normaliser of Hendrycks et al. 2021; else the same plain
string; else, element by element of a tuple, whether sympy's difference is 0. Choice: the last standalone letter of the
UPPER-CASED text. Written anew from their description. Known defects, kept on purpose:

- the article "a" is read as answer A, and any later letter overrules the box (choice)
- an unreduced fraction is wrong; where the gold is an integer, only an integer is right (10/2 is not 5)
- 1,2 is not 2,1: only what stands in one pair of brackets is compared by elements, and in order
- "1 2 3" is 123, for spaces go; letters lose their case; a fraction of sums loses its brackets: (x+1)/2 is x+1/2
- more than two unknowns, powers of a bracket and exponents of two digits are not compared beyond the string
- an answer without a box is wrong, whatever it says (theirs then finds the box of the prompt, which is no answer)

Departures: the comparison runs in a process that is killed when it hangs (their call never ends), and what is not plain
mathematics never reaches sympy's parser, which would run it as Python.

**Venhoff et al. 2025** (`grader=venhoff2025`, departures B8): a chat model's YES (`judge/verdict.py`) and, where it
gives no reply, what stands here: the last number of the text is the last number of the gold. Defects, kept on purpose:
an answer that was right and went on to another number is wrong, and of a gold that is no plain number (a fraction, an
interval, a text) only the last digits are compared, or nothing.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from string import ascii_lowercase, ascii_uppercase

from reasoning_lab.benchmark.grading.equality import Verification, shared_pool
from reasoning_lab.records import NO_RULE, Grade, Problem

VENHOFF2025_NOTE = (
    "Graded as Venhoff et al. 2025's code does (grader=venhoff2025), for comparison: a chat model's YES or, where none "
    "replied, the last number."
)
_MAX_CHARS = 2000
"""Longer strings are not normalised [characters]."""


# --- Karan & Du 2025: mathematics -----------------------------------------------------------------------------


def grade_by_box(problem: Problem, text: str, chain: int) -> Grade:
    """The content of the last box against the gold, by the rules above."""
    if not text.strip():
        return Grade(problem.id, chain, "ungradable", None, "empty text")
    answer = boxed(text)
    verdict, means = ("wrong", "no box") if answer is None else _verify(problem.gold, answer)
    return Grade(problem.id, chain, verdict, answer, f"reference, {means}", NO_RULE if answer is None else "boxed")


def _verify(gold: str, answer: str) -> Verification:
    if max(len(gold), len(answer)) > _MAX_CHARS:
        return Verification("wrong", "too long")
    if hendrycks_form(gold) == hendrycks_form(answer):
        return Verification("correct", "string")
    gold_form, form = plain_form(gold), plain_form(answer)
    if gold_form == form:
        return Verification("correct", "plain string")
    return _verify_elements(gold_form, form) if form else Verification("wrong", "plain string")


def boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed``, else of the last ``\fbox``; None where there is none or it never closes."""
    start = text.rfind("\\boxed") if "\\boxed" in text else text.rfind("\\fbox")
    opened = text.find("{", start) if start >= 0 else -1
    if opened < 0 or text[start:opened].rstrip() not in ("\\boxed", "\\fbox"):
        return None
    depth = 0
    for brace in re.compile("[{}]").finditer(text, opened):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[opened + 1 : brace.start()]
    return None


_HENDRYCKS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^\s*\\text\{(.*)\}\s*$", r"\1"),
        (r"\n|\\!", ""),
        (r"\\\\", r"\\"),
        (r"\\[td]frac", r"\\frac"),
        (r"\\left|\\right", ""),
        (r"\^\{\\circ\}|\^\\circ|\\\$|\\%", ""),
        (r"\\text\{ .*$", ""),  # a unit on the right
        (r"(^|[ {])\.", r"\g<1>0."),
        (r"^[^=]{0,2}=(?=[^=]*$)", ""),  # k=5
        (r"\\sqrt(\w)", r"\\sqrt{\1}"),
        (r" ", ""),
        (r"\\frac(\d)(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac(\d)\{", r"\\frac{\1}{"),
        (r"\\frac(\{[^{}]*\})(\d)", r"\\frac\1{\2}"),
        (r"^0\.5$", r"\\frac{1}{2}"),
        (r"^(-?\d+)/(-?\d+)$", r"\\frac{\1}{\2}"),
    )
)


def hendrycks_form(answer: str) -> str:
    """The string after Hendrycks et al.'s normaliser: no layout, units or spaces, fractions with braces.

    Theirs fails on two units, and then leaves the string as it is.
    """
    if answer.count("\\text{ ") > 1:
        return answer.strip()
    for pattern, replacement in _HENDRYCKS:
        answer = pattern.sub(replacement, answer.strip())
    return answer


_UNITS = "degree|cm|centimeter|meter|mile|second|minute|hour|day|week|month|year|foot|feet|inch|yard"
_SCALES = {"million": "*10^6", "billion": "*10^9", "trillion": "*10^12"}
_SIGNS = {
    "pi": "π", "infty": "∞", "cup": "∪", "cap": "∩", "cdot": "·", "times": "×", "div": "÷", "pm": "±", "mp": "∓",
    "le": "≤",
    "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "in": "∈", "emptyset": "∅", "angle": "∠", "circ": "∘",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "theta": "θ", "lambda": "λ", "mu": "μ", "rho": "ρ",
    "sigma": "σ",
    "phi": "ϕ", "varphi": "φ", "omega": "ω", "ldots": "…", "dots": "…", "lvert": "|", "rvert": "|", "langle": "⟨",
    "rangle": "⟩",
    "setminus": "∖", "varnothing": "∅", "ell": "ℓ", "equiv": "≡", "approx": "≈", "to": "→", "bullet": "∙",
    "Gamma": "Γ", "Delta": "Δ", "Omega": "Ω", "tau": "τ", "epsilon": "ϵ", "eta": "η", "zeta": "ζ", "xi": "ξ",
    "kappa": "κ",
    "chi": "χ", "psi": "ψ", "nu": "ν", "cdots": "⋯", "sum": "∑", "prod": "∏", "int": "∫", "perp": "⊥", "sim": "∼",
    **{name: name for name in ["sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln",
    "exp", "max", "min", "lim"]},
}  # fmt: skip
"""Macros as the characters by which their code's library shows them; it drops those that it does not know."""
_BOLD = {ord(letter): chr(0x1D400 + index) for index, letter in enumerate(ascii_uppercase + ascii_lowercase)}
_READ = {"√": "sqrt", "π": "pi", "∞": "inf", "∪": "U", "·": "*", "×": "*"}
"""Characters that their code puts into words, after macros alone."""


def _matrix(environment: re.Match[str]) -> str:
    """A matrix as [a b; c d], whatever its brackets."""
    rows = environment.group(2).split("\\\\")
    return "[ " + "; ".join(" ".join(cell.strip() for cell in row.split("&")) for row in rows if row.strip()) + " ]"


_NESTED: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"\\begin\{(\w*matrix)\}(.{0,2000}?)\\end\{\1\}", _matrix),
        (r"\\sqrt\s*(?:\[[^\]]*\])?\s*\{([^{}]*)\}", r"√(\1)"),  # the index is lost, as there
        (r"\\sqrt\s*(?:\[[^\]]*\])?\s*([^\\{}\s])", r"√(\1)"),
        (r"\\[td]?frac", r" \\frac"),
        (r"\\frac\s*\{([^{}]*)\}", r"\\frac<\1>"),
        (r"\\frac\s*(\w)", r"\\frac<\1>"),
        (r"\\frac<([^<>]*)>\s*\{([^{}]*)\}", r"\1/\2"),  # the brackets are lost, as there
        (r"\\frac<([^<>]*)>\s*(\w)", r"\1/\2"),
    )
)
_LATEX: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:text)?color\s*\{\w*\}|\\(?:underline|boxed|fbox)(?![A-Za-z])", ""),
        (r"\\(?:left|right|text|mathrm|textbf|mbox|overline|operatorname)(?![A-Za-z])|\\!", ""),
        (r"\\[,;: ]|\\q?quad(?![A-Za-z])", " "),
        (r"\\(?!mathbf)([A-Za-z]+)\s*", lambda macro: _SIGNS.get(macro.group(1), "")),
        (r"\\mathbf\s*\{((?:[^{}]|\{[^{}]*\})*)\}", lambda bold: bold.group(1).translate(_BOLD)),
        (r"\\([{}%$&#_])", r"\1"),
    )
)


def plain_form(answer: str) -> str:
    """The string as sympy is to read it: lower case, without spaces, braces, units and macros."""
    if enclosed := re.search(r"^\\text\{(.+?)\}$", answer):
        answer = enclosed.group(1)
    answer = re.sub(r"\\?[%$]", "", answer).replace(" or ", " , ").replace(" and ", " , ")
    for word, factor in _SCALES.items():
        answer = answer.replace(word, factor)
    for unit in _UNITS.split("|"):
        answer = re.sub(rf"{unit}(?:es)?(?:s)? *(?:\^[0-9]+)?", "", answer)
    answer = re.sub(r"\^ *\\circ", "", answer)
    if answer[:1] == "{" and answer[-1:] == "}":
        answer = answer[1:-1]
    answer = _whole(re.sub(r",\\! *", "", answer))
    if "\\" in answer:
        answer = _shown(answer)
    answer = re.sub(r"([0-9]) +([0-9])", r"\1+\2", re.sub("- *", "-", answer))
    answer = re.sub(r"[ {}]", "", answer).lower()
    return _whole(answer, commas=True)


def _shown(answer: str) -> str:
    """LaTeX as text."""
    for pattern, replacement in (*_NESTED * 3, *_LATEX):  # fractions within fractions
        answer = pattern.sub(replacement, answer)
    for character, word in _READ.items():
        answer = answer.replace(character, word)
    return answer.strip()


def _whole(answer: str, commas: bool = False) -> str:
    """The digits of a whole number however it is written: 5.0, 1e3; with `commas` 1,000.0 too."""
    value = _float(answer, commas)
    return str(int(value) if commas else round(value)) if value is not None and _near_whole(value) else answer


def _float(answer: str, commas: bool = True) -> float | None:
    try:
        return float(_COMMAS.sub("", answer) if commas else answer)
    except ValueError:
        return None


def _near_whole(value: float) -> bool:
    return abs(value) < 1e300 and abs(value - round(value)) <= 1e-7


_COMMAS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"-?[0-9]+.?/0*[1-9][0-9]*.?")


def _verify_elements(gold: str, answer: str) -> Verification:
    golds, answers = _elements(gold), _elements(answer)
    if len(golds) > 1 and (gold[0], gold[-1]) != (answer[0], answer[-1]):
        return Verification("wrong", "brackets")
    if len(golds) != len(answers):
        return Verification("wrong", "number of elements")
    verification = Verification("wrong", "no element")
    for pair in zip(golds, answers, strict=True):
        verification = _verify_element(*pair)
        if verification.verdict != "correct":
            return verification
    return verification


def _elements(form: str) -> list[str]:
    """What stands between the commas of one pair of brackets; else the whole, without commas between thousands."""
    form = _COMMAS.sub("", form)
    inner = form[1:-1]
    if len(form) > 2 and form[0] in "()[]" and form[-1] in "()[]" and not set(inner) & set("()[]"):
        return [element.strip() for element in inner.split(",")]
    return [form]


def _verify_element(gold: str, answer: str) -> Verification:
    if _FRACTION.fullmatch(gold) and _FRACTION.fullmatch(answer):
        return Verification("correct" if gold == answer else "wrong", "fractions as strings")
    whole = [(value := _float(element)) is not None and _near_whole(value) for element in (gold, answer)]
    if any(whole):
        same = all(whole) and Decimal(gold) == Decimal(answer)
        return Verification("correct" if same else "wrong", "integers")
    return shared_pool().difference_is_zero(gold, answer)


# --- Karan & Du 2025: choice ----------------------------------------------------------------------------------


def grade_by_last_letter(problem: Problem, text: str, chain: int, letters: str) -> Grade:
    """The last of `letters` that stands alone against the gold's letter."""
    if not text.strip():
        return Grade(problem.id, chain, "ungradable", None, "empty text")
    letter = last_letter(text, letters)
    verdict = "correct" if letter == problem.gold else "wrong"
    rule = "last letter" if letter else NO_RULE
    return Grade(problem.id, chain, verdict, letter, f"reference, {rule}", rule)


def last_letter(text: str, letters: str) -> str | None:
    """The last of `letters` that stands alone in the upper-cased text: in "(b) is a lie" it is A."""
    alone = re.findall(rf"\b[{letters}]\b", text.upper())
    return alone[-1] if alone else None


# --- Venhoff et al. 2025 --------------------------------------------------------------------------------------

_NUMBER = re.compile(r"-?\d[\d,]{0,400}(?:\.\d{1,400})?", re.ASCII)


def grade_by_last_number(problem: Problem, text: str, chain: int) -> Grade:
    """Correct if the last numbers of text and gold are the same number."""
    answer, wanted = last_plain_number(text), last_plain_number(problem.gold)
    if answer is None:
        return Grade(problem.id, chain, "ungradable", None, "no number" if text.strip() else "empty text")
    is_same = wanted is not None and Decimal(answer) == Decimal(wanted)
    return Grade(problem.id, chain, "correct" if is_same else "wrong", answer, "last number", "last number")


def last_plain_number(text: str) -> str | None:
    """The last number, without its thousands' separators; None where there is none."""
    numbers = _NUMBER.findall(text)
    return numbers[-1].replace(",", "") if numbers else None
