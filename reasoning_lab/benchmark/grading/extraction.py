r"""Find the statement of the final answer in a text.

What a thinking model wrote before ``</think>`` is not looked at. The rules, in the order in which they are tried:

1. boxed        the last ``\boxed{…}`` or ``\fbox{…}``, braces matched; empty, unclosed and overlong boxes don't count.
                Boxes joined to it by commas, "and" or "or" make one list with it; so does "alternatively"
2. hashes       ``#### x`` on its line, GSM8K's own mark; ``#### Step 3`` is a heading and doesn't count
3. answer is    the last ``the answer is …``, ``Answer: …``, ``<answer>…</answer>``; of the sentence the last formula or
                number, as a whole, before any reason (because, since, for all, …); or its words where it has none
4. last number  of a text that ended by itself: the last formula or number, as a whole, of its last sentence with one

A formula is taken whole (`formulas.py`): a fraction, a tuple, a power, a relation, never a number out of it. What is
negated ("not 5", "rather than 5") or asked ("is it 5?") states nothing. The result of a calculation outranks the bare
numbers that follow it in its sentence: of "so 4 + 5 = 9 points in 40 minutes" the 9 is stated. Two numbers that words
of calculation join are one: 3 over 5. The order follows common practice (Hendrycks et al. 2021 for boxes,
Cobbe et al. 2021 for hashes). Unlike Karan & Du's code, the text is the completion alone: theirs falls back to the box
in the prompt where the answer has none.

All rules take time linear in the text: a hundred thousand tokens are a completion too.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from reasoning_lab.benchmark.grading.formulas import Formula, formulas, is_negated, with_words
from reasoning_lab.benchmark.grading.words import numeral

AnswerRule = Literal["boxed", "hashes", "answer is", "last number"]

MAX_STATEMENTS = 50
"""Of "the answer is", from the end of the text, that are looked at."""
MAX_ANSWER_CHARS = 1000
"""Longer is no answer [characters]; the longest gold answer of MATH500 has 53."""


class Answer(NamedTuple):
    """An answer as it stands in the text, without the marks around it."""

    text: str
    rule: AnswerRule


def extract_answer(text: str, complete: bool = True) -> Answer | None:
    """The answer and the rule that found it, or None.

    `complete`: whether the text ended by itself. In one cut off at the cap, the last number is where the thought
    broke off, so that only the marked answers count, and none that touches the end: of 125 the 1 may be there.
    """
    text = after_thinking(text)
    if not complete:
        text = _without_broken_end(text)
    rules = _RULES if complete else _RULES[:-1]
    for rule, find in rules:
        if stated := find(text):
            return Answer(stated, rule)
    return None


_BROKEN = re.compile(r"(?:(?:\S{1,50}\s?[-+*/=^]\s?){1,5}(?:\S{0,100}[\w\\{(\[^_<])?|\S{0,100}[\w\\{(\[^_+*/=<-])\Z")


def _without_broken_end(text: str) -> str:
    """The text without the word or formula within which it broke off."""
    broken = _BROKEN.search(text, max(0, len(text) - 100))
    return text[: broken.start()] if broken else text


_THOUGHT = re.compile(r"<(/?)(?:think|thinking)>")

_END_OF_TURN = re.compile(r"(?:(?:</s>|<eos>|<end_of_turn>|<\|[a-z_]{1,30}\|>)\s{0,8}){1,8}\Z")


def after_thinking(text: str) -> str:
    """What follows the last ``</think>``, up to a ``<think>`` that is never closed or a token that ends a turn."""
    start, opened = 0, None
    for tag in _THOUGHT.finditer(text):
        if tag.group(1):
            start, opened = tag.end(), None
        elif opened is None:
            opened = tag.start()
    return _END_OF_TURN.sub("", text[start:opened])


def _usable(content: str) -> str | None:
    content = content.strip()
    return content if 0 < len(content) <= MAX_ANSWER_CHARS else None


# --- 1. boxed -------------------------------------------------------------------------------------------------

# A box, an escaped character, a brace. \\boxed (escaped twice, as models do) is a box, not a line break.
_BRACES = re.compile(r"\\(?:boxed|fbox)[ \t]{0,8}\{|\\(?!\\(?:boxed|fbox)).|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed[ \t]{1,8}([^\s${}\\]{1,100})")
_MARKS = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{([^{}]*)\}|\\q?quad(?![A-Za-z])|\\[()\[\],;:! ]|[$*&{}]|\\\\")
_JOINT = re.compile(
    r"(?P<words>[^.!?\n]{0,50}?)(?P<mark>,\s*(?:and|or)\b|;|,|\band\b|\bor\b|[.,;]?\s*\b(?:alternatively|possibly|"
    r"maybe|perhaps)\b)?"
    r"[\s,]*(?P<name>(?:[A-Za-z]\w{0,3}|[A-Za-z]_\{?\w{1,3}\}?|\([a-z],\s*[a-z]\))\s*=)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_CORRECTING = re.compile(
    r"\b(?:no|not|wait|actually|instead|rather|wrong|incorrect|correction|but|so|thus|therefore|hence|then|which|"
    r"gives?|is|are|"
    r"final|answer|equals?|check|verify|sorry|oops|correct)\b|[=:<>]|n['’]t",
    re.IGNORECASE,
)


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def last_box(text: str) -> str | None:
    """Content of the last box alone, as MATH's solutions have it."""
    boxes = _boxes(text)
    return boxes[-1].content if boxes else None


