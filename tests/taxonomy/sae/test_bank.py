"""The bank equals the plain trainer, whoever trains beside whom."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reasoning_lab.taxonomy.clusterings import Fit
from reasoning_lab.taxonomy.sae.bank import Bank, Course, fit_grid
from reasoning_lab.taxonomy.sae.passes import Layout, SentenceBatch, TopK
from reasoning_lab.taxonomy.sae.topk import TopKSAE
from tests.taxonomy.sae.plain import batch_loss, fit_alone
from tests.taxonomy.sae.test_topk import planted

SIZES = [4, 3, 11]


def equal(bank: Fit, solo: Fit, tolerance: float) -> None:
    assert bank.losses == pytest.approx(solo.losses, rel=tolerance)
    assert bank.validation_losses == pytest.approx(solo.validation_losses, rel=tolerance)
    assert bank.best_epoch == solo.best_epoch
    assert (bank.n_dead, bank.n_silent) == (solo.n_dead, solo.n_silent)
    for name, tensor in solo.clusters.tensors().items():
        torch.testing.assert_close(bank.clusters.tensors()[name], tensor, rtol=0, atol=tolerance)


# --- law: derivatives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_errors_and_gradients_are_autograds(weight: float) -> None:
    """All derivatives written out in `passes`, for two groups of three sizes, with dead latents in some."""
    torch.manual_seed(0)
    d, layout = 6, Layout(SIZES, 6, torch.zeros((), dtype=torch.float64))
    flat = torch.randn(2, len(layout.element_owner), dtype=torch.float64) / 2
    sae = TopKSAE(auxiliary_weight=weight)
    bank = Bank(layout, flat, torch.zeros(3, dtype=torch.float64), sae)
    u = torch.randn(2, 13, d, dtype=torch.float64)
    dead = (torch.rand(2, layout.n) < 0.4).double()
    dead[0, :4] = 0  # an autoencoder that is all alive
    dead[1, 7:] = 1  # and one that is all dead
    batch, run = SentenceBatch(u), bank.run(13)
    errors = run.forward(batch, dead if weight else None)
    run.descend(batch, weight)
    for g in range(2):
        variance = (u[g] - u[g].mean(0)).square().sum()
        for s, (start, stop) in enumerate(layout.spans):
            weights = [w.clone().requires_grad_() for w in layout.weights(flat[g], s)]
            mask = dead[g, start:stop].bool() if weight else torch.zeros(stop - start, dtype=torch.bool)
            loss, auxiliary, _ = batch_loss(u[g], *weights, k=3, dead=mask)
            assert errors[g, s].item() == pytest.approx((loss * variance).item(), rel=1e-11)
            wanted = torch.autograd.grad(loss + weight * auxiliary, weights)
            for gradient, expected in zip(layout.weights(bank.gradient[g], s), wanted, strict=True):
                torch.testing.assert_close(-2 / variance * gradient, expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_top_k_takes_the_lower_latent_of_a_tie(data: st.DataObject) -> None:
    """Values of three kinds only, so ties abound; each autoencoder against a stable sort."""
    k = data.draw(st.integers(1, 3))
    rows = data.draw(st.lists(st.lists(st.integers(-1, 1), min_size=18, max_size=18), min_size=1, max_size=3))
    z = torch.tensor(rows, dtype=torch.float32).T[None].contiguous()
    layout = Layout(SIZES, 1, z)
    chosen = TopK(layout, 1, len(rows), k, z)(z)
    for start, stop in layout.spans:
        for column in range(len(rows)):
            values = z[0, start:stop, column].tolist()
            best = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
            assert chosen[0, start:stop, column].nonzero()[:, 0].tolist() == sorted(best)


# --- the bank against the plain trainer -------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("stop", ["train", "validation"])
def test_bank_equals_solo_runs_in_float64_all_along(weight: float, stop: str) -> None:
    """Two layers, two seeds, three sizes; the sizes stop at different epochs, so the bank shrinks on the way."""
    x, _ = planted(120, 8, 4, noise=1.0)
    layers = torch.stack((x, x.flip(1) * 3 + 1))
    sae = TopKSAE(3, 4e-2, 32, 25, 2, stop, 0.2, weight)  # pyright: ignore[reportArgumentType]
    fits = fit_grid(sae, layers, layers.mean(1), SIZES, [0, 5])
    assert set(fits) == {(layer, seed, n) for layer in (0, 1) for seed in (0, 5) for n in SIZES}
    assert len({len(fit.losses) for fit in fits.values()}) > 3
    for (layer, seed, n), fit in fits.items():
        equal(fit, fit_alone(sae, layers[layer], layers[layer].mean(0), n, seed), 1e-9)


def test_every_step_of_the_bank_equals_the_solo_runs_in_float64() -> None:
    x, _ = planted(100, 8, 4)
    sae = TopKSAE(3, None, 10**6, 100, 100, "train", 0.0)
    for n, fit in sae.fit_bank(x, x.mean(0), SIZES, 0).items():
        equal(fit, fit_alone(sae, x, x.mean(0), n, 0), 1e-9)


def test_every_epochs_losses_are_told_as_the_fits_hold_them() -> None:
    x, _ = planted(100, 8, 4)
    told: list[Mapping[str, float]] = []
    fits = TopKSAE(3, None, 10**6, 6, 6, "validation", 0.2).fit_bank(x, x.mean(0), SIZES, 0, on_epoch=told.append)
    assert [epoch["epoch"] for epoch in told] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for n, fit in fits.items():
        assert [epoch[f"fvu_n{n}"] for epoch in told] == list(fit.losses)
        assert [epoch[f"fvu_validation_n{n}"] for epoch in told] == list(fit.validation_losses)


def test_float32_bank_stays_with_the_solo_runs() -> None:
    """The first 200 steps within 1e-5, the final loss within 0.5 %."""
    x, _ = planted(300, 32, 6, noise=0.6)
    x = x.float()
    every_step = TopKSAE(3, None, 10**6, 200, 200, "train", 0.0)
    for n, fit in every_step.fit_bank(x, x.mean(0), [5, 15], 0).items():
        assert fit.losses == pytest.approx(fit_alone(every_step, x, x.mean(0), n, 0).losses, rel=1e-5)
    whole = TopKSAE(batch_size=64, max_epochs=40)
    for n, fit in whole.fit_bank(x, x.mean(0), [5, 15], 0).items():
        assert fit.validation == pytest.approx(fit_alone(whole, x, x.mean(0), n, 0).validation, rel=5e-3)


def test_neighbours_do_not_matter() -> None:
    x, _ = planted(150, 8, 4, noise=1.0)
    sae = TopKSAE(3, 2e-2, 32, 60, 3)
    alone, among = sae.fit(x, x.mean(0), 4, 7), sae.fit_bank(x, x.mean(0), [20, 4, 9, 3], 7)
    assert list(among) == [20, 4, 9, 3]
    equal(among[4], alone, 1e-9)
    assert len({len(fit.losses) for fit in among.values()}) > 1


def test_sentences_at_the_mean_tie_all_latents_in_both() -> None:
    """A zero row ties every latent at the start: the first step must already treat it alike."""
    x, _ = planted(40, 6, 3)
    mean = torch.full((6,), 7.0, dtype=torch.float64)
    x[::4] = mean
    sae = TopKSAE(2, None, 10**6, 30, 30, "train", 0.0)
    equal(sae.fit(x, mean, 5, 0), fit_alone(sae, x, mean, 5, 0), 1e-9)


def test_a_seed_reproduces_the_bank_bit_for_bit_and_another_does_not() -> None:
    x, _ = planted(80, 6, 3)

    def centres(seed: int) -> Tensor:
        return (
            TopKSAE(batch_size=32, max_epochs=4)
            .fit_bank(x.float(), x.float().mean(0), SIZES, seed)[11]
            .clusters.centres
        )

    assert torch.equal(centres(1), centres(1))
    assert not torch.equal(centres(1), centres(2))


def test_a_batch_left_with_a_single_sentence_is_dropped() -> None:
    x, _ = planted(65, 6, 3)
    sae = TopKSAE(3, None, 32, 3, 3, "train", 0.0)
    equal(sae.fit(x, x.mean(0), 4, 0), fit_alone(sae, x, x.mean(0), 4, 0), 1e-9)


@pytest.mark.parametrize("stop", ["train", "validation"])
def test_of_epochs_with_equal_losses_the_earliest_is_kept(stop: str) -> None:
    course = Course(TopKSAE(patience=3, early_stop_on=stop))  # pyright: ignore[reportArgumentType]
    told = [course.note(*losses) for losses in ((0.9, 0.9), (0.5, 0.5), (0.5, 0.5), (0.7, 0.7), (0.5, 0.5))]
    assert told == [True, True, False, False, False]
    assert course.best_epoch == 1
    assert course.stopped


def test_divergence_names_the_autoencoder_and_the_next_move() -> None:
    x, _ = planted(64, 6, 3)
    sae = TopKSAE(3, 1e30, 16, 5, 5, "train", 0.0)
    with pytest.raises(FloatingPointError, match=r"n_clusters=4: the loss of epoch 0 is .* lower learning_rate"):
        sae.fit_bank(x.float(), x.float().mean(0), [4, 5], 0)
