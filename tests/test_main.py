"""The command line: fast and light before work, one line per mistake, a row after work, sweeps that go on."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.command import TINY, lab

HEAVY = ("torch", "transformers", "datasets", "wandb", "sympy", "pydantic", "pandas", "scipy", "matplotlib")
REPORT_MODULES = (
    "import atexit, sys\n"
    f"heavy = {HEAVY!r}\n"
    "atexit.register(lambda: print('LOADED', [m for m in heavy if m in sys.modules], file=sys.stderr))"
)
BOOM = (
    "import reasoning_lab.stages as stages\n"
    "def boom(run):\n"
    "    if run.experiment.seed != 1: return {{'accuracy/main': 0.5}}\n"
    "    raise {error}\n"
    "stages.STAGES['grades'] = boom"
)


def only(pattern: str, folder: Path) -> Path:
    (found,) = folder.glob(pattern)
    return found


# -- before work -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--cfg", "job"],
        ["--cfg", "job", "--resolve", "sampler.alpha=8"],
        ["--info", "searchpath"],
        ["--shell-completion", "query=bash"],
        ["sampler=nope"],
        ["sampler.alfa=1"],
        ["-m", "sweep=power_grid", "sampler=nope,power"],
    ],
    ids=" ".join,
)
def test_no_heavy_library_is_imported_before_there_is_work(tmp_path: Path, arguments: list[str]) -> None:
    done = lab(tmp_path, *arguments, code=REPORT_MODULES, COMP_LINE="reasoning-lab sampler=")
    assert "LOADED []" in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is written before there is work"


def test_help_lists_groups_options_and_values(tmp_path: Path) -> None:
    done = lab(tmp_path, "--help")
    assert done.returncode == 0
    groups = (
        "sampler: beam, best_of_n",
        "sweep: hybrid_controls, power_grid, power_steps, power_study, seeds, taxonomy_grid",
        "hydra/launcher: basic, local, slurm",
    )
    for text in (*groups, "alpha: 4"):
        assert text in done.stdout


def test_cfg_shows_the_resolved_config(tmp_path: Path) -> None:
    done = lab(tmp_path, "--cfg", "job", "--resolve", "-p", "arms.low_temperature.sampler", "sampler.alpha=8")
    assert "temperature: 0.125" in done.stdout


def test_tab_completes_options(tmp_path: Path) -> None:
    done = lab(tmp_path, "-sc", "query=bash", COMP_LINE="reasoning-lab sampler=po")
    assert "sampler=power_limit" in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sampler.alpha=0.5"], "error: sampler.alpha=0.5: must be at least 1; below 1 the law is flattened"),
        (["sampler=nope"], "error: sampler=nope: no such option; choose one of beam, best_of_n"),
        (["stage=nope"], "error: stage='nope': must be one of traces, activations"),
        (["sweep=power_grid"], "error: sweep=power_grid is a sweep; add -m"),
        (["-m", "sampler.alpha=2,0.5"], "error: cell sampler.alpha=0.5: sampler.alpha=0.5: must be at least 1"),
        (["-m", "sampler=power,nope"], "error: sampler=nope: no such option; choose one of beam, best_of_n"),
        (["outputs=taken/below"], "error: outputs=taken/below: can't write there (Not a directory"),
        (["hydra.run.dir=/tmp/elsewhere"], "error: hydra.run.dir=/tmp/elsewhere: must be below outputs=outputs"),
        (["--config-dir", "missing"], "error: --config-dir missing: no such folder."),
        (["--experimental-rerun", "x.pickle"], "error: --experimental-rerun reads a pickle"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    (tmp_path / "taken").write_text("")
    done = lab(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_options_of_ones_own_come_from_another_folder(tmp_path: Path) -> None:
    own = tmp_path / "own" / "sampler"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: reasoning_lab.sampler.ancestral.Greedy\nmax_new_tokens: 7\n")
    done = lab(tmp_path, "--config-dir", "own", "sampler=mine", "arms=single", "--cfg", "job", "-p", "sampler")
    assert "max_new_tokens: 7" in done.stdout


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with W&B offline, a planted key in the environment and no server to take it."""
    folder = tmp_path_factory.mktemp("run")
    secrets = {"WANDB_API_KEY": "feedface" * 5, "HF_TOKEN": "hf_canary"}
    done = lab(folder, *TINY, "arms=power", WANDB_BASE_URL="http://127.0.0.1:9", **secrets)
    assert done.returncode == 0, done.stderr
    assert "can't be reached" in done.stderr
    assert "feedface" not in done.stdout + done.stderr
    return folder


def test_a_run_leaves_its_row(tiny_run: Path) -> None:
    row = json.loads(only("outputs/runs/*_grades_*/row.json", tiny_run).read_text())
    assert row["status"] == "completed"
    assert set(row["metrics"]) >= {"accuracy/base", "accuracy/low_temperature", "accuracy/power"}
    assert row["overrides"]["benchmark.n_problems"] == 2
    assert row["config"]["arms"]["low_temperature"]["sampler"]["temperature"] == 0.25
    assert row["versions"]["torch"]
    assert row["seconds"] > 0
    assert set(row["git"] or {"commit": 0, "dirty": 0}) == {"commit", "dirty"}


