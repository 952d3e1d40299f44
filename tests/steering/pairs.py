"""Small hybrids for the tests: random models of different widths and vocabularies, and the embedded pair."""

import random
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from reasoning_lab.engine.transformers import PREFILL_WIDTH, HuggingFacePolicy
from reasoning_lab.steering.category import CategoryRule
from reasoning_lab.steering.gate import Place
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.hybrid.vocabulary import VocabularyMap
from reasoning_lab.steering.steering import SteeringRule
from reasoning_lab.steering.vectors.base import VectorMethod, VectorSet
from reasoning_lab.taxonomy.clusters import Normaliser, TopKClusters

BASE_VOCAB, THINKING_VOCAB = 40, 43
STOP = frozenset({1})
ENDS = frozenset(range(5, 40, 4))
N = 5
LAYER, SAE_LAYER = 1, 1


def same_vocabulary(size: int) -> VocabularyMap:
    """The map of a vocabulary to itself."""
    ids = tuple(range(size))
    return VocabularyMap(ids, ids, (True,) * size)


class Given(VectorMethod):
    """Stands in a Steering for a method: these tests bring their own vectors."""

    def fit(self, *_args: Any, **_options: Any) -> Any:
        """Not called here."""
        raise NotImplementedError


@dataclass(frozen=True)
class FixedCategory(CategoryRule):
    """The same category everywhere: a rule of a user's own."""

    index: int

    def choose(self, place: Place, n: int) -> int:
        """The index."""
        return self.index


def clusters(width: int, dtype: torch.dtype, n: int = N, spread: float = 1.0) -> TopKClusters:
    g = torch.Generator().manual_seed(7)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)  # noqa: E731
    mean = spread * normal(width)
    return TopKClusters(Normaliser(mean), normal(n, width), 0.1 * normal(n), normal(n, width), 0.1 * normal(width), 3)


def vectors(width: int, dtype: torch.dtype, scale: float, n: int = N, layer: int = LAYER) -> VectorSet:
    g = torch.Generator().manual_seed(8)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)  # noqa: E731
    mlp = {
        "trunk.weight": normal(16, width) / 4, "trunk.bias": normal(16), "heads.weight": normal(n, 16) / 4,
        "heads.bias": 0.5 + normal(n),
    }  # fmt: skip
    return VectorSet(layer, scale * normal(n, width), scale * normal(width) / 2, mlp)


def vocabulary() -> VocabularyMap:
    """Ids permuted; the thinking model has three of its own, and lacks the base's last two."""
    to_thinking = random.Random(5).sample(range(THINKING_VOCAB), BASE_VOCAB)
    to_base = [-1] * THINKING_VOCAB
    for ours, theirs in enumerate(to_thinking):
        to_base[theirs] = ours if ours < BASE_VOCAB - 2 else -1
    exact = tuple(ours < BASE_VOCAB - 2 for ours in range(BASE_VOCAB))
    return VocabularyMap(tuple(to_thinking), tuple(to_base), exact)


@dataclass(frozen=True)
class Pair:
    """All that a hybrid is made of, but the steering."""

    base: HuggingFacePolicy
    thinking: HuggingFacePolicy
    clusters: TopKClusters
    vectors: VectorSet
    prompts: dict[tuple[int, ...], tuple[int, ...]]
    vocabulary: VocabularyMap
    ends: frozenset[int] = ENDS
    sae_layer: int = SAE_LAYER

    def hybrid(self, steering: SteeringRule, **changed: Any) -> HybridPolicy:
        parts = {
            "base": self.base, "thinking": self.thinking, "clusters": self.clusters, "sae_layer": self.sae_layer,
            "vectors": self.vectors, "steering": steering, "prompts": self.prompts, "ends": self.ends,
            "vocabulary": self.vocabulary,
        }  # fmt: skip
        return HybridPolicy(**(parts | changed))

    def with_(self, **changed: Any) -> "Pair":
        return replace(self, **changed)


def prompts(n: int) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Prompts of many lengths, some beyond a prefill pass; the thinking model's are longer, shorter or equal."""
    draw = random.Random(0)
    ours = [2, 5, PREFILL_WIDTH, 9, PREFILL_WIDTH + 2, 1, 3, 12]
    theirs = [5, 3, PREFILL_WIDTH + 9, 9, 1, 2, 20, 4]
    found = {}
    for i in range(n):
        # The first token counts, so that no prompt begins with another.
        base = (i % BASE_VOCAB, *(draw.randrange(2, BASE_VOCAB) for _ in range(ours[i % 8] - 1)))
        found[base] = tuple(draw.randrange(2, THINKING_VOCAB) for _ in range(theirs[i % 8]))
    return found


def random_pair(dtype: torch.dtype = torch.float64, n_prompts: int = 8) -> Pair:
    """Llama of four layers, Qwen3 of three, that agree at some 60 % of the tokens; vectors that change many."""
    shared = {"num_key_value_heads": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
    llama = LlamaConfig(
        vocab_size=BASE_VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=4, head_dim=8,
        initializer_range=0.25, **shared,
    )  # fmt: skip
    qwen = Qwen3Config(
        vocab_size=THINKING_VOCAB, hidden_size=24, intermediate_size=32, num_hidden_layers=3, head_dim=6,
        initializer_range=0.3, **shared,
    )  # fmt: skip
    torch.manual_seed(0)
    base, thinking = (HuggingFacePolicy(AutoModelForCausalLM.from_config(config).to(dtype)) for config in (llama, qwen))
    words = vocabulary()
    _share_bigrams(base, list(range(BASE_VOCAB)), 4.0, 0.6)
    _share_bigrams(thinking, list(words.to_thinking), 4.0, 0.6)
    return Pair(
        base, thinking, clusters(24, dtype), vectors(32, dtype, 8.0), prompts(n_prompts), words
    )  # fmt: skip


@torch.no_grad()
def _share_bigrams(policy: HuggingFacePolicy, ids: list[int], written: float, read: float) -> None:
    """Give each base id (in the model's ids) a favourite successor, the same in every model: a code that its embedding
    writes into the stream and its successor's head reads."""
    after = random.Random(9).sample(range(BASE_VOCAB), BASE_VOCAB)
    embedding, head = policy.model.model.embed_tokens.weight, policy.model.lm_head.weight
    codes = torch.randn(len(ids), embedding.shape[1], dtype=embedding.dtype, generator=torch.Generator().manual_seed(2))
    for ours, theirs in enumerate(ids):
        embedding[theirs] += written * codes[ours]
        head[ids[after[ours]]] += read * codes[ours]


def embedded_pair(dtype: str, n_prompts: int) -> Pair:
    """The shipped models with random clusters and vectors of the length that trained ones have there."""
    from reasoning_lab.benchmark import grammar
    from reasoning_lab.model_pair.loaded import load_model
    from reasoning_lab.model_pair.pair import ModelSource
    from reasoning_lab.taxonomy.spans import ending_ids

    base, thinking = (
        load_model(ModelSource(f"package:embedded/{role}"), dtype, "cpu") for role in ("base", "thinking")
    )
    width, kind = base.policy.model.config.hidden_size, getattr(torch, dtype)  # pyright: ignore
    texts = [problem.text for problem in grammar.heldout_problems(n_prompts, 777)]
    encoded = {base.encode(text): thinking.encode(text) for text in texts}
    return Pair(
        base.policy, thinking.policy, clusters(width, kind, n=8, spread=3.0), vectors(width, kind, 5.0, n=8, layer=2),
        encoded, same_vocabulary(base.policy.vocab_size), ending_ids(base.reader), 2,
    )  # fmt: skip
