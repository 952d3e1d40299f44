"""The whole story on the embedded pair: built once, shared, resumed after any death, the same every time."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts import completions, files, grades, store
from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.store import Store
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from reasoning_lab.report.collect.answers import collect_report, shown
from reasoning_lab.report.collect.provenance import of_report, of_sweep
from reasoning_lab.stages import optimised
from tests.runs import answers, run_of, staged

SMALL = [
    "benchmark.n_problems=6", "passk.n_problems=3", "passk.n_samples=2", "runtime.rows=16", "tracking=local",
    "sampler.n_steps=2", "sampler.block_size=48", "cue.benchmark.n_problems=3", "cue.width=2", "cue.n_samples=2",
    "runtime.threads=1", "runtime.device=cpu", "runtime.workers=2",
]  # fmt: skip


def experiment(*overrides: str) -> Experiment:
    other_sampler = any(line.startswith("sampler=") for line in overrides)
    small = [line for line in SMALL if not (other_sampler and line.startswith("sampler."))]
    return build(Composer().compose([*small, *overrides]))


def artifacts(root: Path) -> dict[str, bytes]:
    """Content of all finished artifacts, without manifests (they carry times)."""
    files = sorted((root / "artifacts").rglob("*.jsonl"))
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def tables(root: Path, name: str = "run") -> list[bytes]:
    return [(root / "runs" / name / "report" / file).read_bytes() for file in ("table.csv", "table.md")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole main job, small."""
    root = tmp_path_factory.mktemp("finished")
    staged(experiment(), root)
    return root


def test_the_report_has_all_its_parts(finished: Path) -> None:
    folder = finished / "runs" / "run" / "report"
    assert {"index.html", "table.csv", "table.md"} <= {file.name for file in folder.iterdir()}
    assert len(list(folder.glob("*.png"))) >= 4
    rows = (folder / "table.csv").read_text().splitlines()
    assert len(rows) == 1 + len(experiment().arms)


@pytest.mark.slow
def test_arms_that_answer_nothing_end_in_a_table(tmp_path: Path) -> None:
    """Three tokens hold no answer: no accuracy above zero, no calibration, and a page that says so."""
    cut = ("benchmark.max_new_tokens=3", "sampler.block_size=1", "sampler.n_steps=1", "benchmark.n_problems=3")
    metrics = staged(experiment(*cut), tmp_path)
    assert metrics["power/accuracy"] == 0 and not any("calibration" in name for name in metrics)
    text = (tmp_path / "runs" / "run" / "report" / "table.md").read_text()
    assert "power gives no readable answer" in text and "No clear difference from base" in text


