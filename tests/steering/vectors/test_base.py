"""The set of vectors goes through safetensors unchanged and refuses what does not belong to it; the passes that train
it: gradients, caches and batches against slow, obvious forms."""

import json
from dataclasses import asdict

import pytest
import torch
from torch.nn import functional

from reasoning_lab.engine.rng import Key
from reasoning_lab.steering.vectors import optimise
from reasoning_lab.steering.vectors.base import CategoryLog, VectorLog, VectorSet, coefficients, vectors_from
from reasoning_lab.steering.vectors.examples import sentence_example, usable_sentences
from reasoning_lab.steering.vectors.optimise import (
    Packed,
    Schedule,
    VectorTask,
    from_table,
    frozen,
    mean_losses,
    position_losses,
    random_direction,
    train_table,
)
from reasoning_lab.steering.vectors.streams import read_predictions, read_streams, residual_norm, tokens_of
from tests.steering.teacher_forced import teacher_forced_logits
from tests.steering.toy import CONTEXT, LAYERS, VOCABULARY, WIDTH, toy_decoder, toy_traces, trace

# --- the set ----------------------------------------------------------------------------------------------------


def a_set(**changes) -> VectorSet:
    drawn = torch.Generator().manual_seed(0)
    mlp = {
        "trunk.weight": torch.randn(5, 4, generator=drawn), "trunk.bias": torch.randn(5, generator=drawn),
        "heads.weight": torch.randn(3, 5, generator=drawn), "heads.bias": torch.randn(3, generator=drawn),
    }  # fmt: skip
    vectors = torch.tensor([[3.0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0]])
    return VectorSet(**{"layer": 2, "vectors": vectors, "bias": torch.ones(4), "mlp": mlp} | changes)


@pytest.mark.parametrize("changes", [{}, {"bias": None, "mlp": None}])
def test_there_and_back(changes):
    before = a_set(**changes).of_base("abc", ("plan", "compute", "check"))
    after = vectors_from(before.tensors(), before.metadata())
    assert (after.layer, after.titles, after.base) == (2, ("plan", "compute", "check"), "abc")
    assert before.tensors().keys() == after.tensors().keys()
    for name, tensor in before.tensors().items():
        assert torch.equal(after.tensors()[name], tensor)
    with pytest.raises(ValueError, match="format=None"):
        vectors_from(before.tensors(), {})


def test_norms_and_empty_rows():
    assert a_set().norms.tolist() == [5, 0, 2]
    assert a_set().empty == (1,)


def test_what_does_not_belong_is_refused():
    with pytest.raises(ValueError, match="bias has shape"):
        a_set(bias=torch.ones(3))
    with pytest.raises(ValueError, match="vectors holds NaN"):
        a_set(vectors=torch.full((3, 4), float("nan")))
    with pytest.raises(ValueError, match="mlp.trunk.bias holds NaN"):
        a_set(mlp=a_set().mlp | {"trunk.bias": torch.full((5,), float("inf"))})
    with pytest.raises(ValueError, match="titles has 2 entries for 3"):
        a_set(titles=("a", "b"))
    named = a_set().of_base("abc")
    named.check_base("abc", 4)
    with pytest.raises(ValueError, match="belong to base model abc, not to abd"):
        named.check_base("abd", 4)
    with pytest.raises(ValueError, match="width 4: the base model's residual stream has 5"):
        named.check_base("abc", 5)
    with pytest.raises(ValueError, match=r"\(unnamed\)"):
        a_set().check_base("abc", 4)
    with pytest.raises(ValueError, match="no coefficient network"):
        a_set(mlp=None).coefficients(torch.ones(1, 4), torch.tensor([0]))


def test_coefficients_by_modules():
    """The network is a trunk with GELU and, for each category, a head of its own under a softplus."""
    mlp = a_set().mlp
    assert mlp is not None
    trunk, heads = torch.nn.Linear(4, 5), [torch.nn.Linear(5, 1) for _ in range(3)]
    trunk.load_state_dict({"weight": mlp["trunk.weight"], "bias": mlp["trunk.bias"]})
    for c, head in enumerate(heads):
        head.load_state_dict({"weight": mlp["heads.weight"][c, None], "bias": mlp["heads.bias"][c, None]})
    hidden, categories = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)), torch.arange(7) % 3
    expected = [functional.softplus(heads[i % 3](functional.gelu(trunk(h)))).item() for i, h in enumerate(hidden)]
    found = coefficients(mlp, hidden, categories)
    torch.testing.assert_close(found, torch.tensor(expected))
    torch.testing.assert_close(a_set().coefficients(hidden, categories), found)


