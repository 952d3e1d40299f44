"""A fitted clustering of sentences: where an activation is put, and by which normalisation.

The normalisation travels with the clusters, so that training, annotation and generation cannot disagree about it (the
authors' first code annotates with raw activations what was trained on centred unit vectors, departures B1).
Clusters are stored as named tensors and text, and `clusters_from` restores any kind.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor


def unit(x: Float[Tensor, "*row d"]) -> Float[Tensor, "*row d"]:
    """Each row divided by its L2 norm; a zero row stays zero."""
    norm = x.norm(dim=-1, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1.0)


def check_finite(x: Float[Tensor, "m d"]) -> None:
    """FloatingPointError that names the first row with a NaN or an infinity."""
    # A finite sum has finite terms only, and is far cheaper than looking at each.
    if not bool(x.sum().isfinite()) and not bool(x.isfinite().all()):
        rows = (~x.isfinite()).any(-1).nonzero()[:, 0]
        raise FloatingPointError(
            f"row {int(rows[0])} of the activations is not finite ({len(rows)} of {len(x)} rows are not); find the "
            "trace and layer that it came from and leave it out."
        )


def check_width(x: Float[Tensor, "m width"], d: int) -> None:
    """ValueError that names both widths."""
    if x.shape[-1] != d:
        raise ValueError(
            f"the activations have width {x.shape[-1]}, the clusters were fitted at width {d}; use the model and layer "
            "that they were fitted on."
        )


@final
@dataclass(frozen=True, eq=False)
class Normaliser:
    """u = (x - mean) / |x - mean|, row by row; a row equal to the mean becomes zero.

    The result has the mean's dtype (at least float32, whatever the activations came in). Source: Venhoff et al. 2025,
    released code: centring mean over responses, then the L2 norm.
    """

    mean: Float[Tensor, " d"]
    """Centring mean of the activations."""
    source: str = ""
    """Model and layer whose activations these are; empty until the caller names them."""

    def __call__(self, x: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        check_width(x, len(self.mean))
        return unit(x.to(self.mean.dtype) - self.mean.to(x.device))


class Clusters(ABC):
    """Clusters of activations; every kind is a frozen dataclass of tensors and numbers."""

    kind: str
    """Which clustering fitted them."""
    normaliser: Normaliser

    @property
    @abstractmethod
    def n_clusters(self) -> int:
        """Number of clusters, dead ones included."""

    @property
    @abstractmethod
    def centres(self) -> Float[Tensor, "n d"]:
        """One direction per cluster in normalised space: unit rows; a zero row where a cluster has no sentence."""

    @abstractmethod
    def _scores(self, u: Float[Tensor, "m d"]) -> Float[Tensor, "m n"]:
        """Scores of rows that are normalised already."""

    @final
    def scores(self, x: Float[Tensor, "m d"], normalise: bool = True) -> Float[Tensor, "m n"]:
        """How near each activation (row of x, raw) is to each cluster; higher is nearer, the row's argmax its label.

        normalise=False skips the normaliser: the rows are normalised already, or the authors' way is (departures B1).
        Raises ValueError for a wrong width and FloatingPointError for a row that is not finite.
        """
        check_width(x, len(self.normaliser.mean))
        check_finite(x)
        return self._scores(self.normaliser(x) if normalise else x.to(self.normaliser.mean.dtype))

    @final
    def labels(self, x: Float[Tensor, "m d"], normalise: bool = True) -> Int[Tensor, " m"]:
        """Cluster of each activation: the argmax of its scores, ties to the lower index."""
        return self.scores(x, normalise).argmax(-1)

    @final
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, the normaliser's mean included, on the host."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}  # pyright: ignore[reportArgumentType]
        named = {name: value for name, value in held.items() if isinstance(value, Tensor)}
        named["mean"] = self.normaliser.mean
        return {name: value.detach().cpu().contiguous() for name, value in named.items()}

    @final
    def metadata(self) -> dict[str, str]:
        """Kind and every number by name, as text: what safetensors holds beside tensors."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}  # pyright: ignore[reportArgumentType]
        numbers = {name: str(value) for name, value in held.items() if isinstance(value, int)}
        return {"kind": self.kind, "n_clusters": str(self.n_clusters), "source": self.normaliser.source, **numbers}

    @final
    def of_source(self, source: str) -> "Clusters":
        """The same clusters, tied to the model and layer that they were fitted on."""
        return replace(self, normaliser=replace(self.normaliser, source=source))  # pyright: ignore[reportArgumentType]

    @final
    def check_source(self, source: str) -> None:
        """ValueError unless they were fitted on this model and layer."""
        if self.normaliser.source != source:
            raise ValueError(
                f"this taxonomy was fitted on {self.normaliser.source or '(unnamed)'}, not on {source or '(unnamed)'}; "
                "fit one there (stage=taxonomy), or set the layer."
            )

    @final
    def to(self, device: torch.device | str) -> "Clusters":
        """The same clusters with their tensors on another device."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}  # pyright: ignore[reportArgumentType]
        moved: dict[str, Any] = {name: value.to(device) for name, value in held.items() if isinstance(value, Tensor)}
        normaliser = replace(self.normaliser, mean=self.normaliser.mean.to(device))
        return replace(self, normaliser=normaliser, **moved)  # pyright: ignore[reportArgumentType]


@final
@dataclass(frozen=True, eq=False)
class TopKClusters(Clusters):
    """The latents of a Top-K sparse autoencoder (Venhoff et al. 2025, section 3).

    Score: the pre-activation z = W_enc (u - b_dec) + b_enc of every latent; top-k plays no part in the label. Centre:
    the decoder row.
    """

    normaliser: Normaliser
    encoder: Float[Tensor, "n d"]
    encoder_bias: Float[Tensor, " n"]
    decoder: Float[Tensor, "n d"]
    decoder_bias: Float[Tensor, " d"]
    k: int
    """Latents that reconstruct an activation."""
    kind: ClassVar[str] = "topk_sae"

    @property
    def n_clusters(self) -> int:
        """Number of latents."""
        return len(self.encoder)

    @property
    def centres(self) -> Float[Tensor, "n d"]:
        """The decoder's rows, at unit norm."""
        return unit(self.decoder)

    def _scores(self, u: Float[Tensor, "m d"]) -> Float[Tensor, "m n"]:
        return (u - self.decoder_bias.to(u.device)) @ self.encoder.to(u.device).T + self.encoder_bias.to(u.device)


