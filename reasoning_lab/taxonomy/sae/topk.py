"""The paper's clustering: a Top-K sparse autoencoder with few latents (Venhoff et al. 2025; hybrid_steering 1.4).

With u a normalised activation, n latents of which the k largest are kept (signed, no ReLU):

    z = W_enc (u - b_dec) + b_enc,    a = z where z is among its k largest, else 0,    û = W_decᵀ a + b_dec
    loss of a batch = Σ |u - û|² / Σ |u - ū|², ū the batch's mean: the fraction of variance unexplained (FVU)

Adam, learning rate 2e-4 / sqrt(n / 2^14), batches of 512, decoder rows put back to unit norm after every step, at most
300 epochs, stopped after 10 without improvement, best weights kept. The label of a sentence is the argmax of z.
W_dec starts as a copy of W_enc with unit rows; only the start ties them.

Departures: every draw is keyed by a seed; a validation split stops the training by default (the authors stop on the
training loss); an optional auxiliary loss trains dead latents (Gao et al. 2024, "Scaling and evaluating sparse
autoencoders", section 2); ties in z go to the lower latent; a last batch of a single row, which has no variance, is
left out of its epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from reasoning_lab.taxonomy.clusterings import Clustering, Fit, check_data

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


@final
@dataclass(frozen=True)
class TopKSAE(Clustering):
    """Parameters of the autoencoder's training; the defaults are the paper's but for the validation split."""

    k: int = 3
    """Latents kept per sentence."""
    learning_rate: float | None = None
    """Adam's; None: 2e-4 / sqrt(n / 2^14), n the number of latents."""
    batch_size: int = 512
    """Sentences a step."""
    max_epochs: int = 300
    patience: int = 10
    """Epochs without improvement after which training stops."""
    early_stop_on: Literal["validation", "train"] = "validation"
    """Loss that picks the best epoch; train is the paper's."""
    validation_fraction: float = 0.1
    """Share of the sentences held out of training, drawn by seed; 0 is the paper's."""
    auxiliary_weight: float = 0.0
    """Weight of the dead latents' loss: latents in no top-k of the last epoch reconstruct the residual u - û by their
    own k largest; 0 is the paper's."""

    def __post_init__(self) -> None:
        for name in ("k", "max_epochs", "patience"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2: a single row has no variance")
        rate, watched = self.learning_rate, self.early_stop_on
        _require(rate is None or rate > 0, "learning_rate", rate, "above 0, or null for the paper's rule")
        _require(watched in ("validation", "train"), "early_stop_on", watched, "validation or train")
        _require(0 <= self.validation_fraction < 1, "validation_fraction", self.validation_fraction, "in [0, 1)")
        _require(self.auxiliary_weight >= 0, "auxiliary_weight", self.auxiliary_weight, "at least 0")
        if self.early_stop_on == "validation" and self.validation_fraction == 0:
            raise ValueError(
                "validation_fraction=0 leaves early_stop_on=validation nothing to look at; hold sentences out, or set "
                "early_stop_on=train as the paper does."
            )

    def rate(self, n_latents: int) -> float:
        """Learning rate of an autoencoder with so many latents."""
        return 2e-4 / (n_latents / 2**14) ** 0.5 if self.learning_rate is None else self.learning_rate

    def check(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], sizes: Sequence[int]) -> None:
        """The errors that can be known before training."""
        from reasoning_lab.taxonomy.sae.bank import data_split

        check_data(x, mean, sizes)
        for n in sizes:
            _require(self.k <= n, "k", self.k, f"at most n_clusters={n}")
        n_train, n_held_out = (len(rows) for rows in data_split(len(x), self.validation_fraction, 0))
        if n_train < 2 or n_held_out < 2 * (self.validation_fraction > 0):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} parts {len(x)} sentences into {n_train} for training "
                f"and {n_held_out} held out, and a loss needs two of each; take more traces or change it."
            )

    def fit(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int) -> Fit:
        """A bank of one."""
        return self.fit_bank(x, mean, [n_clusters], seed)[n_clusters]

    def fit_bank(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], sizes: Sequence[int], seed: int
    ) -> dict[int, Fit]:
        """All sizes trained together, see `train.fit_grid`."""
        from reasoning_lab.taxonomy.sae.bank import fit_grid

        fits = fit_grid(self, x[None], mean[None], sizes, [seed])
        return {n: fit for (_, _, n), fit in fits.items()}


