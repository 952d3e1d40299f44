r"""Pull the chosen letter of a multiple choice out of a text.

The rules, in the order in which they are tried; within each, the last place in the text counts:

1. boxed           ``\boxed{C}``, ``\boxed{\text{(C)}}``, ``\boxed{C) 5 m/s}``; or a box that holds one option's text
2. answer is       "the answer is (C)", "Answer: C", ``"answer": "C"``, ``<answer>C</answer>``, "I choose option C",
                   "(C) is correct"; or one option's text after "the answer is"
3. conclusion      "Thus C.", "It's C", "most likely C", "by elimination, (C)": a letter that ends its sentence;
                   "C is correct" at the very end, if no other letter is called so
4. letter line     a line with a letter alone: "C", "(C)", "**C**", "#### C"
5. option line     the last line is one option's text, with or without its letter
6. first letter    the text begins with "C)", "C.", "C:" or "C because"
7. last mention    the last "(C)" or "option C" that is not called wrong or ruled out there

What a thinking model wrote before ``</think>`` is not looked at. A conditional ("would be C", "if so, then C") is no
answer by rules 2, 3 and 7, nor is one that is refused ("don't choose C", "the wrong answer is C"); one that is
corrected afterwards ("wait, no: it's D") gives way to the correction.

The English article "a" and the pronoun "I" are never letters: in running text A and I count only in brackets, before
punctuation or before words such as "because". Small letters count in boxes and brackets, and b to h, j at the end of a
sentence. Several letters at once ("A and C") are an answer that equals no letter. Texts that say one thing by letter
and another by option are taken at their letter. Rules 3, 5 and 7 are for texts that ended by themselves; in others a
letter at the very end does not count, for it may be where a word broke off.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from reasoning_lab.benchmark.grading.extraction import after_thinking, last_boxed
from reasoning_lab.benchmark.grading.normal_form import canonical_answer

ChoiceRule = Literal["boxed", "answer is", "conclusion", "letter line", "option line", "first letter", "last mention"]
LETTERS = "ABCDEFGHIJ"
"""MMLU-Pro has ten options."""
_WINDOW = 300
"""How much of what follows "the answer is" is looked at [characters]."""


class Choice(NamedTuple):
    """The letter, or "A, C" where the text names several; and the rule that found it."""

    text: str
    rule: ChoiceRule


def chosen(text: str, options: Sequence[str], complete: bool = True) -> Choice | None:
    """The choice among `options`, which are lettered A, B, … in their order; None where the text makes none.

    `complete`: whether the text ended by itself. Where the options' texts are not known, empty ones stand for them.
    """
    reader, text = _Reader(options), after_thinking(text)
    rules: tuple[tuple[ChoiceRule, str | None], ...] = (
        ("boxed", reader.boxed(text)),
        ("answer is", reader.answer_is(text, complete)),
        ("conclusion", reader.conclusion(text) if complete else None),
        ("letter line", reader.letter_line(text, complete)),
        ("option line", reader.option_line(text) if complete else None),
        ("first letter", reader.first_letter(text)),
        ("last mention", reader.last_mention(text) if complete else None),
    )
    return next((Choice(letter, rule) for rule, letter in rules if letter), None)


# --- a letter at the beginning of a phrase --------------------------------------------------------------------

_MARKUP = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mathbf|mathsf|boxed|fbox|left|right)(?![A-Za-z])|\\[()\[\],;! ]|[*_`$\"“”{}]"
)
_WORDS_BEFORE = re.compile(
    r"(?:(?:the|option|choice|letter|answer|statement|is|clearly|simply|indeed)\b[\s:]{0,3}){0,3}", re.IGNORECASE
)
_BRACKETED = re.compile(r"[(\[]\s?([A-Ja-j])\s?[)\]]|([A-Ja-j])\s?\)")
_BARE = re.compile(r"([A-Ja-j])(?![\w'’])")
_ENDS = re.compile(
    r"\s*(?:$|[.,;:!?)\]/&|–—-]|\([^()]{1,80}\)\s*(?:[.!,;]|$)|(?:rather\sthan|instead\sof|because|since|as|and|or|for|which|with|given|based|due|by|while|not)\b)"
)
_ENDS_SMALL = re.compile(r"\s*(?:$|[.!?;](?:\s|$))")
_PROVIDED = re.compile(r",?\s(?:only\s)?(?:if|unless|provided|assuming)\b")
_ANOTHER = re.compile(
    r"\s*(?:,\s?(?:and|or)?|and|or|/|&|\+)\s?(?:option\s)?"
    r"(?:[(\[]([A-J])[)\]]|([A-J])\b(?=\s*(?:$|[.,;)/&]|and\b|or\b|are\b)))"
)


class _Reader:
    """Reads letters among the options of one problem."""

    def __init__(self, options: Sequence[str]) -> None:
        self.letters = LETTERS[: len(options)]
        self.options = tuple(_plain(option) for option in options)

    # -- phrases --

    def phrase(self, said: str, cut: bool = False) -> str | None:
        """The letter or letters that a phrase begins with, else the letter of the option that it equals.

        `cut`: the text broke off at the end of the phrase.
        """
        said = " ".join(_MARKUP.sub(" ", said).split())
        rest = said[_WORDS_BEFORE.match(said).end() :]  # pyright: ignore[reportOptionalMemberAccess] -- it may be empty
        letters = self._letter(rest, cut)
        return letters or (None if cut else self.of_option(said) or self.of_option(_first_sentence(said)))

    def _letter(self, rest: str, cut: bool) -> str | None:
        if bracketed := _BRACKETED.match(rest):
            letter, end = (bracketed.group(1) or bracketed.group(2)).upper(), bracketed.end()
        elif (bare := _BARE.match(rest)) and self._is_letter(bare.group(1), rest[bare.end() :], cut):
            letter, end = bare.group(1).upper(), bare.end()
        else:
            return None
        if letter not in self.letters or _PROVIDED.match(rest, end):
            return None
        letters = [letter]
        while another := _ANOTHER.match(rest, end):
            letters.append(another.group(1) or another.group(2))
            end = another.end()
        return ", ".join(dict.fromkeys(letters))

    def _is_letter(self, letter: str, after: str, cut: bool) -> bool:
        """Whether a letter without brackets is one, by what stands after it."""
        if cut and not after:
            return False
        if letter.islower():
            return letter not in "ai" and _ENDS_SMALL.match(after) is not None
        if letter in self.letters and after.strip() and _plain(after) == self.options[self.letters.index(letter)]:
            return True
        return _ENDS.match(after) is not None

    def of_option(self, said: str) -> str | None:
        """The letter of the one option that the text equals."""
        plain = _plain(said)
        return self.letters[self.options.index(plain)] if plain and self.options.count(plain) == 1 else None

    # -- the rules --

    def boxed(self, text: str) -> str | None:
        content = last_boxed(text)
        if content is None:
            return None
        alone = re.fullmatch(r"[\s(\[]*([A-Ja-j])[\s)\].,:]*", _MARKUP.sub(" ", content))
        if alone and alone.group(1).upper() in self.letters:
            return alone.group(1).upper()
        return self.phrase(content)

    def answer_is(self, text: str, complete: bool) -> str | None:
        letters, last = None, 0
        for start, said in _announced(text):
            last = start
            at_end = start + len(said) >= len(text)
            letters = self.phrase(said, cut=at_end and not complete and text[-1].isalnum()) or letters
        corrected = _CORRECTED.search(text, last) if letters and complete else None
        return (self.conclusion(text[corrected.start() :]) if corrected else None) or letters

    def conclusion(self, text: str) -> str | None:
        letters = None
        for cue in _CONCLUDING.finditer(text):
            if _is_conditional(text, cue.start()):
                continue
            said = " ".join(_MARKUP.sub(" ", text[cue.end() : cue.end() + _WINDOW].split("\n")[0]).split())
            stated = _CONCLUDED.match(said)
            letter = (stated.group(1) or stated.group(2)) if stated else None
            if letter and letter in self.letters:
                letters = letter
        return self._called_correct(text) or letters

    def _called_correct(self, text: str) -> str | None:
        """The letter of "B is correct" at the end of the text, if no other letter is called so."""
        plain = _MARKUP.sub("", text).rstrip(" .!\n")
        called = list(_CALLED_CORRECT.finditer(plain))
        if not called or called[-1].end() < len(plain) or _is_conditional(plain, called[-1].start()):
            return None
        letter = called[-1].group(1) or called[-1].group(2)
        others = {said.group(1) or said.group(2) for said in called} - {letter}
        return letter if letter in self.letters and not others else None

    def letter_line(self, text: str, complete: bool) -> str | None:
        lines = [(line.group(1) or line.group(2), line.end()) for line in _LETTER_LINE.finditer(text)]
        lines = [(letter.upper(), end) for letter, end in lines if letter.upper() in self.letters]
        if not lines or (not complete and lines[-1][1] >= len(text) and text[-1].isalnum()):
            return None
        letter, end = lines[-1]
        # Letters on lines of their own may be the options, retold.
        return letter if len({letter for letter, _ in lines}) == 1 or not text[end:].strip() else None

    def option_line(self, text: str) -> str | None:
        lines = [self._option_of(line) for line in text.splitlines() if line.strip()]
        if not lines or lines[-1] is None:
            return None
        return lines[-1] if {line for line in lines if line} == {lines[-1]} else None

    def _option_of(self, line: str) -> str | None:
        if len(line) > 2 * _WINDOW:
            return None
        listed = _LISTED.match(line)
        if listed and listed.group(1) in self.letters:
            matches = _plain(line[listed.end() :]) == self.options[self.letters.index(listed.group(1))]
            return listed.group(1) if matches and self.options[self.letters.index(listed.group(1))] else None
        return self.of_option(line)

    def first_letter(self, text: str) -> str | None:
        if (given := _GIVEN_FIRST.match(text.strip())) and given.group(1) in self.letters:
            return given.group(1)
        listed = [line.group(1) for line in map(_LISTED.match, text.strip().splitlines()[:200]) if line]
        first = _LISTED.match(text.strip())
        if first is None or first.group(1) not in self.letters or first.group(1) == "I":
            return None
        if _CALLED_WRONG.match(text.strip(), first.end()):
            return None
        return first.group(1) if set(listed) == {first.group(1)} else None

    def last_mention(self, text: str) -> str | None:
        mentioned, end = None, 0
        for mention in _MENTION.finditer(text):
            if mention.start() < end:
                continue
            letter = mention.group(1) or mention.group(2)
            ruled_out = _RULED_OUT.search(text, max(mention.start() - 40, 0), mention.start())
            if letter not in self.letters or ruled_out or _CALLED_WRONG.match(text, mention.end()):
                continue
            if _is_conditional(text, mention.start()) or _PROVIDED.match(text, mention.end()):
                continue
            letters, end = [letter], mention.end()
            while another := _ANOTHER.match(text, end):  # (A) or (D) is no choice
                letters.append(another.group(1) or another.group(2))
                end = another.end()
            mentioned = ", ".join(dict.fromkeys(letters))
        return mentioned


_CUE = re.compile(
    r"\banswer\sis(?:n['’]t|\snot)\s[(\[]?[A-J][)\]]?,?\s(?:but|it['’]s|it\sis)\b(?:\srather)?\s{0,3}"
    r"|(?:^|\n)[\s*#>]{0,5}(?:(?:my|final)\s)?(?:ans|choice|option|conclusion|selection)\b[*_.]{0,3}\s{0,3}[:=]"
    r"|\banswer\s[-–—]\s"
    r"|\banswer\b[\"*_]{0,3}(?:\s(?:choice|option|letter))?(?:\sto\s[^.\n:]{1,60}?)?[*_]{0,2}\s{0,3}"
    r"(?:\b(?:is|must\sbe|should\sbe|has\sto\sbe|will\sbe)\b(?:\s(?:most\s)?(?:likely|probably|therefore|thus|clearly|hence))?"
    r"\s{0,3}:?|[:=→])"
    r"|<answer>\s{0,3}"
    r"|\b(?:correct|right|best|final|remaining)\s(?:option|choice|letter|one)\s{0,3}(?:is\b\s{0,3}:?|:)"
    r"|\b(?:choose|pick|select|go\swith|going\swith)\b",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"(?:\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s(?:\(([A-J])\)|([A-J]))|(?<!\w)\(([A-J])\)|(?<![\w.])([A-J]))[*_]{0,2}\s"
    r"is\s(?:therefore\s|thus\s|clearly\s)?(the\s)?"
    r"(?:(?:correct|right|best|true)(?:\s(answer|option|choice|one))?|(?<=the\s)(answer))\b"
)


def _announced(text: str) -> Iterator[tuple[int, str]]:
    """Where something is announced as the answer, and the phrase that begins there, in the order of the text."""
    announced = [
        (cue.end(), _phrase_at(text, cue.end()).split("</answer>")[0])
        for cue in _CUE.finditer(text)
        if not _is_withheld(text, cue)
    ]
    for said in _CORRECT.finditer(text):
        letter = next(group for group in said.groups()[:4] if group)
        # A bare "C is correct" may be statement C, or point C; "C is the correct answer" is not.
        named = said.group(4) is None or (said.group(5) and (said.group(6) or said.group(7)))
        if named and not _is_conditional(text, said.start()):
            announced.append((said.start(), f"({letter})"))
    return iter(sorted(announced))


_OPPOSED = re.compile(
    r"(?:\b(?:not|never|cannot|avoid)|n['’]t)\s(?:\w+\s)?$|\b(?:wrong|incorrect|false|worst|(?:least|un)\s?likely)\s$",
    re.IGNORECASE,
)
_PREFERENCE = re.compile(r"\b(?:i|we)(?:\swould|['’]d)\s(?:\w+\s)?$", re.IGNORECASE)


def _is_withheld(text: str, cue: re.Match[str]) -> bool:
    """Whether an announcement is negated, or made under a condition; "I would choose" is none by itself."""
    before = max(0, cue.start() - 30)
    if _OPPOSED.search(text, before, cue.start()):
        return True
    preference = _PREFERENCE.search(text, before, cue.start())
    return _is_conditional(text, preference.start() if preference else cue.start())


_CONCLUDING = re.compile(
    r"\b(?:thus|therefore|hence|so|consequently|in\sconclusion|by\s(?:the\s)?process\sof\selimination|(?:most\s)?likely|probably|by\selimination|(?:which|that|this)\sleaves|leaving|"
    r"left\swith|it\s(?:is|must\sbe|has\sto\sbe)|it['’]s|that['’]s|this\sis|i(?:['’]ll|['’]d|\swill|\swould)?\s(?:say|guess|take)|"
    r"my\s(?:choice|pick|guess)\sis|correct:|final:)\b(?:[\s,:]{1,3}(?:it['’]s|it\sis|must\sbe|only|option|choice|letter|statement|"
    r"just|clearly|simply|definitely|the\sanswer\sis|we\s(?:choose|pick|select))\b){0,2}[\s,:]{0,3}",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(
    r"(?:(?:option|choice)\s)?(?:[(\[]([A-J])[)\]]|([A-J])\)?)(?:\s*(?:$|[.!;](?=\s|$))|,?\s(?:because|since|given|based|due|by\selimination)\b"
    r"|\sis\s(?:therefore\s|thus\s|clearly\s)?(?:the\s)?(?:correct|right|best|only|answer)\b"
    r"|,\s(?!(?:and|or)\b|[(\[]?[A-J]\b))"
)
_CALLED_CORRECT = re.compile(
    r"(?<!\w)(?<!(?i:and|int|ent|.or)\s)(?:\(([A-J])\)|\[?([A-J])\]?)\s(?:(?:is|must\sbe)\s(?:also\s)?(?:correct|right|left)|remains)\b"
)
_CORRECTED = re.compile(
    r"\b(?:actually|wait|no|correction|sorry|oops|scratch\sthat|on\ssecond\sthought)\b", re.IGNORECASE
)
_CLAUSE_END = re.compile(r"[.!?;\n]|,\s(?:but|so|thus|however|hence|therefore)\b", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:would|could|might|may|wouldn['’]t|suppose|supposing|assume|assuming|unless|whether)\b"
    r"|(?:^\W*|[:,]\s|\b(?:but|and|so|now|then|even|only)\b,?\s)(?:if|had|were)\b",
    re.IGNORECASE,
)


def _is_conditional(text: str, at: int) -> bool:
    """Whether what is said at a place holds only under a condition that its clause names before it."""
    before = text[max(0, at - 200) : at]
    start = max((end.end() for end in _CLAUSE_END.finditer(before)), default=0)
    return _CONDITION.search(before[start:]) is not None


def _phrase_at(text: str, start: int) -> str:
    """The rest of the line, or the next line where the announcement ends its own."""
    line = text[start : start + _WINDOW]
    lead = len(line) - len(line.lstrip(" \t\r\n:*_`"))
    return line[:lead] + line[lead:].split("\n", 1)[0]


_LETTER_LINE = re.compile(
    r"^[ \t>#*_`$\"“”']{0,10}(?:[(\[]([A-Ja-j])[)\]]|([A-Ja-j]))[ \t*_`$.\"“”']{0,10}$", re.MULTILINE
)
_LISTED = re.compile(r"[ \t>#*_`-]{0,10}\(?([A-J])(?:\)|[.:](?=\s|\*))[*_`]{0,2}\s*(?=\S)")
_GIVEN_FIRST = re.compile(r"\W{0,4}([A-J])\W{0,4}\s(?:because|since)\b")
_MENTION = re.compile(r"(?<![\w)])\(([A-J])\)|\b(?:option|choice|Option|Choice)\s\(?([A-J])\b\)?")
_CALLED_WRONG = re.compile(
    r"\s?(?:is|are|was|can|could|does|do|would|must)\b[^.\n]{0,30}?"
    r"(?:\bnot\b|n't|n’t|\bwrong\b|\bincorrect\b|\bfalse\b|\bout\b|\beliminated\b)"
    r"|\s?(?:cannot|isn|doesn|can't)"
)
_RULED_OUT = re.compile(
    r"(?:\b(?:rul(?:e|es|ed|ing) out|eliminat(?:e|es|ed|ing)|exclud\w+|reject\w*|not|"
    r"consider\w*|examin\w+|look\w* at|check\w*|analy[sz]\w+|evaluat\w+|try|trying|compar\w+)|n't|n’t)(?: \w+)?\W{0,2}$"
)
_SENTENCE = re.compile(r"[.;](?=\s|$)|\s(?:because|since)\b")


def _first_sentence(said: str) -> str:
    end = _SENTENCE.search(said)
    return said[: end.start()] if end else said


def _plain(text: str) -> str:
    """The form under which an option and its quotation are the same."""
    return canonical_answer(" ".join(_MARKUP.sub(" ", text).split()).rstrip(".")).casefold()
