"""A thinking model from a base, by the benchmark's own grader."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the optional extra `train`")

import torch

import reasoning_lab
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.training.embedded_pair import load_trained
from reasoning_lab.training.grpo import GRPOHyperparameters
from reasoning_lab.training.sft import SFTHyperparameters
from reasoning_lab.training.thinking import ThinkingHyperparameters, graded, save_model, train_thinking

BASE = Path(reasoning_lab.__file__).parent / "model_pair" / "embedded" / "base"
BENCHMARK = Arithmetic(n_problems=16, problem_seed=3, max_new_tokens=64, split="train")
TINY = ThinkingHyperparameters(
    BENCHMARK,
    True,
    0.7,
    SFTHyperparameters(epochs=1.0, batch=8),
    GRPOHyperparameters(steps=2, prompts_per_step=8, completions_per_prompt=4, max_tokens=64, warmup=1),
)


def test_the_reward_is_the_grade() -> None:
    reward, problem = graded(BENCHMARK.grade), BENCHMARK.load()[0]
    assert reward(problem, BENCHMARK.gold_text(problem)) == 1.0
    assert reward(problem, "The answer is 100000.") == reward(problem, "") == 0.0


def test_too_few_problems_are_refused_before_work() -> None:
    with pytest.raises(ValueError, match=r"n_problems=7: a GRPO step takes 8 prompts"):
        TINY.check(7)


def test_a_few_steps_train_and_the_folder_loads(tmp_path: Path) -> None:
    model, tokenizer = load_trained(BASE)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    problems = BENCHMARK.load()
    prompts = {problem.id: BENCHMARK.prompt(problem) for problem in problems}
    right = [(problem.id, BENCHMARK.gold_text(problem)) for problem in problems]
    log = train_thinking(model, tokenizer, prompts, problems, graded(BENCHMARK.grade), right, TINY)
    assert len(log["loss"]) == 2 and len(log["reward"]) == 2
    assert all(0 <= reward <= 1 for reward in log["reward"])
    assert any(not torch.equal(before[name], p) for name, p in model.named_parameters())
    save_model(model, tokenizer, tmp_path / "thinking", torch.float32)
    again, _ = load_trained(tmp_path / "thinking")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
