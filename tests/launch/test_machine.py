"""What this machine lacks is told with the composition, in one line that names key and next move."""

import json
import os
from pathlib import Path

import pytest
import torch

from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.machine import check_machine, may_measure
from reasoning_lab.launch.slurm import slurm_fault
from reasoning_lab.launch.typed import build

COMPOSER = Composer()
SLURM = {"_target_": "reasoning_lab.launch.launchers.SlurmLauncher"}
ARM = ["arms=single"]


def message(*overrides: str) -> str:
    experiment = build(COMPOSER.compose(overrides))
    with pytest.raises(ConfigError) as caught:
        check_machine(experiment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a judge's key, in an empty folder."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["judge=openai"], "judge.api_key_env=OPENAI_API_KEY: no key is set there; export OPENAI_API_KEY in the shell"),
        (["runtime.device=gpu"], "runtime.device=gpu: must be auto, cpu, cuda or cuda:N; set it to one."),
        (["model_pair.base.path=./nowhere"], "model_pair path=./nowhere: no such folder"),
        (["model_pair.base.path=a/b/c"], "model_pair.base.path=a/b/c: must be a hub id"),
        (["model_pair.base.path=package:nowhere"], "model_pair.base.path=package:nowhere: no such folder"),
        (["model_pair.base.path=installed:os.path"], "installed:os.path: must be a package's name"),
        (["model_pair.base.path=installed:nowhere_at_all"], "model_pair needs the weights of package nowhere_at_all"),
        (["benchmark=jsonl", "benchmark.path=no.jsonl"], "benchmark.path=no.jsonl: no such file"),
        (["stage=vectors"], "taxonomy=none: stage=vectors needs categories of reasoning steps"),
        (["stage=vectors", "taxonomy=embedded"], "steering=none: stage=vectors needs vectors"),
        (["stage=cue", "cue=none"], "cue=none: no cue is looked for"),
        (["stage=preferences"], "benchmark=Arithmetic: its answers are graded by rule"),
        (["metric=nonsense"], "metric=nonsense: stage=report measures nothing of that name"),
        (["metric=nonsense/accuracy"], "metric=nonsense/accuracy: stage=report measures nothing of that name"),
        (
            ["stage=taxonomy", "taxonomy=embedded", "metric=accuracy"],
            "metric=accuracy: stage=taxonomy measures nothing",
        ),
        (["stage=completions", "metric=accuracy"], "metric=accuracy: stage=completions measures nothing"),
        (
            ["stage=taxonomy", "taxonomy=embedded", "taxonomy.layers=[1,9]", "taxonomy.layer=9"],
            "taxonomy.layers=9: the thinking model has no such layer; its layers are 0 ... 3.",
        ),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_is_missing_is_named(nothing_here: Path, overrides: list[str], expected: str) -> None:
    assert message(*ARM, *overrides).startswith(expected) or expected in message(*ARM, *overrides)
    assert not list(nothing_here.iterdir())


def test_a_steering_layer_beyond_the_model_is_named() -> None:
    expected = "steering.layer=99: the base model has no such layer; its layers are 0 ... 3."
    assert message("experiment=hybrid", "steering.layer=99") == expected


@pytest.mark.parametrize(
    "overrides",
    [
        ["metric=accuracy_low"], ["metric=difference_to_base"], ["metric=main/decode_tokens"],
        ["stage=grades", "metric=accuracy/main"], ["stage=cue"], ["judge=openai", "stage=completions"],
        ["judge=openai", "judge.base_url=http://localhost:1/v1"], ["stage=thinking", "metric=reward/last"],
        ["stage=taxonomy", "taxonomy=embedded", "metric=nmi"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_here_passes(nothing_here: Path, overrides: list[str]) -> None:
    check_machine(build(COMPOSER.compose([*ARM, *overrides])))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_is_asked_of_the_machine_that_works() -> None:
    assert message(*ARM, "runtime.device=cuda").startswith("runtime.device=cuda: torch sees no CUDA device here")
    experiment = build(COMPOSER.compose([*ARM, "runtime.device=cuda:1"]))
    check_machine(experiment, SLURM)
    check_machine(experiment, is_dry=True)
    with pytest.raises(ConfigError, match="no CUDA device"):
        check_machine(experiment, {"_target_": "reasoning_lab.launch.launchers.LocalLauncher"})


def test_a_folder_is_a_model_only_with_its_config_and_weights(nothing_here: Path) -> None:
    folder = nothing_here / "model"
    folder.mkdir()
    path = f"model_pair.base.path={folder}"
    assert "has no config.json" in message(*ARM, path)
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 2}))
    assert "has no weights" in message(*ARM, path)
    (folder / "model.safetensors").touch()
    check_machine(build(COMPOSER.compose([*ARM, path])))
    assert "its layers are 0 ... 1" in message("experiment=hybrid", path)
    assert f"must be a file of {folder}" in message(*ARM, path, "model_pair.base.gguf_file=no.gguf")


def test_without_the_hub_only_what_was_downloaded_is_here(nothing_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(nothing_here))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(nothing_here))
    told = "is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set"
    assert f"model_pair.base.path=me/model: {told}" in message(*ARM, "model_pair.base.path=me/model")
    (nothing_here / "models--me--model" / "snapshots" / "x").mkdir(parents=True)
    check_machine(build(COMPOSER.compose([*ARM, "model_pair.base.path=me/model"])))
    assert f"benchmark.hub_id=me/data: {told}" in message(*ARM, "benchmark=gsm8k", "benchmark.hub_id=me/data")
    (nothing_here / "me___data").mkdir()
    check_machine(build(COMPOSER.compose([*ARM, "benchmark=gsm8k", "benchmark.hub_id=me/data"])))