def test_the_log_goes_through_json():
    one = CategoryLog(0, 9, 5, 2, "", (1.0, 0.5), ((0, 1.1), (2, 0.6)), 1.2, 0.6, 2, 3.0)
    log = VectorLog("Venhoff2025", 2, 9.5, 0.01, (one, CategoryLog(1, 1, 1, 0, "too few")), CategoryLog(-1, 4, 3, 1))
    assert VectorLog.from_json(json.loads(log.dumps())) == log
    assert log.skipped == {1: "too few"}
    with pytest.raises(KeyError, match="another version"):
        VectorLog.from_json(asdict(log) | {"colour": 1})


# --- the passes -------------------------------------------------------------------------------------------------


def prepared(layer=1, cache_context=True, positions="sentence", seed=0):
    """Decoder, streams, packed examples and the examples of all sentences of two tokens or more."""
    traces, decoder = toy_traces(seed=seed), toy_decoder()
    usable = usable_sentences(traces, 2, False, CONTEXT)
    examples = [sentence_example(s, positions, s.category) for s in usable]
    stops = {e.trace: len(traces[e.trace].tokens) for e in examples}
    streams = read_streams(decoder, layer, tokens_of(decoder, traces, stops), cache_context)
    return decoder, streams, Packed(examples, streams), examples


def table(n=3, seed=5):
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_losses(decoder, layer, streams, example, vectors):
    """The example's scored losses, from the whole text through the whole model."""
    tokens = torch.tensor(streams.tokens[example.trace])[None]
    added = torch.zeros(1, tokens.shape[1], WIDTH, dtype=torch.float64)
    at = torch.zeros(1, tokens.shape[1], dtype=torch.bool)
    for position, row in example.steered:
        added[0, position], at[0, position] = vectors[row], True
    logits = teacher_forced_logits(decoder, layer, tokens, at, added)[0]
    return torch.stack([functional.cross_entropy(logits[p], tokens[0, p + 1]) for p, _ in example.scored])


@pytest.mark.parametrize("layer", [-1, 0, 2, LAYERS - 1])
@torch.no_grad()
def test_teacher_forced_logits_against_a_hook(layer):
    """An oracle outside the house: transformers' own forward with a hook that adds to a layer's output."""
    decoder = toy_decoder()
    ids = torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(3))
    at = torch.rand(2, 9, generator=torch.Generator().manual_seed(4)) < 0.4
    vectors = table(2)[:, None]
    inner = decoder.policy.model.model
    where = inner.embed_tokens if layer < 0 else inner.layers[layer]

    def add(_module, _inputs, output):
        return output + at[..., None] * vectors

    handle = where.register_forward_hook(add)
    try:
        expected = decoder.policy.model(ids, use_cache=False).logits
    finally:
        handle.remove()
    found = teacher_forced_logits(decoder, layer, ids, at, vectors)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    unsteered = teacher_forced_logits(decoder, layer, ids, torch.zeros_like(at), vectors)
    torch.testing.assert_close(unsteered, decoder.policy.model(ids, use_cache=False).logits, rtol=1e-10, atol=1e-12)
    assert (found - unsteered).abs().max() > 1e-3


