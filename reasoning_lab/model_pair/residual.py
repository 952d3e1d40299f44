"""The residual stream of a transformers decoder: run it layer by layer, read it, and add to it at one place.

A decoder is embedding → layer 0 … layer N-1 → norm → head. "The residual stream at layer L" is, everywhere in this
project, the *output* of decoder layer L, counted from 0 (transformers: hidden_states[L + 1]). Reading, training and
generation share this one definition; the authors' code trains at the input of a layer and generates at its output
(departures B2). There are no hooks that could stay behind: the layers are called one by one.
"""

from functools import cached_property
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from reasoning_lab.engine.policy import Policy
from reasoning_lab.engine.transformers import HuggingFacePolicy

PROBE = 5
"""Tokens of the pass that compares the composition with the model's own forward."""


class Decoder:
    """A policy's model, cut open at its layers.

    Raises ValueError for a policy whose layers can't be reached, and for a model that is not embedding → layers → norm
    → head: at construction the composed logits of a short probe are compared with the model's own.
    """

    def __init__(self, policy: Policy, is_probed: bool = True) -> None:
        """`is_probed` False: of a model without weights, whose shapes alone are asked for."""
        if not isinstance(policy, HuggingFacePolicy):
            raise ValueError(
                f"{type(policy).__name__} does not give access to its layers: the residual stream can be read in "
                "models of the transformers engine alone; choose that engine."
            )
        inner = getattr(policy.model, "model", None)
        parts = ("embed_tokens", "layers", "norm", "rotary_emb")
        if missing := [part for part in parts if not hasattr(inner, part)]:
            raise ValueError(
                f"{type(policy.model).__name__} has no model.{missing[0]}: the residual stream can be read in decoders "
                "of the Llama kind alone (Llama, Qwen2, Qwen3, Mistral, Phi3 ...); choose another model_pair."
            )
        self.policy = policy
        self._inner: Any = inner
        self._head: Any = policy.model.lm_head
        self.n_layers = len(self._inner.layers)
        """N."""
        self.width: int = policy.model.config.hidden_size
        """d."""
        self._cap: float | None = getattr(policy.model.config, "final_logit_softcapping", None)
        if is_probed:
            self._probe()

    def check_layer(self, layer: int) -> int:
        """`layer` itself; ValueError if the model has no such layer."""
        if not 0 <= layer < self.n_layers:
            raise ValueError(f"layer={layer}: the model has layers 0 ... {self.n_layers - 1}; choose one of them.")
        return layer

    def embed(self, tokens: Int[Tensor, "row width"]) -> Float[Tensor, "row width d"]:
        """The stream before layer 0."""
        return self._inner.embed_tokens(tokens)

    def layers(
        self,
        hidden: Float[Tensor, "row width d"],
        first: int,
        last: int,
        positions: Int[Tensor, "row width"],
        mask: Float[Tensor, "#row 1 width keys"] | None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "row width d"]:
        """The stream after layer `last`, from `hidden`, the stream before layer `first`; `first` > `last` runs none.

        `mask` is additive; `cache` is a transformers Cache, or None for attention among the
        given positions alone. A position past the model's last one is read as that: it is padding.
        """
        positions = positions.clamp(max=self.policy.context_length - 1)
        kinds = self._kinds[first : last + 1]
        rotations = {kind: self._rotations(hidden, positions, kind) for kind in set(kinds)}
        for layer, kind in zip(self._inner.layers[first : last + 1], kinds, strict=True):
            out = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
                position_embeddings=rotations[kind],
            )
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden

    def head(self, hidden: Float[Tensor, "row width d"]) -> Float[Tensor, "row width vocab"]:
        """Logits from the stream after the last layer: in float32, or float64 for a float64 model."""
        logits = self._head(self._inner.norm(hidden))
        if self._cap is not None:  # Gemma 2.
            logits = self._cap * torch.tanh(logits / self._cap)
        return logits if logits.dtype == torch.float64 else logits.float()

    @cached_property
    def _kinds(self) -> tuple[str | None, ...]:
        """Of each layer the kind of attention by which it is rotated; None where all layers are rotated alike."""
        by_kind = "layer_type" in signature(self._inner.rotary_emb.forward).parameters
        return tuple(self.policy.model.config.layer_types) if by_kind else (None,) * self.n_layers

    def _rotations(self, hidden: Tensor, positions: Tensor, kind: str | None) -> Any:
        """Cosines and sines of layers of a kind (Gemma 3 and Olmo 3 have two)."""
        options = {} if kind is None else {"layer_type": kind}
        return self._inner.rotary_emb(hidden, position_ids=positions, **options)

    def read(self, ids: Int[Tensor, "row width"], layers: tuple[int, ...]) -> dict[int, Float[Tensor, "row width d"]]:
        """The streams at `layers` of right-padded sequences, in one pass that ends after the deepest."""
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        mask = causal_mask(ids.shape[1], self.policy.dtype, ids.device)
        hidden, streams, first = self.embed(ids), {}, 0
        for layer in sorted(map(self.check_layer, set(layers))):
            hidden = self.layers(hidden, first, layer, positions, mask)
            streams[layer], first = hidden, layer + 1
        return streams

    @torch.inference_mode()
    def _probe(self) -> None:
        ids = (torch.arange(PROBE, device=self.policy.device) % self.policy.vocab_size)[None]
        last = self.n_layers - 1
        ours = self.head(self.read(ids, (last,))[last])
        own = self.policy.model(ids, use_cache=False).logits
        error = (ours - own).abs().max().item()
        bound = 1e-3 if self.policy.dtype in (torch.float32, torch.float64) else 0.5
        if not error <= bound:
            raise ValueError(
                f"{type(self.policy.model).__name__} is no plain stack of layers: run layer by layer its logits differ "
                f"from its own by {error:.2g}; the residual stream can't be steered in it; choose another model_pair."
            )


def causal_mask(width: int, dtype: torch.dtype, device: torch.device | str) -> Float[Tensor, "1 1 width width"]:
    """Additive mask under which position i sees positions 0 ... i."""
    hidden = torch.ones(width, width, dtype=torch.bool, device=device).triu(1)
    return torch.zeros(1, 1, width, width, dtype=dtype, device=device).masked_fill(hidden, torch.finfo(dtype).min)
