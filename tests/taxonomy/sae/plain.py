"""The slow, obvious form of the bank: one autoencoder at a time."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reasoning_lab.taxonomy.clusterings import Fit
from reasoning_lab.taxonomy.clusters import unit
from reasoning_lab.taxonomy.sae.bank import fit_of, normalised_rows
from reasoning_lab.taxonomy.sae.definition import TopKHyperparameters, batch_orders, data_split, initial_encoder


def fit_alone(
    sae: TopKHyperparameters, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int
) -> Fit:
    """The training written down as `definition` has it, by autograd and torch's Adam."""
    sae.check(x, mean, [n_clusters])
    normaliser, u = normalised_rows(x, mean)
    train, held_out = (u[rows] for rows in data_split(len(u), sae.validation_fraction, seed))
    encoder = initial_encoder(n_clusters, u.shape[1], seed).to(u)
    decoder = unit(encoder)
    encoder_bias, decoder_bias = u.new_zeros(n_clusters), u.new_zeros(u.shape[1])
    parameters = [p.requires_grad_() for p in (encoder, encoder_bias, decoder, decoder_bias)]
    optimiser = torch.optim.Adam(parameters, lr=sae.rate(n_clusters))
    dead = torch.zeros(n_clusters, dtype=torch.bool, device=u.device)
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
    remaining, chosen = z.detach().clone(), torch.zeros_like(z, dtype=torch.bool)
    for _ in range(k):
        first = remaining.argmax(-1, keepdim=True)
        chosen.scatter_(-1, first, True)
        remaining.scatter_(-1, first, -float("inf"))
    return chosen
