"""Retry-After, bodies and error words, by hand."""

import email.utils
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.engine.client.http import BadReply, retry_after, server_words
from reasoning_lab.judge.client.completion import (
    ChatCompletion,
    most_prompt_tokens,
    read_completion,
)

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("nan", None), ("inf", None), ("0", 0.0), ("7", 7.0), ("1.5", 1.5),
        ("-3", 0.0), (email.utils.formatdate(NOW + 30, usegmt=True), 30.0), ("Tue, 14 Nov 2023 22:13:20 -0000", 0.0),
        ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0), (email.utils.formatdate(NOW - 99, usegmt=True), 0.0),
        ("Tue, 99 Nov 2023 22:13:20 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@settings(deadline=None)
@given(st.text())
def test_no_retry_after_raises(value: str) -> None:
    assert (retry_after(value, NOW) or 0.0) >= 0.0


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_no_body_is_a_completion_by_accident(body: bytes) -> None:
    with pytest.raises(BadReply):
        read_completion(body)
    assert len(server_words(body)) <= 200 and "\n" not in server_words(body)


def test_a_completion_is_its_first_choice() -> None:
    choice = {"message": {"content": "a\ud800b"}, "finish_reason": "length"}
    body = json.dumps({"choices": [choice, {}], "usage": {"prompt_tokens": 3, "completion_tokens": "4"}}).encode()
    assert read_completion(body) == ChatCompletion("a?b", True, 3, None)


def test_server_words() -> None:
    assert server_words(b'{"error": {"message": "no such\\nmodel", "code": 7}}') == "no such model"
    assert server_words(b'{"error": "down"}') == "down"
    assert server_words(b"<h1>\x1b[31mBad Gateway</h1>\n") == "<h1> [31mBad Gateway</h1>"


def test_prompts_are_bounded_by_their_bytes() -> None:
    from reasoning_lab.model_pair.pair import ModelSource
    from reasoning_lab.model_pair.reader import load_reader

    text = "Lily has 40 cards. 日本語 🙂"
    tokens = load_reader(ModelSource("package:embedded/base")).tokenizer(text)["input_ids"]
    assert len(tokens) <= len(text.encode()) <= most_prompt_tokens(text)
