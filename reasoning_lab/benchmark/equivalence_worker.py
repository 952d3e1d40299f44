"""The process that compares two answers with math-verify, and may be killed at any time.

It is run by its path, answers one line of JSON per line of JSON, and knows nothing of the rest of the program.
"""

import contextlib
import json
import os
import resource
import signal
import sys
from typing import TextIO

MAX_MEMORY = 4 * 2**30
"""Address space of the process [bytes]: towers of powers fail here instead of taking the machine along."""


def judge(gold: str, answer: str) -> tuple[str, str]:
    r"""(verdict, means) of math-verify, the gold first, for it is not symmetric (1/3 accepts 0.3333333).

    Both go in as ``$…$``: of bare LaTeX it misreads one MATH500 answer in five. Its own time limits are off: they use
    SIGALRM, give up silently, and say "wrong" for "not finished"; the parent kills this process instead.
    """
    from math_verify import parse, verify

    parsed_gold, parsed = (parse(f"${_inline(text)}$", parsing_timeout=0) for text in (gold, answer))
    if all(isinstance(item, str) for item in parsed):  # nothing, or the bare text alone: not read as mathematics
        return "ungradable", "not understood"
    if all(isinstance(item, str) for item in parsed_gold):
        return "ungradable", "gold not understood"
    equal = verify(parsed_gold, parsed, timeout_seconds=0)
    return ("correct" if equal else "wrong"), "math-verify"


def _inline(text: str) -> str:
    """On one line and without dollars that would end the formula early."""
    text = " ".join(text.split())
    return text.replace("\\$", " ").replace("$", " ").strip()


def serve(replies: TextIO) -> None:
    """Answer requests {"gold", "answer", "orphan_s"} until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        # Should the parent be gone, nobody kills a hanging comparison: the kernel's alarm does, in C code too.
        signal.alarm(request["orphan_s"])
        try:
            verdict, means = judge(request["gold"], request["answer"])
        except Exception as error:  # sympy raises anything on odd input
            verdict, means = "ungradable", f"math-verify failed ({type(error).__name__})"
        signal.alarm(0)
        print(json.dumps({"verdict": verdict, "means": means}), file=replies, flush=True)


def main() -> None:
    """Say that the process is ready, or why it can't be, then serve."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for a reply
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    try:
        import logging

        import math_verify

        logging.disable(logging.CRITICAL)
        ready: dict[str, str] = {"ready": math_verify.__name__}
    except ImportError as error:
        ready = {"error": str(error)}
    print(json.dumps(ready), file=replies, flush=True)
    if "error" not in ready:
        serve(replies)


if __name__ == "__main__":
    main()
