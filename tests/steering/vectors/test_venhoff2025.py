"""Venhoff et al. 2025: which sentences, which positions, bias first; and what the authors' ways change."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.steering.vectors.examples import by_trace, heldout_traces, selection_and_test, usable_sentences
from reasoning_lab.steering.vectors.optimise import Packed, from_table, mean_losses, random_direction
from reasoning_lab.steering.vectors.venhoff2025 import Venhoff2025, _Run
from tests.steering.toy import CONTEXT, WIDTH, toy_decoder, toy_traces, trace

LAYER = 1
SMALL = Venhoff2025(
    min_tokens=1, min_examples=3, n_train=12, n_heldout=6, minibatch=4, epochs=None, steps=6, eval_every=2,
    learning_rate=0.1, bias=False,
)  # fmt: skip


def fit(traces=None, n_categories=3, layer=LAYER, **changes):
    return replace(SMALL, **changes).fit(toy_decoder(), traces or toy_traces(), n_categories, layer, 0)


# --- the choice of sentences ------------------------------------------------------------------------------------


def chosen(traces=None, n_categories=3, seed=0, **changes):
    return replace(SMALL, **changes)._choose(toy_decoder(), traces or toy_traces(), n_categories, seed, lambda *_: None)


def losses_by_policy(traces, usable):
    """Mean loss of each sentence, token by token from the slow law."""
    decoder, found = toy_decoder(), {}
    for s in usable:
        tokens = traces[s.trace].tokens
        each = [decoder.policy.next_logits(tokens[:p]).log_softmax(0)[tokens[p]].item() for p in range(s.first, s.last)]
        found[s] = -sum(each) / len(each)
    return found


@torch.no_grad()
def test_active_then_surprising():
    """Of the 4n most active sentences of a category the n of highest perplexity; both sides chosen alike."""
    traces = toy_traces(8, chains=2)
    usable = usable_sentences(traces, 1, False, CONTEXT)
    losses = losses_by_policy(traces, usable)
    found, _ = chosen(traces, n_train=2, n_heldout=1, heldout_share=0.5)
    held = heldout_traces(traces, range(len(traces)), 0.5, 0)
    selection, tested = selection_and_test(traces, held, 0)
    for category, (train, heldout, n_candidates, test) in enumerate(found):
        own = [s for s in usable if s.category == category]
        assert n_candidates == len(own)
        for side, n, of in ((train, 2, set(range(len(traces))) - held), (heldout, 1, selection), (test, 1, tested)):
            assert len(side) == n
            among = [s for s in own if s.trace in of]
            active = sorted(among, key=lambda s: -s.score)[: 4 * n]
            assert side == sorted(active, key=lambda s: -losses[s])[:n]


def test_ranked_after_is_the_authors_split():
    """Held-out sentences are the less surprising ones of the same ranking (B9)."""
    traces = toy_traces(4)
    losses = losses_by_policy(traces, usable_sentences(traces, 1, False, CONTEXT))
    for train, heldout, _, test in chosen(traces, n_train=4, n_heldout=2, heldout="ranked_after")[0]:
        assert (len(train), len(heldout)) == (4, 2)
        assert min(losses[s] for s in train) >= max(losses[s] for s in heldout)
        assert test == [], "what picked the moment can't test it"
    for train, heldout, n, test in chosen(traces, heldout="ranked_after", n_train=99, select_on="train")[0]:
        assert test == heldout
        assert len(train) + len(heldout) == n
        assert len(heldout) == min(6, round(0.2 * n))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10), st.sampled_from(["venhoff2025", "random"]), st.sampled_from(["problems", "ranked_after"]),
    st.integers(1, 9), st.integers(1, 9),
)  # fmt: skip
def test_held_out_is_never_trained_on(seed, selection, heldout, n_train, n_heldout):
    traces = toy_traces(10, seed=seed)
    ways = {"selection": selection, "heldout": heldout, "n_train": n_train, "n_heldout": n_heldout}
    found, texts = chosen(traces, seed=seed, **ways)
    sides = [{s for c in found for s in of(c)} for of in (lambda c: c.train, lambda c: c.heldout, lambda c: c.test)]
    problems = [{traces[s.trace].prompt for s in side} for side in sides]
    texts_of = [{traces[e.trace].prompt for e in side} for side in texts]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not sides[one] & sides[other]
        assert not texts_of[one] & texts_of[other]
        if heldout == "problems":
            assert not (problems[one] | texts_of[one]) & (problems[other] | texts_of[other])
    assert all(len(c.train) <= n_train and max(len(c.heldout), len(c.test)) <= n_heldout for c in found)


def test_texts_are_whole():
    traces = toy_traces(4)
    _, (train, heldout, test) = chosen(traces, min_tokens=4, heldout_share=0.5)
    whole = by_trace(usable_sentences(traces, 1, False, CONTEXT))
    assert {e.trace for e in train + heldout + test} == set(whole)
    for example in train + heldout + test:
        offset = len(traces[example.trace].prompt)
        assert [p + 1 for p, _ in example.scored] == list(range(offset, len(traces[example.trace].tokens)))


# --- the fit ----------------------------------------------------------------------------------------------------


def test_vectors_and_log():
    found = fit(toy_traces(20), steps=30, patience=99)
    vectors, log = found.vector_set, found.log
    assert (vectors.layer, vectors.vectors.shape, vectors.bias, vectors.mlp) == (LAYER, (3, WIDTH), None, None)
    assert (log.method, log.layer, log.learning_rate, log.skipped) == ("Venhoff2025", LAYER, 0.1, {})
    for one, norm in zip(log.categories, vectors.norms.tolist(), strict=True):
        assert one.norm == pytest.approx(norm)
        assert len(one.train_losses) == 30
        assert dict(one.heldout_losses)[one.best_step] == pytest.approx(one.heldout_with)
        assert one.heldout_with == min(loss for _, loss in one.heldout_losses)
        assert one.heldout_with < one.heldout_without
        assert 0 < one.n_heldout <= 6
        assert 0 < one.n_test <= 6 and one.test_with < one.test_without
        assert one.test_with not in [loss for _, loss in one.heldout_losses], "other problems, another loss"


def test_a_fit_is_a_function_of_its_seed():
    one, same, other = fit(), fit(), SMALL.fit(toy_decoder(), toy_traces(), 3, LAYER, 1)
    assert torch.equal(one.vector_set.vectors, same.vector_set.vectors)
    assert one.log == same.log
    assert not torch.equal(one.vector_set.vectors, other.vector_set.vectors)


def test_recomputed_contexts_give_the_same_vectors():
    one, other = fit(bias=True), fit(bias=True, cache_context=False)
    torch.testing.assert_close(one.vector_set.vectors, other.vector_set.vectors, rtol=0, atol=1e-9)
    assert one.log.categories[0].train_losses == pytest.approx(other.log.categories[0].train_losses, abs=1e-9)


def test_the_bias_is_trained_first_and_added():
    """The categories' losses without their vectors are those with the finished bias alone."""
    found = fit(bias=True, steps=8)
    log, bias = found.log.bias, found.vector_set.bias
    assert log is not None and bias is not None
    assert log.heldout_with < log.heldout_without
    assert log.norm == pytest.approx(bias.norm().item())
    traces, decoder = toy_traces(), toy_decoder()
    method = replace(SMALL, bias=True, steps=8)
    picked, texts = method._choose(decoder, traces, 3, 0, lambda *_: None)
    logs = [method._planned(c, own) for c, own in enumerate(picked)]
    run = _Run(method, decoder, traces, picked, texts, logs, LAYER, 0, lambda *_: None)
    for category, (_, heldout, _test) in enumerate(run.examples):
        packed = Packed(heldout, run.streams)
        adder = from_table(torch.zeros(3, WIDTH, dtype=torch.float64), bias)
        expected = mean_losses(decoder, run.streams, packed, range(len(heldout)), 3, adder)[category]
        assert found.log.categories[category].heldout_without == pytest.approx(expected)


