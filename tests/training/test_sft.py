"""SFT through TRL on the shipped base model."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the optional extra `train`")

import reasoning_lab
from reasoning_lab.corpus import Grammar, response, training_problems
from reasoning_lab.training.embedded_pair import load
from reasoning_lab.training.sft import SFTRecipe, train_sft

BASE = Path(reasoning_lab.__file__).parent / "model_pair" / "embedded" / "base"


def test_the_model_learns_the_style_of_the_completions_and_to_stop() -> None:
    model, tokenizer = load(BASE)
    rng = random.Random(0)
    problems = list(islice(training_problems(9), 128))
    completions = [response(rng, Grammar(), problem, "V") for problem in problems]
    log = train_sft(model, tokenizer, [p.text for p in problems], completions, SFTRecipe(epochs=2, batch=16, warmup=2))
    losses = log.column("loss")
    assert len(losses) == 16
    # the first token of the style costs -log .3 before and nothing after
    assert losses[-1] < losses[0]
    ids = tokenizer(problems[0].text, return_tensors="pt")["input_ids"]
    first = model(input_ids=ids).logits[0, -1].softmax(-1)
    assert first[tokenizer.convert_tokens_to_ids("Let")] > 0.9


def test_unequal_lists_are_refused() -> None:
    model, tokenizer = load(BASE)
    with pytest.raises(ValueError, match="2 prompts but 1 completions"):
        train_sft(model, tokenizer, ["a", "b"], ["a"])
