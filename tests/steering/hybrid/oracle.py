"""Hybrid decoding written plainly: whole passes over the whole prefix, no cache, one text at a time.

The published loop (Venhoff et al. 2025, released code; two passes of the thinking model a token, one for the category
and one for its logits), with the fixes that are our defaults. The models are transformers' own; the vector is added by
a forward hook. Nothing of the fast path is imported but the clusters' scores and the keyed uniforms.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from reasoning_lab.engine.rng import Key, uniform


@dataclass
class Published:
    """One setting of the loop."""

    base: Any
    """transformers models."""
    thinking: Any
    clusters: Any
    sae_layer: int
    vectors: torch.Tensor
    """What is added at coefficient 1, by category."""
    layer: int
    ends: frozenset[int]
    to_thinking: list[int]
    to_base: list[int]
    gate: str = "disagreement"
    """disagreement, always, boundary, never."""
    hold: str = "token"
    coefficients: list[float] = field(default_factory=lambda: [1.0])
    windows: list[int] = field(default_factory=lambda: [1])
    judged: bool = False
    """The thinking model chooses among the candidates; else there is one coefficient and one window."""
    include_unsteered: bool = True
    memory: str = "plain"
    normalise: bool = True
    steered: int = 0
    """Tokens at which the gate fired."""

    @torch.inference_mode()
    def generate(
        self, prompt: tuple[int, ...], thinking_prompt: tuple[int, ...], cap: int, stop: frozenset[int], key: Key,
        temperature: float,
    ) -> list[int]:  # fmt: skip
        """Generated ids."""
        ours, theirs = list(prompt), list(thinking_prompt)
        kept: dict[int, torch.Tensor] = {}
        generated: list[int] = []
        category = 0
        while len(generated) < cap:
            stream = self.thinking(torch.tensor([theirs]), output_hidden_states=True, use_cache=False)
            x = stream.hidden_states[self.sae_layer + 1][0, -1:]
            starts = not generated or generated[-1] in self.ends
            if self.hold == "token" or starts:
                category = int(self.clusters.scores(x, self.normalise).argmax())
            plain = self.base_logits(ours, kept)
            thoughts = self.thinking(torch.tensor([theirs]), use_cache=False).logits[0, -1]
            b, t = int(plain.argmax()), self.to_base[int(thoughts.argmax())]
            fires = {"disagreement": b != t, "always": True, "boundary": starts, "never": False}[self.gate]
            self.steered += fires
            logits = plain
            if fires and self.judged:
                token = self.judge(ours, b, thoughts, self.vectors[category])
                logits = torch.full_like(plain, -torch.inf)
                logits[token] = 0.0
            elif fires:
                addition = self.coefficients[0] * self.vectors[category]
                logits = self.base_logits(ours, kept | self.window(len(ours), self.windows[0], addition))
                if self.memory == "steered":
                    kept[len(ours) - 1] = addition
            id = self.draw(logits, temperature, uniform(key, len(generated), "token"))
            generated.append(id)
            ours.append(id)
            theirs.append(self.to_thinking[id])
            if id in stop:
                break
        return generated

    def window(self, length: int, window: int, addition: torch.Tensor) -> dict[int, torch.Tensor]:
        """What is added where."""
        first = max(0, length - window) if window else 0
        return dict.fromkeys(range(first, length), addition)

    def judge(self, ids: list[int], unsteered: int, thoughts: torch.Tensor, vector: torch.Tensor) -> int:
        """The candidate of the highest thinking probability; a token that the thinking model lacks has none."""
        law = torch.softmax(thoughts.double(), 0)
        theirs = self.to_thinking
        tokens = [unsteered] if self.include_unsteered else []
        for coefficient in self.coefficients:
            for window in self.windows:
                added = self.window(len(ids), window, coefficient * vector)
                tokens.append(int(self.base_logits(ids, added).argmax()))
        return max(tokens, key=lambda id: float(law[theirs[id]]) if self.to_base[theirs[id]] == id else 0.0)

    def base_logits(self, ids: list[int], added: dict[int, torch.Tensor]) -> torch.Tensor:
        """Logits at the last position, with vectors added to the output of the layer."""

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            stream = (output[0] if isinstance(output, tuple) else output).clone()
            for position, vector in added.items():
                stream[0, position] += vector.to(stream.dtype)
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        handle = self.base.model.layers[self.layer].register_forward_hook(hook)
        try:
            return self.base(torch.tensor([ids]), use_cache=False).logits[0, -1]
        finally:
            handle.remove()

    @staticmethod
    def draw(logits: torch.Tensor, temperature: float, u: float) -> int:
        """Greedy at 0, else the inverse of the cumulative law."""
        if temperature == 0:
            return int(logits.argmax())
        law = torch.softmax(logits.double() / temperature, 0)
        return int((law.cumsum(0) > u).nonzero()[0])
