"""The paper's clustering as the config names it: the autoencoder of `definition`, trained by `bank`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from reasoning_lab.taxonomy.clusterings import Clustering, Fit, OnEpoch
from reasoning_lab.taxonomy.sae.bank import fit_grid
from reasoning_lab.taxonomy.sae.definition import TopKHyperparameters


@final
@dataclass(frozen=True)
class TopKSAE(TopKHyperparameters, Clustering):
    """A Top-K sparse autoencoder, whose latents are the clusters."""

    def fit(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], n_clusters: int, seed: int, device: str = "cpu",
        problems: Int[Tensor, " m"] | None = None,
    ) -> Fit:  # fmt: skip
        """A bank of one."""
        return self.fit_bank(x, mean, [n_clusters], seed, device, problems)[n_clusters]

    def fit_bank(
        self,
        x: Float[Tensor, "m d"],
        mean: Float[Tensor, " width"],
        sizes: Sequence[int],
        seed: int,
        device: str = "cpu",
        problems: Int[Tensor, " m"] | None = None,
        on_epoch: OnEpoch = lambda _: None,
    ) -> dict[int, Fit]:
        """All sizes trained together on the device, see `bank.fit_grid`; the fits are on the host."""
        fits = fit_grid(self, x.to(device)[None], mean.to(device)[None], sizes, [seed], problems, on_epoch)
        return {n: replace(fit, clusters=fit.clusters.to("cpu")) for (_, _, n), fit in fits.items()}
