"""The difference of means, by hand."""

from dataclasses import replace

import pytest
import torch

from reasoning_lab.steering.vectors.diff_of_means import DiffOfMeans
from reasoning_lab.steering.vectors.examples import heldout_traces, sentence_example, usable_sentences
from tests.steering.toy import CONTEXT, toy_decoder, toy_traces
from tests.steering.vectors.test_base import slow_losses

SMALL = DiffOfMeans(min_examples=2, norm=0.25, min_tokens=2)


@pytest.mark.parametrize("positions", ["sentence", "targets", "boundary"])
@torch.no_grad()
def test_by_hand(positions):
    traces, decoder, layer = toy_traces(), toy_decoder(), 2
    found = replace(SMALL, positions=positions).fit(decoder, traces, 3, layer, 0)
    usable = usable_sentences(traces, 2, False, CONTEXT)
    held = heldout_traces(traces, {s.trace for s in usable}, 0.2, 0)
    streams = [decoder.read(torch.tensor([t.tokens]), (layer,))[layer][0] for t in traces]
    of = {
        "sentence": lambda s: range(s.first - 1, s.last - 1), "targets": lambda s: range(s.first, s.last - 1),
        "boundary": lambda s: [s.first - 1],
    }[positions]  # fmt: skip
    rows = [(s.category, streams[s.trace][p]) for s in usable if s.trace not in held for p in of(s)]
    overall = torch.stack([row for _, row in rows]).mean(0)
    predicting = [streams[s.trace][p] for s in usable for p in range(s.first - 1, s.last - 1)]
    length = torch.stack(predicting).norm(dim=1).mean()
    assert found.log.residual_norm == pytest.approx(length.item())
    for category in range(3):
        difference = torch.stack([row for c, row in rows if c == category]).mean(0) - overall
        expected = 0.25 * length * difference / difference.norm()
        torch.testing.assert_close(found.vector_set.vectors[category], expected, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_held_out_losses():
    traces, decoder, layer = toy_traces(), toy_decoder(), 2
    found = SMALL.fit(decoder, traces, 3, layer, 0)
    usable = usable_sentences(traces, 2, False, CONTEXT)
    held = heldout_traces(traces, {s.trace for s in usable}, 0.2, 0)

    class Streams:
        tokens = tuple(t.tokens for t in traces)

    for log in found.log.categories:
        own = [s for s in usable if s.category == log.category]
        examples = [sentence_example(s, "sentence", log.category) for s in own if s.trace in held]
        for vectors, expected in (
            (found.vector_set.vectors, log.heldout_with), (0 * found.vector_set.vectors, log.heldout_without),
        ):  # fmt: skip
            losses = torch.cat([slow_losses(decoder, layer, Streams, e, vectors) for e in examples])
            assert losses.mean().item() == pytest.approx(expected)
        assert (log.n_heldout, log.n_train) == (len(examples), len(own) - len(examples))
        assert log.norm == pytest.approx(0.25 * found.log.residual_norm)


def test_small_categories_are_skipped_and_listed():
    found = SMALL.fit(toy_decoder(), toy_traces(), 4, 2, 0)
    assert found.vector_set.empty == (3,)
    assert found.log.skipped == {3: "0 training sentences, below min_examples=2"}
    with pytest.raises(ValueError, match="no category has enough examples"):
        replace(SMALL, min_examples=99).fit(toy_decoder(), toy_traces(), 4, 2, 0)
    with pytest.raises(ValueError, match="norm=0.0: must be above 0"):
        replace(SMALL, norm=0.0)