def last_boxed(text: str) -> str | None:
    r"""What the last boxes state together; of ``\boxed{\boxed{5}}`` the inner."""
    boxes = [box for box in _boxes(text) if not is_negated(text, box.start)]
    if not boxes:
        bare = _last(_BARE_BOX, text)
        return bare.group(1).rstrip(".,;") if bare else None
    group, names, marks = [boxes[-1]], [_name_before(text, boxes[-1])], []
    for box in reversed(boxes[:-1]):
        joint = _joint(text[box.end : group[0].start])
        if joint is None:
            break
        group.insert(0, box)
        marks.append(joint)
        names.insert(0, _name_before(text, box))
    if len(group) == 1 or len({box.content for box in group}) == 1:
        box = group[-1]
        return _usable(with_words(text, Formula(box.start, box.end, box.content, delimited=False)).text)
    named = all(names) and len(set(names)) == len(names)
    parts = [f"{name}{box.content}" if named else box.content for name, box in zip(names, group, strict=True)]
    return _usable((" or " if "or" in marks else ", ").join(parts))


def _boxes(text: str) -> list[_Box]:
    """The closed, usable boxes in their order, of nested ones the inner."""
    found: list[_Box] = []
    opened: list[tuple[int, int, bool]] = []
    for mark in _BRACES.finditer(text):
        token = mark.group()
        if token == "}" and opened:
            start, inside, is_box = opened.pop()
            content = (
                _usable(text[inside : mark.start()]) if is_box and mark.start() - inside <= MAX_ANSWER_CHARS else None
            )
            # Nested boxes close from the inside out.
            if content and not (found and found[-1].start > start):
                found.append(_Box(start, mark.end(), content))
        elif token.endswith("{") and token != "\\{":
            opened.append((mark.start(), mark.end(), token != "{"))
    return found


def _name_before(text: str, box: _Box) -> str:
    named = re.search(
        r"(?<![\w\\])([A-Za-z](?:_\{?\w{1,3}\}?)?\s*=)[\s$\\(\[]*$", text[max(0, box.start - 30) : box.start]
    )
    return named.group(1).replace(" ", "") if named else ""


def _joint(between: str) -> str | None:
    """ "or", "and" or "," where two boxes are joined by what stands between them."""
    if len(between) > 120:
        return None
    plain = _MARKS.sub(lambda match: match.group(1) or " ", between)
    joint = _JOINT.fullmatch(plain.replace("\n", " ") if not plain.strip() or "," in plain else plain)
    if joint is None:
        return None
    words, mark = joint.group("words").strip(" ,"), (joint.group("mark") or "").casefold()
    if words and (not mark or _CORRECTING.search(words)):
        return None
    if re.search(r"\bor\b|alternatively|possibly|maybe|perhaps", mark):
        return "or"
    return "and" if "and" in mark else ","


# --- 2. hashes ------------------------------------------------------------------------------------------------

