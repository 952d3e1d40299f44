"""GRPO through TRL on the shipped base model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the optional extra `train`")

import torch

import reasoning_lab
from reasoning_lab.training.embedded_pair import PairHyperparameters, load_trained, stage_problems
from reasoning_lab.training.grpo import GRPOHyperparameters, _trl_reward, train_grpo
from tests.training.reward import exact_answer

BASE = Path(reasoning_lab.__file__).parent / "model_pair" / "embedded" / "base"
TINY = GRPOHyperparameters(steps=3, prompts_per_step=8, completions_per_prompt=4, max_tokens=64, warmup=1)


def test_a_completion_that_was_cut_earns_nothing() -> None:
    problems = stage_problems("grpo", 2, PairHyperparameters())
    texts = [f"The answer is {problem.answer}." for problem in problems]
    reward = _trl_reward(problems, exact_answer, frozenset({1}))
    assert reward(completions=texts, completion_ids=[[5, 1], [5, 6]], problem_index=[0, 1]) == [1.0, 0.0]
    assert reward(completions=texts, completion_ids=[[5, 1], [5, 1]], problem_index=[1, 0]) == [0.0, 0.0]


def test_an_accumulation_that_does_not_divide_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="accumulation=3: must be a divisor of the 64 completions of a step"):
        GRPOHyperparameters(prompts_per_step=8, completions_per_prompt=8, accumulation=3)


def test_too_few_prompts_are_refused() -> None:
    model, tokenizer = load_trained(BASE)
    with pytest.raises(ValueError, match="a step takes 8"):
        train_grpo(model, tokenizer, ["a"], ["a"], lambda _problem, _text: 0.0, TINY)


def test_a_few_steps_train_the_shipped_base_with_the_exact_answer_reward() -> None:
    model, tokenizer = load_trained(BASE)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    problems = stage_problems("grpo", 32, PairHyperparameters())
    told: list[Mapping[str, float]] = []
    log = train_grpo(model, tokenizer, [p.text for p in problems], problems, exact_answer, TINY, told.append)
    assert [(each["step"], each["reward"]) for each in told if "reward" in each] == list(
        enumerate(log.column("reward"), start=1)
    ), "every step is told, as it is done"
    rewards = log.column("reward")
    assert len(rewards) == TINY.steps
    assert all(0.0 <= reward <= 1.0 for reward in rewards)
    assert 0.1 < sum(rewards) / len(rewards) < 0.8
    assert any(not torch.equal(before[name], p) for name, p in model.named_parameters())


@pytest.mark.slow
def test_grpo_raises_the_accuracy_of_the_shipped_base() -> None:
    model, tokenizer = load_trained(BASE)
    problems = stage_problems("grpo", 512, PairHyperparameters())
    hyper = GRPOHyperparameters(steps=16, prompts_per_step=16, warmup=3)
    rewards = train_grpo(model, tokenizer, [p.text for p in problems], problems, exact_answer, hyper).column("reward")
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
