"""The Clustering contract, and the clusterings that scikit-learn computes.

Source: the authors' comparison of clusterings (hybrid_steering 1.8): k-means on unit vectors, Gaussian mixture and
agglomerative, each with or without PCA before it. Departures: the label of a sentence is always the argmax of the
fitted clusters' scores, so that sentences seen later are labelled by the same rule; a cluster's centre is the unit mean
of the sentences labelled so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from reasoning_lab.taxonomy.clusters import Clusters


@dataclass(frozen=True)
class Fit:
    """Clusters and how their fitting went."""

    clusters: Clusters
    n_dead: int
    """Clusters that are no sentence's label."""
    n_silent: int | None = None
    """SAE latents that are in no sentence's top-k, so n_silent <= n_dead; None for other clusterings."""
    losses: tuple[float, ...] = ()
    """Mean training loss of each epoch (SAE: fraction of variance unexplained); empty where there are no epochs."""
    validation_losses: tuple[float, ...] = ()
    """Loss on the validation sentences after each epoch; empty without a split."""
    best_epoch: int | None = None
    """Epoch, from 0, whose weights were kept."""

    @property
    def validation(self) -> float | None:
        """Validation loss of the weights that were kept."""
        if self.best_epoch is None or not self.validation_losses:
            return None
        return self.validation_losses[self.best_epoch]


class Clustering(ABC):
    """Parameters of a clustering: a frozen dataclass; every yaml of its group builds one."""

    @abstractmethod
    def fit(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int) -> Fit:
        """Cluster raw activations, normalised by `mean` as in `clusters.Normaliser`; a function of its arguments alone.

        Raises ValueError for more clusters than sentences or a wrong width, FloatingPointError for a row that is not
        finite.
        """

    def fit_bank(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], sizes: Sequence[int], seed: int
    ) -> dict[int, Fit]:
        """`fit` for every number of clusters."""
        return {n: self.fit(x, mean, n, seed) for n in sizes}


def check_data(x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], sizes: Sequence[int]) -> None:
    """The errors that every clustering raises before any work."""
    from reasoning_lab.taxonomy.clusters import check_finite, check_width

    if not sizes:
        raise ValueError("n_clusters is empty: name at least one number of clusters.")
    for n in sizes:
        if not 1 <= n <= len(x):
            raise ValueError(
                f"n_clusters={n}: must be between 1 and the {len(x)} sentences there are; lower it or take more traces."
            )
    check_width(x, len(mean))
    check_finite(x)
    check_finite(mean[None])


@final
@dataclass(frozen=True)
class SphericalKMeans(Clustering):
    """k-means of unit vectors; the label is the nearest prototype by cosine."""

    n_init: int = 10
    """Restarts; the one of the least inertia is kept."""
    max_iterations: int = 300
    n_components: int | None = None
    """Principal components to reduce to first, and to renormalise in; None: no reduction."""

    def __post_init__(self) -> None:
        _require_positive(self, "n_init", "max_iterations", "n_components")

    def fit(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int) -> Fit:
        """See Clustering."""
        from sklearn.cluster import KMeans

        def prototypes(rows: Any) -> Any:
            model: Any = KMeans  # Its annotations say that n_init is text.
            model = model(n_clusters, n_init=self.n_init, max_iter=self.max_iterations, random_state=seed)
            return model.fit(rows).cluster_centers_

        return _fit_cosine("spherical_kmeans", prototypes, x, mean, n_clusters, self.n_components, seed)


@final
@dataclass(frozen=True)
class Agglomerative(Clustering):
    """Agglomerative clustering of unit vectors; sentences are labelled by the nearest cluster's mean, by cosine.

    Departure: the tree is grown on at most `max_sentences` sentences (its distances need 4 m^2 bytes), drawn by seed.
    """

    linkage: Literal["ward", "complete", "average", "single"] = "ward"
    max_sentences: int = 5000
    n_components: int | None = None
    """Principal components to reduce to first, and to renormalise in; None: no reduction."""

    def __post_init__(self) -> None:
        _require_positive(self, "max_sentences", "n_components")
        if self.linkage not in (linkages := ("ward", "complete", "average", "single")):
            raise ValueError(f"linkage={self.linkage}: must be one of {', '.join(linkages)}.")

    def fit(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int) -> Fit:
        """See Clustering."""
        import numpy as np
        from sklearn.cluster import AgglomerativeClustering

        check_data(x, mean, [n_clusters])
        if n_clusters > self.max_sentences:
            raise ValueError(f"n_clusters={n_clusters}: above max_sentences={self.max_sentences}; raise that.")

        def prototypes(rows: Any) -> Any:
            if len(rows) > self.max_sentences:
                rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), self.max_sentences, replace=False))]
            model: Any = AgglomerativeClustering(n_clusters, linkage=self.linkage)
            found = model.fit(rows).labels_
            return np.stack([rows[found == j].mean(0) for j in range(n_clusters)])

        return _fit_cosine("agglomerative", prototypes, x, mean, n_clusters, self.n_components, seed)