_HASHES = re.compile(r"^[ \t]{0,8}#### ?([^\n]{1,200})$", re.MULTILINE)
_HEADING = re.compile(
    r"\d{1,3}[.)]\s+[A-Za-z]|(?!(?:minus|negative|half|yes|no|true|false)\b)\W*[A-Za-z]{2,}", re.IGNORECASE
)


def last_hashes(text: str) -> str | None:
    """What follows the last #### that is no heading, that is: does not begin with a word or an item's number."""
    marked = [match.group(1).strip() for match in _HASHES.finditer(text)]
    marked = [said for said in marked if said.startswith("\\") or not _HEADING.match(said)]
    if not marked:
        return None
    said = _unmarked(marked[-1])
    found = formulas(said)
    if re.search(r"(?<!\\)\b[A-Za-z]{2,}", said) and found:
        return _usable(_stated(said) or "")
    return _usable(said)


# --- 3. the answer is -----------------------------------------------------------------------------------------

# Runs of space are bounded: unbounded ones beside each other take quadratic time on a page of blanks.
_ANSWER_IS = re.compile(
    r"\banswers?\b\W{0,3}(?:\s{1,8}(?:to|of|for)\s[^.\n:]{1,80}?)?"
    r"(?:\s{0,8}\b(?:is|are)\b(?:\s{1,8}(?:therefore|thus|hence|then|simply|just|now|clearly|indeed|"
    r"given by))?\s{0,8}[:,]?|\s{0,8}[:=])"
    r"[\s*]{0,8}([^\s*])"
    r"|<answer>\s{0,8}(\S)",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppose|assume|assuming|unless|would|could|might|may)\b[^.\n]{0,40}$", re.IGNORECASE
)
_NOT = re.compile(r"(?:not|n['’]t|never|neither)\b", re.IGNORECASE)


def last_answer_is(text: str) -> str | None:
    """What the last "the answer is" or "answer:" announces: the last formula of its statement, or its words."""
    for match in reversed(list(_ANSWER_IS.finditer(text))[-MAX_STATEMENTS:]):
        start = match.start(1) if match.group(1) else match.start(2)
        if _NOT.match(text, start) or _SUPPOSED.search(text, max(0, match.start() - 60), match.start()):
            continue
        said = _sentence_from(text, start)
        if match.group(2):
            said = said.split("</answer>")[0]
        stated = _usable(_stated(said) or _words(said))
        if stated:
            return stated
    return None


_SENTENCE_END = re.compile(r"[.!?](?=\s|\*|$)|\n(?=\s*\n)|\n(?!\s*[\\$])")
_REASON = re.compile(
    r"[,;]?\s{0,8}\(?\b(?:because|since|(?<!expressed )(?<!written )(?<!given )as(?! well| an? )|where|"
    r"for (?:all|every|any|each|some|which)|when|whenever|if|"
    r"so that(?!['’]s\b|\s+(?:is|means|leaves|makes|gives|comes|equals|will|would)\b)|given|"
    r"assuming|provided|using|due to|which (?:is why|matches|agrees|was)|"
    r"so it(?! (?:will|would|takes?|costs?)\b|['’]s \$?\d)|and not|but not|rather than|"
    r"instead of)\b",
    re.IGNORECASE,
)
_SETTING = re.compile(r"[,;]?\s{0,8}\(?(?:as|if|when|whenever)\b", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"\b(?:so|thus|hence|therefore|then|it follows|implies|showing|leaving|gives|yields|we|i|there|the|must|answer)\b",
    re.IGNORECASE,
)
_DETERMINERS = r"[\s$*\\(]*(?:(?:just|only|exactly|a|the|total|of|about|simply|up|to)\s+){0,3}$"
_STATING_VERB = re.compile(
    r"\b(?:is|are|was|were|be|equals?|equal to|get|gets|have|has|had|obtain|gives?|yields?|find|makes?|need(?:s|ed)?|"
    r"leaves?|becomes?|contains?|costs?|total of|only|exactly|takes?|took|or|"
    r"(?:simplif|reduc|com|amount|sum|add|evaluat|lead|convert|round|"
    r"increas|decreas|chang|gr[eo]w|fall|fell|correspond|factor|expand|equivalent|turn|ris|drop|boil)\w*(?: up|"
    rf" down| out)? to|(?:can|will|would|could|must|should|did) [a-z]+)\b{_DETERMINERS}",
    re.IGNORECASE,
)
_STATING_MARK = re.compile(rf"[:=,(]{_DETERMINERS}", re.IGNORECASE)
_HANGING = re.compile(
    r"\b(?:of|in|from|between|for|to|by|with|on|at|as|than|below|above|under|over|mod|modulo|per|through|into|"
    r"among|within|"
    r"dividing|divides|divide|multiples?|are|factors?:|to [a-z]+)\s+(?:(?:the|a|an|both|each|these|those|all|"
    r"radius|length|side|base|"
    r"angle|triangle|line|segment|point|number|sum|variable|denominator|numerator|expression|multiple|multiples|power|"
    r"powers|first|last|square|cube|equation|of|between|and|from|write)\s+){0,3}[\s$*\\(]*$",
    re.IGNORECASE,
)


