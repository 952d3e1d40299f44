"""SFT through TRL on the shipped base model."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the optional extra `train`")

import torch

import reasoning_lab
from reasoning_lab.benchmark.grammar import Grammar, response, training_problems
from reasoning_lab.training.embedded_pair import load_trained
from reasoning_lab.training.sft import SFTHyperparameters, train_sft

BASE = Path(reasoning_lab.__file__).parent / "model_pair" / "embedded" / "base"


def probability_of_planning(model: Any, tokenizer: Any, prompt: str) -> float:
    """That the response begins with "Let", as the verified style does."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        first = model(input_ids=ids).logits[0, -1].softmax(-1)
    return first[tokenizer.convert_tokens_to_ids("Let")].item()


def test_the_model_takes_up_the_style_of_the_completions() -> None:
    model, tokenizer = load_trained(BASE)
    rng = random.Random(0)
    problems = list(islice(training_problems(9), 128))
    prompts = [problem.text for problem in problems]
    completions = [response(rng, Grammar(), problem, "V") for problem in problems]
    before = probability_of_planning(model, tokenizer, prompts[0])
    hyper, told = SFTHyperparameters(epochs=2.0, batch=16, warmup=2), list[Mapping[str, float]]()
    log = train_sft(model, tokenizer, prompts, completions, hyper, told.append)
    assert [each["loss"] for each in told if "loss" in each] == log.column("loss")
    assert len(log.column("loss")) == 16
    assert before < 0.45
    assert probability_of_planning(model, tokenizer, prompts[0]) > 0.6


def test_unequal_lists_are_refused() -> None:
    model, tokenizer = load_trained(BASE)
    with pytest.raises(ValueError, match="2 prompts but 1 completions"):
        train_sft(model, tokenizer, ["a", "b"], ["a"])