def test_a_run_writes_its_local_log(tiny_run: Path) -> None:
    folder = only("outputs/runs/*", tiny_run)
    kinds = [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("start", "finish")
    assert "accuracy/power" in json.loads((folder / "summary.json").read_text())
    assert json.loads((folder / "status.json").read_text())["status"] == "completed"


def test_keys_of_the_environment_are_in_no_file(tiny_run: Path) -> None:
    files = [file for file in tiny_run.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert not [file for file in files if any(key in file.read_bytes() for key in (b"feedface", b"hf_canary"))]


def test_the_same_run_again_draws_nothing(tiny_run: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in tiny_run.glob("outputs/artifacts/*/*/*")}
    done = lab(tiny_run, *TINY, "arms=power", "tracking=local")
    assert done.returncode == 0, done.stderr
    after = {file: file.stat().st_mtime_ns for file in tiny_run.glob("outputs/artifacts/*/*/*")}
    assert before == after
    shutil.rmtree(sorted(tiny_run.glob("outputs/runs/*"))[-1])


def test_a_bad_input_found_by_a_stage_is_one_message_with_the_traceback_in_the_log(tmp_path: Path) -> None:
    done = lab(tmp_path, *TINY, "arms=single", "runtime.max_prompt_tokens=2", "tracking=local")
    assert done.returncode == 1
    assert done.stderr.startswith("error: problem ") and "its prompt has" in done.stderr
    assert "Traceback" not in done.stderr
    folder = only("outputs/runs/*", tmp_path)
    assert "Traceback" in (folder / "main.log").read_text()
    row = json.loads((folder / "row.json").read_text())
    assert (row["status"], row["error"][:10]) == ("failed", "ValueError")


def test_what_is_missing_is_told_before_there_is_a_folder(tmp_path: Path) -> None:
    done = lab(tmp_path, *TINY, "arms=single", "model_pair.base.path=./nowhere", "tracking=local")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model_pair path=./nowhere: no such folder")
    wrong = lab(tmp_path, *TINY[:-1], "arms=single", "sampler=greedy", "metric=nope", "tracking=local")
    assert wrong.returncode == 2 and "metric=nope: stage=grades measures nothing of that name" in wrong.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_fault_of_ours_is_named_and_its_traceback_logged(tmp_path: Path) -> None:
    code = BOOM.format(error="RuntimeError('a fault')")
    done = lab(tmp_path, "stage=grades", "arms=single", "seed=1", "tracking=local", code=code)
    assert done.returncode == 1
    assert done.stderr.startswith("error: RuntimeError: a fault\n(traceback: ")
    folder = only("outputs/runs/*", tmp_path)
    assert "Traceback" in (folder / "main.log").read_text()
    assert json.loads((folder / "status.json").read_text())["status"] == "failed"


def test_a_metric_that_is_not_there_after_all_costs_no_result(tmp_path: Path) -> None:
    code = "import reasoning_lab.launch.job as j\ndef no(*a): raise ValueError('no such metric')\nj.optimised = no"
    done = lab(tmp_path, *TINY[:-1], "arms=single", "sampler=greedy", "tracking=local", code=code)
    assert done.returncode == 1 and "error: no such metric" in done.stderr
    row = json.loads((only("outputs/runs/*", tmp_path) / "row.json").read_text())
    assert (row["status"], set(row["metrics"])) == ("failed", {"accuracy/main"})


def test_ctrl_c_is_recorded(tmp_path: Path) -> None:
    code = BOOM.format(error="os.kill(os.getpid(), 2) or time.sleep(60)").replace("raise", "import os, time;")
    done = lab(tmp_path, "stage=grades", "arms=single", "seed=1", "tracking=local", code=code)
    assert done.returncode == 130
    assert "SIGINT: saved" in done.stderr and "Traceback" not in done.stderr
    folder = only("outputs/runs/*", tmp_path)
    assert json.loads((folder / "status.json").read_text())["status"] == "interrupted"


# -- a sweep -----------------------------------------------------------------------------------------------------------


def test_a_failed_cell_is_named_and_the_others_go_on_wherever_the_flag_stands(tmp_path: Path) -> None:
    questions = {"a": "Lily has 2 cards. How many cards?", "b": "Lily " * 99, "c": "Tom has 3 pens. How many pens?"}
    for name, question in questions.items():
        problem = {"id": name, "question": f"{question}\n", "answer": "2"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(problem) + "\n")
    swept = ("benchmark=jsonl", "benchmark.path=a.jsonl,b.jsonl,c.jsonl", "benchmark.max_new_tokens=64")
    single = ("stage=grades", "arms=single", "sampler=greedy", "runtime.rows=4", "tracking=local")
    done = lab(tmp_path, *swept, *single, "-m")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "cell 1 (benchmark.path=b.jsonl): failed" in done.stdout
    assert "2 of 3 cells completed" in done.stdout
    folder = only("outputs/sweeps/multirun/*", tmp_path)
    states = [json.loads((folder / str(cell) / "row.json").read_text())["status"] for cell in range(3)]
    assert states == ["completed", "failed", "completed"]
    assert "Traceback" in (folder / "1" / "main.log").read_text()
    assert (folder / "report" / "sweep.html").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    done = lab(tmp_path, "outputs=closed/outputs")
    assert done.returncode == 2
    assert "can't write there (Permission denied" in done.stderr
