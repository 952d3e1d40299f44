"""The shipped pair: its manifest, its weights, its lineage, and the build that makes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import reasoning_lab
from reasoning_lab.benchmark.grammar import Grammar, heldout_problems
from reasoning_lab.training.embedded_pair import (
    FIGURES_BEGIN,
    FIGURES_END,
    MODELS,
    PairHyperparameters,
    TraceHyperparameters,
    build_embedded_pair,
    card,
    file_hashes,
    is_thorough,
    load_trained,
    stage_problems,
)
from reasoning_lab.training.grpo import GRPOHyperparameters
from reasoning_lab.training.pretrain import PretrainHyperparameters
from reasoning_lab.training.sft import SFTHyperparameters
from tests.training.reward import exact_answer

EMBEDDED = Path(reasoning_lab.__file__).parent / "model_pair" / "embedded"
MANIFEST = json.loads((EMBEDDED / "manifest.json").read_text())


def test_the_manifest_names_every_shipped_file_by_its_hash() -> None:
    assert file_hashes(EMBEDDED) == MANIFEST["sha256"]


def test_the_shipped_models_were_built_from_the_default_hyperparameters() -> None:
    hyper = PairHyperparameters().with_seed(MANIFEST["seed"])
    for stage in ("grammar", "architecture", "pretrain", "grpo", "traces", "sft", "thinking"):
        for name, value in MANIFEST["hyperparameters"][stage].items():
            expected = getattr(getattr(hyper, stage), name)
            assert value == (list(expected) if isinstance(expected, tuple) else expected), (stage, name)


@pytest.mark.parametrize("model", MODELS)
def test_each_folder_is_complete_small_and_in_half_precision(model: str) -> None:
    files = {path.name for path in (EMBEDDED / model).iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= files
    weights = load_file(EMBEDDED / model / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert sum(path.stat().st_size for path in (EMBEDDED / model).iterdir()) < 2e6


@pytest.mark.parametrize("model", MODELS)
def test_each_folder_loads_through_the_auto_classes_with_its_stop_token(model: str) -> None:
    loaded, tokenizer = load_trained(EMBEDDED / model)
    assert loaded.config.model_type == "llama"
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id == 1
    assert tokenizer.pad_token_id == 0
    assert tokenizer("Lily has 40 cards.")["input_ids"][0] != tokenizer.bos_token_id
    assert all(torch.isfinite(parameter).all() for parameter in loaded.parameters())


def test_the_three_models_differ() -> None:
    weights = [load_file(EMBEDDED / model / "model.safetensors")["model.norm.weight"] for model in MODELS]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def greedy_answers(model_name: str, opening: str, n: int) -> float:
    """Share of right greedy responses that begin with `opening`."""
    model, tokenizer = load_trained(EMBEDDED / model_name)
    problems = heldout_problems(n)
    inputs = tokenizer([problem.text + opening for problem in problems], return_tensors="pt", padding=True)
    generated = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=False, max_new_tokens=220
    )
    texts = tokenizer.batch_decode(generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return sum(exact_answer(p, opening + text) for p, text in zip(problems, texts, strict=True)) / n


def test_the_base_knows_how_to_solve_what_it_rarely_solves() -> None:
    assert greedy_answers("base", "Let", 50) > 0.6


@pytest.mark.parametrize("model", ["grpo", "thinking"])
def test_the_trained_models_solve_most_problems(model: str) -> None:
    assert greedy_answers(model, "", 50) > 0.7


def test_stages_train_on_different_problems_of_the_training_side() -> None:
    hyper = PairHyperparameters()
    stages = {stage: stage_problems(stage, 500, hyper) for stage in ("grpo", "traces", "thinking")}
    assert not any(problem.heldout for problems in stages.values() for problem in problems)
    assert stages["grpo"] != stages["traces"] != stages["thinking"]


def test_a_thorough_trace_is_right_and_checks_every_operation() -> None:
    problem = heldout_problems(1)[0]
    answer = f" The answer is {problem.answer}."
    check = " Check: 1 + 1 = 2."
    assert is_thorough(problem, check * problem.length + answer)
    assert not is_thorough(problem, check * (problem.length - 1) + answer)
    assert not is_thorough(problem, check * problem.length + " The answer is 100.")


def test_the_card_names_its_limits_and_takes_figures() -> None:
    text = card(PairHyperparameters(), "| a table |")
    assert "not evidence about large models" in text
    assert text.index(FIGURES_BEGIN) < text.index("| a table |") < text.index(FIGURES_END)


def test_overrides_reach_every_stage() -> None:
    hyper = PairHyperparameters().with_steps(5, None, 7).with_seed(3)
    assert (hyper.pretrain.steps, hyper.grpo.steps, hyper.thinking.steps) == (5, PairHyperparameters().grpo.steps, 7)
    assert {hyper.pretrain.seed, hyper.grpo.seed, hyper.sft.seed, hyper.thinking.seed} == {3}


@pytest.mark.slow
def test_a_short_build_writes_three_models_that_load(tmp_path: Path) -> None:
    """An easy grammar, so that some 250 steps suffice for traces that pass the filter."""
    pytest.importorskip("trl")
    short = GRPOHyperparameters(steps=2, prompts_per_step=4, completions_per_prompt=4, max_tokens=96, warmup=1)
    hyper = replace(
        PairHyperparameters(),
        grammar=Grammar(shortest=1, longest=1, long_tail=0.0, double_or_halve=0.0, verified=1.0, slip_checked=0.0),
        pretrain=PretrainHyperparameters(steps=250, batch_tokens=2000),
        grpo=short,
        thinking=short,
        traces=TraceHyperparameters(n_problems=256),
        sft=SFTHyperparameters(epochs=1.0),
        n_problems=64,
    )
    seconds = build_embedded_pair(tmp_path, exact_answer, hyper)
    assert list(seconds) == ["pretrain", "grpo", "cold_start", "thinking"]
    assert json.loads((tmp_path / "manifest.json").read_text())["sha256"] == file_hashes(tmp_path)
    for name in MODELS:
        load_trained(tmp_path / name)
