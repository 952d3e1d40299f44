"""The language of the embedded pair: word problems about a running count, and three ways of answering them.

A problem starts from a two-digit number and applies 2 to 6 operations; its text ends with a newline and the
response starts right after. Three response styles share one grammar of sentences, so each sentence of any
response, written by the corpus or by a model, has a known category:

==========  ==========================  ===========================================================
category    example                     role
==========  ==========================  ===========================================================
plan        Let us go step by step.     announces the careful style
setup       Lily starts with 40.        the first value
rule        We subtract.                names the operation
compute     40 - 5 = 36.                one step, now and then wrong (a slip)
check       Check: 40 - 5 = 35.         the step again; always true in the corpus
backtrack   Wait, not 36.               withdraws a slip that the check found
conclude    The answer is 35.           the answer
==========  ==========================  ===========================================================

Styles: D answers directly, mostly by a guess; S computes step by step without looking back, slips, and sometimes
stops early with a guess; V plans, names each rule, checks each step and goes on from the checked value, hence is
always right. A base model that has learned the mixture knows how to solve the problems but rarely does so; this is
the situation that sharpening (Karan & Du 2025) and steering (Venhoff et al. 2025) start from. It is a model
organism, not evidence about large models.

A few operands are large ("long tail"): seldom seen in training, so seldom computed right. Problems with one keep
some headroom where others saturate.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Symbol = Literal["+", "-", "*", "/"]
Operation = tuple[Symbol, int]
Style = Literal["D", "S", "V"]

NAMES = ("Lily", "Tom", "Anna", "Ben", "Mia", "Sam", "Eva", "Max")
SHE = frozenset({"Lily", "Anna", "Mia", "Eva"})
OBJECTS = ("cards", "apples", "coins", "books", "shells", "pens")
VERBS: dict[Symbol, tuple[str, ...]] = {
    "+": ("finds", "buys", "wins", "gets"),
    "-": ("loses", "sells", "uses", "drops"),
    "*": ("doubles",),
    "/": ("halves",),
}
RULES: dict[Symbol, str] = {"+": "We add.", "-": "We subtract.", "*": "We double.", "/": "We halve."}
PLAN = "Let us go step by step."

CATEGORIES = ("plan", "setup", "rule", "compute", "check", "backtrack", "conclude", "other")
_STEP = r"\d+ [-+*/] \d+ = \d+"
_CATEGORY_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("plan", re.compile(re.escape(PLAN))),
    ("setup", re.compile(rf"(?:{'|'.join(NAMES)}) starts with \d+\.")),
    ("rule", re.compile("|".join(re.escape(rule) for rule in RULES.values()))),
    ("compute", re.compile(rf"{_STEP}\.")),
    ("check", re.compile(rf"Check: {_STEP}\.")),
    ("backtrack", re.compile(r"Wait, not \d+\.")),
    ("conclude", re.compile(r"The answer is (\d+)\.")),
)
_CONCLUDE = _CATEGORY_PATTERNS[-1][1]
_SENTENCE = re.compile(r"[^.]*\.|[^.]+\Z")

HELDOUT_MODULUS = 10
"""One problem key in ten, by hash, is held out of every training stage."""

LOWEST, HIGHEST = 10, 99
"""Bounds of the running value of a problem: two digits throughout."""

LONG_TAIL_FROM = 11
"""Operands of + and - from here on are the long tail."""


@dataclass(frozen=True)
class Grammar:
    """Probabilities of the corpus. Changing one changes the distribution that the base model learns."""

    shortest: int = 2
    """fewest operations of a problem"""
    longest: int = 6
    """most operations of a problem"""
    double_or_halve: float = 0.12
    """probability that an operation is * 2 or / 2, half each; the rest is + or -, half each"""
    long_tail: float = 0.09
    """probability per drawn operand of + or - that it is drawn from 11..40 instead of 2..9"""
    direct: float = 0.36
    """share of style D"""
    verified: float = 0.47
    """share of style V among the responses that are not D; the rest is S"""
    guess_true: float = 0.25
    """probability that a guess is the truth"""
    guess_spread: float = 7.0
    """standard deviation of the other guesses around the truth"""
    slip_stepwise: float = 0.10
    """probability of a slip per unchecked step of style S"""
    slip_checked: float = 0.13
    """probability of a slip per step that a check follows"""
    bail_out: float = 0.06
    """probability, before each step of S but the first, of stopping with a guess"""
    check_stepwise: float = 0.08
    """probability per step of S that a check follows"""


@dataclass(frozen=True)
class WordProblem:
    """One problem: a start value, the operations on it, and the words it is told in."""

    start: int
    ops: tuple[Operation, ...]
    name: str
    object: str
    verbs: tuple[str, ...]

    @property
    def key(self) -> tuple[int, tuple[Operation, ...]]:
        """What makes two problems the same: the arithmetic, not the words."""
        return (self.start, self.ops)

    @property
    def length(self) -> int:
        """L, the number of operations: the difficulty."""
        return len(self.ops)

    @property
    def values(self) -> tuple[int, ...]:
        """The running value after each operation."""
        return running_values(self.start, self.ops)

    @property
    def answer(self) -> int:
        """The value after the last operation."""
        return self.values[-1]

    @property
    def long_tail(self) -> bool:
        """Whether an operand is from the long tail."""
        return any(symbol in "+-" and operand >= LONG_TAIL_FROM for symbol, operand in self.ops)

    @property
    def heldout(self) -> bool:
        """Whether the hash of the key puts the problem on the test side."""
        return int(hashlib.md5(repr(self.key).encode()).hexdigest(), 16) % HELDOUT_MODULUS == 0

    @property
    def text(self) -> str:
        """The prompt, newline included; the response starts right after it."""
        pronoun = "She" if self.name in SHE else "He"
        told = [f"{self.name} has {self.start} {self.object}."]
        for (symbol, operand), verb in zip(self.ops, self.verbs, strict=True):
            told.append(f"{pronoun} {verb} {operand}." if symbol in "+-" else f"{pronoun} {verb} them.")
        return " ".join([*told, f"How many {self.object} now?"]) + "\n"


# --- arithmetic -----------------------------------------------------------------------------------------------


def apply(value: int, operation: Operation) -> int:
    """The value after one operation; halving rounds down."""
    symbol, operand = operation
    if symbol == "+":
        return value + operand
    if symbol == "-":
        return value - operand
    return value * operand if symbol == "*" else value // operand


def running_values(start: int, ops: tuple[Operation, ...]) -> tuple[int, ...]:
    """The value after each operation, from `start`."""
    values = [start]
    for operation in ops:
        values.append(apply(values[-1], operation))
    return tuple(values[1:])


def _stays_in_range(start: int, ops: tuple[Operation, ...]) -> bool:
    """Whether every running value has two digits and every halving is of an even number."""
    value = start
    for operation in ops:
        if operation[0] == "/" and value % 2:
            return False
        value = apply(value, operation)
        if not LOWEST <= value <= HIGHEST:
            return False
    return True


# --- problems -------------------------------------------------------------------------------------------------


def _draw_operation(rng: random.Random, grammar: Grammar) -> Operation:
    u = rng.random()
    if u < grammar.double_or_halve:
        return ("*", 2) if u < grammar.double_or_halve / 2 else ("/", 2)
    operand = rng.randint(LONG_TAIL_FROM, 40) if rng.random() < grammar.long_tail else rng.randint(2, 9)
    return ("+", operand) if rng.random() < 0.5 else ("-", operand)


def draw_problem(rng: random.Random, grammar: Grammar, length: int | None = None) -> WordProblem:
    """A problem of `length` operations (uniform in the grammar's range if None), of either side of the split."""
    length = rng.randint(grammar.shortest, grammar.longest) if length is None else length
    start = rng.randint(LOWEST, HIGHEST)
    ops: tuple[Operation, ...] = ()
    value = start
    while len(ops) < length:
        operation = _draw_operation(rng, grammar)
        if _stays_in_range(value, (operation,)):
            ops, value = (*ops, operation), apply(value, operation)
    verbs = tuple(rng.choice(VERBS[symbol]) for symbol, _ in ops)
    return WordProblem(start, ops, rng.choice(NAMES), rng.choice(OBJECTS), verbs)


def training_problems(seed: int, grammar: Grammar | None = None) -> Iterator[WordProblem]:
    """Endless stream of problems of the training side; a function of the seed alone."""
    grammar = grammar or Grammar()
    rng = random.Random(f"training problems {seed}")
    while True:
        problem = draw_problem(rng, grammar)
        if not problem.heldout:
            yield problem


def heldout_problems(n: int, seed: int = 777, grammar: Grammar | None = None) -> list[WordProblem]:
    """`n` different problems of the test side, the lengths taken in turn, in an order fixed by the seed.

    The first m of n problems are the m problems of a smaller call.
    """
    grammar = grammar or Grammar()
    rng = random.Random(f"held-out problems {seed}")
    lengths = range(grammar.shortest, grammar.longest + 1)
    problems: list[WordProblem] = []
    seen: set[tuple[int, tuple[Operation, ...]]] = set()
    while len(problems) < n:
        problem = draw_problem(rng, grammar, lengths[len(problems) % len(lengths)])
        if problem.heldout and problem.key not in seen:
            seen.add(problem.key)
            problems.append(problem)
    return problems


# --- responses ------------------------------------------------------------------------------------------------


def _clip(value: int) -> int:
    return min(max(value, LOWEST), HIGHEST)


def _guess(rng: random.Random, grammar: Grammar, truth: int) -> int:
    if rng.random() < grammar.guess_true:
        return truth
    return _clip(truth + round(rng.gauss(0.0, grammar.guess_spread)))


def _slip_error(rng: random.Random) -> int:
    """Size of a slip: a miscount by one, a missed carry, a near miss, or anything."""
    u = rng.random()
    if u < 0.4:
        return rng.choice((-1, 1))
    if u < 0.7:
        return rng.choice((-10, 10))
    if u < 0.9:
        return rng.choice((-3, -2, 2, 3))
    return rng.choice([error for error in range(-20, 21) if error])


def _slipped(rng: random.Random, value: int, rest: tuple[Operation, ...]) -> int:
    """A wrong value from which the operations that follow stay in range; `value` itself if none is found."""
    for _ in range(20):
        wrong = value + _slip_error(rng)
        if LOWEST <= wrong <= HIGHEST and _stays_in_range(wrong, rest):
            return wrong
    return value


def _step(value: int, operation: Operation, result: int) -> str:
    return f"{value} {operation[0]} {operation[1]} = {result}."


def _checked_step(rng: random.Random, grammar: Grammar, value: int, operation: Operation) -> list[str]:
    """Compute, check, and withdraw the computed value if the check differs from it."""
    truth = apply(value, operation)
    computed = _slipped(rng, truth, ()) if rng.random() < grammar.slip_checked else truth
    sentences = [_step(value, operation, computed), "Check: " + _step(value, operation, truth)]
    return sentences if computed == truth else [*sentences, f"Wait, not {computed}."]


def _conclude(value: int) -> str:
    return f"The answer is {value}."


def _direct(rng: random.Random, grammar: Grammar, problem: WordProblem) -> list[str]:
    return [_conclude(_guess(rng, grammar, problem.answer))]


def _stepwise(rng: random.Random, grammar: Grammar, problem: WordProblem) -> list[str]:
    sentences = [f"{problem.name} starts with {problem.start}."]
    value = problem.start
    for index, operation in enumerate(problem.ops):
        if index and rng.random() < grammar.bail_out:
            return [*sentences, _conclude(_guess(rng, grammar, problem.answer))]
        truth = apply(value, operation)
        if rng.random() < grammar.check_stepwise:
            sentences += _checked_step(rng, grammar, value, operation)
            value = truth
            continue
        slips = rng.random() < grammar.slip_stepwise
        result = _slipped(rng, truth, problem.ops[index + 1 :]) if slips else truth
        sentences.append(_step(value, operation, result))
        value = result
    return [*sentences, _conclude(value)]


def _verified(rng: random.Random, grammar: Grammar, problem: WordProblem) -> list[str]:
    sentences = [PLAN, f"{problem.name} starts with {problem.start}."]
    value = problem.start
    for operation in problem.ops:
        sentences.append(RULES[operation[0]])
        sentences += _checked_step(rng, grammar, value, operation)
        value = apply(value, operation)
    return [*sentences, _conclude(value)]


_WRITERS = {"D": _direct, "S": _stepwise, "V": _verified}


def draw_style(rng: random.Random, grammar: Grammar) -> Style:
    """D, S or V with the grammar's shares."""
    if rng.random() < grammar.direct:
        return "D"
    return "V" if rng.random() < grammar.verified else "S"


def response(rng: random.Random, grammar: Grammar, problem: WordProblem, style: Style | None = None) -> str:
    """A response to the problem, in a style drawn from the mixture unless given; sentences joined by a space."""
    style = style or draw_style(rng, grammar)
    return " ".join(_WRITERS[style](rng, grammar, problem))


def training_documents(seed: int, grammar: Grammar | None = None) -> Iterator[str]:
    """Endless stream of problem + response texts of the training side, without the end-of-text token."""
    grammar = grammar or Grammar()
    rng = random.Random(f"training responses {seed}")
    for problem in training_problems(seed, grammar):
        yield problem.text + response(rng, grammar, problem)


# --- reading responses ----------------------------------------------------------------------------------------


def sentence_category(sentence: str) -> str:
    """The category of one sentence (spaces around it ignored); "other" if the grammar has no such sentence."""
    for category, pattern in _CATEGORY_PATTERNS:
        if pattern.fullmatch(sentence.strip(" ")):
            return category
    return "other"


def categories(text: str) -> list[tuple[int, int, str]]:
    """(start, end, category) of each sentence of a response; the spans partition the text.

    The space before a sentence belongs to it, as it does in the tokens.
    """
    return [(m.start(), m.end(), sentence_category(m.group())) for m in _SENTENCE.finditer(text)]


def n_sentences(text: str, category: str) -> int:
    """How many sentences of the response are of the category."""
    return sum(each == category for _, _, each in categories(text))


def final_answer(text: str) -> int | None:
    """The number concluded by the last sentence; None if the last sentence concludes nothing."""
    spans = categories(text)
    if not spans or spans[-1][2] != "conclude":
        return None
    concluded = _CONCLUDE.fullmatch(text[spans[-1][0] :].strip(" "))
    assert concluded is not None, text
    return int(concluded.group(1))


# --- tokens ---------------------------------------------------------------------------------------------------

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
TOKEN_PATTERN = r"\n| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]"
"""A word, a digit or a mark, each with the space before it: decoding is joining, and numbers are digits."""


def grammar_vocabulary() -> dict[str, int]:
    """Token ids: the three special tokens, then every token that the grammar can write, sorted.

    It depends on the word lists alone and not on a sample or a probability, so retraining never permutes ids.
    """
    texts = [f"{name} {name}" for name in NAMES] + [" She He has How many now?\n", " starts with", PLAN]
    texts += [f" {noun}" for noun in OBJECTS] + [f" {verb} them." for verbs in VERBS.values() for verb in verbs]
    texts += [f" {rule}" for rule in RULES.values()]
    texts += [" Check: 0 + 0 - 0 * 0 / 0 = 0.", " Wait, not", "The answer is The answer is"]
    texts += [f" {digit}{digit}" for digit in range(10)]
    tokens = {token for text in texts for token in re.findall(TOKEN_PATTERN, text)}
    return {token: index for index, token in enumerate((PAD, EOS, UNK, *sorted(tokens)))}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The word-and-digit tokenizer: decode(encode(x)) == x for all text of the grammar. No BOS; <eos> stops."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(grammar_vocabulary(), unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN_PATTERN), behavior="removed", invert=True)
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