def test_an_extra_that_is_not_installed_is_named(nothing_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning_lab.launch.machine.find_spec", lambda _: None)
    assert "stage=thinking needs the package trl of the extra `train`" in message(*ARM, "stage=thinking")


def test_metrics_of_arms_need_an_arm_of_that_name() -> None:
    experiment = build(COMPOSER.compose(["stage=grades"]))
    assert may_measure(experiment, "accuracy/power")
    assert may_measure(experiment, "accuracy/power@2")
    assert not may_measure(experiment, "accuracy/powr")


# -- a cluster ---------------------------------------------------------------------------------------------------------


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """These commands and no others but the shell's."""
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}")


def test_no_sbatch_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(tmp_path, monkeypatch)
    found = slurm_fault()
    assert found is not None
    assert found.startswith("hydra/launcher=slurm: sbatch is not on this machine")


@pytest.mark.parametrize(
    ("scripts", "word"),
    [
        ({"scontrol": "echo 'Slurmctld(primary) at head is DOWN'; exit 1"}, "is DOWN"),
        ({"scontrol": "echo one >&2; echo two >&2; exit 1"}, "one two"),
        ({"sinfo": "echo 'Unable to contact slurm controller' >&2; exit 1"}, "Unable to contact"),
        ({"scontrol": "while :; do :; done"}, "no answer in 1 s"),
    ],
    ids=["down", "lines", "sinfo", "silent"],
)
def test_a_controller_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, str], word: str
) -> None:
    monkeypatch.setattr("reasoning_lab.launch.slurm.ASK_SECONDS", 1)
    cluster(tmp_path, monkeypatch, sbatch="exit 0", **scripts)
    found = slurm_fault()
    assert found is not None
    assert word in found
    assert "reaches no controller" in found
    assert "\n" not in found


def test_a_controller_that_answers_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(tmp_path, monkeypatch, sbatch="exit 0", scontrol="echo 'Slurmctld(primary) at head is UP'")
    assert slurm_fault() is None
    assert os.listdir(tmp_path)
