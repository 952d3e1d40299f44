"""Venhoff et al. 2026: disagreement tokens, the network of coefficients, the balanced loss, one kept moment."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.steering.vectors.base import coefficients
from reasoning_lab.steering.vectors.examples import heldout_traces, selection_and_test
from reasoning_lab.steering.vectors.venhoff2026 import Venhoff2026, initial_mlp
from tests.steering.teacher_forced import teacher_forced_logits
from tests.steering.toy import WIDTH, toy_decoder, toy_traces

LAYER = 1
SMALL = Venhoff2026(
    min_examples=3, heldout_share=0.3, hidden=6, batch=4, epochs=3, learning_rate=0.1, mlp_learning_rate=0.05
)


def fit(traces=None, seed=0, n_categories=3, **changes):
    return replace(SMALL, **changes).fit(toy_decoder(), traces or toy_traces(), n_categories, LAYER, seed)


def labels_of(t):
    """Category at each position that predicts a generated token."""
    found = {}
    for span, label in zip(t.spans, t.labels, strict=True):
        found |= {len(t.prompt) - 1 + j: label for j in range(span.first, span.last)}
    return found


@torch.no_grad()
def test_positions_by_brute_force():
    """All positions where the slow law's most probable token is not the trace's next."""
    traces, decoder = toy_traces(4), toy_decoder()
    expected = {}
    for index, t in enumerate(traces):
        labels = labels_of(t)
        wrong = [p for p in labels if decoder.policy.next_logits(t.tokens[: p + 1]).argmax() != t.tokens[p + 1]]
        if wrong:
            expected[index] = tuple((p, labels[p]) for p in wrong)
    found, kept_back, counts = SMALL._positions(decoder, traces, 0, lambda *_: None)
    assert found == expected
    assert sum(len(positions) for positions in expected.values()) < sum(len(t.ids) for t in traces)
    assert counts == {c: sum(k == c for ps in expected.values() for _, k in ps) for c in range(3)}
    assert kept_back == heldout_traces(traces, range(len(traces)), 0.3, 0)
    few, _, all_counts = replace(SMALL, most_per_trace=2)._positions(decoder, traces, 0, lambda *_: None)
    assert all_counts == counts
    for index, positions in few.items():
        assert set(positions) <= set(expected[index])
        for c in range(3):
            assert sum(k == c for _, k in positions) == min(2, sum(k == c for _, k in expected[index]))


def slow_losses(t, positions, vectors, mlp, memory):
    """(category, loss) of a trace's positions, by whole passes through the whole model."""
    decoder, tokens = toy_decoder(), torch.tensor(t.tokens)[None]
    hidden = decoder.read(tokens, (LAYER,))[LAYER][0]
    found = []
    for group in [positions] if memory == "steered" else [(pair,) for pair in positions]:
        added = torch.zeros(1, tokens.shape[1], WIDTH, dtype=torch.float64)
        at = torch.zeros_like(tokens, dtype=torch.bool)
        for p, c in group:
            added[0, p] = coefficients(mlp, hidden[p, None], torch.tensor([c]))[0] * vectors[c]
            at[0, p] = True
        logits = teacher_forced_logits(decoder, LAYER, tokens, at, added)[0]
        found += [(c, functional.cross_entropy(logits[p], tokens[0, p + 1])) for p, c in group]
    return found


