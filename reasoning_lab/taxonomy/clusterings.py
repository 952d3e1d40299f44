"""The Clustering contract, and the clusterings that scikit-learn computes.

Source: the comparison of clusterings in the released code of Venhoff et al. 2025: k-means on unit vectors, Gaussian
mixture and agglomerative, each with or without PCA before it. Departures: the label of a sentence is always the argmax
of the fitted clusters' scores, so that sentences seen later are labelled by the same rule; a cluster's centre is the
unit mean of the sentences labelled so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasoning_lab.checks import require, require_count, require_one_of
from reasoning_lab.taxonomy.clusters import (
    Clusters,
    CosineClusters,
    GaussianClusters,
    Normaliser,
    check_finite,
    check_width,
    unit,
)

OnEpoch = Callable[[Mapping[str, float]], None]
"""Hears of the epoch's number, from 1, and of losses, all by name."""
Linkage = Literal["ward", "complete", "average", "single"]
Covariance = Literal["diag", "full"]
Rows = np.ndarray[tuple[int, int], np.dtype[np.floating]]
"""Sentences or prototypes on the host, a row each."""


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
    def fit(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], n_clusters: int, seed: int, device: str = "cpu",
        problems: Int[Tensor, " m"] | None = None,
    ) -> Fit:  # fmt: skip
        """Cluster raw activations, normalised by `mean` as in `clusters.Normaliser`; a function of its arguments alone.

        Clusterings that train work on `device`, those of scikit-learn on the host; the fit is on the host. `problems`
        numbers the problem of each sentence: one that splits the sentences splits by problem; None: each has its own.
        Raises ValueError for more clusters than sentences or a wrong width, FloatingPointError for a row that is not
        finite.
        """

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
        """`fit` for every number of clusters; one that trains tells `on_epoch` of its losses."""
        return {n: self.fit(x, mean, n, seed, device, problems) for n in sizes}


def check_data(x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], sizes: Sequence[int]) -> None:
    """The errors that every clustering raises before any work."""
    require(len(sizes) > 0, "n_clusters", list(sizes), "one number of clusters or more", "name at least one")
    for n in sizes:
        bound = f"between 1 and the {len(x)} sentences there are"
        require(1 <= n <= len(x), "n_clusters", n, bound, "lower it or take more traces")
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
        require_count(self, "n_init", "max_iterations", *_given_components(self.n_components))

    def fit(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], n_clusters: int, seed: int, device: str = "cpu",
        problems: Int[Tensor, " m"] | None = None,
    ) -> Fit:  # fmt: skip
        """As Clustering.fit."""
        from sklearn.cluster import KMeans

        def prototypes(rows: Rows) -> Rows:
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

    linkage: Linkage = "ward"
    max_sentences: int = 5000
    n_components: int | None = None
    """Principal components to reduce to first, and to renormalise in; None: no reduction."""

    def __post_init__(self) -> None:
        require_count(self, "max_sentences", *_given_components(self.n_components))
        require_one_of(Linkage, "linkage", self.linkage)

    def fit(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], n_clusters: int, seed: int, device: str = "cpu",
        problems: Int[Tensor, " m"] | None = None,
    ) -> Fit:  # fmt: skip
        """As Clustering.fit."""
        from sklearn.cluster import AgglomerativeClustering

        check_data(x, mean, [n_clusters])
        bound = f"at most max_sentences={self.max_sentences}"
        require(n_clusters <= self.max_sentences, "n_clusters", n_clusters, bound, "raise that")

        def prototypes(rows: Rows) -> Rows:
            if len(rows) > self.max_sentences:
                rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), self.max_sentences, replace=False))]
            model: Any = AgglomerativeClustering(n_clusters, linkage=self.linkage)
            labels = model.fit(rows).labels_
            return np.stack([rows[labels == j].mean(0) for j in range(n_clusters)])

        return _fit_cosine("agglomerative", prototypes, x, mean, n_clusters, self.n_components, seed)


