"""The hybrid model: a base model that is steered, where a gate fires, by what a thinking model is doing.

Source: Venhoff et al. 2025 (arXiv:2510.07364, section 4) and their newer code. Theirs is a generation loop. Here it
is a law of the next token given the prefix, so that every sampler can draw from it:

    p(. | prefix) = softmax(logits of the base model), and where the gate fires at the prefix
    p(. | prefix) = softmax(its logits with coefficient · (v_category + bias) added to the stream at `layer`).

Gate and category are functions of the prefix; a category held through a sentence is a function of the prefix too.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from reasoning_lab.engine.policy import Policy, Session
from reasoning_lab.model_pair.residual import Decoder, causal_mask
from reasoning_lab.steering.coefficient import Candidates, Learned
from reasoning_lab.steering.gate import Place
from reasoning_lab.steering.hybrid.parts import Parts, PromptPair
from reasoning_lab.steering.hybrid.session import HybridSession, longest_extra
from reasoning_lab.steering.hybrid.vocabulary import VocabularyMap
from reasoning_lab.steering.steering import SteeringRule
from reasoning_lab.steering.vectors.base import VectorSet
from reasoning_lab.taxonomy.clusters import Clusters


class HybridPolicy(Policy):
    """A base model steered by a thinking model's categories.

    Arguments: `steering` is a Steering or a control around one; `clusters` read the thinking model's stream at
    `sae_layer`; `prompts` maps each base prompt's ids to the thinking model's ids of the same problem, and none may
    begin with another; `ends` are the base ids that end a sentence; `base_key` and `source` say which base model, and
    which thinking model and layer, are here, to be compared with what the vectors and the clusters say. Raises
    ValueError for parts that do not fit each other, before any work.
    """

    def __init__(
        self,
        base: Policy,
        thinking: Policy,
        clusters: Clusters,
        sae_layer: int,
        vectors: VectorSet,
        steering: SteeringRule,
        prompts: Mapping[tuple[int, ...], tuple[int, ...]],
        ends: Set[int],
        vocabulary: VocabularyMap,
        base_key: str = "",
        source: str = "",
    ) -> None:
        cut_base, cut_thinking = Decoder(base), Decoder(thinking)
        device = cut_base.policy.device
        vectors.check_base(base_key, cut_base.width)
        clusters.check_source(source)
        self.parts = Parts(
            cut_base,
            cut_thinking,
            clusters.to(device),
            sae_layer,
            _on(steering.transform(vectors), device),
            steering.resolve(),
            steering.thinking_top_k,
            frozenset(ends),
            vocabulary,
            {tuple(ours): PromptPair(tuple(ours), tuple(theirs)) for ours, theirs in prompts.items()},
        )
        _check(self.parts)
        self.vocab_size = base.vocab_size
        extra = longest_extra(self.parts.prompts.values())
        self.context_length = min(base.context_length, thinking.context_length - extra)

    def open(self, rows: int, capacity: int) -> Session:
        """Rows of both models."""
        return self.watch(rows, capacity, watch=False)

    def watch(self, rows: int, capacity: int, watch: bool = True) -> HybridSession:
        """As open, with `readings` of every position."""
        if capacity > self.context_length:
            raise ValueError(
                f"capacity={capacity} exceeds the {self.context_length} positions that both models have room for; "
                "shorten runtime.max_prompt_tokens or the benchmark's max_new_tokens."
            )
        return HybridSession(self.parts, rows, capacity, watch)

    @torch.inference_mode()
    def next_logits(self, ids: Sequence[int]) -> Float[Tensor, " vocab"]:
        """The law by whole passes over the prefix, without any cache; with memory=steered one more for every generated
        token, for each place's gate sees what was steered before it."""
        parts, steering = self.parts, self.parts.steering
        prompt = self._prompt_of(tuple(ids))
        first, end = len(prompt.base) - 1, len(ids) - 1
        picked, thinking = self._thinking(prompt, ids)
        stream = self._layers(parts.base, parts.base.embed(self._row(ids)), 0, steering.layer)
        added = torch.zeros_like(stream)
        plain, held, fires, addition = stream.new_zeros(()), 0, False, stream.new_zeros(())
        coefficient = torch.zeros(1)
        for at in range(first, end + 1):
            # With memory=plain no earlier place's gate matters, only which category was held.
            matters = at == end or steering.memory == "steered"
            if matters:
                plain = self._above(stream[:, : at + 1] + added[:, : at + 1])
            place = Place(
                prompt.digest,
                at - first,
                at == first or ids[at] in parts.ends,
                int(picked[at - first]) if steering.category.scored else 0,
                held,
                int(plain.argmax()) if steering.gate.compares and matters else -1,
                int(parts.thinking_choices(thinking[at - first][None])) if steering.gate.compares else -1,
            )
            held = parts.category(place)
            if fires := matters and steering.gate.fires(place):
                category = torch.tensor([held], device=stream.device)
                if not steering.chooses_tokens:
                    coefficient = parts.factors(stream[:, at], category)
                addition = parts.table[held]
                if steering.memory == "steered":
                    added[0, at] = (coefficient * addition).to(stream.dtype)
        if not fires:
            return plain
        if parts.thinking_top_k:
            return parts.thinking_law(plain[None], thinking[-1:])[0]
        if isinstance(steering.coefficient, Candidates):
            tokens = [
                int(self._above(_over(stream, value * addition, window)).argmax())
                for value, window in steering.coefficient.pairs
            ]
            return parts.choose(int(plain.argmax()), tokens, parts.in_base_ids(thinking[-1:])[0].to(plain.dtype))[2]
        if steering.memory == "steered":
            return self._above(stream + added)
        return self._above(_over(stream, coefficient * addition, steering.window))

    def _prompt_of(self, ids: tuple[int, ...]) -> PromptPair:
        for stop in range(1, len(ids) + 1):
            if (pair := self.parts.prompts.get(ids[:stop])) is not None:
                return pair
        raise ValueError(
            f"{len(ids)} tokens that begin with no registered prompt; give HybridPolicy every base prompt with its "
            "thinking prompt in `prompts`."
        )

    def _thinking(self, prompt: PromptPair, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(argmax category, logits) of the thinking model, from the prompt's last token on."""
        parts = self.parts
        generated = [parts.vocabulary.to_thinking[id] for id in ids[len(prompt.base) :]]
        device = parts.thinking.policy.device
        row, first = self._row([*prompt.thinking, *generated]).to(device), len(prompt.thinking) - 1
        stream = self._layers(parts.thinking, parts.thinking.embed(row), 0, parts.sae_layer)
        last = self._layers(parts.thinking, stream, parts.sae_layer + 1, parts.thinking.n_layers - 1)
        ours = parts.base.policy.device
        return parts.picked(stream[0, first:].to(ours)), parts.thinking.head(last[:, first:])[0].to(ours)

    def _row(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(ids)], device=self.parts.base.policy.device)

    def _layers(self, decoder: Decoder, hidden: Tensor, first: int, last: int) -> Tensor:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        return decoder.layers(
            hidden, first, last, positions, causal_mask(hidden.shape[1], hidden.dtype, hidden.device)
        )  # fmt: skip

    def _above(self, stream: Tensor) -> Float[Tensor, " vocab"]:
        """Logits at the last position of a base stream at the steering layer."""
        base = self.parts.base
        hidden = self._layers(base, stream, self.parts.steering.layer + 1, base.n_layers - 1)
        return base.head(hidden[:, -1:])[0, 0]