@pytest.mark.parametrize("memory", ["steered", "plain"])
def test_one_epoch_by_hand(memory):
    """Two batches of AdamW on the balanced loss, written plainly; the weights after them."""
    traces, decoder = toy_traces(3), toy_decoder()
    positions, held, _ = SMALL._positions(decoder, traces, 0, lambda *_: None)
    train = [index for index in positions if index not in held]
    train.sort(key=lambda index: uniform(Key(0, traces[index].name, step=0), 0, "order of traces"))
    size = (len(train) + 1) // 2
    found = fit(traces, epochs=1, batch=size, memory=memory, clip=0.5)
    weights = {"vectors": torch.zeros(3, WIDTH, dtype=torch.float64), **initial_mlp(0, WIDTH, 6, 3)}
    weights = {name: torch.nn.Parameter(weight) for name, weight in weights.items()}
    optimiser = torch.optim.AdamW(
        [
            {"params": [weights["vectors"]], "lr": 0.1},
            {"params": [weight for name, weight in weights.items() if name != "vectors"], "lr": 0.05},
        ],
        weight_decay=0.01,
    )
    seen: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for batch in (train[:size], train[size:]):
        mlp = {name: weight for name, weight in weights.items() if name != "vectors"}
        losses = [pair for i in batch for pair in slow_losses(traces[i], positions[i], weights["vectors"], mlp, memory)]
        means = {c: torch.stack([loss for k, loss in losses if k == c]).mean() for c in {k for k, _ in losses}}
        optimiser.zero_grad()
        torch.stack(list(means.values())).mean().backward()
        decoder.policy.model.zero_grad()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 0.5)
        optimiser.step()
        for c, mean in means.items():
            seen[c].append(mean.item())
    for log in found.log.categories:
        assert log.train_losses == pytest.approx(seen[log.category], abs=1e-9)
    assert {log.best_step for log in found.log.categories} == {2}
    torch.testing.assert_close(found.vector_set.vectors, weights["vectors"].detach(), rtol=0, atol=1e-8)
    mlp = found.vector_set.mlp
    assert mlp is not None
    for name, weight in weights.items():
        if name != "vectors":
            torch.testing.assert_close(mlp[name], weight.detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("memory", ["steered", "plain"])
def test_held_out_losses_are_of_the_kept_weights(memory):
    """Vectors and network of one moment: together they give the logged loss, and it is the lowest."""
    traces = toy_traces()
    found = fit(traces, epochs=6, memory=memory, learning_rate=0.5)
    kept, log = found.vector_set, found.log
    assert kept.mlp is not None
    positions, held, _ = SMALL._positions(toy_decoder(), traces, 0, lambda *_: None)
    with torch.no_grad():
        losses, tested = (
            [
                pair
                for i in sorted(half & positions.keys())
                for pair in slow_losses(traces[i], positions[i], kept.vectors, kept.mlp, memory)
            ]
            for half in selection_and_test(traces, held, 0)
        )
    per_step = [dict(one.heldout_losses) for one in log.categories]
    balanced = {step: sum(losses[step] for losses in per_step) / 3 for step in per_step[0]}
    for one in log.categories:
        expected = torch.stack([loss for c, loss in losses if c == one.category]).mean().item()
        assert one.heldout_with == pytest.approx(expected, abs=1e-9)
        assert one.n_heldout == sum(c == one.category for c, _ in losses)
        on_test = torch.stack([loss for c, loss in tested if c == one.category]).mean().item()
        assert one.test_with == pytest.approx(on_test, abs=1e-9)
        assert one.n_test == sum(c == one.category for c, _ in tested)
        assert balanced[one.best_step] == min(balanced.values())
        assert one.heldout_without == dict(one.heldout_losses)[0]
    assert sum(one.heldout_with for one in log.categories) < sum(one.heldout_without for one in log.categories)


def test_recomputed_contexts_and_seeds():
    one, same, other = fit(), fit(cache_context=False), fit(seed=1)
    torch.testing.assert_close(one.vector_set.vectors, same.vector_set.vectors, rtol=0, atol=1e-9)
    assert not torch.allclose(one.vector_set.vectors, other.vector_set.vectors)


def test_patience():
    stopped = fit(epochs=9, patience=2, learning_rate=1e-300, mlp_learning_rate=1e-300, weight_decay=0.0)
    assert len(stopped.log.categories[0].heldout_losses) == 3
    assert {one.best_step for one in stopped.log.categories} == {0}


def test_the_network_starts_as_the_authors():
    mlp = initial_mlp(0, 40, 30, 7)
    assert {name: tuple(t.shape) for name, t in mlp.items()} == {
        "trunk.weight": (30, 40), "trunk.bias": (30,), "heads.weight": (7, 30), "heads.bias": (7,),
    }  # fmt: skip
    assert set(mlp["trunk.bias"].tolist()) == set(mlp["heads.bias"].tolist()) == {0.5}
    for name, bound in (("trunk.weight", (6 / 70) ** 0.5), ("heads.weight", (6 / 31) ** 0.5)):
        weight = mlp[name]
        assert 0.95 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_of_equal_losses_the_earliest_moment_is_kept():
    """Steps too small to change any loss: the start stays."""
    fitted = fit(learning_rate=1e-300, mlp_learning_rate=1e-300, epochs=4, patience=9)
    for log in fitted.log.categories:
        assert len({loss for _, loss in log.heldout_losses}) == 1 < len(log.heldout_losses)
        assert log.best_step == 0
    assert not fitted.vector_set.vectors.any()


def test_small_categories_are_skipped_and_listed():
    found = fit(n_categories=5)
    assert found.vector_set.empty == (3, 4)
    assert found.log.skipped[4] == "0 training positions, below min_examples=3"
    with pytest.raises(ValueError, match="no category has enough examples"):
        fit(min_examples=1000)
    for changes in ({"batch": 0}, {"clip": 0.0}, {"learning_rate_of_norm": -1.0}):
        with pytest.raises(ValueError, match=r"=\S+: must be (above 0|a whole number of at least 1); "):
            replace(SMALL, **changes)


def test_learning_rate_of_the_norm():
    log = fit(epochs=1, learning_rate_of_norm=0.02).log
    assert log.learning_rate == pytest.approx(0.02 * log.residual_norm)