@final
@dataclass(frozen=True)
class GaussianMixture(Clustering):
    """Mixture of Gaussians on unit vectors, by expectation maximisation; the label is the likeliest component."""

    covariance: Covariance = "diag"
    """full has n d^2 / 2 parameters: reduce by n_components first."""
    regularisation: float = 1e-6
    """Added to every variance, in squared units of the normalised activations."""
    n_init: int = 1
    """Restarts; the likeliest is kept."""
    max_iterations: int = 100
    n_components: int | None = None
    """Principal components to reduce to first; None: no reduction."""

    def __post_init__(self) -> None:
        require_count(self, "n_init", "max_iterations", *_given_components(self.n_components))
        require_one_of(Covariance, "covariance", self.covariance)
        require(self.regularisation >= 0, "regularisation", self.regularisation, "at least 0", "1e-6 is usual")

    def fit(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], n_clusters: int, seed: int, device: str = "cpu",
        problems: Int[Tensor, " m"] | None = None,
    ) -> Fit:  # fmt: skip
        """As Clustering.fit."""
        from sklearn.mixture import GaussianMixture as Mixture

        check_data(x, mean, [n_clusters])
        space = _UnitRows(x, mean, self.n_components, seed)
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


class _UnitRows:
    """The sentences, normalised and perhaps reduced, on the host."""

    def __init__(
        self, x: Float[Tensor, "m d"], mean: Float[Tensor, " width"], n_components: int | None, seed: int
    ) -> None:
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.normaliser = Normaliser(mean.detach().cpu().to(dtype))
        self.u = self.normaliser(x.detach().cpu())
        self.reduced, self.components, self.offset = self.u, None, None
        if n_components is not None:
            self._reduce(n_components, seed)

    def _reduce(self, n_components: int, seed: int) -> None:
        from sklearn.decomposition import PCA

        (m, d), most = self.u.shape, min(self.u.shape)
        bound = f"at most {most} for {m} sentences of width {d}"
        require(n_components <= most, "n_components", n_components, bound, "lower it, or null for no reduction")
        pca = PCA(n_components, random_state=seed).fit(self.u.numpy())
        # As they will lie once they have been stored: products round by the layout of what they multiply.
        self.components, self.offset = (
            torch.from_numpy(part).to(self.u.dtype).contiguous() for part in (pca.components_, pca.mean_)
        )
        self.reduced = (self.u - self.offset) @ self.components.T


def _fit_cosine(
    kind: str,
    prototypes_of: Callable[[Rows], Rows],
    x: Float[Tensor, "m d"],
    mean: Float[Tensor, " width"],
    n_clusters: int,
    n_components: int | None,
    seed: int,
) -> Fit:
    """Prototypes found on the unit rows of the reduced space, in the clusters that label by cosine."""
    check_data(x, mean, [n_clusters])
    space = _UnitRows(x, mean, n_components, seed)
    prototypes = unit(torch.from_numpy(prototypes_of(unit(space.reduced).numpy())).to(space.u.dtype))

    def clusters(directions: Tensor) -> Clusters:
        return CosineClusters(space.normaliser, directions, space.components, space.offset, prototypes, kind)

    return _fitted(clusters, space, n_clusters)


def _fitted(clusters_of: Callable[[Tensor], Clusters], space: _UnitRows, n_clusters: int) -> Fit:
    """The fit whose directions are the unit means of the sentences that its own rule labels."""
    labels = clusters_of(space.u.new_zeros(n_clusters, space.u.shape[1])).labels(space.u, normalise=False)
    return Fit(clusters_of(_directions(space.u, labels, n_clusters)), n_dead=n_clusters - len(labels.unique()))


def _directions(u: Float[Tensor, "m d"], labels: Int[Tensor, " m"], n_clusters: int) -> Float[Tensor, "n d"]:
    return unit(u.new_zeros(n_clusters, u.shape[1]).index_add_(0, labels, u))


def _given_components(n_components: int | None) -> tuple[str, ...]:
    """The field's name, to be checked, where it is given."""
    return () if n_components is None else ("n_components",)
