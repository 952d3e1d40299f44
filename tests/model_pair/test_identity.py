"""Identities follow content, and a folder is read no more often than it changes."""

import json
import os
import time
from pathlib import Path

import pytest

from reasoning_lab.model_pair import identity
from reasoning_lab.model_pair.pair import ModelSource


def test_a_folder_is_what_its_content_is(copy: Path) -> None:
    before = ModelSource(str(copy)).identity()
    assert before == ModelSource("package:embedded/base").identity()
    assert before != ModelSource("package:embedded/grpo").identity()
    (copy / "README.md").write_text("no part of the law")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"transformers_version": "9.9"}))
    assert ModelSource(str(copy)).identity() == before
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1.0}))
    assert ModelSource(str(copy)).identity() != before


def test_weights_change_the_identity(copy: Path) -> None:
    before = ModelSource(str(copy)).identity()
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    assert ModelSource(str(copy)).identity() != before


def test_a_folder_is_read_once_until_a_file_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def aged(seconds: int) -> None:
        for file in copy.iterdir():
            os.utime(file, ns=(time.time_ns(), time.time_ns() - seconds * 10**9))

    read: list[str] = []
    hashed = identity._file_hash
    monkeypatch.setattr(identity, "_file_hash", lambda file, size: (read.append(file.name), hashed(file, size))[1])
    aged(60)
    before = ModelSource(str(copy)).identity()
    assert "model.safetensors" in read
    read.clear()
    assert ModelSource(str(copy)).identity() == before
    assert not read
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    changed = ModelSource(str(copy)).identity()
    assert changed != before
    read.clear()
    assert ModelSource(str(copy)).identity() == changed
    assert "model.safetensors" in read, "a file changed just now may change again within one tick of its clock"
