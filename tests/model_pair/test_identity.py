"""Identities follow content, and a folder is read no more often than it changes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reasoning_lab.model_pair import hashes, identity
from reasoning_lab.model_pair.hashes import FileHashes
from reasoning_lab.model_pair.identity import hub_commit
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import load_reader, where_of
from tests.model_pair.conftest import EMBEDDED


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


class Counted(FileHashes):
    """Says what it reads."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.read: list[str] = []
        if folder is not None:
            self.keep_in(folder)

    def _read(self, file: Path, size: int) -> bytes:
        self.read.append(file.name)
        return super()._read(file, size)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as unchanged for long; its times still tell one state from another."""
    monkeypatch.setattr(hashes, "_SETTLED", -(10**12))


def change(file: Path, at: int) -> None:
    """One bit, the size and the time of the last change as they were."""
    status = file.stat()
    with file.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ 1]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_change_in_the_middle_of_large_weights_is_seen(copy: Path) -> None:
    """The middle of a file of 200 MB, mostly a hole: ends and size stay."""
    weights = copy / "model-00002-of-00002.safetensors"
    with weights.open("wb") as opened:
        opened.truncate(200 * 2**20)
    before = ModelSource(str(copy)).identity()
    change(weights, 100 * 2**20)
    assert ModelSource(str(copy)).identity() != before
    assert weights.stat().st_size == 200 * 2**20


@pytest.mark.usefixtures("settled")
def test_a_folder_is_read_once_until_a_file_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    monkeypatch.setattr(identity, "HASHES", counted)
    before = ModelSource(str(copy)).identity()
    assert "model.safetensors" in counted.read
    counted.read.clear()
    assert ModelSource(str(copy)).identity() == before
    assert not counted.read
    change(copy / "model.safetensors", 5000)
    assert ModelSource(str(copy)).identity() != before
    assert counted.read == ["model.safetensors"], "the time of the last change was set back, the inode's can't be"


def test_a_file_changed_just_now_may_change_again_within_one_tick_of_its_clock(tmp_path: Path) -> None:
    file, counted = tmp_path / "weights", Counted(tmp_path / "hashes")
    file.write_bytes(b"1")
    assert counted.sha256(file) == counted.sha256(file) == hashlib.sha256(b"1").digest()
    assert counted.read == ["weights"] * 2
    assert not (tmp_path / "hashes").exists()


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"1")

    class Raced(Counted):
        def _read(self, file: Path, size: int) -> bytes:
            found = super()._read(file, size)
            file.write_bytes(b"22")
            return found

    raced = Raced(tmp_path / "hashes")
    raced.sha256(file)
    assert not (tmp_path / "hashes").exists()
    assert Counted(tmp_path / "hashes").sha256(file) == hashlib.sha256(b"22").digest()


@pytest.mark.usefixtures("settled")
def test_another_process_finds_the_hash_and_believes_no_broken_entry(tmp_path: Path) -> None:
    file, folder = tmp_path / "weights", tmp_path / "hashes"
    file.write_bytes(b"1")
    truth = Counted(folder).sha256(file)
    again = Counted(folder)
    assert (again.sha256(file), again.read) == (truth, [])
    (entry,) = folder.iterdir()
    whole = entry.read_text()
    other = json.loads(whole) | {"sha256": "00" * 32}
    file_of_another = json.loads(whole) | {"stamp": [1, 2, 3, 4, 5]}
    for broken in ("", "{", "[]", "null", whole[:-9], json.dumps(other), json.dumps(file_of_another), "[" * 99999):
        entry.write_text(broken)
        reader = Counted(folder)
        assert (reader.sha256(file), reader.read) == (truth, ["weights"]), broken[:40]
        assert entry.read_text() == whole, "and it is written anew"
    assert list(folder.iterdir()) == [entry], "no partial file stays"


@pytest.mark.usefixtures("settled")
def test_a_folder_that_can_not_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "hashes").write_text("a file where the folder should be")
    (tmp_path / "weights").write_bytes(b"1")
    assert Counted(tmp_path / "hashes").sha256(tmp_path / "weights") == hashlib.sha256(b"1").digest()


def test_what_takes_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "TELL_S", -1.0)
    monkeypatch.setattr(hashes, "CHUNK", 2**20)
    (tmp_path / "weights").write_bytes(bytes(3 * 2**20))
    told: list[str] = []
    long = FileHashes()
    long.keep_in(tmp_path / "hashes", told.append)
    long.sha256(tmp_path / "weights")
    assert len(told) == 3 and told[0] == "hashing weights: 0.0 of 0.0 GiB, once"


# --- the hub --------------------------------------------------------------------------------------------------------

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the hub with one model, its main at COMMIT and a tag at OTHER."""
    model = tmp_path / "hub" / "models--org--name"
    for name, commit in (("main", COMMIT), ("v1.0", OTHER)):
        (model / "refs").mkdir(parents=True, exist_ok=True)
        (model / "refs" / name).write_text(commit)
        shutil.copytree(EMBEDDED / "base", model / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub_commit.cache_clear()
    yield model
    hub_commit.cache_clear()


def test_a_branch_and_a_tag_are_known_by_their_commit(hub: Path) -> None:
    main, named, tag, pinned = (ModelSource("org/name", each) for each in (None, "main", "v1.0", COMMIT))
    assert main.identity() == named.identity() == pinned.identity()
    assert main.identity()["revision"] == COMMIT and tag.identity()["revision"] == OTHER
    assert where_of(main) == ("org/name", {"revision": COMMIT}), "what is loaded is what is in the key"
    (hub / "refs" / "main").write_text(OTHER)
    hub_commit.cache_clear()
    assert main.identity() == tag.identity(), "the branch moved, and so did the model"


def test_a_revision_that_nobody_knows_keeps_its_name(hub: Path) -> None:
    (hub / "refs" / "torn").write_text(COMMIT[:20])
    for name in ("torn", "no-such-branch"):
        assert ModelSource("org/name", name).identity()["revision"] == name
    assert ModelSource("org/other").identity()["revision"] is None
    assert hub_commit("org/other", OTHER) == OTHER


def test_a_models_reader_loads_the_commit_of_the_key(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process moves the branch between the key and the loading; the old commit is loaded all the same."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = ModelSource("org/name")
    source.identity()
    (hub / "refs" / "main").write_text("c" * 40)
    assert load_reader.__wrapped__(source).n_layers == load_reader(ModelSource("package:embedded/base")).n_layers


class HubHandler(BaseHTTPRequestHandler):
    """The hub as far as one file of one model goes."""

    content = b"{}"

    def do_HEAD(self) -> None:
        found = self.path.split("?")[0] == "/org/name/resolve/main/config.json"
        self.send_response(200 if found else 404)
        for name, value in {"X-Repo-Commit": COMMIT, "ETag": '"1"', "Content-Length": str(len(self.content))}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_hub_is_asked_once_and_known_without_it_from_then_on(tmp_path: Path) -> None:
    code = "from reasoning_lab.model_pair.pair import ModelSource as M\nprint(M('org/name').identity()['revision'])"

    def said(offline: bool) -> str:
        where = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}", "HF_HUB_CACHE": str(tmp_path / "hub"),
                 "HF_HUB_OFFLINE": str(int(offline)), "NO_PROXY": "127.0.0.1"}  # fmt: skip
        run = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | where, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    with ThreadingHTTPServer(("127.0.0.1", 0), HubHandler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        assert [said(True), said(False), said(True)] == ["None", COMMIT, COMMIT]
        server.shutdown()