def _require(condition: bool, name: str, value: object, bound: str) -> None:
    if not condition:
        raise ValueError(f"{name}={value}: must be {bound}; set it so.")


# --- the definition, one autoencoder at a time --------------------------------------------------------------------


def fit_alone(sae: TopKSAE, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int) -> Fit:
    """The same training written down as the module's formulas stand, by autograd and torch's Adam.

    The slow, obvious reference that `train.fit_grid` must equal; nothing else uses it.
    """
    import torch

    from reasoning_lab.taxonomy.clusters import unit
    from reasoning_lab.taxonomy.sae.bank import batch_orders, data_split, fit_of, initial_encoder, normalised

    sae.check(x, mean, [n_clusters])
    normaliser, u = normalised(x, mean)
    train, held_out = (u[rows] for rows in data_split(len(u), sae.validation_fraction, seed))
    encoder = initial_encoder(n_clusters, u.shape[1], seed).to(u)
    decoder = unit(encoder)
    encoder_bias, decoder_bias = u.new_zeros(n_clusters), u.new_zeros(u.shape[1])
    parameters = [p.requires_grad_() for p in (encoder, encoder_bias, decoder, decoder_bias)]
    optimiser = torch.optim.Adam(parameters, lr=sae.rate(n_clusters))
    dead = torch.zeros(n_clusters, dtype=torch.bool)
    losses, validation_losses, best, best_epoch, kept = [], [], float("inf"), 0, parameters
    for epoch in range(sae.max_epochs):
        batch_losses, fired = [], torch.zeros_like(dead)
        for rows in batch_orders(len(train), sae.batch_size, seed, epoch):
            batch = train[rows]
            loss, auxiliary, active = batch_loss(batch, *parameters, k=sae.k, dead=dead)
            optimiser.zero_grad()
            (loss + sae.auxiliary_weight * auxiliary).backward()
            optimiser.step()
            with torch.no_grad():
                decoder /= decoder.norm(dim=-1, keepdim=True)
            batch_losses.append(loss.item())
            fired |= active
        dead = ~fired
        losses.append(sum(batch_losses) / len(batch_losses))
        with torch.no_grad():
            if len(held_out) > 0:
                validation_losses.append(batch_loss(held_out, *parameters, k=sae.k, dead=dead)[0].item())
        watched = losses[-1] if sae.early_stop_on == "train" else validation_losses[-1]
        if watched < best:
            best, best_epoch, kept = watched, epoch, [p.detach().clone() for p in parameters]
        if epoch - best_epoch >= sae.patience:
            break
    return fit_of(sae, normaliser, u, kept, losses, validation_losses, best_epoch)


def batch_loss(
    u: Float[Tensor, "b d"],
    encoder: Float[Tensor, "n d"],
    encoder_bias: Float[Tensor, " n"],
    decoder: Float[Tensor, "n d"],
    decoder_bias: Float[Tensor, " d"],
    k: int,
    dead: Bool[Tensor, " n"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Bool[Tensor, " n"]]:
    """FVU of the batch, FVU that the dead latents leave of its residual (0 if none is dead), and the latents used."""
    z = (u - decoder_bias) @ encoder.T + encoder_bias
    chosen = largest(z, k)
    residual = u - (z * chosen) @ decoder - decoder_bias
    variance = batch_variance(u)
    auxiliary = variance.new_zeros(())
    if dead.any():
        revived = largest(z.masked_fill(~dead, -float("inf")), min(k, int(dead.sum())))
        remaining = residual.detach() - z.where(revived, z.new_zeros(())) @ decoder
        auxiliary = remaining.square().sum() / variance
    return residual.square().sum() / variance, auxiliary, chosen.any(0)


def batch_variance(u: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Σ |u - ū|², at least 1e-6 of the rows' number: a batch of equal rows has no variance to explain."""
    return (u - u.mean(0)).square().sum().clamp_min(1e-6 * len(u))


def largest(z: Float[Tensor, "b n"], k: int) -> Bool[Tensor, "b n"]:
    """Where each row's k largest values are, ties to the lower index."""
    import torch

    remaining, chosen = z.detach().clone(), torch.zeros_like(z, dtype=torch.bool)
    for _ in range(k):
        first = remaining.argmax(-1, keepdim=True)
        chosen.scatter_(-1, first, True)
        remaining.scatter_(-1, first, -float("inf"))
    return chosen
