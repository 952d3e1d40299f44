"""The pretraining loop: its schedule, its batches, and that a seed repeats a run."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from reasoning_lab.benchmark.grammar import Grammar, build_tokenizer, training_documents
from reasoning_lab.training.pretrain import (
    Architecture,
    PretrainHyperparameters,
    batches,
    language_model_loss,
    learning_rate,
    new_model,
    pretrain,
)

SMALL = PretrainHyperparameters(steps=30, batch_tokens=600, pool=256, warmup=10, seed=7)


def test_the_schedule_warms_up_and_ends_at_the_floor() -> None:
    hyper = PretrainHyperparameters()
    assert learning_rate(0, hyper) == pytest.approx(hyper.learning_rate / hyper.warmup)
    assert learning_rate(hyper.warmup, hyper) == pytest.approx(hyper.learning_rate, rel=1e-2)
    assert learning_rate(hyper.steps, hyper) == pytest.approx(hyper.floor * hyper.learning_rate)


def test_batches_hold_each_document_of_a_pool_once_within_the_token_budget() -> None:
    tokenizer = build_tokenizer()
    pool = list(islice(training_documents(SMALL.seed, Grammar()), SMALL.pool))
    texts: list[str] = []
    for ids in batches(tokenizer, Grammar(), SMALL):
        assert ids.numel() <= SMALL.batch_tokens
        assert (ids == tokenizer.eos_token_id).sum(1).eq(1).all()
        texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
        if len(texts) >= SMALL.pool:
            break
    assert sorted(texts) == sorted(pool)


def test_padding_does_not_change_the_loss() -> None:
    tokenizer = build_tokenizer()
    model = new_model(tokenizer, Architecture(), seed=0)
    ids = next(batches(tokenizer, Grammar(), SMALL))
    padded = torch.nn.functional.pad(ids, (0, 9), value=tokenizer.pad_token_id)
    torch.testing.assert_close(
        language_model_loss(model, padded, tokenizer.pad_token_id),
        language_model_loss(model, ids, tokenizer.pad_token_id),
    )


def test_a_short_pretraining_repeats_with_its_seed_and_its_loss_falls() -> None:
    tokenizer = build_tokenizer()
    first, losses = pretrain(tokenizer, hyper=SMALL)
    again, losses_again = pretrain(tokenizer, hyper=SMALL)
    assert losses == losses_again
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_stopping_early_repeats_the_start_of_the_long_run() -> None:
    tokenizer = build_tokenizer()
    _, losses = pretrain(tokenizer, hyper=SMALL, stop_after=4)
    _, longer = pretrain(tokenizer, hyper=SMALL, stop_after=8)
    assert losses == longer[:4]
