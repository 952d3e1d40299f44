"""Claims about one model's numbers: its weights, the engine's law against an uncached pass, the residual stream against
the model's own hidden states, and one steered token."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reasoning_lab.checkup.findings import Broken, Claim
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.steering.coefficient import Fixed
from reasoning_lab.steering.gate import Always
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.hybrid.vocabulary import map_vocabularies
from reasoning_lab.steering.steering import Steering
from reasoning_lab.steering.vectors.base import VectorSet
from reasoning_lab.taxonomy.clusters import Normaliser, TopKClusters

TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest distance in total variation of two laws that differ in the order of sums alone. A logit of size 10 carries an
error of some 3 roundings, 30 u with u the dtype's unit roundoff (1e-16, 6e-8, 5e-4, 4e-3), and a law differs by at most
half of its largest change in log p; float64 has the room of rope's float32 angles. A wrong position, mask or angle
moves a law by a large part of 1."""
STEPS = 4
"""Tokens that each row of the comparison draws."""
MOVES = 0.01
"""Least distance in total variation by which a vector three times as long as the stream moves a token's law."""


def weight_claims(subject: str, model: LoadedModel[HuggingFacePolicy], prompt: Sequence[int]) -> Iterator[Claim]:
    """Arguments: `prompt` are a problem's ids, as the model reads them."""
    yield Claim(subject, "weights are finite, every token has a row", lambda: _weights(model))
    yield Claim(subject, "it reads a prompt better than by chance", lambda: _likelihood(model, prompt))


def law_claims(
    subject: str, policy: HuggingFacePolicy, prompts: Sequence[tuple[int, ...]], rows: int, capacity: int
) -> Iterator[Claim]:
    """At the run's own shape, `rows` and `capacity`."""
    yield Claim(
        subject, "rows and cache give the law of an uncached pass", lambda: _law(policy, prompts, rows, capacity)
    )


def stream_claims(
    subject: str, policy: HuggingFacePolicy, prompt: tuple[int, ...], layers: Sequence[int]
) -> Iterator[Claim]:
    """Of the layers that are read or steered."""
    yield Claim(subject, f"layers {_listed(layers)} are its own", lambda: _streams(policy, prompt, layers))


@dataclass(frozen=True)
class SteeredModels:
    """Both models of a hybrid, with one problem's prompts."""

    base: LoadedModel[HuggingFacePolicy]
    thinking: LoadedModel[HuggingFacePolicy]
    prompts: tuple[tuple[int, ...], tuple[int, ...]]
    """As base and thinking model read it."""
    sae_layer: int
    steering: Steering


def steering_claims(models: SteeredModels, rows: int, capacity: int) -> Iterator[Claim]:
    """With a random vector as long as the stream, for none is trained yet."""
    yield Claim("hybrid", "a steered token moves, and as its law says", lambda: _steered(models, rows, capacity))


def distance(one: Tensor, other: Tensor) -> float:
    """Total variation of two laws, given by their logits: half the sum of |p - q|; nan where one is no law."""
    p, q = (torch.softmax(logits.double(), -1) for logits in (one, other))
    return 0.5 * (p - q).abs().sum(-1).max().item()


def _weights(model: LoadedModel[HuggingFacePolicy]) -> str:
    bad = [name for name, each in model.policy.model.named_parameters() if not each.isfinite().all()]
    if bad:
        raise Broken(f"NaN or infinite values in {len(bad)} tensors, first {bad[0]}", "fetch the weights again")
    longest = max(model.reader.tokenizer.get_vocab().values())
    if longest >= model.policy.vocab_size:
        found = f"token {longest}, and the model has rows for {model.policy.vocab_size}"
        raise Broken(found, "take the tokenizer's files from where the weights are from")
    n = sum(each.numel() for each in model.policy.model.parameters())
    return f"{n / 1e6:,.1f} M parameters, {model.policy.vocab_size:,} rows for {longest + 1:,} tokens"


@torch.inference_mode()
def _likelihood(model: LoadedModel[HuggingFacePolicy], prompt: Sequence[int]) -> str:
    """Mean surprise of a prompt's tokens against log V, that of a model that knows nothing."""
    policy = model.policy
    ids = torch.tensor([list(prompt)], device=policy.device)
    law = torch.log_softmax(policy.model(ids, use_cache=False).logits[0, :-1].double(), -1)
    surprise = -law.gather(-1, ids[0, 1:, None]).mean().item()
    chance = math.log(policy.vocab_size)
    found = f"{surprise:.2f} nats per token; by chance {chance:.2f}"
    if not surprise < chance:
        raise Broken(found, "weights and tokenizer are of two models, or the prompt's format is not the model's")
    return found


