"""The contract that every clustering keeps, and each against an independent oracle."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from reasoning_lab.taxonomy.agreement import agreement
from reasoning_lab.taxonomy.clusterings import Agglomerative, Clustering, GaussianMixture, SphericalKMeans
from reasoning_lab.taxonomy.clusters import GaussianClusters, Normaliser, TopKClusters, clusters_from
from reasoning_lab.taxonomy.sae.topk import TopKSAE
from tests.taxonomy.sae.test_topk import planted

EVERY: dict[str, Clustering] = {
    "topk_sae": TopKSAE(k=1, batch_size=64, max_epochs=60),
    "spherical_kmeans": SphericalKMeans(n_init=3),
    "spherical_kmeans reduced": SphericalKMeans(n_init=3, n_components=6),
    "gaussian_mixture": GaussianMixture(n_init=3),
    "gaussian_mixture reduced": GaussianMixture("full", n_init=3, n_components=4),
    "agglomerative": Agglomerative(),
    "agglomerative reduced": Agglomerative("average", n_components=4),
    "agglomerative of a sample": Agglomerative(max_sentences=80),
}
every = pytest.mark.parametrize("name", EVERY)


def data() -> tuple[Tensor, Tensor, list[int]]:
    x, truth = planted(300, 12, 5, noise=0.4)
    return x, x.mean(0), truth


# --- the normaliser ---------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=16), min_size=3, max_size=3), min_size=1, max_size=4))
def test_normalised_rows_are_unit_or_zero(rows: list[list[float]]) -> None:
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x = torch.tensor(rows, dtype=torch.float64)
    u = Normaliser(mean)(x)
    for row, given_row in zip(u, x, strict=True):
        assert float(row.norm()) == pytest.approx(0.0 if torch.equal(given_row, mean) else 1.0)
        torch.testing.assert_close(row * (given_row - mean).norm(), given_row - mean)


def test_a_row_at_the_mean_stays_zero_and_half_precision_is_widened_first() -> None:
    mean = torch.tensor([1.0, 2.0])
    assert Normaliser(mean)(mean[None]).tolist() == [[0.0, 0.0]]
    u = Normaliser(mean)(torch.tensor([[4.0, 6.0]], dtype=torch.bfloat16))
    assert u.dtype == torch.float32
    torch.testing.assert_close(u, torch.tensor([[0.6, 0.8]]))


# --- the contract -----------------------------------------------------------------------------------------------------


@every
def test_planted_clusters_are_found_and_seeds_reproduce_them(name: str) -> None:
    x, mean, truth = data()
    fit = EVERY[name].fit(x, mean, 5, seed=0)
    clusters = fit.clusters
    assert agreement(clusters.labels(x).tolist(), truth, list(range(len(x))), resamples=10).ari.value > 0.95
    assert (clusters.n_clusters, fit.n_dead) == (5, 0)
    assert torch.equal(EVERY[name].fit(x, mean, 5, seed=0).clusters.centres, clusters.centres)


@every
def test_labels_are_the_scores_argmax_and_ignore_distance_from_the_mean(name: str) -> None:
    x, mean, _ = data()
    clusters = EVERY[name].fit(x, mean, 7, seed=1).clusters
    scores = clusters.scores(x)
    assert scores.shape == (300, 7)
    assert clusters.labels(x).tolist() == scores.argmax(1).tolist()
    further = mean + torch.linspace(0.1, 50, 300, dtype=torch.float64)[:, None] * (x - mean)
    torch.testing.assert_close(clusters.scores(further), scores, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(clusters.scores(clusters.normaliser(x), normalise=False), scores)


@every
def test_a_bank_is_the_fit_of_every_size(name: str) -> None:
    x, mean, _ = data()
    bank = EVERY[name].fit_bank(x, mean, [3, 6], seed=2)
    assert list(bank) == [3, 6]
    for n, fit in bank.items():
        assert fit.clusters.n_clusters == n
        torch.testing.assert_close(fit.clusters.centres, EVERY[name].fit(x, mean, n, seed=2).clusters.centres)


@every
def test_clusters_survive_a_safetensors_file(name: str, tmp_path) -> None:
    x, mean, _ = data()
    clusters = EVERY[name].fit(x.float(), mean.float(), 4, seed=0).clusters
    save_file(clusters.tensors(), tmp_path / "clusters.safetensors", clusters.metadata())
    with safe_open(tmp_path / "clusters.safetensors", "pt") as file:
        metadata = file.metadata()
    restored = clusters_from(load((tmp_path / "clusters.safetensors").read_bytes()), metadata)
    assert type(restored) is type(clusters)
    assert restored.metadata() == clusters.metadata() == metadata
    assert metadata["kind"] == name.split()[0]
    assert torch.equal(restored.scores(x), clusters.scores(x))
    assert torch.equal(restored.to("cpu").centres, clusters.centres)


@every
def test_centres_are_unit_rows_near_their_sentences(name: str) -> None:
    x, mean, _ = data()
    clusters = EVERY[name].fit(x, mean, 5, seed=0).clusters
    u, labels = Normaliser(mean)(x), clusters.labels(x)
    torch.testing.assert_close(clusters.centres.norm(dim=1), torch.ones(5, dtype=torch.float64))
    for j in range(5):
        own = u[labels == j].mean(0)
        assert float(clusters.centres[j] @ own / own.norm()) > 0.9


@every
def test_bad_data_is_refused(name: str) -> None:
    x, mean, _ = data()
    clustering = EVERY[name]
    with pytest.raises(ValueError, match="n_clusters=301: must be between 1 and the 300 sentences"):
        clustering.fit(x, mean, 301, 0)
    with pytest.raises(ValueError, match="width 12, the clusters were fitted at width 11"):
        clustering.fit(x, mean[:11], 3, 0)
    clusters = clustering.fit(x, mean, 3, 0).clusters
    with pytest.raises(ValueError, match="width 7, the clusters were fitted at width 12"):
        clusters.labels(x[:, :7])
    broken = x.clone()
    broken[41, 3] = math.inf
    with pytest.raises(FloatingPointError, match=r"row 41 .* \(1 of 300 rows"):
        clustering.fit(broken, mean, 3, 0)
    with pytest.raises(FloatingPointError, match="row 41"):
        clusters.scores(broken)


# --- oracles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_gaussian_scores_are_scikit_learns_and_scipys(covariance: str) -> None:
    from scipy.stats import multivariate_normal
    from sklearn.mixture import GaussianMixture as Mixture

    x, mean, _ = data()
    clusters = GaussianMixture(covariance, n_components=4).fit(x, mean, 3, 5).clusters  # pyright: ignore[reportArgumentType]
    assert isinstance(clusters, GaussianClusters)
    v = clusters._reduced(Normaliser(mean)(x)).numpy()
    model: Any = Mixture(3, covariance_type=covariance, random_state=5).fit(v)
    np.testing.assert_array_equal(clusters.labels(x).numpy(), model.predict(v))
    for j in range(3):
        spread: Any = model.covariances_[j] if covariance == "full" else np.diag(model.covariances_[j])
        expected = np.log(model.weights_[j]) + multivariate_normal.logpdf(v, model.means_[j], spread)
        np.testing.assert_allclose(clusters.scores(x)[:, j].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_spherical_kmeans_is_a_fixed_point_of_lloyds_step() -> None:
    x, mean, _ = data()
    clusters = SphericalKMeans().fit(x, mean, 5, 0).clusters
    u, labels = Normaliser(mean)(x), clusters.labels(x)
    means = torch.stack([u[labels == j].mean(0) for j in range(5)])
    torch.testing.assert_close(clusters.tensors()["prototypes"], means / means.norm(dim=1, keepdim=True))


def test_agglomerative_is_the_tree_that_scipy_cuts() -> None:
    from scipy.cluster.hierarchy import fcluster, linkage

    x, mean, _ = data()
    found = Agglomerative().fit(x, mean, 5, 0).clusters.labels(x).tolist()
    tree = fcluster(linkage(Normaliser(mean)(x).numpy(), "ward"), 5, "maxclust").tolist()
    assert agreement(found, tree, list(range(300)), resamples=10).ari.value == pytest.approx(1.0)


def test_reducing_to_every_component_changes_nothing_but_the_centre() -> None:
    """All components are a rotation about the mean of u: a mixture's labels can't change."""
    x, mean, _ = data()
    whole = GaussianMixture("full", n_init=1).fit(x, mean, 5, 0).clusters.labels(x).tolist()
    turned = GaussianMixture("full", n_init=1, n_components=12).fit(x, mean, 5, 0).clusters.labels(x).tolist()
    assert agreement(whole, turned, list(range(300)), resamples=10).ari.value > 0.99


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SphericalKMeans(n_init=0), "n_init=0: must be a whole number of at least 1"),
        (lambda: Agglomerative(max_sentences=0), "max_sentences=0: must be a whole number of at least 1"),
        (lambda: GaussianMixture(n_components=0), "n_components=0: must be a whole number of at least 1"),
        (lambda: GaussianMixture(regularisation=-1.0), "regularisation=-1.0: must be at least 0"),
        (
            lambda: SphericalKMeans(n_components=13).fit(*data()[:2], 3, 0),
            "n_components=13: must be at most 12 for 300 ",
        ),
        (
            lambda: Agglomerative(max_sentences=4).fit(*data()[:2], 5, 0),
            "n_clusters=5: must be at most max_s",
        ),
        (lambda: clusters_from({}, {"kind": "lda"}), "kind=lda: clusters are of kind topk_sae, spherical_kmeans"),
        (lambda: clusters_from({}, {"kind": "topk_sae", "k": "3"}), "topk_sae clusters without normaliser, encoder"),
    ],
)
def test_refusals_name_the_value_and_the_bound(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_a_cluster_without_a_sentence_has_a_zero_centre_and_counts_as_dead() -> None:
    """Three sentences fall on two directions once they are normalised: one cluster of three must be empty."""
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    fit = Agglomerative().fit(x, torch.zeros(2), 3, 0)
    assert fit.n_dead == 1
    assert sorted(fit.clusters.centres.norm(dim=1).tolist()) == [0.0, 1.0, 1.0]


def test_parameters_can_be_built_without_scikit_learn() -> None:
    code = "import sys; sys.modules['sklearn'] = None\n"
    code += "from reasoning_lab.taxonomy.sae.topk import TopKSAE\n"
    code += "from reasoning_lab.taxonomy.clusterings import Agglomerative, GaussianMixture, SphericalKMeans\n"
    code += "print(TopKSAE().k, Agglomerative(), GaussianMixture(), SphericalKMeans())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.startswith(
        "3"
    )


def test_the_kept_kind_is_the_autoencoders() -> None:
    x, mean, _ = data()
    clusters = TopKSAE(max_epochs=1).fit(x, mean, 4, 0).clusters
    assert isinstance(clusters, TopKClusters)
    assert clusters.metadata() == {"kind": "topk_sae", "n_clusters": "4", "source": "", "k": "3"}