def test_the_authors_hook_is_a_layer_early():
    """B2: trained at the output of the layer below, added at the layer's own output."""
    early, below = fit(hook="input", layer=2), fit(layer=1)
    assert (early.log.layer, early.vector_set.layer) == (1, 2)
    assert torch.equal(early.vector_set.vectors, below.vector_set.vectors)
    assert fit(hook="input", layer=0).log.layer == -1


def test_positions_change_what_is_learned():
    kinds = [fit(positions=p, min_tokens=2).vector_set.vectors for p in ("sentence", "targets", "boundary")]
    assert not torch.allclose(kinds[0], kinds[1])
    assert not torch.allclose(kinds[0], kinds[2])


def test_learning_rate_of_the_norm():
    found = fit(learning_rate=None, learning_rate_of_norm=0.01).log
    assert found.learning_rate == pytest.approx(0.01 * found.residual_norm)


def test_start_is_a_keyed_unit_direction():
    """With steps too small to move, what comes out is what went in."""
    found = fit(learning_rate=1e-15, starting_norm=2.0)
    expected = torch.stack([2 * random_direction(0, f"category {row}", WIDTH) for row in range(3)])
    torch.testing.assert_close(found.vector_set.vectors, expected, rtol=0, atol=1e-12)


# --- bad input --------------------------------------------------------------------------------------------------


