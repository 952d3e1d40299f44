"""What is trained: a Top-K sparse autoencoder with few latents (Venhoff et al. 2025, section 3).

With u a normalised activation, n latents of which the k largest are kept (signed, no ReLU):

    z = W_enc (u - b_dec) + b_enc,    a = z where z is among its k largest, else 0,    û = W_decᵀ a + b_dec
    loss of a batch = Σ |u - û|² / Σ |u - ū|², ū the batch's mean: the fraction of variance unexplained (FVU)

Adam, learning rate 2e-4 / sqrt(n / 2^14), batches of 512, decoder rows put back to unit norm after every step, at most
300 epochs, stopped after 10 without improvement, best weights kept. The label of a sentence is the argmax of z.
W_dec starts as a copy of W_enc with unit rows; only the start ties them.

Departures: every draw is keyed by a seed; a validation split stops the training by default (the authors stop on the
training loss); an optional auxiliary loss trains dead latents (Gao et al. 2024, "Scaling and evaluating sparse
autoencoders", section 2); ties in z go to the lower latent, and of epochs with equal losses the earlier one is kept; a
last batch of a single row, which has no variance, is left out of its epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from reasoning_lab.checks import require, require_count, require_one_of
from reasoning_lab.taxonomy.clusterings import check_data

StopOn = Literal["validation", "train"]


@dataclass(frozen=True)
class TopKHyperparameters:
    """Of the autoencoder's training; the defaults are the paper's but for the validation split."""

    k: int = 3
    """Latents kept per sentence."""
    learning_rate: float | None = None
    """Adam's; None: 2e-4 / sqrt(n / 2^14), n the number of latents."""
    batch_size: int = 512
    """Sentences a step."""
    max_epochs: int = 300
    patience: int = 10
    """Epochs without improvement after which training stops."""
    early_stop_on: StopOn = "validation"
    """Loss that picks the best epoch; train is the paper's."""
    validation_fraction: float = 0.1
    """Share of the sentences held out of training, drawn by seed; 0 is the paper's."""
    auxiliary_weight: float = 0.0
    """Weight of the dead latents' loss: latents in no top-k of the last epoch reconstruct the residual u - û by their
    own k largest; 0 is the paper's."""

    def __post_init__(self) -> None:
        rate, fraction, weight = self.learning_rate, self.validation_fraction, self.auxiliary_weight
        require_count(self, "k", "max_epochs", "patience")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2", "a single row has no variance")
        require(rate is None or rate > 0, "learning_rate", rate, "above 0", "null is the paper's rule")
        require_one_of(StopOn, "early_stop_on", self.early_stop_on)
        require(0 <= fraction < 1, "validation_fraction", fraction, "in [0, 1)", "0 is the paper's")
        require(weight >= 0, "auxiliary_weight", weight, "at least 0", "0 is the paper's")
        if self.early_stop_on == "validation":
            bound = "above 0, for early_stop_on=validation needs something to look at"
            advice = "hold sentences out, or set early_stop_on=train as the paper does"
            require(fraction > 0, "validation_fraction", fraction, bound, advice)

    def rate(self, n_latents: int) -> float:
        """Learning rate of an autoencoder with so many latents."""
        return 2e-4 / (n_latents / 2**14) ** 0.5 if self.learning_rate is None else self.learning_rate

    def check(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], sizes: Sequence[int],
        problems: Int[Tensor, " m"] | None = None,
    ) -> None:  # fmt: skip
        """The errors that can be known before training."""
        check_data(x, mean, sizes)
        for n in sizes:
            require(self.k <= n, "k", self.k, f"at most n_clusters={n}", "lower it")
        n_train, n_held_out = (len(rows) for rows in data_split(len(x), self.validation_fraction, 0, problems))
        if n_train < 2 or n_held_out < 2 * (self.validation_fraction > 0):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} parts {len(x)} sentences into {n_train} for training "
                f"and {n_held_out} held out, and a loss needs two of each; take more traces or change it."
            )


# --- what a seed decides ------------------------------------------------------------------------------------------


def _stream(*what: object) -> Generator:
    """A generator of its own for every purpose: a draw never depends on what else was drawn."""
    return Generator().manual_seed(int.from_bytes(blake2b(repr(what).encode(), digest_size=7).digest(), "little"))


def initial_encoder(n_latents: int, d: int, seed: int) -> Float[Tensor, "n d"]:
    """Uniform on ±1/√d, as torch initialises a linear layer; float64, a function of (seed, n, d)."""
    return (torch.rand(n_latents, d, generator=_stream("init", seed, n_latents), dtype=torch.float64) * 2 - 1) * d**-0.5


def data_split(
    m: int, fraction: float, seed: int, problems: Int[Tensor, " m"] | None = None
) -> tuple[Int[Tensor, " train"], Int[Tensor, " validation"]]:
    """Rows to train on and rows held out, a function of (seed, m, fraction, problems).

    `problems` numbers the problem of each row: as many whole problems are held out as come nearest to `fraction` of
    them, for sentences about one problem resemble each other. None: every row is a problem of its own.
    """
    shuffled = torch.randperm(m, generator=_stream("split", seed))
    if problems is None:
        n_held_out = round(m * fraction)
        return shuffled[n_held_out:], shuffled[:n_held_out]
    known = problems.cpu().unique()
    order = torch.randperm(len(known), generator=_stream("split of problems", seed))
    is_held_out = torch.isin(problems.cpu()[shuffled], known[order[: round(len(known) * fraction)]])
    return shuffled[~is_held_out], shuffled[is_held_out]


def batch_orders(m: int, batch_size: int, seed: int, epoch: int) -> list[Int[Tensor, " b"]]:
    """The epoch's batches, each of at least two rows, a function of (seed, epoch) and the shapes."""
    order = torch.randperm(m, generator=_stream("order", seed, epoch))
    return [rows for rows in order.split(batch_size) if len(rows) > 1]