def _sentence_from(text: str, start: int) -> str:
    """The text from a place to the end of its sentence, which no full stop within a formula ends."""
    window = text[start : start + 2 * MAX_ANSWER_CHARS]
    inside = [(formula.start, formula.end) for formula in formulas(window)]
    for end in _SENTENCE_END.finditer(window):
        if end.start() > 0 and not any(a <= end.start() < b for a, b in inside):
            return window[: end.end() if window[end.start() - 1] == "!" else end.start()]
    return window


def _stated(said: str) -> str | None:
    """The formula or number that a sentence states; those that commas, and, or join are one list."""
    found = [formula for formula in formulas(said) if not is_negated(said, formula.start)]
    found = _operated(said, _without_approximation(said, found))
    found = _up_to_result(said, _before_reason(said, found))
    return _together(said, _without_hanging(said, found)) if found else None


_ROUGHLY = re.compile(
    r"\s*(?:\(|,\s*(?:or|which is)?|or)\s*(?:about|approximately|approx\.?|roughly|around|nearly|≈)[\s$\\(]*"
)


def _without_approximation(said: str, found: list[Formula]) -> list[Formula]:
    """Without a last formula that only tells what an exact one before it is about: 1/3 (about 0.33)."""
    if len(found) < 2 or re.search(r"\.\d", found[-2].text):
        return found
    return found[:-1] if _ROUGHLY.fullmatch(said[found[-2].end : found[-1].start]) else found


_OPERATIONS = {
    "plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "over": "/", "divided by": "/", "out of": "/",
    "to the power of": "^", "raised to the power of": "^",
}  # fmt: skip
_OPERATION = re.compile(rf"[\s$]*({'|'.join((*_OPERATIONS, 'choose'))})[\s$]*", re.IGNORECASE)
_UNITS_TWICE = re.compile(
    r"\s*(?:years?|weeks?|days?|hours?|hrs?|minutes?|feet|foot|ft|yards?|pounds?|lbs?|dollars?)\s*,?\s*(?:and\s+)?",
    re.IGNORECASE,
)
_SMALLER = re.compile(
    r"\s*(?:months?|weeks?|days?|hours?|minutes?|mins?|seconds?|inch(?:es)?|feet|ounces?|oz|cents?)\b", re.IGNORECASE
)


def _operated(said: str, found: list[Formula]) -> list[Formula]:
    """With the numbers that words of calculation, or two units, make one: 3 over 5, 2 hours 5 minutes."""
    joined: list[Formula] = []
    for formula in found:
        before = joined[-1] if joined else None
        between = said[before.end : formula.start] if before else ""
        if before and (operation := _OPERATION.fullmatch(between)):
            sign = _OPERATIONS.get(operation.group(1).casefold())
            text = f"{before.text} {sign} {formula.text}" if sign else rf"\binom{{{before.text}}}{{{formula.text}}}"
            joined[-1] = Formula(before.start, formula.end, text, delimited=False)
        elif before and _UNITS_TWICE.fullmatch(between) and (smaller := _SMALLER.match(said, formula.end)):
            text = said[before.start : smaller.end()]
            if money := re.fullmatch(r"(\d+) dollars? and (\d{1,2}) cents?", text):
                text = f"{money.group(1)}.{money.group(2):0>2}"
            joined[-1] = Formula(before.start, smaller.end(), text, delimited=False)
        else:
            joined.append(formula)
    return joined


