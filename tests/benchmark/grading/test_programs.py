"""Where the program is found in a text, and which programs count as one vote."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading.programs import (
    MAX_PARSED_CHARS,
    Program,
    as_body,
    canonical_program,
    cut,
    extract_program,
)
from tests.benchmark.test_contract import GOLDEN

TEXTS = json.loads((GOLDEN / "grading" / "programs.json").read_text(encoding="utf-8"))
"""Texts, and the code and rule that are found in them where the function is called f; written by hand."""


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case["name"])
def test_where_the_program_is_found(case: dict[str, str]) -> None:
    expected = Program(case["code"], case["rule"]) if case["code"] else None  # pyright: ignore[reportArgumentType]
    assert extract_program(case["text"], "f") == expected


def test_the_name_asked_for_decides_between_blocks() -> None:
    text = "```\ndef f():\n    return 1\n```\nTests:\n```\ndef test_f():\n    assert f()\n```"
    assert extract_program(text, "f") == Program("def f():\n    return 1\n", "fenced")
    assert extract_program(text) == Program("def test_f():\n    assert f()\n", "fenced")


@given(text=st.text("def f():\n\t '\"#([{}])\\`return1,", max_size=80))
@settings(max_examples=300, deadline=None)
def test_a_cut_ends_before_a_line_of_its_own_and_cutting_twice_changes_nothing(text: str) -> None:
    kept = cut(text)
    assert text.startswith(kept) and cut(kept) == kept
    assert kept == text or (kept.endswith("\n") and not text[len(kept)].isspace())
    body = as_body(text)
    assert body is None or as_body(body) == body


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["'''", '"', "(", "\\", "```\n", "def f(\n", "#", "    x = '''\n", " ", "\n", "@x\n"])
def test_any_page_is_read_in_linear_time(page: str) -> None:
    """Quadratic time would be hours here."""
    text = "    " + page * (400_000 // len(page))
    for variant in (text, text.lstrip(" "), "def f():\n" + text):
        extract_program(variant, "f")
        canonical_program(variant)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("    return 1\n", "    # one\n\n    return (1)", True),
        ("    return 'a'\n", '    return "a"\n', True),
        ("    return 1\n", "    return 2\n", False),
        ("def f():\n  return 1", "def f():\n    return 1  # one\n", True),
        ("def f():\n    return 1", "def g():\n    return 1", False),
        ("    return (\n", "    return (\n\n", True),
        ("    return 1\nprint(2)", "    return 1\nprint(3)", True),
        ("x" * (MAX_PARSED_CHARS + 1), "x" * (MAX_PARSED_CHARS + 2), False),
    ],
)
def test_programs_vote_without_comments_and_layout(one: str, other: str, same: bool) -> None:
    assert (canonical_program(one) == canonical_program(other)) == same


DEEP = [
    "-" * 19_000 + "1",
    "1" + "+1" * 9_000,
    "a" + ".a" * 9_000,
    "not " * 4_000 + "1",
    "(" * 19_000,
    "a" + "()" * 9_000,
]


@pytest.mark.parametrize("code", DEEP, ids=lambda code: code[:5])
def test_what_python_can_not_read_votes_as_it_is_written(code: str) -> None:
    assert canonical_program(code) == code
