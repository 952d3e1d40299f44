"""The local log is the truth, W&B repeats it, and nothing that happens to W&B reaches the run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reasoning_lab.launch.tracking.log import MOST_ROWS, Tracker
from reasoning_lab.launch.tracking.mirror import LOG
from reasoning_lab.launch.tracking.mode import has_key, resolve_mode
from tests.launch.fake_wandb import fake_wandb
from tests.launch.tracked import EXAMPLE_LINES, INFO, KEY, clean, events, example, files_with
from tests.launch.wandb_records import history, items, of_kind, offline_run, summary

__all__ = ["clean"]


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
    assert [event["kind"] for event in events(tmp_path)] == EXAMPLE_LINES
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
        tracker.table("samples", ["i"], [[i] for i in range(MOST_ROWS + 7)])
    (event,) = [event for event in events(tmp_path) if event["kind"] == "table"]
    assert (len(event["rows"]), event["n"]) == (MOST_ROWS, MOST_ROWS + 7)


def test_a_restarted_job_keeps_its_id(tmp_path: Path) -> None:
    for _ in range(2):
        with Tracker(tmp_path, INFO):
            pass
    ids = {event["id"] for event in events(tmp_path) if event["kind"] == "start"}
    assert ids == {(tmp_path / "wandb_id").read_text()}


# -- W&B ---------------------------------------------------------------------------------------------------------------


def test_what_an_offline_run_holds_field_by_field(clean: Path) -> None:
    """Of a job that holds 300 MB, so that its memory can't be its mirror's."""
    code = f"""
from pathlib import Path
from tests.launch.tracked import INFO, example
from reasoning_lab.launch.tracking.log import Tracker
held = bytearray(300_000_000)
for at in range(0, len(held), 4096):
    held[at] = 1
with Tracker(Path({str(clean)!r}), INFO, "offline") as tracker:
    example(tracker, Path({str(clean)!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    found = offline_run(clean)
    (run,) = of_kind(found, "run")
    assert (run.project, run.run_group, run.job_type) == ("lab", "power_grid/now", "report")
    assert (run.display_name, run.run_id) == (INFO.name, (clean / "wandb_id").read_text())
    assert (list(run.tags), run.notes, run.git.commit) == (["embedded", "mine"], "a note", "c0ffee")
    config = items(run.config.update)
    assert config["sampler"] == {"alpha": 4.0}
    assert config["choice/sampler"] == "power"

    environment = of_kind(found, "environment")[0]
    assert (environment.program, list(environment.args)) == ("reasoning-lab", ["sampler.alpha=4"])
    assert environment.git.commit == "c0ffee"
    assert "tracking" not in environment.code_path, "the mirror is not the run's program"
    shown = [{pair.key: float(pair.value_json) for pair in each.item} for each in of_kind(found, "stats")]
    assert max(each.get("proc.memory.rssMB", 0) for each in shown) > 300

    axes = {metric.name: metric.step_metric for metric in of_kind(found, "metric")}
    assert axes["accuracy/power"] == "graded/power"
    points = history(found)
    written = [event["kind"] for event in events(clean)]
    assert [points[written.index("log") + n]["accuracy/power"] for n in (0, 1)] == [0.25, 0.5]
    assert [points[written.index("log") + n]["graded/power"] for n in (0, 1)] == [4, 8]
    assert points[written.index("table")]["samples._type"] == "table-file"
    assert points[written.index("images")]["plot._type"] == "image-file"
    told = summary(found)
    assert told["accuracy/power/low"] == 0.4
    assert told["path/page"].endswith("report/index.html")

    made, used = (each for each in of_kind(found, "artifact") if each.type == "completions")
    assert (made.name, made.use_after_commit, used.use_after_commit) == ("completions-embedded-power", False, True)
    assert json.loads(made.metadata)["key"] == "ab" * 32
    assert "ab" * 6 in list(made.aliases)
    (entry,) = made.manifest.contents
    assert (entry.ref, entry.digest) == (f"reasoning-lab://completions/{'ab' * 32}",) * 2
    assert [each.exit_code for each in of_kind(found, "exit")] == [0]


def test_a_finished_run_is_repeated_under_the_same_id_and_steps(clean: Path) -> None:
    with Tracker(clean, INFO) as tracker:
        example(tracker, clean)
    torn = (clean / LOG).read_text().replace('{"kind": "table"', '{"kind": "tab\n{"kind": "table"')
    (clean / LOG).write_text(torn)
    command = [sys.executable, "-m", "reasoning_lab.launch.tracking", str(clean), "--mode", "offline"]
    subprocess.run(command, check=True, timeout=120)
    found = offline_run(clean)
    assert [point["accuracy/power"] for point in history(found).values() if "accuracy/power" in point] == [0.25, 0.5]
    assert {run.run_id for run in of_kind(found, "run")} == {(clean / "wandb_id").read_text()}


def test_without_wandb_there_is_the_local_log(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (clean / "broken").mkdir()
    (clean / "broken" / "wandb.py").write_text("raise ImportError('no wandb here')")
    monkeypatch.setenv("PYTHONPATH", f"{clean / 'broken'}")
    with Tracker(clean / "run", INFO, "offline") as tracker:
        tracker.log({"x": 1})
    text = capfd.readouterr().err
    assert "W&B: not installed" in text
    assert f"the local log is whole: {clean / 'run' / LOG}" in text
    assert [event["kind"] for event in events(clean / "run")] == ["start", "log", "finish"]


def test_an_online_run_reaches_its_server_whole(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_wandb() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        with Tracker(clean, INFO, "online") as tracker:
            example(tracker, clean)
    assert server.is_complete
    assert [point["accuracy/power"] for point in server.history.values() if "accuracy/power" in point] == [0.25, 0.5]
    (given,) = {told["name"] for name, told in server.queries if name == "UpsertBucket"}
    assert given == (clean / "wandb_id").read_text()
    assert {name for name, _ in server.queries} >= {"CommitArtifact", "UseArtifact", "CreateRunFiles"}
    assert not list(clean.glob("wandb/offline-run-*")), "what is whole at the server needs no copy"
    assert capfd.readouterr().err == ""
    assert not files_with(KEY, clean)


def test_a_mirror_that_is_killed_costs_nothing(clean: Path) -> None:
    with Tracker(clean, INFO, "offline") as tracker:
        assert tracker._mirror is not None
        os.killpg(tracker._mirror.pid, signal.SIGKILL)
        example(tracker, clean)
    assert [event["kind"] for event in events(clean)] == EXAMPLE_LINES


def test_a_mirror_whose_run_is_killed_ends_by_itself(clean: Path) -> None:
    code = (
        "import os, sys, pathlib; from reasoning_lab.launch.tracking.log import Tracker, RunInfo\n"
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
    found = offline_run(clean)
    assert history(found)[1]["x"] == 1
    assert [each.exit_code for each in of_kind(found, "exit")] == [1]
