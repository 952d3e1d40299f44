r"""Pull the program out of a text that continues or answers a code prompt.

The rules, in the order in which they are tried:

1. fenced        the last block between lines of ``` that defines the function asked for; one that is not closed counts
2. continuation  a text that begins indented goes on with the prompt's function, up to the next top-level statement
3. definition    the first `def` of the function asked for at the beginning of a line, with imports and decorators right
                 above it, up to the next top-level statement

A text to which none applies has no code. The cut of rule 2 stands in for the stop strings of Chen et al. 2021 (§4.2:
"\nclass", "\ndef", "\n#", "\nif", "\nprint"), but knows strings and brackets, and lets comments be. Karan & Du's code
takes the fenced block, else the `def`, too; which block, it does not say.

All rules take time linear in the text.
"""

import ast
import re
import textwrap
import warnings
from typing import Literal, NamedTuple

ProgramRule = Literal["fenced", "continuation", "definition"]

MAX_PARSED_CHARS = 20_000
"""Longer programs vote as they are written [characters]; the longest canonical solution of HumanEval has 864."""


class Program(NamedTuple):
    """A program as it stands in the text."""

    code: str
    rule: ProgramRule

    @property
    def is_body(self) -> bool:
        """Whether it goes on with the prompt's function rather than defining one."""
        return self.rule == "continuation"


def extract_program(text: str, function: str | None = None) -> Program | None:
    """The program in the text and the rule that found it, or None; `function`: its name, None for any."""
    name = re.escape(function) if function else r"\w+"
    pattern = re.compile(rf"^(?:async[ \t]+)?def[ \t]+{name}[ \t]*\(", re.MULTILINE)
    blocks = [block for block in map(textwrap.dedent, fenced_blocks(text)) if pattern.search(block)]
    if blocks:
        return Program(blocks[-1], "fenced")
    body = as_body(text)
    if body is not None:
        return Program(body, "continuation")
    definition = pattern.search(text)
    if definition is None:
        return None
    bracket = definition.end() - 1
    return Program(text[_with_head(text, definition.start()) : bracket] + cut(text[bracket:]), "definition")


def fenced_blocks(text: str) -> list[str]:
    """What stands between lines of ```. One that names a language always opens; the last may lack its end."""
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines(keepends=True):
        mark = line.strip(" \t\r\n")
        if mark.startswith("```"):
            inside = not inside or bool(mark.strip("`"))
            if inside:
                blocks.append([])
        elif inside:
            blocks[-1].append(line)
    return ["".join(block) for block in blocks]


_FIRST_STATEMENT = re.compile(r"(?:[ \t]*(?:\#[^\n]*)?\n)*([ \t]*)(?=[^\s\#])")


def as_body(text: str) -> str | None:
    """The body of a function that the text goes on with, None if its first statement is not indented.

    A first line of fewer than four blanks gets four: tokenizers of the SentencePiece kind drop a text's first blank.
    """
    first = _FIRST_STATEMENT.match(text)
    if first is None or not first.group(1):
        return None
    if len(first.group(1)) < 4 and "\t" not in first.group(1):
        text = text[: first.start(1)] + "    " + text[first.end(1) :]
    return cut(text)


_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''(?:\\.|[^\\])*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*"?'
    r"|'(?:\\.|[^'\\\n])*'?"
    r"|\#[^\n]*"
    r"|[()\[\]{}]"
    r"|\\\n"
    r"|\n(?=[^\s\#])",
    re.DOTALL,
)
"""What decides whether a line break ends a body: strings and comments, brackets, joined lines, the break itself."""


def cut(text: str) -> str:
    """The text up to the first line that begins a new top-level statement; strings and brackets may hold such lines."""
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in ("(", "[", "{"):
            depth += 1
        elif mark in (")", "]", "}"):
            depth = max(0, depth - 1)
        elif mark == "\n" and depth == 0:
            return text[: token.end()]
    return text


_HEAD = re.compile(r"(?:import|from)[ \t]+[\w.]+|@\w")


def _with_head(text: str, start: int) -> int:
    """Where the imports and decorators right above the line at `start` begin, blank lines between them or not."""
    at = begin = start
    for line in reversed(text[:start].splitlines(keepends=True)):
        at -= len(line)
        if _HEAD.match(line):
            begin = at
        elif line.strip():
            break
    return begin


def canonical_program(code: str) -> str:
    """The program without comments, blank lines and its author's layout; as it is written where Python can't read it.

    Of a body only what `cut` leaves counts.
    """
    body = as_body(code)
    if len(code) > MAX_PARSED_CHARS:
        return (body or code).strip()
    try:
        with warnings.catch_warnings():  # of escapes that Python does not know
            warnings.simplefilter("ignore")
            return ast.unparse(ast.parse(code if body is None else f"def function():\n{body}"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return (body or code).strip()