@dataclass(frozen=True, eq=False)
class _Projected(Clusters):
    """Clusters found in the space of the principal components, or in the whole one where `components` is None."""

    normaliser: Normaliser
    directions: Float[Tensor, "n d"]
    """Unit mean of each cluster's sentences."""
    components: Float[Tensor, "c d"] | None
    """Principal components, orthonormal rows."""
    offset: Float[Tensor, " d"] | None
    """Mean that the components were taken about."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.directions)

    @property
    def centres(self) -> Float[Tensor, "n d"]:
        """Unit mean of each cluster's sentences."""
        return self.directions

    def _reduced(self, u: Float[Tensor, "m d"]) -> Float[Tensor, "m c"]:
        if self.components is None or self.offset is None:
            return u
        return (u - self.offset.to(u.device)) @ self.components.to(u.device).T


@final
@dataclass(frozen=True, eq=False)
class CosineClusters(_Projected):
    """Score: cosine between the (reduced) activation and the cluster's prototype."""

    prototypes: Float[Tensor, "n c"]
    """Unit rows."""
    kind: str
    """spherical_kmeans or agglomerative."""

    def _scores(self, u: Float[Tensor, "m d"]) -> Float[Tensor, "m n"]:
        return unit(self._reduced(u)) @ self.prototypes.to(u.device).T


@final
@dataclass(frozen=True, eq=False)
class GaussianClusters(_Projected):
    """Score: log of weight times density of the cluster's Gaussian at the (reduced) activation."""

    log_weights: Float[Tensor, " n"]
    means: Float[Tensor, "n c"]
    roots: Float[Tensor, "n c"] | Float[Tensor, "n c c"]
    """Upper factor R of each precision matrix R Rᵀ; its diagonal alone where the covariance is diagonal."""
    kind: ClassVar[str] = "gaussian_mixture"

    def _scores(self, u: Float[Tensor, "m d"]) -> Float[Tensor, "m n"]:
        v = self._reduced(u)
        density = [self._log_density(v, j) for j in range(self.n_clusters)]
        return torch.stack(density, dim=-1) + self.log_weights.to(u.device)

    def _log_density(self, v: Float[Tensor, "m c"], j: int) -> Float[Tensor, " m"]:
        root, deviation = self.roots[j].to(v.device), v - self.means[j].to(v.device)
        scaled, diagonal = (deviation @ root, root.diagonal()) if root.ndim == 2 else (deviation * root, root)
        return diagonal.log().sum() - (scaled.square().sum(-1) + v.shape[-1] * math.log(2 * math.pi)) / 2


KINDS: dict[str, type[Clusters]] = {
    "topk_sae": TopKClusters,
    "spherical_kmeans": CosineClusters,
    "agglomerative": CosineClusters,
    "gaussian_mixture": GaussianClusters,
}
"""What `clusters_from` can restore."""


def clusters_from(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Clusters:
    """The clusters whose `tensors()` and `metadata()` these are; a ValueError says what is missing."""
    kind = metadata.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind={kind}: clusters are of kind {', '.join(KINDS)}; read a file that this room wrote.")
    held: dict[str, Any] = {"components": None, "offset": None} | dict(tensors)
    wanted = {f.name: f.type for f in fields(KINDS[kind])}  # pyright: ignore[reportArgumentType]
    if "mean" in held:
        held["normaliser"] = Normaliser(held["mean"], metadata.get("source", ""))
    held |= {name: value if name == "kind" else int(value) for name, value in metadata.items() if name in wanted}
    if missing := [name for name in wanted if name not in held]:
        raise ValueError(f"{kind} clusters without {', '.join(missing)}; the file is torn or of another version.")
    return KINDS[kind](**{name: held[name] for name in wanted})
