"""The SAELens folder: its arithmetic, what it says of itself, and SAELens reading it where installed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from reasoning_lab.taxonomy.clusterings import SphericalKMeans
from reasoning_lab.taxonomy.clusters import TopKClusters
from reasoning_lab.taxonomy.export import saelens_files
from reasoning_lab.taxonomy.sae.topk import TopKSAE
from tests.taxonomy.sae.test_topk import planted


@pytest.fixture(scope="module")
def fitted() -> tuple[TopKClusters, Tensor]:
    x, _ = planted(200, 10, 4, noise=1.0)
    x = x.float()
    clusters = TopKSAE(k=3, batch_size=64, max_epochs=30).fit(x, x.mean(0), 6, 0).clusters
    assert isinstance(clusters, TopKClusters)
    return clusters, x


def as_saelens(clusters: TopKClusters, x: Tensor) -> Tensor:
    """What its topk architecture gives for our input: the k largest z, negative ones set to 0."""
    z = clusters.scores(x)
    kept = z.topk(clusters.k, dim=1)
    return torch.zeros_like(z).scatter_(1, kept.indices, kept.values.relu())


def test_weights_have_saelens_names_and_shapes(fitted: tuple[TopKClusters, Tensor]) -> None:
    clusters, x = fitted
    files = saelens_files(clusters, x, "some/model", 2)
    weights, config = load(files["sae_weights.safetensors"]), json.loads(files["cfg.json"])
    assert {name: tuple(w.shape) for name, w in weights.items()} == {
        "W_enc": (10, 6), "b_enc": (6,), "W_dec": (6, 10), "b_dec": (10,),
    }  # fmt: skip
    assert (config["architecture"], config["d_in"], config["d_sae"], config["k"]) == ("topk", 10, 6, 3)
    assert config["metadata"]["hook_name"] == "blocks.2.hook_resid_post"
    assert torch.equal(load(files["normaliser.safetensors"])["mean"], x.mean(0))
    u = clusters.normaliser(x)
    z = (u - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    torch.testing.assert_close(z, clusters.scores(x))


def test_what_the_format_loses_is_measured_and_stated(fitted: tuple[TopKClusters, Tensor]) -> None:
    clusters, x = fitted
    lost = json.loads(saelens_files(clusters, x, "some/model", 2)["cfg.json"])["metadata"]["reasoning_lab"]
    rows = [sorted(row, reverse=True)[:3] for row in clusters.scores(x).tolist()]
    assert lost["share_of_kept_activations_lost"] == pytest.approx(sum(v < 0 for row in rows for v in row) / 600)
    assert lost["share_of_labels_lost"] == pytest.approx(sum(row[0] <= 0 for row in rows) / 200)
    assert lost["share_of_kept_activations_lost"] > 0
    assert "apply it before encode" in lost["input"]


def test_other_clusterings_are_refused() -> None:
    x, _ = planted(50, 6, 3)
    clusters = SphericalKMeans(n_init=1).fit(x, x.mean(0), 3, 0).clusters
    with pytest.raises(ValueError, match="spherical_kmeans clusters are no autoencoder"):
        saelens_files(clusters, x, "some/model", 1)


def test_saelens_reads_the_folder_and_encodes_alike(fitted: tuple[TopKClusters, Tensor], tmp_path: Path) -> None:
    sae_lens = pytest.importorskip("sae_lens")
    clusters, x = fitted
    for name, content in saelens_files(clusters, x, "some/model", 2).items():
        (tmp_path / name).write_bytes(content)
    sae = sae_lens.SAE.load_from_disk(tmp_path)
    assert sae.cfg.architecture() == "topk"
    assert (sae.cfg.k, sae.cfg.metadata.hook_name) == (3, "blocks.2.hook_resid_post")
    assert sae.cfg.metadata.reasoning_lab["n_sentences"] == 200
    u = clusters.normaliser(x)
    with torch.no_grad():
        encoded = sae.encode(u)
        torch.testing.assert_close(encoded, as_saelens(clusters, x), rtol=1e-5, atol=1e-6)
        rebuilt = as_saelens(clusters, x) @ clusters.decoder + clusters.decoder_bias
        torch.testing.assert_close(sae.decode(encoded), rebuilt, rtol=1e-5, atol=1e-6)
    held = clusters.scores(x).max(1).values > 0
    assert encoded.argmax(1)[held].tolist() == clusters.labels(x)[held].tolist()