def test_small_categories_are_skipped_and_listed():
    traces = toy_traces(8)
    traces[0] = trace(traces[0].prompt, [[9, 8], [9, 9, 9]], [3, 3])
    found = fit(traces, n_categories=5)
    assert found.vector_set.empty == (3, 4)
    assert found.log.skipped.keys() == {3, 4}
    assert found.log.skipped[4] == "0 training sentences, below min_examples=3"
    assert "min_examples=3" in found.log.skipped[3]
    with pytest.raises(ValueError, match=r"no category has enough examples .*0: "):
        fit(min_examples=1000)


def test_a_category_without_held_out_sentences_is_skipped():
    """Category 3 is in one problem alone, and that one is trained on."""
    traces = toy_traces(20, chains=1)
    index = min(set(range(20)) - heldout_traces(traces, range(20), 0.2, 0))
    traces[index] = trace(traces[index].prompt, [[9, 8]] * 5, [3] * 5)
    assert fit(traces, n_categories=4).log.skipped == {3: "no held-out sentence to select on"}
    everything = fit(traces, n_categories=4, select_on="train").log
    assert everything.skipped == {}
    assert everything.categories[3].heldout_with is None


def test_bad_fields_are_refused():
    for changes, message in (
        ({"learning_rate_of_norm": 0.01}, "learning_rate and learning_rate_of_norm"),
        ({"learning_rate": None}, "learning_rate and learning_rate_of_norm"),
        ({"epochs": 2.0}, "epochs and steps"),
        ({"minibatch": 0}, "minibatch=0: must be a whole number of at least 1"),
        ({"heldout_share": 1.0}, "heldout_share=1.0: must be between 0 and 1"),
        ({"min_examples": 0}, "min_examples=0"),
        ({"max_norm": -1.0}, "max_norm=-1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(SMALL, **changes)


def test_bad_layers_and_labels_are_refused_before_any_work():
    for layer in (-1, 4):
        with pytest.raises(ValueError, match=f"layer={layer}"):
            fit(layer=layer)
    with pytest.raises(ValueError, match="has label 2"):
        fit(n_categories=2)


def test_defaults_are_the_papers():
    given = {f.name: getattr(Venhoff2025(), f.name) for f in fields(Venhoff2025)}
    assert (given["n_train"], given["n_heldout"], given["epochs"], given["learning_rate"]) == (2048, 512, 50, 1e-2)
