"""A process that is told to end saves the newest state of every chain, within seconds, wherever its thread is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reasoning_lab.artifacts.store import RunLog
from tests.artifacts.test_sampling import KEY
from tests.command import environment

DRAWS = """
import json, sys
from pathlib import Path
from reasoning_lab.artifacts import sampling
from reasoning_lab.artifacts.stopping import end_on_signals
from reasoning_lab.artifacts.store import RunLog
from reasoning_lab.engine.local import Rows
from reasoning_lab.model_pair.loaded import load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.sampler.power import Power
from tests.artifacts.test_sampling import KEY, QUESTIONS, SHAPE

end_on_signals(lambda name: print("ended by", name, flush=True))
put = sampling._States.put

def told(self, item, state):
    put(self, item, state)
    print(json.dumps([item.problem, item.chain, state["rung"]]), flush=True)

sampling._States.put = told
model = load_model(ModelSource("package:embedded/base"), "float32", "cpu")
prompts = {name: model.encode(text) for name, text in QUESTIONS.items()}
log = RunLog(Path(sys.argv[1]), KEY)
sampling.draw_completions(Rows(model.policy), model.reader, Power(96, 4.0, 8, 2, redraw="from_cut"), prompts, (0, 3), 0,
    lambda _: None, SHAPE, log, 1e9,
    lambda one, counts: print(json.dumps([one.problem, one.chain, None]), flush=True))
"""


def test_no_chain_loses_more_than_the_block_it_was_at(tmp_path: Path) -> None:
    """States are logged on the signal alone: the log's throttle would wait for ever."""
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", DRAWS, str(log)], env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(12)]
    process.send_signal(signal.SIGTERM)
    lines += process.stdout.read().splitlines()
    assert process.wait(10) == 128 + signal.SIGTERM
    assert lines[-1] == "ended by SIGTERM"
    newest: dict[tuple[str, int], list[int | None]] = {}
    for line in lines[:-1]:
        problem, chain, rung = json.loads(line)
        newest.setdefault((problem, chain), []).append(rung)
    saved = {}
    for record in RunLog(log, KEY).records:
        if "state" in record:
            saved[record["problem"], record["chain"]] = record["state"]["rung"]
    unfinished = {item: rungs for item, rungs in newest.items() if None not in rungs}
    assert unfinished, "told to end in the middle"
    for item, rungs in unfinished.items():
        assert saved[item] in rungs[-2:], "the newest, or the one before while the newest was being told"


def test_a_process_deep_in_an_import_ends_as_fast_and_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nprint('importing', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept BaseException as error:\n    raise ImportError('no slow here') from error\n"
    )
    code = (
        "from reasoning_lab.artifacts.stopping import end_on_signals, saved_by\n"
        "end_on_signals(lambda name: print(name, flush=True))\n"
        "with saved_by(lambda: print('saved', flush=True)):\n    import slow"
    )
    env = environment(tmp_path)
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGUSR2)
    process.send_signal(signal.SIGTERM)  # A second word while it ends is harmless.
    out, err = process.communicate(timeout=20)
    assert process.returncode in (128 + signal.SIGUSR2, 128 + signal.SIGTERM)
    assert out.splitlines()[0] == "saved"
    assert "ImportError" not in err


def test_what_a_process_was_started_to_ignore_stays_ignored(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from reasoning_lab.artifacts.stopping import end_on_signals\n"
        "end_on_signals(); print('ready', flush=True); time.sleep(1); print('alive', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(tmp_path), text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20)[0] == "alive\n"
    assert process.returncode == 0


def test_workers_save_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, os\n"
        "from pathlib import Path\n"
        "from reasoning_lab.artifacts.stopping import saved_by\n"
        "from reasoning_lab.artifacts.workers import call_all\n"
        "def slow(report, device, place):\n"
        "    with saved_by(lambda: Path(place).write_text('saved')):\n"
        "        report(os.getpid()); time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    call_all(slow, [(sys.argv[1],)], ['cpu'], lambda pid: print(pid, flush=True))\n"
    )
    (tmp_path / "parent.py").write_text(code)
    place = tmp_path / "place"
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(place)], env=environment(tmp_path), text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    for _ in range(200):
        if place.exists():
            break
        time.sleep(0.1)
    assert place.read_text() == "saved"
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")
