"""The slow, obvious form of the passes that train vectors: whole texts through the whole model, nothing cached."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasoning_lab.model_pair.residual import Decoder, causal_mask


def teacher_forced_logits(
    decoder: Decoder,
    layer: int,
    ids: Int[Tensor, "row width"],
    steered: Bool[Tensor, "row width"],
    vectors: Float[Tensor, "row #width d"],
) -> Float[Tensor, "row width vocab"]:
    """Logits of right-padded texts when `vectors` are added to the output of `layer` at the `steered` positions.

    Later positions see the steered ones: what generation with memory="steered" computes when its gate fires exactly
    there. `layer` -1 is the input of layer 0.
    """
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    mask = causal_mask(ids.shape[1], decoder.policy.dtype, ids.device)
    hidden = decoder.layers(decoder.embed(ids), 0, layer, positions, mask)
    added = (steered[..., None] * vectors).to(hidden.dtype)
    return decoder.head(decoder.layers(hidden + added, layer + 1, decoder.n_layers - 1, positions, mask))