@pytest.mark.parametrize("cache_context", [True, False])
@pytest.mark.parametrize("positions", ["sentence", "targets", "boundary"])
@pytest.mark.parametrize("layer", [-1, 1, LAYERS - 1])
@torch.no_grad()
def test_windows_against_whole_texts(layer, positions, cache_context):
    """Cached streams, cached or recomputed contexts, padding and batching change nothing."""
    decoder, streams, packed, examples = prepared(layer, cache_context, positions)
    vectors = table()
    adder = from_table(vectors)
    batch = packed.batch(range(len(examples)))
    found = position_losses(decoder, streams, batch, adder(streams, batch))
    expected = torch.cat([slow_losses(decoder, layer, streams, e, vectors) for e in examples])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_mean_losses_and_groups_of_passes(monkeypatch):
    decoder, streams, packed, examples = prepared()
    vectors, fixed = table(), table(1, 9)[0]
    rows = [row for row, e in enumerate(examples) if e.scored[0][1] != 1]
    expected = []
    for category in (0, 2):
        own = [e for e in examples if e.scored[0][1] == category]
        expected.append(torch.cat([slow_losses(decoder, 1, streams, e, vectors + fixed) for e in own]).mean().item())
    for cells in (1, 5000, 2**22):
        monkeypatch.setitem(optimise.PASS_CELLS, "cpu", cells)
        groups = list(packed.passes(rows))
        assert sorted(row for group in groups for row in group) == rows
        assert len(groups) == (len(rows) if cells == 1 else len(groups))
        for group in groups:
            width, longest = max(packed.widths[r] for r in group), max(packed.starts[r] for r in group)
            assert len(group) == 1 or len(group) * (width + longest) * max(64, width) <= cells
        first, none, last = mean_losses(decoder, streams, packed, rows, 3, from_table(vectors, fixed))
        assert none is None
        assert [first, last] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("positions", ["sentence", "boundary"])
def test_gradients_by_finite_differences(positions):
    decoder, streams, packed, examples = prepared(positions=positions)
    rows = range(len(examples))

    def loss(vectors):
        batch = packed.batch(rows)
        return position_losses(decoder, streams, batch, from_table(vectors)(streams, batch)).mean()

    with frozen(decoder):
        vectors = table().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(vectors), vectors)
    step = 1e-5
    with torch.no_grad():
        for row, column in ((0, 0), (1, 7), (2, 15)):
            nudge = torch.zeros(3, WIDTH, dtype=torch.float64)
            nudge[row, column] = step
            slope = (loss(vectors + nudge) - loss(vectors - nudge)) / (2 * step)
            assert slope.item() == pytest.approx(gradient[row, column].item(), rel=1e-5, abs=1e-9)
            assert abs(slope) > 1e-6


def test_frozen_gives_the_settings_back():
    decoder = toy_decoder()
    weights = list(decoder.policy.model.parameters())
    weights[0].requires_grad_(False)
    with frozen(decoder):
        assert not any(weight.requires_grad for weight in weights)
    assert [weight.requires_grad for weight in weights] == [False] + [True] * (len(weights) - 1)
    weights[0].requires_grad_(True)


# --- the unsteered pass -----------------------------------------------------------------------------------------


@torch.no_grad()
def test_predictions_by_the_policy(monkeypatch):
    """Losses and choices at each position are those of the slow law, prefix by prefix, in batches of any size."""
    traces, decoder = toy_traces(3), toy_decoder()
    texts = {index: t.tokens for index, t in enumerate(traces)}
    monkeypatch.setattr("reasoning_lab.steering.vectors.streams.READ_TOKENS", 40)
    found = read_predictions(decoder, texts)
    assert found.keys() == texts.keys()
    for index, tokens in texts.items():
        for p in range(len(tokens) - 1):
            logits = decoder.policy.next_logits(tokens[: p + 1])
            assert found[index].choices[p] == logits.argmax()
            expected = functional.cross_entropy(logits, torch.tensor(tokens[p + 1])).item()
            assert found[index].losses[p] == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_streams_are_the_residuals():
    traces, decoder = toy_traces(), toy_decoder()
    streams = read_streams(decoder, 2, {index: t.tokens for index, t in enumerate(traces)}, False)
    for index, t in enumerate(traces):
        expected = decoder.read(torch.tensor([t.tokens]), (2,))[2][0]
        at = streams.offsets[index]
        torch.testing.assert_close(streams.hidden[at : at + len(t.tokens)], expected)
    example = sentence_example(usable_sentences(traces, 2, False, CONTEXT)[0], "sentence", 0)
    positions = [streams.offsets[example.trace] + p for p, _ in example.scored]
    expected = streams.hidden[positions].norm(dim=1).mean().item()
    assert residual_norm(streams, [example, example]) == pytest.approx(expected)