def _over(stream: Tensor, addition: Tensor, window: int) -> Tensor:
    """The stream with `addition` at its last `window` positions (0: all)."""
    steered = stream.clone()
    steered[:, -window if window else 0 :] += addition.to(stream.dtype)
    return steered


def _on(vectors: VectorSet, device: torch.device) -> VectorSet:
    moved = {name: tensor.to(device) for name, tensor in (vectors.mlp or {}).items()}
    bias = None if vectors.bias is None else vectors.bias.to(device)
    return replace(vectors, vectors=vectors.vectors.to(device), bias=bias, mlp=moved or None)


def _check(parts: Parts) -> None:
    """ValueError for parts that do not fit."""
    steering, vectors = parts.steering, parts.vectors
    parts.base.check_layer(steering.layer)
    try:
        parts.thinking.check_layer(parts.sae_layer)
    except ValueError as error:
        raise ValueError(f"sae_layer of the thinking model: {error}") from None
    if vectors.layer != steering.layer:
        raise ValueError(
            f"vectors trained at layer {vectors.layer} cannot steer layer={steering.layer}; set layer={vectors.layer} "
            "or train vectors there."
        )
    if (width := parts.clusters.centres.shape[1]) != parts.thinking.width:
        raise ValueError(
            f"the taxonomy reads activations of width {width}, the thinking model's have {parts.thinking.width}; fit a "
            "taxonomy on this thinking model."
        )
    if vectors.n_categories != parts.clusters.n_clusters:
        raise ValueError(
            f"{vectors.n_categories} vectors for {parts.clusters.n_clusters} categories: they belong to another "
            "taxonomy; train vectors for this one."
        )
    if isinstance(steering.coefficient, Learned) and vectors.mlp is None:
        raise ValueError("coefficient=learned: these vectors have no coefficient network; use venhoff2026 vectors.")
    sizes = len(parts.vocabulary.to_thinking), len(parts.vocabulary.to_base)
    if sizes != (parts.base.policy.vocab_size, parts.thinking.policy.vocab_size):
        raise ValueError(
            f"the vocabulary map is for {sizes[0]} and {sizes[1]} ids, the models have {parts.base.policy.vocab_size} "
            f"and {parts.thinking.policy.vocab_size}; build it from their tokenizers and these sizes."
        )
    _check_prompts(parts.prompts.values())


def _check_prompts(prompts: Iterable[PromptPair]) -> None:
    """No prompt is empty or begins with another: the prompt of a prefix must be known from the prefix."""
    pairs = sorted(prompts, key=lambda pair: pair.base)
    for pair in pairs:
        if not pair.base or not pair.thinking:
            raise ValueError("prompts: an empty one; every problem needs at least one token for each model.")
    for one, other in pairwise(pairs):
        if other.base[: len(one.base)] == one.base:
            raise ValueError(
                f"prompts: one of {len(other.base)} tokens begins with another of {len(one.base)}; where a prompt "
                "ends would be unknown; end every prompt with the same marker, or drop the problem."
            )
