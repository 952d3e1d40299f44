"""Sentence vectors against transformers' own hidden states, at any batch and shard size."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
import transformers

from reasoning_lab.benchmark import grammar
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.loaded import LoadedModel, load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.records import Span, Trace
from reasoning_lab.taxonomy.activations import WINDOW, Activations, Pooling, collect, merge, shard_from
from reasoning_lab.taxonomy.spans import token_spans

POOLINGS: tuple[Pooling, ...] = ("mean_with_previous", "mean", "boundary")
LAYERS = (0, 2)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(ModelSource("package:embedded/thinking"), "float64", "cpu")


@pytest.fixture(scope="module")
def written(model: LoadedModel) -> list[Trace]:
    """Answers of the grammar to 20 problems, of very different lengths; one is empty."""
    rng, found = random.Random(0), []
    for number, problem in enumerate(grammar.heldout_problems(20)):
        text = grammar.response(rng, grammar.Grammar(), problem) if number != 5 else ""
        ids = tuple(model.reader.tokenizer(text)["input_ids"])
        spans = token_spans(text, ids, model.decode)
        stop = tuple(model.stop_ids)
        found.append(Trace(f"p{number}", 0, text, model.encode(problem.text), ids + stop, spans, "correct"))
    return found


def positions(trace: Trace, span: Span, pooling: Pooling) -> list[int]:
    """The definition."""
    first, last = len(trace.prompt) + span.first, len(trace.prompt) + span.last
    return {
        "mean_with_previous": list(range(first - 1, last)),
        "mean": list(range(first, last)),
        "boundary": [first - 1],
    }[pooling]


@torch.no_grad()
def oracle(policy: HuggingFacePolicy, written: list[Trace], layers: tuple[int, ...], pooling: Pooling) -> Activations:
    """One trace at a time through the whole model, one mean at a time."""
    vectors, responses, index = {n: [] for n in layers}, {n: [] for n in layers}, []
    for number, trace in enumerate(written):
        states = policy.model(torch.tensor([trace.prompt + trace.ids]), output_hidden_states=True).hidden_states
        index += [(number, n) for n in range(len(trace.spans))]
        for layer in layers:
            stream = states[layer + 1][0]
            own = [stream[positions(trace, span, pooling)].mean(0) for span in trace.spans]
            vectors[layer] += own
            tokens = sorted({p for span in trace.spans for p in positions(trace, span, "mean")})
            if own:
                responses[layer].append(torch.stack(own).mean(0) if pooling == "boundary" else stream[tokens].mean(0))
    return Activations(
        {n: torch.stack(found) for n, found in vectors.items()},
        {n: torch.stack(found).mean(0) for n, found in responses.items()},
        torch.tensor(index),
    )


def assert_same(ours: Activations, theirs: Activations, **tolerance: Any) -> None:
    assert torch.equal(ours.index, theirs.index)
    assert list(ours.layers) == list(theirs.layers) == list(ours.means)
    for layer in ours.layers:
        torch.testing.assert_close(ours.layers[layer], theirs.layers[layer], **tolerance)
        torch.testing.assert_close(ours.means[layer], theirs.means[layer], **tolerance)


CLOSE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("rows", [1, 8])
def test_vectors_are_means_of_the_hidden_states(model, written, pooling, rows) -> None:
    policy = model.policy
    found = merge(collect(policy, written, LAYERS, pooling, rows, 50))
    assert_same(found, oracle(policy, written, LAYERS, pooling), **CLOSE)


def test_batches_and_shards_change_nothing_but_the_order(model, written) -> None:
    whole = merge(collect(model.policy, written, LAYERS, "mean", 1, 10**6))
    for rows, size in ((8, 10**6), (3, 7), (100, 1), (8, len(whole.index))):
        shards = list(collect(model.policy, written, LAYERS, "mean", rows, size))
        assert {len(shard.index) for shard in shards[:-1]} <= {size}
        assert 0 < len(shards[-1].index) <= size
        assert sum(shard.n_responses for shard in shards) == 19, "the empty answer has no mean"
        assert_same(merge(reversed(shards)), whole, **CLOSE)


def test_layers_read_together_are_the_layers_read_alone(model, written) -> None:
    together = merge(collect(model.policy, written, (2, 0, 1, 2), "mean", 8, 10**6))
    assert list(together.layers) == [0, 1, 2]
    for layer in together.layers:
        alone = merge(collect(model.policy, written, (layer,), "mean", 8, 10**6))
        assert torch.equal(alone.layers[layer], together.layers[layer])
        assert torch.equal(alone.means[layer], together.means[layer])


def test_a_pass_ends_after_the_deepest_layer_and_the_last_sentence(model, written) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, n=n: seen.append((n, tuple(out.shape[:2]))))
        for n, layer in enumerate(model.policy.model.model.layers)
    ]
    iterator = collect(model.policy, written[:1], (0, 2), "mean", 4, 10)
    seen.clear()  # the decoder's own probe
    list(iterator)
    for hook in hooks:
        hook.remove()
    width = len(written[0].prompt) + len(written[0].ids) - 1
    assert seen == [(n, (1, width)) for n in range(3)]


def test_traces_are_read_as_they_are_needed_and_tensors_stay_small(model, written) -> None:
    taken = 0

    def stream() -> Iterator[Trace]:
        nonlocal taken
        while True:  # endless: only a generator that stops asking comes back
            for trace in written:
                taken += 1
                yield trace

    iterator = collect(model.policy, stream(), (1,), "mean", 2, 20)
    assert taken == 0
    for shard in islice(iterator, 30):
        assert shard.layers[1].untyped_storage().nbytes() == 20 * model.policy.model.config.hidden_size * 8
        assert shard.index.untyped_storage().nbytes() == 20 * 2 * 8
    used = 30 * 20 / sum(len(trace.spans) for trace in written) * len(written)
    assert taken <= used + 2 * (2 * WINDOW + 2)


def test_vectors_are_float32_and_can_be_trained_on(written) -> None:
    policy = load_model(ModelSource("package:embedded/thinking"), "bfloat16", "cpu").policy
    assert isinstance(policy, HuggingFacePolicy)
    found = merge(collect(policy, written[:4], (1,), "mean", 4, 50))
    assert found.layers[1].dtype == found.means[1].dtype == torch.float32
    weight = torch.ones(found.layers[1].shape[1], requires_grad=True)
    (found.layers[1] * weight).sum().backward()
    assert not torch.equal(found.layers[1], found.layers[1].bfloat16().float()), "means are taken in float32"


def test_shards_survive_a_file_of_tensors(model, written) -> None:
    shard = next(collect(model.policy, written, LAYERS, "mean", 8, 30))
    back = shard_from(shard.tensors())
    assert back.n_responses == shard.n_responses and torch.equal(back.index, shard.index)
    for layer in LAYERS:
        assert torch.equal(back.layers[layer], shard.layers[layer])
        assert torch.equal(back.sums[layer], shard.sums[layer])
    part = shard_from({name: found for name, found in shard.tensors().items() if name != "layer0"})
    assert list(part.layers) == list(part.sums) == [2]


def test_a_pass_out_of_memory_is_made_again_in_halves(model, written) -> None:
    whole = merge(collect(model.policy, written, LAYERS, "mean", 8, 50))
    limit, n_refused = 2, 0

    def refuse(_module, args) -> None:
        nonlocal n_refused
        if len(args[0]) > limit:
            n_refused += 1
            raise torch.OutOfMemoryError("no memory")

    iterator = collect(model.policy, written, LAYERS, "mean", 8, 50)
    hook = model.policy.model.model.layers[1].register_forward_pre_hook(refuse)
    try:
        assert_same(merge(iterator), whole, **CLOSE)
        assert n_refused == 3 + 3 + 1  # batches of 8, of 4 and of 3 rows
        iterator, limit = collect(model.policy, written[:1], LAYERS, "mean", 8, 50), 0
        with pytest.raises(torch.OutOfMemoryError, match=r"trace 0 \(problem 'p0', chain 0\) has \d+ positions"):
            list(iterator)
    finally:
        hook.remove()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_not_finite_is_named(bad, pooling) -> None:
    """Layer 1 overflows at token 22, which stands in the second sentence of trace 3 alone."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2
    )
    policy = HuggingFacePolicy(transformers.LlamaForCausalLM(config))
    read: list[torch.Tensor] = []
    inner = policy.model.model
    inner.embed_tokens.register_forward_hook(lambda _m, args, _out: read.append(args[0]))
    inner.layers[1].mlp.register_forward_hook(lambda _m, _args, out: out.masked_fill((read[-1] == 22)[..., None], bad))
    spans = (Span(0, 1, 0, 3), Span(1, 2, 3, 6), Span(2, 3, 6, 8))
    healthy = Trace("p", 4, "...", (1, 2), tuple(range(3, 11)), spans, "wrong")
    broken = replace(healthy, problem="q", chain=9, ids=(3, 4, 5, 6, 7, 22, 8, 9))
    written = [healthy, healthy, healthy, broken, replace(healthy, ids=healthy.ids + (1,) * 4)]
    # It is the position before the third sentence.
    named = 2 if pooling == "boundary" else 1
    match = rf"^trace 3 \(problem 'q', chain 9\), span {named}: its vector at layer 1 is not finite"
    with pytest.raises(FloatingPointError, match=match):
        list(collect(policy, written, (2, 1), pooling, 8, 50))