def test_streams_that_are_not_finite_name_layer_and_trace():
    decoder = toy_decoder()
    weight = decoder.policy.model.model.embed_tokens.weight
    kept = weight.detach()[9].clone()
    with torch.no_grad():
        weight[9] = float("nan")
    try:
        with pytest.raises(ValueError, match="layer 1 is not finite in trace 7"):
            read_streams(decoder, 1, {3: (3, 4, 5), 7: (3, 9)}, False)
    finally:
        with torch.no_grad():
            weight[9] = kept


def test_ids_of_another_vocabulary_are_refused():
    with pytest.raises(ValueError, match="trace 0 holds id 99: the base model has 23 ids"):
        tokens_of(toy_decoder(), [trace([3], [[4, 99]], [0])], {0: 3})


# --- training a table -------------------------------------------------------------------------------------------


def schedule(**changes) -> Schedule:
    plain = {
        "learning_rate": 0.1, "minibatch": 4, "epochs": None, "steps": 9, "eval_every": 4, "patience": 99,
        "min_delta": 0.0, "select_on": "heldout", "max_norm": None,
    }  # fmt: skip
    return Schedule(**plain | changes)


def tasks_of(examples, n=3):
    """Every fourth example of a category is held out."""
    own = [[row for row, e in enumerate(examples) if e.scored[0][1] == category] for category in range(n)]
    return [VectorTask(c, tuple(r for i, r in enumerate(o) if i % 4), tuple(o[::4])) for c, o in enumerate(own)]


def start(n=3):
    return torch.stack([random_direction(0, str(row), WIDTH) for row in range(n)])


def train(tasks=None, cache_context=True, fixed=None, **changes):
    decoder, streams, packed, examples = prepared(cache_context=cache_context)
    tasks = tasks or tasks_of(examples)
    with frozen(decoder):
        return train_table(decoder, streams, packed, tasks, start(), fixed, schedule(**changes), 0, "category")


def assert_same(one, other, tolerance=1e-9):
    torch.testing.assert_close(one.vector, other.vector, rtol=0, atol=tolerance)
    assert one.train_losses == pytest.approx(other.train_losses, abs=tolerance)
    assert one.best_step == other.best_step
    assert dict(one.heldout_losses) == pytest.approx(dict(other.heldout_losses), abs=tolerance)


@pytest.mark.parametrize("changes", [{}, {"steps": None, "epochs": 2.5, "eval_every": None, "patience": 1}])
def test_together_is_one_by_one(changes):
    """Epochs of unlike numbers of examples and early stops included."""
    together = train(**changes)
    _, _, _, examples = prepared()
    tasks = tasks_of(examples)
    assert len({len(task.train) for task in tasks}) > 1
    for task, both in zip(tasks, together, strict=True):
        assert_same(train([task], **changes)[0], both)


def test_recomputed_contexts_and_split_passes_are_the_same(monkeypatch):
    cached = train()
    for one, other in zip(cached, train(cache_context=False), strict=True):
        assert_same(one, other)
    monkeypatch.setitem(optimise.PASS_CELLS, "cpu", 3000)
    for one, other in zip(cached, train(), strict=True):
        assert_same(one, other)


def test_training_by_hand():
    """Two steps of torch's Adam on the slow loss, with the cosine's rates and the fixed vector beside."""
    decoder, streams, _, examples = prepared()
    task, fixed = tasks_of(examples)[1], table(1, 8)[0]
    (found,) = train([task], fixed=fixed, steps=2, minibatch=len(task.train), select_on="train", eval_every=2)
    vector = torch.nn.Parameter(start()[1])
    optimiser = torch.optim.Adam([vector])
    losses = []
    with frozen(decoder):
        for rate in (0.1, 0.05):
            optimiser.param_groups[0]["lr"] = rate
            rows = [slow_losses(decoder, 1, streams, examples[r], {1: vector + fixed}) for r in task.train]
            loss = torch.cat(rows).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    torch.testing.assert_close(found.vector, vector.detach(), rtol=0, atol=1e-9)
    assert found.train_losses == pytest.approx(losses, rel=1e-9)