def _before_reason(said: str, found: list[Formula]) -> list[Formula]:
    """Without the formulas of a clause that gives a reason or a range at the sentence's end: 5 because 2 + 3 = 5."""
    last_result = max((formula.start for formula in found if _is_result(said, formula)), default=-1)
    for reason in _REASON.finditer(said):
        earlier = [formula for formula in found if formula.end <= reason.start()]
        inside = any(formula.start <= reason.start() < formula.end for formula in found)
        # A clause at the beginning, or one that a conclusion or its result follows, is no end.
        concludes = _SETTING.match(reason.group()) and last_result >= reason.end()
        if earlier and not inside and not concludes and not _CONCLUSION.search(_bare(said, found, reason.end())):
            return earlier
    return found


def _bare(said: str, found: list[Formula], start: int) -> str:
    """The words from a place on, without formulas."""
    for formula in reversed(found):
        if formula.start >= start:
            said = said[: formula.start] + said[formula.end :]
    return said[start:]


# A number, with its currency and with units that no digit follows.
_AMOUNT = r"(?:\\?[$€£])?\s?[-−]?\d[\d,]*(?:\.\d+|/\d+)?(?:\.{3})?\s?(?:\\?%|(?:st|nd|rd|th|[a-zA-Z]{1,3})\b)?"
_ONE_AMOUNT = re.compile(rf"\s*{_AMOUNT}[\s.,]*")
_ARITHMETIC = re.compile(
    r"(?=[^=]*\d)"
    r"(?:[^=\\A-Za-z]|\\[A-Za-z]+|(?<=\d)\s?(?:/\s?[a-z]+|[A-Za-z]{1,3})(?![A-Za-z])|(?<=[\d) ])x(?=[\d( ]))+"
    rf"(?:=[^=]*)*=\s*{_AMOUNT}[\s.,]*"
)
_LED_ON = re.compile(r"\d[A-Za-z ()]{0,60}=\s{0,8}$")
_CONCLUDING = re.compile(
    r"\b(?:so|thus|hence|therefore|then|means?|round\w*|leav\w+|or|but|i\.e)\b|[→⇒]", re.IGNORECASE
)
_RATE = re.compile(r"\bwhich (?:is|are|was|were)\b[^.]{0,10}$", re.IGNORECASE)
_PURPOSE = re.compile(r"\bto (?:be|have|get|make|reach|cost|find|take)\s[\s$]*$", re.IGNORECASE)
_PER = re.compile(
    r"[\s)$]*[a-z]+(?: [a-z]+)? (?:per|each|every|apiece)\b|\s*(?:per|each|every|apiece)\b", re.IGNORECASE
)


def _is_result(said: str, formula: Formula) -> bool:
    """Whether a calculation leads to it: 4 + 5 = 9, or the 7 of 12 eggs - 5 eggs = 7; no equation with unknowns."""
    if _ARITHMETIC.fullmatch(formula.text):
        return True
    led = _LED_ON.search(said, max(0, formula.start - 80), formula.start)
    return led is not None and _ONE_AMOUNT.fullmatch(formula.text) is not None


def _up_to_result(said: str, found: list[Formula]) -> list[Formula]:
    """Up to the last result of a calculation: of "so 4 + 5 = 9 points in 40 minutes" the 9 is stated."""
    at = next((index for index in reversed(range(len(found))) if _is_result(said, found[index])), None)
    if at is None or any(not _is_aside(said, found[at], later) for later in found[at + 1 :]):
        return found
    return found[: at + 1]


def _is_aside(said: str, result: Formula, later: Formula) -> bool:
    """Whether a number after a result is no more than its circumstance: no other result, and nothing concluded."""
    if not _ONE_AMOUNT.fullmatch(later.text) or _CONCLUDING.search(said, result.end, later.start):
        return False
    if _PURPOSE.search(said, result.end, later.start):
        return True
    if _RATE.search(said, max(0, later.start - 40), later.start) and _PER.match(said, later.end):
        return True
    return _STATING_VERB.search(said, max(result.end, later.start - 60), later.start) is None


def _without_hanging(said: str, found: list[Formula]) -> list[Formula]:
    """Without the last formulas if they hang on a preposition and one before them is stated: there are 8 in 1 to 20."""
    left = list(found)
    if _is_result(said, found[-1]):
        return found
    while (
        len(left) > 1
        and left[-2].delimited >= left[-1].delimited
        and (_is_range(said, left) or (_hangs(said, left[-1]) and not _is_joined(said, left)))
    ):
        left.pop()
    return left if left and (len(left) == len(found) or _is_stated(said, left[-1])) else found


