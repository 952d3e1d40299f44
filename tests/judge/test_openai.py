"""The option: bad fields are named, a key is never shown, and what shapes an answer is its identity."""

from dataclasses import replace
from typing import Any

import pytest

from reasoning_lab.judge.openai import OpenAI

KEY = "sk-planted-0123456789abcdef"
BASE = OpenAI(
    base_url="http://127.0.0.1:1/v1", model="m", api_key_env=None, temperature=1.0, max_tokens=100,
    length_parameter="max_completion_tokens", extra={}, concurrency=4, timeout_s=5.0, retries=2, first_wait_s=0.01,
    longest_wait_s=2.0, price_input=None, price_output=None, cap_dollars=None, cap_tokens=10**6,
)  # fmt: skip


def test_a_missing_key_is_an_error_elsewhere_and_fine_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for url in ("http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:8000/v1"):
        replace(BASE, base_url=url, api_key_env="NO_SUCH_KEY").check()
    replace(BASE, base_url="https://example.org/v1", api_key_env=None).check()
    with pytest.raises(ValueError, match=r"^judge\.api_key_env=NO_SUCH_KEY: no key is set there; export NO_SUCH_KEY"):
        replace(BASE, base_url="https://example.org/v1", api_key_env="NO_SUCH_KEY").check()


def test_a_key_with_a_line_break_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", KEY + "\nX-Other: header")
    with pytest.raises(ValueError, match=r"^judge\.api_key_env=PLANTED: the variable's value has characters") as caught:
        replace(BASE, api_key_env="PLANTED").check()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": "api.example.org/v1"}, "base_url=api.example.org/v1: must be http://HOST... or https://HOST"),
        ({"model": " "}, "model=' ': must be a model's name"),
        ({"concurrency": 0}, "concurrency=0: must be a whole number of at least 1"),
        ({"max_tokens": 0}, "max_tokens=0: must be a whole number of at least 1"),
        ({"retries": -1}, "retries=-1: must be at least 0"),
        ({"timeout_s": 0.0}, "timeout_s=0.0: must be above 0"),
        ({"temperature": -1.0}, "temperature=-1.0: must be at least 0"),
        ({"extra": {"stream": True}}, "extra=stream: must be parameters without a field of their own"),
        ({"cap_dollars": 1.0}, "cap_dollars=1.0: must be null exactly where cap_tokens="),
        ({"cap_tokens": None}, "cap_dollars=None: must be null exactly where cap_tokens=None is not"),
        (
            {"cap_dollars": 1.0, "cap_tokens": None},
            "cap_dollars=1.0: must be null where price_input=None or price_output=None is",
        ),
        ({"price_input": -1.0}, "price_input=-1.0: must be at least 0"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        replace(BASE, **change)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "change",
    [{"api_key_env": KEY}, {"base_url": f"https://user:{KEY}@host/v1"}, {"base_url": f"https://h/v1?key={KEY}"}],
)
def test_a_key_in_the_wrong_place_is_refused_unseen(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        replace(BASE, **change)
    assert KEY not in str(caught.value) and "environment variable" in str(caught.value)


def test_a_limited_option_differs_in_the_length_of_replies_alone() -> None:
    assert BASE.limited(7) == replace(BASE, max_tokens=7) and type(BASE.limited(7)) is type(BASE)


def test_what_determines_an_answer_is_the_identity() -> None:
    same = [{"retries": 9}, {"concurrency": 1}, {"timeout_s": 1.0}, {"cap_tokens": 7}, {"api_key_env": "X"}]
    assert all(replace(BASE, **change).identity() == BASE.identity() for change in same)
    others = [
        {"model": "n"},
        {"temperature": None},
        {"max_tokens": 7},
        {"extra": {"seed": 1}},
        {"base_url": "http://h/v1"},
    ]
    assert all(replace(BASE, **change).identity() != BASE.identity() for change in others)
