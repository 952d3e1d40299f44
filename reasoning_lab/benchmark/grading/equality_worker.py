"""The process that compares two answers by their types or with sympy, within a limit of CPU time.

It answers one line of JSON per line of JSON, and knows of the rest of the program what compares alone. A child
does the work, and the kernel ends it at the limit, in C code too; its parent, which has the libraries loaded, says so
and forks the next one. CPU time and not the clock: the verdict on an answer does not depend on what else the machine
does.
"""

import contextlib
import json
import os
import re
import resource
import signal
import sys
from typing import Any, TextIO

from reasoning_lab.benchmark.grading.comparison import equal
from reasoning_lab.benchmark.grading.reading import read
from reasoning_lab.benchmark.grading.values import TooLarge

MAX_MEMORY = 4 * 2**30
"""Address space of the process [bytes]: towers of powers fail here instead of taking the machine along."""


def by_types(gold: str, answer: str) -> tuple[str, str]:
    """(verdict, means) of the comparison by types."""
    ours, theirs = read(gold), read(answer)
    if ours is None or theirs is None:
        return "ungradable", "not understood"
    try:
        return ("correct" if equal(ours, theirs) else "wrong"), "types"
    except TooLarge:
        return "ungradable", "too large to compute"
    except RecursionError:
        return "ungradable", "nested too deep"


# --- the difference, for the authors' rule --------------------------------------------------------------------

_TOKEN = re.compile(r"\s+|\d+\.?\d*|\.\d+|[a-zα-ω]+|[-+*/^()]")
_FUNCTIONS = ("sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "asin", "acos", "atan")
_WORD = re.compile("|".join((*sorted(_FUNCTIONS, key=len, reverse=True), "pi", "inf", "[a-zα-ω]")))
MAX_LETTERS = 2
"""Different letters that the authors' rule puts up with, those of sin and pi counted too, those of sqrt not."""


def by_difference(gold: str, answer: str) -> tuple[str, str]:
    """(verdict, means) of sympy's gold - answer, both in plain notation: numbers, letters, functions, + - * / ^ ( ).

    What has other characters, more than two different letters, or a power that the authors' rule refuses (of a bracket,
    or of two digits) is "wrong", as there.
    """
    both = f"({gold})-({answer})"
    letters = {letter for letter in both.replace("sqrt", "").replace("frac", "") if letter.isalpha()}
    if len(letters) > MAX_LETTERS or re.search(r"\^\(|\^[0-9]+\^|\^[0-9][0-9]+", both):
        return "wrong", "not compared"
    try:
        left, right = _parsed(gold), _parsed(answer)
    except Exception:  # the parser raises anything on odd input
        return "wrong", "not read"
    from sympy import simplify

    return ("correct" if simplify(left - right) == 0 else "wrong"), "difference"


def _parsed(text: str) -> Any:
    """The expression. Sympy's parser ends in Python's `eval`, so that only tokens which mean no more than mathematics
    reach it: letters alone are symbols, and there are no names but the listed ones."""
    import sympy
    from sympy.parsing import sympy_parser as parser

    tokens, end = [], 0
    for token in _TOKEN.finditer(text):
        if token.start() != end:
            raise ValueError(f"{text[end]!r} is no part of an expression")
        tokens += _WORD.findall(token.group()) if token.group().isalpha() else [token.group()]
        end = token.end()
    if end != len(text):
        raise ValueError(f"{text[end]!r} is no part of an expression")
    names = {name: getattr(sympy, name) for name in (*_FUNCTIONS, "pi")} | {"inf": sympy.oo}
    names |= {letter: sympy.Symbol(letter) for letter in "abcdefghijklmnopqrstuvwxyzαβγδεζηθικλμνξοπρστυφχψω"}
    safe = {"__builtins__": {}} | {name: getattr(sympy, name) for name in ("Integer", "Float", "Rational", "Symbol")}
    rules = (*parser.standard_transformations, parser.convert_xor, parser.implicit_multiplication)
    return parser.parse_expr(" ".join(tokens), local_dict=names, global_dict=safe, transformations=rules)


def answer_questions(replies: TextIO) -> None:
    """Answer requests {"gold", "answer", "means", "limit_s"} until stdin ends."""
    by = {"types": by_types, "difference": by_difference}
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["limit_s"])
        try:
            verdict, means = by[request["means"]](request["gold"], request["answer"])
        except Exception as error:  # sympy raises anything on odd input
            verdict, means = "ungradable", f"{request['means']} failed ({type(error).__name__})"
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"verdict": verdict, "means": means}), file=replies, flush=True)


def answer_by_children(replies: TextIO) -> None:
    """Let one child after the other answer, and answer for one that the limit ended.

    The timer runs from a question to its answer alone, so there is a question to be answered. What ends a child in any
    other way may come between two questions: this process then ends too, for a reply too many would be taken for the
    next one's.
    """
    while True:
        if not (child := os.fork()):
            answer_questions(replies)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGPROF:
            return
        print(json.dumps({"verdict": "timeout", "means": "time limit"}), file=replies, flush=True)


def run_worker() -> None:
    """Say that the process is ready, or why it can't be, then answer."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for a reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    try:
        by_difference("x+1", "1+x")  # what the libraries load at their first use is on no comparison's account
        by_types("x+1", "\\sin{x}+1")
        ready: dict[str, str] = {"ready": "yes"}
    except ImportError as error:
        ready = {"error": str(error)}
    print(json.dumps(ready), file=replies, flush=True)
    if "error" not in ready:
        answer_by_children(replies)


if __name__ == "__main__":
    run_worker()
