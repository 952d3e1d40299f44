"""What the two forms of a hybrid's law share: the parts it is made of, and the small computations on them."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.steering.coefficient import Candidates, Fixed
from reasoning_lab.steering.gate import Place
from reasoning_lab.steering.hybrid.vocabulary import VocabularyMap
from reasoning_lab.steering.steering import Steering
from reasoning_lab.steering.vectors.base import VectorSet
from reasoning_lab.taxonomy.clusters import Clusters


@dataclass(frozen=True)
class PromptPair:
    """One problem's prompt, as each model reads it."""

    base: tuple[int, ...]
    thinking: tuple[int, ...]

    @cached_property
    def digest(self) -> str:
        """Of the base ids: the name under which random controls know the text."""
        return blake2b(repr(self.base).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a hybrid model, checked against each other; all but the thinking model are on one device."""

    base: Decoder
    thinking: Decoder
    clusters: Clusters
    sae_layer: int
    """Layer of the thinking model that the clusters read."""
    vectors: VectorSet
    steering: Steering
    thinking_top_k: int
    ends: frozenset[int]
    """Base ids that end a sentence."""
    vocabulary: VocabularyMap
    prompts: dict[tuple[int, ...], PromptPair]
    """By base ids."""

    @cached_property
    def table(self) -> Float[Tensor, "n d"]:
        """What is added at coefficient 1, by category."""
        vectors, bias = self.vectors.vectors, self.vectors.bias
        return vectors if bias is None or not self.steering.use_bias else vectors + bias

    @cached_property
    def _to_base(self) -> Int[Tensor, " thinking_vocab"]:
        return torch.tensor(self.vocabulary.to_base, device=self.base.policy.device)

    @cached_property
    def _to_thinking(self) -> Int[Tensor, " vocab"]:
        return torch.tensor(self.vocabulary.to_thinking, device=self.base.policy.device)

    @cached_property
    def _inexact(self) -> Tensor:
        return ~torch.tensor(self.vocabulary.exact, device=self.base.policy.device)

    @property
    def reads_thinking_law(self) -> bool:
        """Whether the thinking model's logits matter."""
        steering = self.steering
        return steering.gate.compares or steering.chooses_tokens or self.thinking_top_k > 0

    def picked(self, stream: Float[Tensor, "row d"]) -> Int[Tensor, " row"]:
        """Argmax category of the thinking model's streams."""
        return self.clusters.labels(stream, self.steering.normalise)

    def thinking_choices(self, logits: Float[Tensor, "row thinking_vocab"]) -> Int[Tensor, " row"]:
        """The thinking model's most probable ids in base ids, -1 where there is none."""
        return self._to_base[logits.argmax(-1)]

    def category(self, place: Place) -> int:
        """Category in force at a place."""
        return self.steering.category.category(place, self.vectors.n_categories)

    def factors(self, stream: Float[Tensor, "row d"], categories: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """Coefficient at each of the base model's unsteered streams."""
        if isinstance(self.steering.coefficient, Fixed):
            return torch.full_like(categories, self.steering.coefficient.value, dtype=self.table.dtype)
        return self.vectors.coefficients(stream, categories)

    def in_base_ids(self, logits: Float[Tensor, "row thinking_vocab"]) -> Float[Tensor, "row vocab"]:
        """The thinking model's logits by base id; -inf where it has no such token."""
        return logits[:, self._to_thinking].masked_fill(self._inexact, -torch.inf)

    def thinking_law(
        self, base: Float[Tensor, "row vocab"], thinking: Float[Tensor, "row thinking_vocab"]
    ) -> Float[Tensor, "row vocab"]:
        """The thinking model's logits on the base model's `thinking_top_k` most probable ids, -inf elsewhere."""
        ids = base.topk(min(self.thinking_top_k, base.shape[-1]), dim=-1).indices
        kept = self.in_base_ids(thinking).gather(-1, ids).to(base.dtype)
        # A row whose ids the thinking model all lacks keeps the base model's law on them.
        kept = torch.where(kept.isneginf().all(-1, keepdim=True), base.gather(-1, ids), kept)
        return torch.full_like(base, -torch.inf).scatter(-1, ids, kept)

    def choose(
        self, unsteered: int, candidates: list[int], thinking: Float[Tensor, " vocab"]
    ) -> tuple[int, float, Float[Tensor, " vocab"]]:
        """(id, coefficient, one-hot logits) of the candidate that the thinking model finds most probable.

        Arguments: the base model's own token, the tokens of `Candidates.pairs`, the thinking model's logits in base
        ids. Ties go to the earliest; the unsteered token, where it is a candidate, is first, with coefficient 0.
        """
        rule = self.steering.coefficient
        assert isinstance(rule, Candidates)
        entries = list(zip(candidates, (value for value, _ in rule.pairs), strict=True))
        entries = [(unsteered, 0.0), *entries] if rule.include_unsteered else entries
        scores = thinking[torch.tensor([id for id, _ in entries], device=thinking.device)].tolist()
        id, coefficient = entries[scores.index(max(scores))]
        law = torch.full_like(thinking, -torch.inf)
        law[id] = 0.0
        return id, coefficient, law