def test_bad_input_is_refused_before_any_trace_is_read(model, written) -> None:
    def unread() -> Iterator[Trace]:
        raise AssertionError("a trace was read")
        yield

    sizes: dict[str, Any] = {"layers": (0,), "pooling": "mean", "rows": 2, "shard_sentences": 2}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"layers": (0, 4)}, r"layer=4: the model has layers 0 \.\.\. 3"),
        ({"layers": ()}, "at least one layer"),
        ({"rows": 0}, "rows=0"),
        ({"shard_sentences": 0}, "shard_sentences=0"),
    ]
    for options, match in cases:
        with pytest.raises(ValueError, match=match):
            collect(model.policy, unread(), **(sizes | options))
    with pytest.raises(Exception, match="pooling"):
        collect(model.policy, unread(), (0,), "median", 2, 2)  # pyright: ignore[reportArgumentType]


def test_traces_that_cannot_be_read_are_named(model, written) -> None:
    n = model.policy.context_length
    long = replace(written[0], ids=(5,) * n, spans=(Span(0, n, 0, n),))
    with pytest.raises(ValueError, match=r"trace 1 \(problem 'p0', chain 0\) has \d+ positions, the model's context"):
        list(collect(model.policy, [written[0], long], (0,), "mean", 2, 2))
    bare = replace(written[0], prompt=())
    assert list(collect(model.policy, [bare], (0,), "mean", 2, 2))
    for pooling in ("mean_with_previous", "boundary"):
        with pytest.raises(ValueError, match=f"trace 0 .* has no prompt: pooling={pooling}"):
            list(collect(model.policy, [bare], (0,), pooling, 2, 2))


def test_shards_that_do_not_belong_together_are_refused(model, written) -> None:
    one = list(collect(model.policy, written[:3], (0,), "mean", 2, 100))
    other = list(collect(model.policy, written[:3], (1,), "mean", 2, 100))
    with pytest.raises(ValueError, match="two runs"):
        merge(one + other)
    with pytest.raises(ValueError, match="in two shards"):
        merge(one + one)
    with pytest.raises(ValueError, match="no sentence in any trace"):
        merge(collect(model.policy, written[5:6], (0,), "mean", 2, 100))
