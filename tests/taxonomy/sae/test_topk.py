"""The definition: the plain trainer against the formulas written out, and what must hold of any fit."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reasoning_lab.taxonomy.agreement import agreement
from reasoning_lab.taxonomy.clusters import TopKClusters
from reasoning_lab.taxonomy.sae.bank import fit_grid
from reasoning_lab.taxonomy.sae.definition import data_split, initial_encoder
from reasoning_lab.taxonomy.sae.topk import TopKSAE
from tests.taxonomy.sae.plain import batch_loss, fit_alone, largest

ALL = TopKSAE(batch_size=10**6, early_stop_on="train", validation_fraction=0.0)
"""Every epoch is one step on all sentences."""


def planted(m: int, d: int, n: int, noise: float = 0.3, seed: int = 0) -> tuple[Tensor, list[int]]:
    """m sentences about n orthogonal directions, off centre, in float64."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0][:n]
    which = torch.randint(n, (m,), generator=generator)
    x = 4 * directions[which] + noise * torch.randn(m, d, generator=generator, dtype=torch.float64)
    return x + 7, which.tolist()


def top_k_of(values: list[float], k: int) -> list[int]:
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


def written_out(u: Tensor, encoder: Tensor, b_enc: Tensor, decoder: Tensor, b_dec: Tensor, k: int) -> Tensor:
    """Fraction of variance unexplained, row by row and latent by latent."""
    error, variance, mean = u.new_zeros(()), u.new_zeros(()), sum(u) / len(u)
    for row in u:
        z = [encoder[i] @ (row - b_dec) + b_enc[i] for i in range(len(encoder))]
        rebuilt = b_dec
        for i in top_k_of([value.item() for value in z], k):
            rebuilt = rebuilt + z[i] * decoder[i]
        error = error + ((row - rebuilt) ** 2).sum()
        variance = variance + ((row - mean) ** 2).sum()
    return error / variance


# --- laws -------------------------------------------------------------------------------------------------------------


