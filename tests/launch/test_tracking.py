"""The local log is the truth, W&B repeats it, and nothing that happens to W&B reaches the run."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.launch import tracking
from reasoning_lab.launch.tracking import RunInfo, Tracker, has_key, resolve_mode
from tests.command import environment
from tests.launch.fake_wandb import fake_wandb

INFO = RunInfo("lab", None, "power_grid/now", "report", "now/3", {"sampler": {"alpha": 4.0}, "arms": ["base", "power"]})
KEY = "feedface" * 5


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / tracking.LOG).read_text().splitlines()]


def inspect(folder: Path) -> list[dict[str, Any]]:
    """Records of the only offline run below a folder."""
    (run,) = folder.glob("wandb/offline-run-*")
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run([wandb, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def logged(records: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """History by W&B step."""
    found = [record["history"] for record in records if record["type"] == "history"]
    return {entry["step"]["num"]: entry["item"] for entry in found}


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No W&B settings, keys or netrc; a folder."""
    home = tmp_path / "home"
    home.mkdir()
    kept = environment(home)
    for name in list(os.environ):
        if name not in kept:
            monkeypatch.delenv(name)
    for name in ("HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, kept[name])
    return tmp_path


def example(tracker: Tracker, folder: Path) -> None:
    """One of everything."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0\0"))
    (folder / "plot.png").write_bytes(b"\x89PNG\r\n\x1a\n" + pixel + chunk(b"IEND", b""))
    tracker.log({"accuracy/power": 0.25}, step=0)
    tracker.log({"accuracy/power": 0.5}, step=1)
    tracker.table("samples", ["problem", "text", "n"], [["p1", "The answer is 3.", 1], ["p2", ["a", "list"], None]])
    tracker.images({"plot": folder / "plot.png"})
    tracker.summary({"accuracy/power": 0.5, "accuracy/power/low": 0.4})
    tracker.link("page", folder / "report" / "index.html")


# -- which mode --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "env", "expected"),
    [
        ("online", {}, "online"),
        ("disabled", {"WANDB_API_KEY": KEY}, "disabled"),
        ("auto", {"WANDB_API_KEY": KEY}, "online"),
        ("auto", {"WANDB_API_KEY": ""}, "offline"),
        ("auto", {"WANDB_IDENTITY_TOKEN_FILE": "token.jwt"}, "online"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "nonsense"}, "offline"),
        ("auto", {}, "offline"),
    ],
)
def test_the_mode_follows_the_config_then_wandb_mode_then_the_key(
    tmp_path: Path, wanted: str, env: dict[str, str], expected: str
) -> None:
    mode, notice = resolve_mode(wanted, env | {"HOME": str(tmp_path)})
    assert mode == expected
    is_own_choice = wanted == "auto" and expected == "offline" and env.get("WANDB_MODE") != "offline"
    assert (notice is not None) == is_own_choice
    assert KEY not in (notice or "")


def test_a_key_in_netrc_counts_for_its_own_host_only(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_key({"HOME": str(tmp_path)})
    assert not has_key({"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example.org"})
    (tmp_path / ".netrc").write_text("machine\n")
    assert not has_key({"HOME": str(tmp_path)}), "a netrc that can't be read holds no key"


# -- the local log -----------------------------------------------------------------------------------------------------


def test_the_local_log_holds_everything(tmp_path: Path) -> None:
    with Tracker(tmp_path, INFO) as tracker:
        example(tracker, tmp_path)
    kinds = [event["kind"] for event in events(tmp_path)]
    assert kinds == ["start", "log", "log", "table", "images", "summary", "summary", "finish"]
    assert json.loads((tmp_path / "summary.json").read_text())["accuracy/power"] == 0.5
    assert events(tmp_path)[-1]["failed"] is False
    assert not (tmp_path / "wandb").exists()


def test_a_failed_run_says_so_in_its_log(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Tracker(tmp_path, INFO):
        _ = 1 / 0
    assert events(tmp_path)[-1]["failed"] is True


def test_steps_only_grow(tmp_path: Path) -> None:
    with Tracker(tmp_path) as tracker:
        for step in (None, None, 7, 3, None):
            tracker.log({"x": 1}, step)
    assert [event["step"] for event in events(tmp_path) if event["kind"] == "log"] == [0, 1, 7, 7, 8]


def test_long_tables_are_capped_and_say_how_long_they_were(tmp_path: Path) -> None:
    with Tracker(tmp_path) as tracker:
        tracker.table("samples", ["i"], [[i] for i in range(tracking.MOST_ROWS + 7)])
    (event,) = [event for event in events(tmp_path) if event["kind"] == "table"]
    assert (len(event["rows"]), event["n"]) == (tracking.MOST_ROWS, tracking.MOST_ROWS + 7)


def test_a_restarted_job_keeps_its_id(tmp_path: Path) -> None:
    for _ in range(2):
        with Tracker(tmp_path, INFO):
            pass
    ids = {event["id"] for event in events(tmp_path) if event["kind"] == "start"}
    assert ids == {(tmp_path / "wandb_id").read_text()}


# -- W&B ---------------------------------------------------------------------------------------------------------------


def test_an_offline_run_has_group_config_history_tables_images_and_summary(clean: Path) -> None:
    with Tracker(clean, INFO, "offline") as tracker:
        example(tracker, clean)
    records = inspect(clean)
    (run,) = [record["run"] for record in records if record["type"] == "run"]
    assert (run["project"], run["run_group"], run["job_type"]) == ("lab", "power_grid/now", "report")
    assert (run["display_name"], run["run_id"]) == ("now/3", (clean / "wandb_id").read_text())
    assert run["config"]["update"]["sampler"] == {"alpha": 4}
    history = logged(records)
    assert [history[step]["accuracy/power"] for step in (0, 1)] == [0.25, 0.5]
    assert any("samples" in str(item) and "table-file" in str(item) for item in history.values())
    assert any("image-file" in str(item) for item in history.values())
    summary = {key: value for r in records if r["type"] == "summary" for key, value in r["summary"]["update"].items()}
    assert summary["accuracy/power/low"] == 0.4
    assert [record["exit"].get("exit_code", 0) for record in records if record["type"] == "exit"] == [0]


def test_a_finished_run_is_repeated_under_the_same_id_and_steps(clean: Path) -> None:
    with Tracker(clean, INFO) as tracker:
        example(tracker, clean)
    torn = (clean / tracking.LOG).read_text().replace('{"kind": "table"', '{"kind": "tab\n{"kind": "table"')
    (clean / tracking.LOG).write_text(torn)
    command = [sys.executable, "-m", "reasoning_lab.launch.tracking", str(clean), "--mode", "offline"]
    subprocess.run(command, check=True, timeout=120)
    records = inspect(clean)
    assert logged(records)[1]["accuracy/power"] == 0.5
    assert {r["run"]["run_id"] for r in records if r["type"] == "run"} == {(clean / "wandb_id").read_text()}


def test_without_wandb_there_is_the_local_log(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (clean / "broken").mkdir()
    (clean / "broken" / "wandb.py").write_text("raise ImportError('no wandb here')")
    monkeypatch.setenv("PYTHONPATH", f"{clean / 'broken'}")
    with Tracker(clean / "run", INFO, "offline") as tracker:
        tracker.log({"x": 1})
    assert "W&B: not installed" in capfd.readouterr().err
    assert [event["kind"] for event in events(clean / "run")] == ["start", "log", "finish"]


@contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """A server that gives every caller the same answer, or none and keeps the line open."""
    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            held.append(line)
            if answer is not None:
                line.sendall(answer)
                line.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        for line in held:
            line.close()


def test_an_online_run_reaches_its_server(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_wandb() as (url, seen):
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        with Tracker(clean, INFO, "online") as tracker:
            tracker.log({"accuracy/power": 0.25})
            tracker.summary({"accuracy/power": 0.25})
    sent = b"\n".join(seen)
    assert b"accuracy/power" in sent
    assert b"power_grid/now" in sent
    assert (clean / "wandb_id").read_bytes() in sent
    assert not [file for file in clean.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"],
    ids=["hanging", "429", "503"],
)
def test_a_server_that_does_not_serve_leaves_the_run_offline(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], answer: bytes | None
) -> None:
    with server(answer) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        started = time.monotonic()
        with Tracker(clean, INFO, "online") as tracker:
            example(tracker, clean)
            worked = time.monotonic() - started
            while not list(clean.glob("wandb/offline-run-*")) and time.monotonic() - started < 60:
                time.sleep(0.1)
        text = capfd.readouterr().err
    assert worked < 1, "logging waits for nobody"
    assert "can't be reached" in text
    assert KEY not in text
    assert logged(inspect(clean))[0]["accuracy/power"] == 0.25
    assert not [file for file in clean.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


def test_a_server_that_speaks_no_wandb_delays_the_end_by_ten_seconds_at_most(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno") as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        started = time.monotonic()
        with Tracker(clean, INFO, "online") as tracker:
            example(tracker, clean)
        assert time.monotonic() - started < tracking.FINISH_SECONDS + 3
    assert events(clean)[-1]["kind"] == "finish"
    text = capfd.readouterr().err
    assert "W&B:" in text
    assert KEY not in text


def test_a_mirror_that_is_killed_costs_nothing(clean: Path) -> None:
    with Tracker(clean, INFO, "offline") as tracker:
        assert tracker._mirror is not None
        os.killpg(tracker._mirror.pid, signal.SIGKILL)
        example(tracker, clean)
    assert len(events(clean)) == 8


def test_a_mirror_whose_run_is_killed_ends_by_itself(clean: Path) -> None:
    code = (
        "import os, sys, pathlib; from reasoning_lab.launch.tracking import *\n"
        "info = RunInfo('lab', None, None, 'report', 'n', {})\n"
        f"t = Tracker(pathlib.Path({str(clean)!r}), info, 'offline').__enter__()\n"
        "t.log({'x': 1}); print(t._mirror.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    mirror = int(done.stdout)
    for _ in range(300):
        if not Path(f"/proc/{mirror}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{mirror}").exists()
    records = inspect(clean)
    assert logged(records)[0]["x"] == 1
    assert [record["exit"]["exit_code"] for record in records if record["type"] == "exit"] == [1]