@torch.inference_mode()
def _law(policy: HuggingFacePolicy, prompts: Sequence[tuple[int, ...]], rows: int, capacity: int) -> str:
    """Two prompts in the first and the last row, each continued by its most probable tokens."""
    session, at = policy.open(rows, capacity), {0: prompts[0], rows - 1: prompts[-1]}
    for row, prompt in at.items():
        if len(prompt) > 1:
            session.prefill(row, prompt[:-1])
    texts, worst = {row: list(prompt) for row, prompt in at.items()}, 0.0
    for _ in range(STEPS):
        read = [(texts[row][-1], len(texts[row]) - 1) if row in texts else (0, 0) for row in range(rows)]
        ids, positions = zip(*read, strict=True)
        logits = session.step(ids, positions)
        for row, text in texts.items():
            uncached = policy.next_logits(text)
            worst = max(worst, _number(distance(logits[row], uncached)))
            text.append(int(uncached.argmax()))
    return _within(worst, policy, f"laws of {STEPS * len(at)} tokens")


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _within(worst: float, policy: HuggingFacePolicy, what: str) -> str:
    dtype = str(policy.dtype).removeprefix("torch.")
    bound = TOLERANCE[dtype]
    found = f"{what} within {worst:.1g} of each other (total variation; {dtype}: at most {bound:g})"
    if not worst <= bound:
        raise Broken(found, "do not draw from it: choose another model_pair or dtype, and report the architecture")
    return found


@torch.inference_mode()
def _streams(policy: HuggingFacePolicy, prompt: tuple[int, ...], layers: Sequence[int]) -> str:
    """|ours - theirs| / |theirs| of each layer's output, the worst; transformers' entry L + 1 is layer L's output, and
    its last one is normed already."""
    decoder, ids = Decoder(policy), torch.tensor([list(prompt)], device=policy.device)
    theirs = policy.model(ids, use_cache=False, output_hidden_states=True).hidden_states
    ours = decoder.read(ids, tuple(layers))
    plain = [layer for layer in ours if layer < decoder.n_layers - 1]
    errors = [((ours[n] - theirs[n + 1]).norm() / theirs[n + 1].norm()).item() for n in plain]
    worst, bound = max(map(_number, errors), default=0.0), TOLERANCE[str(policy.dtype).removeprefix("torch.")]
    found = f"relative distance of at most {worst:.1g} from the model's hidden_states (bound {bound:g})"
    if not worst <= bound:
        raise Broken(found, "the residual stream of this architecture is read wrongly; choose another model_pair")
    return found


@torch.inference_mode()
def _steered(models: SteeredModels, rows: int, capacity: int) -> str:
    base, thinking, steering = models.base.policy, models.thinking.policy, models.steering
    rule = replace(steering, gate=Always(), coefficient=Fixed(1.0), window=1)
    hybrid = HybridPolicy(
        base, thinking, _any_clusters(Decoder(thinking).width), models.sae_layer,
        VectorSet(steering.layer, _long_vector(base, models.prompts[0], steering.layer)[None]),
        replace(rule, use_bias=False), dict([models.prompts]), frozenset(),
        map_vocabularies(models.base.reader.tokenizer, models.thinking.reader.tokenizer, base.vocab_size,
                         thinking.vocab_size),
    )  # fmt: skip
    prompt, session = models.prompts[0], hybrid.open(rows, capacity)
    if before := prompt[:-1]:
        session.prefill(0, before)
    steered = session.step([prompt[-1], *[0] * (rows - 1)], [len(prompt) - 1, *[0] * (rows - 1)])[0]
    moved = distance(steered, base.next_logits(prompt))
    if not moved >= MOVES:
        found = f"its law moved by {moved:.1g} (total variation) under a vector three times as long as the stream"
        raise Broken(found, "what is added does not arrive: do not train vectors, and report the architecture")
    words = _within(_number(distance(steered, hybrid.next_logits(prompt))), base, "steered laws")
    return f"moved by {moved:.2f} (total variation); {words}"


def _long_vector(policy: HuggingFacePolicy, prompt: tuple[int, ...], layer: int) -> Tensor:
    """A random direction, three times as long as the stream at the prompt's last token."""
    decoder = Decoder(policy)
    stream = decoder.read(torch.tensor([list(prompt)], device=policy.device), (layer,))[layer][0, -1].float()
    direction = torch.randn(decoder.width, generator=torch.Generator().manual_seed(0)).to(stream.device)
    return 3 * stream.norm() * direction / direction.norm()


def _any_clusters(width: int) -> TopKClusters:
    """One category."""
    zeros = torch.zeros(1, width)
    return TopKClusters(Normaliser(zeros[0]), zeros, torch.zeros(1), torch.ones(1, width), zeros[0], 1)


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(set(layers))))
