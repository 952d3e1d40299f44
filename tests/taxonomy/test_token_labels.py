"""Labels token by token, in batches, against one trace at a time through transformers' own forward."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from reasoning_lab.model_pair.loaded import LoadedModel, load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.records import Trace
from reasoning_lab.taxonomy import token_labels as room
from reasoning_lab.taxonomy.clusters import Clusters
from reasoning_lab.taxonomy.token_labels import token_labels
from tests.steering.pairs import clusters

LAYER = 2


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(ModelSource("package:embedded/thinking"), "float64", "cpu")


@pytest.fixture(scope="module")
def traces(model: LoadedModel) -> list[Trace]:
    """Random ids of lengths about the widths of passes; one trace is empty, one has a prompt of one id."""
    rng = random.Random(0)
    edges = [(5, 60), (1, 64), (4, 61), (3, 62), (3, 63), (9, 0), (2, 1)]
    lengths = [*edges, *((6, rng.randrange(2, 150)) for _ in range(9))]
    draw = lambda n: tuple(rng.randrange(model.policy.vocab_size) for _ in range(n))  # noqa: E731
    return [Trace(f"p{i}", 0, "", draw(p), draw(n), (), "correct") for i, (p, n) in enumerate(lengths)]


def kinds(model: Any) -> Clusters:
    return clusters(model.policy.model.config.hidden_size, torch.float64, n=8, spread=3.0)


@torch.no_grad()
def one_by_one(model: Any, trace: Trace, chosen: Clusters, normalise: bool) -> tuple[int, ...]:
    if not trace.ids:
        return ()
    ids = torch.tensor([trace.prompt + trace.ids])
    stream = model.policy.model(ids, output_hidden_states=True, use_cache=False).hidden_states[LAYER + 1][0]
    return tuple(
        int(chosen.scores(stream[len(trace.prompt) + j - 1][None], normalise).argmax()) for j in range(len(trace.ids))
    )


@pytest.mark.parametrize("normalise", [True, False])
def test_batches_give_the_labels_of_one_trace_at_a_time(
    model: LoadedModel, traces: list[Trace], normalise: bool
) -> None:
    chosen, heard = kinds(model), []
    labels = token_labels(Decoder(model.policy), traces, chosen, LAYER, normalise, lambda *told: heard.append(told))
    assert labels == [one_by_one(model, trace, chosen, normalise) for trace in traces]
    assert len({label for row in labels for label in row}) > 2
    assert heard[-1] == (len(traces), len(traces))


def test_one_pass_per_trace_of_a_shape_that_its_length_gives(
    model: LoadedModel, traces: list[Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PASS_TOKENS", 256)
    decoder, shapes = Decoder(model.policy), []
    read = decoder.read
    monkeypatch.setattr(decoder, "read", lambda ids, layers: (shapes.append(tuple(ids.shape)), read(ids, layers))[1])
    whole = token_labels(decoder, traces, kinds(model), LAYER)
    assert set(shapes) <= {(4, 64), (2, 128), (1, 256)}
    counts = [(shapes_of(traces).count(width), 256 // width) for width in (64, 128, 256)]
    assert len(shapes) == sum(-(-n // rows) for n, rows in counts)
    # Neither the neighbours nor the order matter.
    turned = token_labels(decoder, traces[::-3], kinds(model), LAYER)
    assert turned == whole[::-3]


def shapes_of(traces: list[Trace]) -> list[int]:
    lengths = [len(trace.prompt) + len(trace.ids) - 1 for trace in traces]
    return [next(width for width in (64, 128, 256) if length <= width) for length in lengths]


def test_bad_traces_and_layers_are_refused_before_any_work(model: LoadedModel, traces: list[Trace]) -> None:
    decoder, chosen = Decoder(model.policy), kinds(model)
    with pytest.raises(ValueError, match="layer=9: the model has layers"):
        token_labels(decoder, traces, chosen, 9)
    with pytest.raises(ValueError, match=r"prompt of trace 1=\(\): must be at least one id"):
        token_labels(decoder, [traces[0], replace(traces[1], prompt=())], chosen, LAYER)
    long = replace(traces[0], ids=(3,) * (decoder.policy.context_length + 1))
    with pytest.raises(ValueError, match="length of trace 0=.* at most the model's context"):
        token_labels(decoder, [long], chosen, LAYER)