def test_a_second_run_builds_nothing_and_gives_the_same_table(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was built again")

    monkeypatch.setattr(Store, "_build", never)
    staged(experiment(), finished, "again")
    assert tables(finished, "again") == tables(finished)


def footer(root: Path, name: str) -> str:
    return (root / "runs" / name / "report" / "table.md").read_text().rpartition("\n\n")[2]


def test_the_page_tells_the_shape_of_the_artifacts_and_not_of_the_run_that_reads_them(finished: Path) -> None:
    staged(experiment("runtime.rows=8", "runtime.max_prompt_tokens=48"), finished, "other rows")
    assert footer(finished, "other rows") == footer(finished, "run")
    assert "1 thread, 16 rows, prompts of at most 64 tokens" in footer(finished, "other rows")
    assert "All artifacts: commit " in footer(finished, "run") and "8 rows" not in footer(finished, "other rows")
    page = (finished / "runs" / "other rows" / "report" / "index.html").read_text()
    built = re.search(r"Built (\d{4}-\d\d-\d\d) \d\d:\d\d", page)
    assert built is not None and built[1] in {date.today().isoformat(), (date.today() - timedelta(1)).isoformat()}


def test_artifacts_of_several_machines_are_told_apart(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")
    run = run_of(experiment(), tmp_path)
    manifest = run.context.store.folder(run.arms.rows["grpo"].draws[0].completions) / "manifest.json"
    told = json.loads(manifest.read_text())
    told["runtime"] |= {"device": "cuda (Some GPU)", "git": {"commit": "f" * 40, "dirty": True}}
    manifest.write_text(store.sealed(told))
    staged(experiment(), tmp_path)
    lines = footer(tmp_path, "run").splitlines()
    (other,) = [line for line in lines if "Some GPU" in line]
    assert other.startswith("- Grpo: commit ffffffffffff, with local changes; ") and "16 rows" in other
    (rest,) = [line for line in lines if "on cpu" in line]
    assert rest.startswith("- Base, ") and "power" in rest


def test_the_links_of_the_page_lead_to_files(finished: Path) -> None:
    folder = finished / "runs" / "run" / "report"
    links = re.findall(r'<a href="([^"#]+)" download>', (folder / "index.html").read_text())
    assert links[:2] == ["table.csv", "table.md"] and len(links) == 2 + len(experiment().arms)
    assert all((folder / link).is_file() for link in links)
    run = run_of(experiment(), finished)
    lines = [json.loads(line) for line in (folder / "answers" / "power.jsonl").open()]
    given = answers(run, "power")
    assert [(line["problem"], line["text"], line["tokens"]) for line in lines] == [
        (answer.problem, answer.text, len(answer.ids)) for answer in given
    ]
    verdicts = [grade.verdict for grade in run.context.get(run.arms.rows["power"].draws[0].grades)]
    assert [line["verdict"] for line in lines] == verdicts


def test_a_sweeps_page_has_the_origins_of_its_cells(finished: Path, tmp_path: Path) -> None:
    for number in (0, 1):
        report = tmp_path / str(number) / "report"
        report.mkdir(parents=True)
        shutil.copy(finished / "runs" / "run" / "report" / "provenance.json", report)
    (tmp_path / "2").mkdir()  # a cell without a page
    found = of_sweep(tmp_path)
    run = run_of(experiment(), finished)
    alone = of_report(run.arms, shown(run.arms), run.context)
    assert found.origins == alone.origins and len(found.origins) > 20


def test_an_artifact_is_verified_and_read_once_in_a_process(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, parsed = Counter[str](), Counter[str]()
    fault, read_records = store._fault, files.read_records
    monkeypatch.setattr(store, "_fault", lambda folder, key: hashed.update([key]) or fault(folder, key))
    for module in (completions, grades):
        monkeypatch.setattr(
            module, "read_records", lambda file, cls: parsed.update([str(file)]) or read_records(file, cls)
        )
    staged(experiment(), finished, "once")
    assert set(hashed.values()) == set(parsed.values()) == {1}


def test_another_seed_gives_other_answers(finished: Path, tmp_path: Path) -> None:
    one, two = run_of(experiment(), finished), run_of(experiment("seed=1", "arms=base_model"), tmp_path)
    assert [x.text for x in answers(one, "base")] != [x.text for x in answers(two, "base")]


def test_pools_are_shared_and_cross_powers_mean_budget(finished: Path) -> None:
    run = run_of(experiment(), finished)
    power = answers(run, "power")
    budget = sum(answer.decode_tokens for answer in power) / len(power)
    for name in ("best_of_n", "majority"):
        for answer in answers(run, name):
            spent = [len(candidate.ids) for candidate in answer.candidates]
            assert sum(spent) == answer.decode_tokens >= budget > sum(spent[:-1])
    best, majority = (run.arms.rows[name].draws[0].completions.pool for name in ("best_of_n", "majority"))
    assert best is not None
    assert majority is not None
    assert best.key == majority.key


def test_pass_k_shares_the_tables_chains(finished: Path) -> None:
    run = run_of(experiment(), finished)
    report = collect_report(run.arms, "", (), run.context)
    power = next(arm for arm in report.passk if arm.name == "power")
    table = {a.problem: a.text for a in report.arm("power").completions}
    assert {(a.problem, a.chain) for a in power.completions} == {(p, c) for p in list(table)[:3] for c in (0, 1)}
    assert all(a.text == table[a.problem] for a in power.completions if a.chain == 0)


def test_a_sweeper_optimises_the_studied_arms_accuracy_or_what_it_is_told(finished: Path) -> None:
    """With stage=report: `accuracy` is the studied arm's; the first metric is the number of problems."""
    run = run_of(experiment(), finished, "metric")
    metrics = staged(experiment(), finished, "metric")
    assert optimised(run, metrics) == metrics["power/accuracy"] != metrics["n_problems"] == 6
    chosen = run_of(experiment("metric=grpo/accuracy"), finished, "metric")
    assert optimised(chosen, metrics) == metrics["grpo/accuracy"]
    with pytest.raises(ValueError, match=r"metric=nobody: stage=report measures .*power/accuracy"):
        optimised(run_of(experiment("metric=nobody"), finished, "metric"), metrics)


@pytest.mark.parametrize("other", ["majority", "best_of_n"])
def test_an_arm_that_waits_for_itself_is_refused(other: str) -> None:
    circle = [f"arms.majority.sampler.pool.tokens_matched_to={other}"]
    circle += ["arms.best_of_n.sampler.pool.tokens_matched_to=majority"] if other != "majority" else []
    with pytest.raises(ConfigError, match="is matched to itself"):
        experiment(*circle)


class Death(BaseException):
    """Stands for a kill between two appends; nothing catches it."""


@pytest.mark.parametrize("stage", ["completions", "grades"])
def test_death_at_every_append_loses_and_repeats_nothing(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = experiment("arms=single", "sampler=temperature")
    reference = tmp_path / "reference"
    staged(whole, reference, stage="grades")
    append, grade = RunLog.append, Arithmetic.grade
    graded: list[Any] = []
    left = [0]

    def dying(self: RunLog, record: dict[str, Any]) -> None:
        append(self, record)
        is_grade = "verdict" in record
        if is_grade:
            graded.append((record["problem"], record["chain"]))
        if is_grade == (stage == "grades"):
            left[0] -= 1
            if left[0] == 0:
                raise Death

    monkeypatch.setattr(RunLog, "append", dying)
    monkeypatch.setattr(Arithmetic, "grade", lambda *args: grade(*args))
    for attempt in range(20):
        left[0] = 1 + attempt % 2
        try:
            staged(whole, tmp_path / "dying", stage="grades")
            break
        except Death:
            continue
    assert artifacts(tmp_path / "dying") == artifacts(reference)
    assert len(graded) == len(set(graded)) == 6


def test_kill_nine_at_any_moment_then_the_same_command_gives_the_same_table(finished: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "reasoning_lab.main",
        *SMALL,
        f"outputs={tmp_path}/out",
        f"hydra.run.dir={tmp_path}/out/run",
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    draw = random.Random(0)
    for _ in range(3):
        job = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = tmp_path / "out" / "artifacts" / "completions"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not log.exists() and job.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0.2, 4.0))
        job.send_signal(signal.SIGKILL)
        job.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    ours, undisturbed = artifacts(tmp_path / "out"), artifacts(finished)
    assert ours == undisturbed
    assert [(tmp_path / "out/run/report" / name).read_bytes() for name in ("table.csv", "table.md")] == tables(finished)
    assert not list((tmp_path / "out" / "artifacts").rglob("*.partial-*/manifest.json"))
    row = json.loads((tmp_path / "out" / "run" / "row.json").read_text())
    assert row["status"] == "completed"


# -- bad input: one clear error before work ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["runtime.max_prompt_tokens=100000"], r"must be below the 512 positions"),
        (["runtime.max_prompt_tokens=8"], r"its prompt has \d+ tokens, runtime.max_prompt_tokens=8"),
        (["benchmark.max_new_tokens=1000"], "exceed the 512 positions"),
        (["model_pair.base.path=/nowhere/at/all"], "no such folder"),
        (["model_pair.base.path=nobody/has-this-model"], "Without a network set model_pair.base.path"),
        (["benchmark=gsm8k", "benchmark.path=/nowhere.jsonl"], "/nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_clear_error_before_anything_is_drawn(
    overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("reasoning_lab.engine.scheduler.run", lambda *_: pytest.fail("work began"))
    with pytest.raises(ValueError, match=message):
        staged(experiment("arms=single", *overrides), tmp_path)
    assert not artifacts(tmp_path)
