"""A Top-K autoencoder in the layout of SAELens 6: cfg.json and sae_weights.safetensors.

SAELens's "topk" architecture is encode(x) = ReLU(top-k(W_enc (x - b_dec) + b_enc)), x a raw activation. Ours differs in
two ways, which its format cannot hold:

- *Input.* u = (x - mean) / |x - mean|. The mean could be folded into a bias, the division by each row's norm could
  not, so neither is: the exported autoencoder expects u. `normaliser.safetensors` beside it holds the mean.
- *Sign.* We keep the k largest z whatever their sign; SAELens's ReLU turns negative ones into 0, and with them the
  label of a sentence whose every z is negative.

Both are stated in cfg.json under metadata.reasoning_lab, the second with its measured share of the sentences given.
"""

import json

from jaxtyping import Float
from torch import Tensor

from reasoning_lab.engine.tensors import safetensors_bytes
from reasoning_lab.taxonomy.clusters import Clusters, TopKClusters

FORMAT_VERSION = "6.0.0"
"""Oldest SAELens that reads this layout as it stands."""


def saelens_files(clusters: Clusters, x: Float[Tensor, "m d"], model_name: str, layer: int) -> dict[str, bytes]:
    """File name → content of a folder that SAELens's SAE.load_from_disk reads.

    `x` are raw activations, on which the shares that the format loses are measured. The hook is the output of decoder
    layer `layer`, blocks.L.hook_resid_post in SAELens's terms. Weights are float32. Raises ValueError for clusters that
    are no autoencoder.
    """
    if not isinstance(clusters, TopKClusters):
        raise ValueError(
            f"{clusters.kind} clusters are no autoencoder, and SAELens's format holds nothing else; export clusters of "
            "kind topk_sae, or keep the safetensors file."
        )
    weights = {
        "W_enc": clusters.encoder.T,
        "b_enc": clusters.encoder_bias,
        "W_dec": clusters.decoder,
        "b_dec": clusters.decoder_bias,
    }
    config = _config(clusters) | {"metadata": _metadata(clusters, x, model_name, layer)}
    return {
        "cfg.json": json.dumps(config, indent=1).encode(),
        "sae_weights.safetensors": safetensors_bytes({name: tensor.float() for name, tensor in weights.items()}),
        "normaliser.safetensors": safetensors_bytes({"mean": clusters.normaliser.mean.float()}),
    }


def _config(clusters: TopKClusters) -> dict[str, object]:
    """Fields of SAELens's TopKSAEConfig."""
    n, d = clusters.encoder.shape
    return {
        "architecture": "topk",
        "d_in": d,
        "d_sae": n,
        "k": clusters.k,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
    }


def _metadata(clusters: TopKClusters, x: Float[Tensor, "m d"], model_name: str, layer: int) -> dict[str, object]:
    kept = clusters.scores(x).topk(clusters.k, dim=-1).values
    return {
        "sae_lens_version": FORMAT_VERSION,
        "model_name": model_name,
        "hook_name": f"blocks.{layer}.hook_resid_post",
        "reasoning_lab": {
            "input": "(x - mean) / |x - mean|, mean in normaliser.safetensors; apply it before encode",
            "negative_activations": "kept by us, 0 in SAELens",
            "share_of_kept_activations_lost": float((kept < 0).double().mean()),
            "share_of_labels_lost": float((kept[:, 0] <= 0).double().mean()),
            "n_sentences": len(x),
        },
    }