def test_the_kept_moment_is_the_best_one():
    for found in train(steps=40, learning_rate=1.0):
        losses = dict(found.heldout_losses)
        assert losses.keys() == {*range(0, 41, 4)}
        assert losses[found.best_step] == min(losses.values())
    decoder, streams, packed, examples = prepared()
    tasks = tasks_of(examples)
    trained = train(steps=40, learning_rate=1.0)
    kept = torch.stack([found.vector for found in trained])
    for task, found in zip(tasks, trained, strict=True):
        losses = mean_losses(decoder, streams, packed, task.heldout, 3, from_table(kept))
        assert losses[task.row] == pytest.approx(dict(found.heldout_losses)[found.best_step])


def test_of_equal_losses_the_earliest_moment_is_kept():
    course = optimise._Training(VectorTask(0, (0,), (1,)), torch.zeros(2), schedule(), Key(0, "a"))
    for loss in (0.5, 0.4, 0.4, 0.4, 0.6):
        with torch.no_grad():
            course.parameter.fill_(course.done)
        course.compare(loss)
        course.done += 1
    assert course.best is not None
    loss, step, vector = course.best
    assert (loss, step, vector.tolist()) == (0.4, 1, [1.0, 1.0])


def test_the_losses_of_evaluations_are_told_as_the_log_has_them():
    decoder, streams, packed, examples = prepared()
    told = []

    def hear(phase, done, total, losses):
        told.append((phase, done, total, losses))

    with frozen(decoder):
        found = train_table(
            decoder, streams, packed, tasks_of(examples), start(), None, schedule(steps=6, eval_every=2), 0, "category",
            hear,
        )  # fmt: skip
    assert [(phase, done, total) for phase, done, total, _ in told] == [("category", n, 6) for n in range(1, 7)]
    for _, done, _, losses in told:
        if done % 2:
            assert losses == {}, "between two evaluations there is nothing new"
            continue
        heldout = [dict(each.heldout_losses)[done] for each in found]
        assert losses["heldout_loss"] == pytest.approx(sum(heldout) / len(heldout))
        train = [each.train_losses[done - 1] for each in found]
        assert losses["train_loss"] == pytest.approx(sum(train) / len(train))


def test_patience_ends_a_training():
    hopeless = train(steps=40, learning_rate=1e-12, min_delta=1e-6, patience=2)
    assert [len(found.train_losses) for found in hopeless] == [8, 8, 8]


def test_the_loss_falls():
    for found in train(steps=60, minibatch=99, select_on="train"):
        assert found.train_losses[-1] < found.train_losses[0] - 0.2


def test_max_norm():
    for found in train(steps=20, learning_rate=1.0, max_norm=1.5, select_on="train"):
        assert found.vector.norm() <= 1.5 + 1e-12


def test_minibatches_are_keyed_shuffles_laid_end_to_end():
    task = VectorTask(0, tuple(range(10, 17)), ())
    course = optimise._Training(task, torch.zeros(2), schedule(minibatch=3, steps=7), Key(0, "a"))
    seen = []
    for _ in range(7):
        seen += course.minibatch()
        course.done += 1
    for epoch in range(3):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == list(task.train)
    assert seen[:7] != seen[7:14]
    again = optimise._Training(task, torch.zeros(2), schedule(minibatch=3, steps=7), Key(0, "a"))
    again.done = 3
    assert again.minibatch() == seen[9:12]
    epochs = schedule(minibatch=3, steps=None, epochs=2.0, eval_every=None)
    assert (epochs.steps_of(task), epochs.every(task)) == (5, 3)
    assert epochs.size_of(VectorTask(0, (1, 2), ())) == 2


def test_random_directions():
    drawn = torch.stack([random_direction(0, str(i), 64) for i in range(200)])
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(200, dtype=torch.float64))
    assert torch.equal(random_direction(0, "3", 64), drawn[3])
    # Cosines of independent directions have mean 0 and variance 1/d.
    cosines = (drawn @ drawn.T)[*torch.triu_indices(200, 200, 1)]
    assert abs(cosines.mean()) < 4 / (64 * cosines.numel()) ** 0.5
    assert cosines.var().item() == pytest.approx(1 / 64, rel=0.05)
