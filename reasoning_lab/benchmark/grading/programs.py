r"""Pull the program out of a text that continues or answers a code prompt.

The rules, in the order in which they are tried:

1. fenced        the last block between lines of ``` that defines the function asked for; one that is not closed counts
2. continuation  a text that begins indented, or reads as a body whose indent was stripped, goes on with the prompt's
                 function, up to the next top-level statement
3. definition    the first `def` of the function asked for at the beginning of a line, with imports and decorators right
                 above it, up to the next top-level statement
4. fenced body   the last block between lines of ``` that reads as a body, whatever became of its indent

A text reads as a body if Python reads it under a `def` and it returns or yields, which no module does. One that begins
indented and does not read as one (prose after a blank) leaves the word to rules 3 and 4 where a block does. A text to
which none applies has no code. Lines may end in LF, CRLF or CR.

The cut of rule 2 stands in for the stop strings of Chen et al. 2021 (§4.2: "\nclass", "\ndef", "\n#", "\nif",
"\nprint"), but knows strings and brackets, and lets comments be. Karan & Du's code takes the fenced block, else the
`def`, too; which block, it does not say.

All rules take time linear in the text.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

ProgramRule = Literal["fenced", "continuation", "definition", "fenced body"]

INDENT = "    "
MAX_PARSED_CHARS = 20_000
"""Longer programs vote as they are written, and read as no body [characters]; the longest canonical solution of
HumanEval has 864."""


class Program(NamedTuple):
    """A program as it stands in the text."""

    code: str
    rule: ProgramRule

    @property
    def is_body(self) -> bool:
        """Whether it goes on with the prompt's function rather than defining one."""
        return self.rule in ("continuation", "fenced body")


def extract_program(text: str, function: str | None = None) -> Program | None:
    """The program in the text and the rule that found it, or None; `function`: its name, None for any."""
    text = _lines_ended(text)
    name = re.escape(function) if function else r"\w+"
    pattern = re.compile(rf"^(?:async[ \t]+)?def[ \t]+{name}[ \t]*\(", re.MULTILINE)
    blocks = fenced_blocks(text)
    defining = [block for block in map(textwrap.dedent, blocks) if pattern.search(block)]
    if defining:
        return Program(defining[-1], "fenced")
    body, fenced = as_body(text), next(filter(None, map(restored_body, reversed(blocks))), None)
    if body is not None and (fenced is None or _reads_as_body(body)):
        return Program(body, "continuation")
    if body is None and (body := restored_body(text)) is not None:
        return Program(body, "continuation")
    if (definition := pattern.search(text)) is not None:
        bracket = definition.end() - 1
        return Program(text[_with_head(text, definition.start()) : bracket] + cut(text[bracket:]), "definition")
    return None if fenced is None else Program(fenced, "fenced body")


def _lines_ended(text: str) -> str:
    """The text with lines that end as Python's own do."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


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

    Where the first line has fewer than four blanks, the body is moved to four if it then reads as one; else that line
    alone gets four: tokenizers of the SentencePiece kind drop a text's first blank.
    """
    first = _FIRST_STATEMENT.match(text)
    if first is None or not first.group(1):
        return None
    if len(first.group(1)) < 4 and "\t" not in first.group(1):
        moved = restored_body(text)
        if moved is not None:
            return moved
        text = text[: first.start(1)] + INDENT + text[first.end(1) :]
    return cut(text)


def restored_body(text: str) -> str | None:
    """The text as a body at four blanks, whatever became of its indent; None if it does not read as one.

    Read as it stands (moved as a whole), else as a text whose first line lost the indent that the others have: that of
    the shallowest, or four blanks where all others are nested.
    """
    first = _FIRST_STATEMENT.match(text)
    if first is None:
        return None
    indent, rest = first.group(1), text[first.end(1) :]
    body = cut(rest)
    shallowest = min((body[start:end] for start, end in _indents(body)), key=len, default="")
    for lines, base in ((body if indent else rest, indent), (body, shallowest), (body, INDENT)):
        moved = text[: first.start(1)] + _moved(lines, base)
        if _reads_as_body(moved):
            return moved
    return None


def _moved(lines: str, base: str) -> str:
    """Lines, the first without its indent, with four blanks in place of the others' indent `base`."""
    starts = [start for start, _ in _indents(lines)]
    parts = [lines[start:end] for start, end in zip([0, *starts], [*starts, len(lines)], strict=True)]
    return INDENT + parts[0] + "".join(INDENT + p[len(base) :] if p.startswith(base) else p for p in parts[1:])


def _reads_as_body(body: str) -> bool:
    """Whether Python reads it under a `def`, and it returns or yields itself, not only in a function of its own."""
    if len(body) > MAX_PARSED_CHARS:
        return False
    with suppress(*_UNREADABLE):
        function, *others = _parsed(f"def function():\n{body}").body
        return not others and any(map(_returns, ast.iter_child_nodes(function)))
    return False


def _returns(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return False
    return isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) or any(map(_returns, ast.iter_child_nodes(node)))


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def _parsed(code: str) -> ast.Module:
    """What Python reads; one of `_UNREADABLE` where it can't."""
    with warnings.catch_warnings():  # of escapes that Python does not know
        warnings.simplefilter("ignore")
        return ast.parse(code)


_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''(?:\\.|[^\\])*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*"?'
    r"|'(?:\\.|[^'\\\n])*'?"
    r"|\#[^\n]*"
    r"|[()\[\]{}]"
    r"|\\\n"
    r"|\n[ \t]*+(?=[^\s\#])",
    re.DOTALL,
)
"""What decides where a line of Python begins: strings and comments, brackets, joined lines, the break itself."""


def _indents(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the indent of each logical line but the first; strings and brackets may hold breaks."""
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in ("(", "[", "{"):
            depth += 1
        elif mark in (")", "]", "}"):
            depth = max(0, depth - 1)
        elif mark.startswith("\n") and depth == 0:
            yield token.start() + 1, token.end()


def cut(text: str) -> str:
    """The text up to the first line that begins a new top-level statement; strings and brackets may hold such lines."""
    return text[: next((start for start, end in _indents(text) if start == end), len(text))]


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
    code = _lines_ended(code)
    body = as_body(code)
    if len(code) <= MAX_PARSED_CHARS:
        with suppress(*_UNREADABLE):
            return ast.unparse(_parsed(code if body is None else f"def function():\n{body}"))
    return (body or code).strip()