@final
@dataclass(frozen=True)
class GaussianMixture(Clustering):
    """Mixture of Gaussians on unit vectors, by expectation maximisation; the label is the likeliest component."""

    covariance: Literal["diag", "full"] = "diag"
    """full has n d^2 / 2 parameters: reduce by n_components first."""
    regularisation: float = 1e-6
    """Added to every variance, in squared units of the normalised activations."""
    n_init: int = 1
    """Restarts; the likeliest is kept."""
    max_iterations: int = 100
    n_components: int | None = None
    """Principal components to reduce to first; None: no reduction."""

    def __post_init__(self) -> None:
        _require_positive(self, "n_init", "max_iterations", "n_components")
        if self.covariance not in ("diag", "full"):
            raise ValueError(f"covariance={self.covariance}: must be diag or full.")
        if self.regularisation < 0:
            raise ValueError(f"regularisation={self.regularisation}: must be at least 0; 1e-6 is usual.")

    def fit(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_clusters: int, seed: int) -> Fit:
        """See Clustering."""
        import torch
        from sklearn.mixture import GaussianMixture as Mixture

        from reasoning_lab.taxonomy.clusters import GaussianClusters

        check_data(x, mean, [n_clusters])
        space = _Space(x, mean, self.n_components, seed)
        model: Any = Mixture(
            n_clusters, covariance_type=self.covariance, reg_covar=self.regularisation, n_init=self.n_init,
            max_iter=self.max_iterations, random_state=seed,
        ).fit(space.reduced.double().numpy())  # fmt: skip
        parameters = (model.weights_, model.means_, model.precisions_cholesky_)
        weights, means, roots = (torch.from_numpy(p).to(space.u.dtype) for p in parameters)

        def clusters(directions: Tensor) -> Clusters:
            return GaussianClusters(
                space.normaliser, directions, space.components, space.offset, weights.log(), means, roots
            )

        return _fitted(clusters, space, n_clusters)


class _Space:
    """The sentences, normalised and perhaps reduced, on the host."""

    def __init__(self, x: Float[Tensor, "m d"], mean: Float[Tensor, " d"], n_components: int | None, seed: int) -> None:
        import torch

        from reasoning_lab.taxonomy.clusters import Normaliser

        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.normaliser = Normaliser(mean.detach().cpu().to(dtype))
        self.u = self.normaliser(x.detach().cpu())
        self.reduced, self.components, self.offset = self.u, None, None
        if n_components is not None:
            self._reduce(n_components, seed)

    def _reduce(self, n_components: int, seed: int) -> None:
        import torch
        from sklearn.decomposition import PCA

        if n_components > min(self.u.shape):
            raise ValueError(
                f"n_components={n_components}: {self.u.shape[0]} sentences of width {self.u.shape[1]} have at most "
                f"{min(self.u.shape)}; lower it, or null for no reduction."
            )
        found = PCA(n_components, random_state=seed).fit(self.u.numpy())
        # As they will lie once they have been stored: products round by the layout of what they multiply.
        self.components, self.offset = (
            torch.from_numpy(part).to(self.u.dtype).contiguous() for part in (found.components_, found.mean_)
        )
        self.reduced = (self.u - self.offset) @ self.components.T


def _fit_cosine(
    kind: str,
    prototypes_of: Callable[[Any], Any],
    x: Float[Tensor, "m d"],
    mean: Float[Tensor, " d"],
    n_clusters: int,
    n_components: int | None,
    seed: int,
) -> Fit:
    """Prototypes found on the unit rows of the reduced space, in the clusters that label by cosine."""
    import torch

    from reasoning_lab.taxonomy.clusters import CosineClusters, unit

    check_data(x, mean, [n_clusters])
    space = _Space(x, mean, n_components, seed)
    found = prototypes_of(unit(space.reduced).numpy())
    prototypes = unit(torch.from_numpy(found).to(space.u.dtype))

    def clusters(directions: Tensor) -> Clusters:
        return CosineClusters(space.normaliser, directions, space.components, space.offset, prototypes, kind)

    return _fitted(clusters, space, n_clusters)


def _fitted(clusters_of: Callable[[Any], Clusters], space: _Space, n_clusters: int) -> Fit:
    """The fit whose directions are the unit means of the sentences that its own rule labels."""
    labels = clusters_of(space.u.new_zeros(n_clusters, space.u.shape[1])).labels(space.u, normalise=False)
    return Fit(clusters_of(_directions(space.u, labels, n_clusters)), n_dead=n_clusters - len(labels.unique()))


def _directions(u: Float[Tensor, "m d"], labels: Int[Tensor, " m"], n_clusters: int) -> Float[Tensor, "n d"]:
    from reasoning_lab.taxonomy.clusters import unit

    return unit(u.new_zeros(n_clusters, u.shape[1]).index_add_(0, labels, u))


def _require_positive(owner: Any, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: must be at least 1; set {name} to a positive number.")