def _hangs(said: str, formula: Formula) -> bool:
    return _HANGING.search(said, max(0, formula.start - 80), formula.start) is not None and not _is_stated(
        said, formula
    )


def _is_stated(said: str, formula: Formula) -> bool:
    start = max(0, formula.start - 60)
    return any(stating.search(said, start, formula.start) for stating in (_STATING_VERB, _STATING_MARK))


def _is_range(said: str, found: list[Formula]) -> bool:
    """Whether the last formula ends a "between … and …", a "from … to …" or a list that hangs."""
    for before, after in zip(reversed(found[:-1]), reversed(found), strict=False):
        if not _JOINED.fullmatch(said[before.end : after.start]):
            return False
        if _hangs(said, before):
            return True
    return False


def _is_joined(said: str, found: list[Formula]) -> bool:
    """Whether the last two are ends of a range: 2 to 4."""
    return re.fullmatch(r"[\s$)\\]*(?:to|through)[\s$(\\]*", said[found[-2].end : found[-1].start]) is not None


_JOINED = re.compile(r"[\s$)\\]*(?:,?\s*(?:and|to|through)|,)[\s$(\\]*")
_AND = re.compile(r"\s*(?:,\s*(?:and|or)?|;|and|or|to|through)(?:\s+(?:maybe|perhaps|possibly))?\s*", re.IGNORECASE)


def _together(said: str, found: list[Formula]) -> str:
    """The last formula with those that a comma, "and" or "or" joins to it, and the words that change it."""
    group = [_result_without_units(said, found[-1]) or with_words(said, found[-1])]
    marks: list[str] = []
    for formula in reversed(found[:-1]):
        worded = with_words(said, formula)
        between = said[worded.end : group[0].start] if worded.end <= group[0].start else ""
        between = _OBJECT.sub("", between)
        if not _AND.fullmatch(between) or not between.strip() or not _alike(worded.text, group[0].text):
            break
        in_list = formula.delimited or not said[: formula.start].strip(" *") or _is_stated(said, formula)
        if between.strip() == "," and not in_list:
            break
        group.insert(0, worded)
        marks.insert(0, _HEDGE.sub("or", between.strip().casefold()))
    if len(group) == 1:
        factorial = group[0].text.endswith("!") and said.startswith(".", group[0].end)
        return group[0].text.strip("$ ") if factorial else _unmarked(group[0].text)
    joined = [_unmarked(group[0].text)]
    for mark, formula in zip(marks, group[1:], strict=True):
        joined.append(f"{' ' if mark.isalpha() else ''}{mark} {_unmarked(formula.text)}")
    return "".join(joined)


_UNIT = re.compile(
    r"(?<=\d)\s?(?:[gmlhsGMLHS]|kg|km|cm|mm|mg|ml|mL|lb|oz|ft|hr|h|min|yd|mi)(?![A-Za-z^])|/\s?[a-z]{3,}\b"
)
_DOZEN = re.compile(r"\s*dozens?\b", re.IGNORECASE)


def _result_without_units(said: str, formula: Formula) -> Formula | None:
    """A calculation without its units, of 10g / 2 = 5g and 84/12 = 7 dozen; None of anything else."""
    if not _is_result(said, formula):
        return None
    plain = _UNIT.sub("", formula.text) if re.search(r"[-+*/x×÷·].*=", formula.text) else formula.text
    if single := re.fullmatch(rf"[$\d.,%\s]+=\s*({_AMOUNT})", plain):  # of 16 feet * 2 = 32
        plain = single.group(1)
    return formula._replace(text=plain) if plain != formula.text or _DOZEN.match(said, formula.end) else None


_SOLVED = re.compile(r"\s*(?:[A-Za-z](?:_\{?\w{1,3}\}?)?|\([^()=]*\))\s*=")


def _alike(one: str, other: str) -> bool:
    """Whether two formulas may be two items: both without a relation, or both x = a value."""
    if "=" not in one and "=" not in other:
        return True
    return _SOLVED.match(one) is not None and (_SOLVED.match(other) is not None or "=" not in other)


