"""Nothing is fitted on what is measured: every fit, every way of naming the same problem, before any work."""

import json
from pathlib import Path

import pytest

from reasoning_lab.artifacts.files import trained_on, write_trained_on
from reasoning_lab.benchmark.base import problems_of
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.stages import STAGES
from tests.command import lab


def experiment(*overrides: str) -> Experiment:
    return build(Composer().compose(["runtime.device=cpu", *overrides]))


def measured(key: str) -> list[str]:
    """Makes the benchmark of `key` that of the table, of which it takes 20 problems."""
    return [f"{key}.split=heldout", f"{key}.problem_seed=777", f"{key}.n_problems=20"]


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        ("taxonomy.benchmark", ["experiment=hybrid"]),
        ("cue.benchmark", []),
        ("cue.benchmark", ["stage=cue", "arms=single"]),
        ("training.benchmark", ["stage=thinking"]),
    ],
)
def test_no_stage_fits_on_what_is_measured(key: str, overrides: list[str]) -> None:
    experiment(*overrides).check_disjoint({})
    leaking = experiment(*overrides, *measured(key))
    with pytest.raises(ValueError, match=rf"^{key}: 20 of its 20 problems are among the 200 of benchmark, .* first is"):
        leaking.check_disjoint({})


def test_an_arms_own_taxonomy_is_looked_at_too() -> None:
    given = ["arms.published.taxonomy.benchmark={_target_: reasoning_lab.benchmark.arithmetic.Arithmetic, "
             "n_problems: 3, problem_seed: 777, split: heldout, max_new_tokens: 64}"]  # fmt: skip
    with pytest.raises(ValueError, match=r"^arms.published.taxonomy.benchmark: 3 of its 3 problems"):
        experiment("experiment=hybrid", *given).check_disjoint({})


def test_one_shared_problem_of_many_is_enough_and_is_named(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} plus 1?", "answer": f"#### {n + 1}"} for n in range(10)]
    test, train = tmp_path / "test.jsonl", tmp_path / "train.jsonl"
    test.write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    train.write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows[5:], rows[3] | {"question": "what is 3  plus 1?"}])
    )
    files = ["benchmark=gsm8k", f"benchmark.path={test}", f"cue.benchmark.path={train}", "cue.benchmark.n_problems=6"]
    with pytest.raises(
        ValueError, match=r"cue.benchmark: 1 of its 6 problems .* first is 'train-00005', there 'test-0000"
    ):
        experiment(*files).check_disjoint({})
    train.write_text("".join(json.dumps(row) + "\n" for row in rows[5:]))
    problems_of.cache_clear()
    experiment(*files[:-1], "cue.benchmark.n_problems=5").check_disjoint({})


def test_a_model_that_was_trained_here_is_not_measured_on_its_problems(tmp_path: Path) -> None:
    base = experiment().model_pair
    path = base.base.folder()
    assert path is not None
    folder = tmp_path / "thinking"
    folder.mkdir()
    for file in path.iterdir():
        (folder / file.name).symlink_to(file)
    write_trained_on(folder, problems_of(experiment().benchmark)[:2])
    one = experiment(f"model_pair.thinking.path={folder}")
    with pytest.raises(
        ValueError, match=r"model_pair.thinking.path, trained on trained_on.jsonl,: 2 of its 2 problems"
    ):
        one.check_disjoint(trained_on(one.model_pair))
    assert trained_on(base) == {}


def test_hub_data_is_left_to_the_job_where_there_is_no_network() -> None:
    experiment("benchmark=gsm8k", "arms=cue", "model_pair=embedded").check_disjoint({}, is_offline=True)


def test_every_stage_that_fits_is_known() -> None:
    """A stage added later has to say here whether it fits on problems of its own."""
    fits = {"cue", "thinking", "traces", "activations", "taxonomy", "vectors", "export"}
    draws = {"completions", "grades", "preferences", "report"}
    assert set(STAGES) == fits | draws | {"bench", "check", "embedded_pair"}


@pytest.mark.parametrize("mode", [[], pytest.param(["-m", "seed=0,1"], marks=pytest.mark.slow)])
def test_the_command_line_refuses_before_any_work(tmp_path: Path, mode: list[str]) -> None:
    done = lab(tmp_path, *mode, "stage=thinking", *measured("training.benchmark"), "tracking=local")
    assert done.returncode != 0
    assert "training.benchmark: 20 of its 20 problems" in done.stderr
    assert not list((tmp_path / "outputs").rglob("row.json"))
