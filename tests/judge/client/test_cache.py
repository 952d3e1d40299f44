"""Replies on disk: what is of another request is never believed."""

import json
from pathlib import Path

import pytest

from reasoning_lab.disk import DiskError
from reasoning_lab.judge.client.cache import ReplyCache, json_sha256

ONE, TWO = {"body": "one", "draw": 0}, {"body": "two", "draw": 0}
HARMS = {
    "files exchanged": lambda one, two: two,
    "its reply": lambda one, two: one | {"reply": two["reply"]},
    "its reply and hash": lambda one, two: one | {"reply": two["reply"], "sha256": two["sha256"]},
    "its reply, hashed alone": lambda one, two: one | {"reply": two["reply"], "sha256": json_sha256(two["reply"])},
    "its request": lambda one, two: one | {"request": two["request"]},
    "a word more": lambda one, two: one | {"more": 1},
    "no hash": lambda one, two: {"request": one["request"], "reply": one["reply"]},
    "no object": lambda one, two: [one],
}


def files(cache: ReplyCache) -> dict[str, Path]:
    return {json.loads(file.read_text())["request"]["body"]: file for file in cache.folder.glob("*/*.json")}


@pytest.mark.parametrize("harm", HARMS)
def test_a_reply_of_another_request_is_as_if_it_were_not_there(harm: str, tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    cache.put(ONE, {"text": "yes"})
    cache.put(TWO, {"text": "no"})
    assert (cache.get(ONE), cache.get(TWO)) == ({"text": "yes"}, {"text": "no"})
    one, two = (files(cache)[name] for name in ("one", "two"))
    one.write_text(json.dumps(HARMS[harm](json.loads(one.read_text()), json.loads(two.read_text()))))
    assert (cache.get(ONE), cache.get(TWO)) == (None, {"text": "no"})


def test_a_reply_that_cannot_be_read_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been paid for."""
    cache = ReplyCache(tmp_path)
    cache.put(ONE, {"text": "yes"})

    def failing(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(DiskError, match="see that the disk or the file server is up"):
        cache.get(ONE)


def test_no_partial_file_stays(tmp_path: Path) -> None:
    ReplyCache(tmp_path).put(ONE, {"text": "yes"})
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]