def test_loss_is_the_fraction_of_variance_unexplained() -> None:
    torch.manual_seed(0)
    u, encoder, decoder = (torch.randn(*shape, dtype=torch.float64) for shape in ((9, 4), (5, 4), (5, 4)))
    b_enc, b_dec = torch.randn(5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    loss, _, used = batch_loss(u, encoder, b_enc, decoder, b_dec, k=2, dead=torch.zeros(5, dtype=torch.bool))
    assert float(loss) == pytest.approx(float(written_out(u, encoder, b_enc, decoder, b_dec, 2)), rel=1e-12)
    z = (u - b_dec) @ encoder.T + b_enc
    assert used.nonzero()[:, 0].tolist() == sorted({i for row in z.tolist() for i in top_k_of(row, 2)})


def test_first_step_is_adams_on_the_written_out_loss() -> None:
    """Adam's first step moves each weight by lr g / (|g| + eps); then decoder rows go back to unit norm."""
    x, _ = planted(20, 6, 3)
    mean = x.mean(0)
    fit = fit_alone(TopKSAE(2, 1e-2, 10**6, 1, 1, "train", 0.0), x, mean, 4, seed=3)
    u = (x - mean) / (x - mean).norm(dim=1, keepdim=True)
    encoder = initial_encoder(4, 6, 3)
    decoder = encoder / encoder.norm(dim=1, keepdim=True)
    start = [p.requires_grad_() for p in (encoder, u.new_zeros(4), decoder.detach(), u.new_zeros(6))]
    loss = written_out(u, *start, k=2)
    moved = [p - 1e-2 * g / (g.abs() + 1e-8) for p, g in zip(start, torch.autograd.grad(loss, start), strict=True)]
    moved[2] = moved[2] / moved[2].norm(dim=1, keepdim=True)
    assert fit.losses == (pytest.approx(loss.item(), rel=1e-12),)
    names = ("encoder", "encoder_bias", "decoder", "decoder_bias")
    for name, expected in zip(names, moved, strict=True):
        torch.testing.assert_close(fit.clusters.tensors()[name], expected.detach(), rtol=0, atol=1e-12)


def test_auxiliary_loss_rebuilds_the_residual_from_dead_latents() -> None:
    torch.manual_seed(1)
    u, encoder, decoder = (torch.randn(*shape, dtype=torch.float64) for shape in ((8, 4), (6, 4), (6, 4)))
    none = torch.zeros(4, dtype=torch.float64)
    dead = torch.tensor([False, True, False, True, True, False])
    loss, auxiliary, _ = batch_loss(u, encoder, none[:1].expand(6), decoder, none, k=2, dead=dead)
    z, left = u @ encoder.T, 0.0
    for row, values in zip(u, z.tolist(), strict=True):
        residual = row - sum(values[i] * decoder[i] for i in top_k_of(values, 2))
        alive = [value if dead[i] else -math.inf for i, value in enumerate(values)]
        left += float(((residual - sum(values[i] * decoder[i] for i in top_k_of(alive, 2))) ** 2).sum())
    variance = float((u - u.mean(0)).square().sum())
    assert float(auxiliary) == pytest.approx(left / variance, rel=1e-12)
    assert float(loss) != float(auxiliary)


@given(st.lists(st.lists(st.integers(-2, 2), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_ties_among_the_k_largest_go_to_the_lower_latent(rows: list[list[int]], k: int) -> None:
    chosen = largest(torch.tensor(rows, dtype=torch.float64), k)
    for row, mask in zip(rows, chosen, strict=True):
        assert sorted(top_k_of([float(value) for value in row], k)) == mask.nonzero()[:, 0].tolist()


@pytest.mark.parametrize(("n", "rate"), [(5, 1.1e-2), (10, 8.1e-3), (15, 6.6e-3), (50, 3.6e-3)])
def test_learning_rate_follows_the_papers_rule(n: int, rate: float) -> None:
    assert TopKSAE().rate(n) == pytest.approx(rate, rel=0.05)
    assert TopKSAE(learning_rate=0.5).rate(n) == 0.5


# --- what holds of every fit ------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    n=st.integers(3, 9), k=st.integers(1, 3), seed=st.integers(0, 10**6), weight=st.sampled_from([0.0, 0.5]),
    stop=st.sampled_from(["train", "validation"]),
)  # fmt: skip
def test_decoder_rows_have_unit_norm(n: int, k: int, seed: int, weight: float, stop: str) -> None:
    x, _ = planted(40, 5, 3, seed=seed)
    sae = TopKSAE(k, None, 16, 3, 2, stop, 0.2, weight)  # pyright: ignore[reportArgumentType]
    clusters = sae.fit(x, x.mean(0), n, seed).clusters
    torch.testing.assert_close(clusters.centres.norm(dim=1), torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(clusters.centres, clusters.tensors()["decoder"], rtol=0, atol=1e-12)


@given(st.floats(1e-3, 1e3))
@settings(max_examples=5, deadline=None)
def test_labels_do_not_see_an_activations_distance_from_the_mean(scale: float) -> None:
    x, _ = planted(60, 8, 4)
    mean = x.mean(0)
    clusters = TopKSAE(max_epochs=5).fit(x, mean, 6, 0).clusters
    assert clusters.labels(mean + scale * (x - mean)).tolist() == clusters.labels(x).tolist()
    scaled = TopKSAE(max_epochs=5).fit(mean + scale * (x - mean), mean, 6, 0).clusters
    torch.testing.assert_close(scaled.centres, clusters.centres, rtol=0, atol=1e-7)


def test_order_of_sentences_does_not_matter_where_a_batch_holds_them_all() -> None:
    x, _ = planted(50, 6, 3)
    sae = TopKSAE(3, None, 10**6, 30, 30, "train", 0.0)
    one, other = sae.fit(x, x.mean(0), 5, 1), sae.fit(x.flip(0), x.mean(0), 5, 1)
    torch.testing.assert_close(other.clusters.centres, one.clusters.centres, rtol=0, atol=1e-9)
    assert other.losses == pytest.approx(one.losses, rel=1e-9)


def test_planted_clusters_are_found() -> None:
    x, truth = planted(600, 16, 5)
    clusters = TopKSAE(k=1, batch_size=64).fit(x, x.mean(0), 5, seed=2).clusters
    found = agreement(clusters.labels(x).tolist(), truth, list(range(600)), resamples=10)
    assert found.ari.value > 0.98


def test_the_best_epochs_weights_are_kept_and_their_validation_loss_is_reported() -> None:
    x, _ = planted(120, 6, 3, noise=1.5)
    mean = x.mean(0)
    fit = TopKSAE(2, 0.1, 16, 60, 4, "validation", 0.25).fit(x, mean, 6, seed=5)
    assert fit.best_epoch is not None
    assert fit.validation == min(fit.validation_losses) == fit.validation_losses[fit.best_epoch]
    assert len(fit.losses) == min(fit.best_epoch + 4 + 1, 60) < 60
    held_out = x[data_split(120, 0.25, 5)[1]]
    u = (held_out - mean) / (held_out - mean).norm(dim=1, keepdim=True)
    w = fit.clusters.tensors()
    loss = written_out(u, w["encoder"], w["encoder_bias"], w["decoder"], w["decoder_bias"], 2)
    assert fit.validation == pytest.approx(float(loss), rel=1e-9)


def test_stopping_on_the_training_loss_is_the_papers() -> None:
    x, _ = planted(120, 6, 3, noise=1.5)
    fit = TopKSAE(2, 0.1, 16, 200, 3, "train", 0.0).fit(x, x.mean(0), 6, seed=5)
    assert fit.best_epoch is not None
    assert fit.best_epoch == min(range(len(fit.losses)), key=lambda i: fit.losses[i])
    assert len(fit.losses) == fit.best_epoch + 4 < 200
    assert fit.validation is None


def test_dead_and_silent_latents_are_counted_over_all_sentences() -> None:
    x, _ = planted(60, 4, 2, noise=0.01)
    fit = TopKSAE(k=2, max_epochs=2).fit(x, x.mean(0), 20, seed=0)
    z = fit.clusters.scores(x).tolist()
    labelled = {top_k_of(row, 1)[0] for row in z}
    used = {i for row in z for i in top_k_of(row, 2)}
    assert (fit.n_dead, fit.n_silent) == (20 - len(labelled), 20 - len(used))
    assert fit.n_dead > 0


def test_raw_activations_can_be_scored_as_the_authors_did() -> None:
    x, _ = planted(50, 5, 3)
    clusters = TopKSAE(max_epochs=3).fit(x, x.mean(0), 4, 0).clusters
    assert isinstance(clusters, TopKClusters)
    raw = (x - clusters.decoder_bias) @ clusters.encoder.T + clusters.encoder_bias
    torch.testing.assert_close(clusters.scores(x, normalise=False), raw)
    u = (x - x.mean(0)) / (x - x.mean(0)).norm(dim=1, keepdim=True)
    torch.testing.assert_close(clusters.scores(x), clusters.scores(u, normalise=False))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k=0: must be a whole number of at least 1"),
        ({"batch_size": 1}, "batch_size=1: must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: must be above 0"),
        ({"validation_fraction": 1.0}, r"validation_fraction=1.0: must be in \[0, 1\)"),
        (
            {"validation_fraction": 0.0},
            "validation_fraction=0.0: must be above 0, for early_stop_on=validation",
        ),
        ({"auxiliary_weight": -1.0}, "auxiliary_weight=-1.0: must be at least 0"),
    ],
)
def test_bad_parameters_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TopKSAE(**changes)


def test_bad_data_is_refused_before_training() -> None:
    x, _ = planted(30, 5, 3)
    with pytest.raises(ValueError, match="k=3: must be at most n_clusters=2"):
        TopKSAE().fit(x, x.mean(0), 2, 0)
    with pytest.raises(ValueError, match="n_clusters=31: must be between 1 and the 30 sentences"):
        TopKSAE().fit(x, x.mean(0), 31, 0)
    with pytest.raises(ValueError, match=r"parts 4 sentences into 4 for training and 0 held out"):
        TopKSAE(validation_fraction=0.01).fit(x[:4], x.mean(0), 3, 0)
    with pytest.raises(ValueError, match=r"n_clusters=\[\]: must be one number of clusters or more; name at least one"):
        TopKSAE().fit_bank(x, x.mean(0), [], 0)
    x[7, 2] = math.nan
    with pytest.raises(FloatingPointError, match="row 7 of the activations"):
        TopKSAE().fit(x, torch.zeros(5, dtype=torch.float64), 3, 0)


def test_a_split_by_problem_parts_no_problem_and_one_by_sentence_would() -> None:
    problems = torch.arange(20).repeat_interleave(7)[torch.randperm(140, generator=torch.Generator().manual_seed(0))]
    train, held = data_split(140, 0.25, 3, problems)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(140))
    assert not set(problems[train].tolist()) & set(problems[held].tolist())
    assert len(held) == 5 * 7
    by_sentence = data_split(140, 0.25, 3)
    assert set(problems[by_sentence[0]].tolist()) & set(problems[by_sentence[1]].tolist())
    assert torch.equal(data_split(140, 0.25, 3, problems)[1], held)
    assert not torch.equal(data_split(140, 0.25, 4, problems)[1], held)


def test_training_stops_on_problems_that_it_was_not_trained_on() -> None:
    """The validation loss is that of the whole problems held out."""
    x, _ = planted(120, 6, 3, noise=1.5)
    mean, problems = x.mean(0), torch.arange(12).repeat_interleave(10)
    sae = TopKSAE(2, 0.1, 16, 60, 4, "validation", 0.25)
    fit = sae.fit(x, mean, 6, seed=5, problems=problems)
    held_out = x[data_split(120, 0.25, 5, problems)[1]]
    u = (held_out - mean) / (held_out - mean).norm(dim=1, keepdim=True)
    w = fit.clusters.tensors()
    loss = written_out(u, w["encoder"], w["encoder_bias"], w["decoder"], w["decoder_bias"], 2)
    assert fit.validation == pytest.approx(float(loss), rel=1e-9)
    with pytest.raises(ValueError, match=r"seeds=\[0, 1\]: splits by problem differ in size"):
        fit_grid(sae, x[None], mean[None], [3], [0, 1], problems)