_HEDGE = re.compile(r".*(?:maybe|perhaps|possibly)", re.DOTALL)
_OBJECT = re.compile(r"^\s+[a-z]{2,15}(?=\s+(?:and|or)\s)")
"""A word between a number and "and": 18 apples and 5 pears."""


def _words(said: str) -> str:
    """A statement without a formula, up to its reason."""
    reason = _REASON.search(said)
    return _unmarked(said[: reason.start()] if reason and reason.start() > 0 else said)


def _unmarked(said: str) -> str:
    """Without Markdown's stars, money's dollar and the punctuation that ends a sentence."""
    said = said.strip().strip("*`").rstrip(".,;:!").strip("*`").strip()
    return said[1:].strip() if said.startswith("$") and said.count("$") == 1 else said


# --- 4. last number -------------------------------------------------------------------------------------------

_DRAWING = re.compile(r"\[asy\]|```")
_ANNOTATED = re.compile(r"<<[^<>\n]{1,200}>>")
"""GSM8K's calculator marks: 9 * 2 = <<9*2=18>>18."""
_DRAWN = {"[asy]": "[/asy]", "```": "```"}
_REMARK = re.compile(r"[\s(\[*]*(?:Note|Notice|Recall|Remark|Observe|Let me know|Feel free|I hope)\b")
_TAIL = 4000
"""How far back the last formula is looked for at first [characters]."""


def last_number(text: str) -> str | None:
    """The last formula or number of the text, as it is written."""
    text = _ANNOTATED.sub("", _without_drawings(text)).rstrip()
    tail = text[-_TAIL:]
    sentences = _sentences(tail)
    # What is remarked afterwards counts where nothing else is said.
    for sentence in (*(s for s in reversed(sentences) if not _REMARK.match(s)), *reversed(sentences)):
        if sentence.rstrip().endswith("?"):  # asked, not stated
            continue
        if stated := _stated(sentence) or _in_words(sentence):
            return _usable(stated)
    return None


def _without_drawings(text: str) -> str:
    """The text without closed drawings and blocks of code."""
    kept: list[str] = []
    at, unclosed = 0, set[str]()
    for mark in _DRAWING.finditer(text):
        kind = mark.group()
        if mark.start() < at or kind in unclosed:
            continue
        end = text.find(_DRAWN[kind], mark.end())
        if end < 0:  # nor is any later one closed
            unclosed.add(kind)
            continue
        kept.append(text[at : mark.start()])
        at = end + len(_DRAWN[kind])
    return " ".join([*kept, text[at:]])


_WORDED = re.compile(
    r"\b(?:is|are|equals|get|gives|of)\s+((?:(?:minus|negative|exactly|only)\s+)?[a-z]+(?:[- ][a-z]+){0,5})\W*$",
    re.IGNORECASE,
)


def _in_words(sentence: str) -> str | None:
    """A number in words that ends a sentence: the probability is one half."""
    worded = _WORDED.search(sentence)
    return (
        worded.group(1)
        if worded and numeral(_SIGN.sub("", worded.group(1)).lower().replace("-", " ").split())
        else None
    )


_SIGN = re.compile(r"^(?:(?:minus|negative|exactly|only)\s+)+", re.IGNORECASE)


def _sentences(text: str) -> list[str]:
    inside = formulas(text)
    ends = [end.end() for end in _SENTENCE_END.finditer(text)]
    # A formula may have the full stop within its delimiters.
    ends += [f.end for f in inside if f.delimited and re.search(r"\.\s*\S{1,2}$", text[f.end - 4 : f.end])
             and re.match(r"\s*[A-Z]", text[f.end :])]  # fmt: skip
    sentences: list[str] = []
    start = index = 0
    for end in sorted(ends):
        while index < len(inside) and inside[index].end < end:
            index += 1
        if index < len(inside) and inside[index].start < end < inside[index].end:
            continue
        sentences.append(text[start:end])
        start = end
    return [*sentences, text[start:]]


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = None
    for match in pattern.finditer(text):  # noqa: B007 -- the last one is wanted
        pass
    return match


_RULES: tuple[tuple[AnswerRule, Callable[[str], str | None]], ...] = (
    ("boxed", last_boxed),
    ("hashes", last_hashes),
    ("answer is", last_answer_is),
    ("last number", last_number),
)
