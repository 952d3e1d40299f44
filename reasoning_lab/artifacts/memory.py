"""How much memory a build needs at once, told before it: by what it holds, and by its passes run on shapes alone.

What is held follows from arithmetic: weights, key-value caches, saved states of prompts and chains, logits and what is
made of them when tokens are drawn. What passes over whole texts and training take is found by running them on torch's
meta device, which has shapes and no numbers; there the longest text and the longest sentence are taken to meet in one
pass, so that with few texts up to a third less is needed. Numbers are bytes. Left out: what kernels take and give back
within one operation, the allocator's unused pieces, and torch's own (on CUDA together some hundreds of MB).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch.nn import functional
from transformers.cache_utils import Cache

from reasoning_lab.engine.live import LiveMemory
from reasoning_lab.engine.transformers import PREFILL_WIDTH, HuggingFacePolicy, cached_numbers
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.model_pair.size import Footprint, load_footprint, without_weights
from reasoning_lab.steering.vectors.optimise import PASS_CELLS
from reasoning_lab.steering.vectors.streams import READ_TOKENS, PrefixStates
from reasoning_lab.taxonomy.sae.bank import CHUNK

Weights = tuple[ModelSource, str]
"""A model and the dtype that it is loaded in."""
CHAIN_COPIES = 1.2
"""Saved states of a Markov chain by its length: stretches that later cuts have shortened keep their memory. Between 1.1
and 1.3 for uniform cuts."""
DRAWN_COPIES = 4
"""Tables [row, vocabulary] in float64 at once when tokens are drawn: log p, the tempered law, its probabilities and
their sums."""


@dataclass(frozen=True)
class Memory:
    """Of one build, on all its devices."""

    models: Mapping[Weights, int] = field(default_factory=dict)
    """What stays with each model's weights: they, its caches, and its saved states; the first model's device has the
    rest."""
    passes: int = 0
    """Activations, logits, draws: what comes and goes."""
    training: int = 0
    """What is kept to train on, with optimisers' states."""

    @property
    def total(self) -> int:
        """All of it, on one device."""
        return sum(self.models.values()) + self.passes + self.training

    def largest(self, devices: int = 1) -> int:
        """The fullest device's share, where models are spread over several (`placed`)."""
        if not self.models:
            return self.total
        places = placed([weights_bytes(name) for name in self.models], devices)
        held = [0] * devices
        held[places[0]] += self.passes + self.training
        for place, own in zip(places, self.models.values(), strict=True):
            held[place] += own
        return max(held)


def placed(sizes: Sequence[int], devices: int) -> list[int]:
    """Number of the device of each model: one after the other goes where least is."""
    held, places = [0] * devices, []
    for size in sizes:
        places.append(held.index(min(held)))
        held[places[-1]] += size
    return places


def weights_bytes(weights: Weights) -> int:
    """Of a model's weights."""
    source, dtype = weights
    return load_footprint(source).bytes(dtype, 0)


# --- answers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowDemand:
    """What is drawn, or read token by token."""

    rows: int
    capacity: int
    """Positions of a row: the longest prompt and the longest answer."""
    longest: int
    """Most tokens of an answer."""
    saved: float
    """Longest answers whose states are saved at once."""
    saves_prompts: bool = True
    """Whether the prompts' states are saved for answers to come."""

    @classmethod
    def of_chains(cls, rows: int, longest_prompt: int, longest: int, n_held: int) -> "RowDemand":
        """Of a sampler that holds `n_held` chains in every row (Sampler.n_held); the one that ends is always saved."""
        return cls(rows, longest_prompt + longest, longest, rows * n_held * CHAIN_COPIES + 1)


def of_drawing(weights: Weights, drawn: RowDemand, prompts: Iterable[int]) -> Memory:
    """Answers of a plain model; `prompts` are the lengths of all prompts [tokens]."""
    source, dtype = weights
    foot, size = load_footprint(source), getattr(torch, dtype).itemsize
    passes = max(_step(foot, size, drawn), _prefill(foot, size, drawn))
    return Memory({weights: _held(foot, dtype, drawn, prompts)}, passes)


def of_hybrid(
    base: Weights, thinking: Weights, drawn: RowDemand, prompts: Sequence[tuple[int, int]], depth: int, slots: int,
    streams: bool, window: int,
) -> Memory:  # fmt: skip
    """Answers of two models in step.

    Arguments: `prompts` are lengths for base and thinking model; `depth` layers of the thinking model are run; `slots`
    rows are run again aside, 0 for none, over `window` positions at once; `streams` says whether the rows' streams are
    kept, for windows of several passes.
    """
    feet = [load_footprint(source) for source, _ in (base, thinking)]
    ours, theirs = feet
    size = getattr(torch, base[1]).itemsize
    extra = max((0, *(other - own for own, other in prompts)))
    # The thinking model's prompts are saved by the session itself.
    read = replace(drawn, capacity=drawn.capacity + extra, saves_prompts=True)
    held = _held(ours, base[1], drawn, [own for own, _ in prompts])
    scratch = slots * (drawn.capacity + 1) * ours.cached // ours.layers * size
    kept = drawn.rows * (drawn.capacity + 1) * ours.width * size if streams else 0
    aside = (
        _layer(ours, size, slots * window, drawn.capacity + 1) + slots * drawn.capacity * ours.width * size * streams
    )
    logits = drawn.rows * (2 * ours.vocab + theirs.vocab) * max(size, 4)
    passes = max(_step(ours, size, drawn) + logits, _prefill(ours, size, drawn), aside + logits)
    passes = max(passes, _step(theirs, size, read), _prefill(theirs, size, read))
    others = _held(theirs, thinking[1], read, [other for _, other in prompts], share=depth / theirs.layers)
    return Memory({base: held + scratch + kept, thinking: others}, passes)


def _held(foot: Footprint, dtype: str, drawn: RowDemand, prompts: Iterable[int], share: float = 1.0) -> int:
    """Weights, cache, prompts' states, chains' states; `share` of the layers is saved."""
    saved = _saved_prompts(prompts, drawn) + drawn.saved * drawn.longest
    return foot.bytes(dtype, drawn.rows * (drawn.capacity + 1) + round(share * saved))


def _saved_prompts(prompts: Iterable[int], drawn: RowDemand) -> int:
    """Positions of the prompts that are saved, the longest there are."""
    saved = sorted(prompts, reverse=True)[: 2 * drawn.rows + 1]
    return sum(saved) - len(saved) if drawn.saves_prompts else 0


def _step(foot: Footprint, size: int, drawn: RowDemand) -> int:
    """A token in every row: through a layer, or its logits and what a draw makes of them."""
    draw = drawn.rows * foot.vocab * (max(size, 4) + 8 * DRAWN_COPIES)
    return max(draw, _layer(foot, size, drawn.rows, drawn.capacity + 1))


def _prefill(foot: Footprint, size: int, drawn: RowDemand) -> int:
    return _layer(foot, size, PREFILL_WIDTH, drawn.capacity + 1)


def _layer(foot: Footprint, size: int, tokens: int, keys: int) -> int:
    """Most bytes of one layer's pass over `tokens` that attend to `keys` positions each: products, their sum with the
    mask, and its softmax in float32; or the MLP."""
    wide = max(size, 4)
    attention = tokens * foot.heads * keys * (2 * size + wide + (wide if size < wide else 0))
    return max(attention, 3 * tokens * foot.inner * size) + 6 * tokens * foot.width * size + tokens * keys * (size + 1)


# --- whole texts ------------------------------------------------------------------------------------------------------


def of_reading(weights: Weights, rows: int, width: int, layers: tuple[int, ...], sentences: int) -> Memory:
    """The streams at some layers, of `rows` texts of `width` tokens in one pass; and `sentences` vectors of each layer,
    with the pieces that they are joined of."""
    source, dtype = weights
    vectors = 2 * sentences * load_footprint(source).width * len(layers) * max(4, getattr(torch, dtype).itemsize)
    return Memory({weights: weights_bytes(weights)}, _reading_peak(weights, rows, width, layers), vectors)


@cache
def _reading_peak(weights: Weights, rows: int, width: int, layers: tuple[int, ...]) -> int:
    decoder = _shapes(*weights)
    with LiveMemory() as live, torch.no_grad():
        live.hold(decoder.policy.model.parameters())
        before = live.now
        streams = decoder.read(torch.zeros(rows, width, dtype=torch.long, device="meta"), layers)
        flat = [
            stream.flatten(0, 1).to(torch.promote_types(stream.dtype, torch.float32)) for stream in streams.values()
        ]
        # One after the other in truth.
        del flat
    return live.peak - before


def _shapes(source: ModelSource, dtype: str) -> Decoder:
    """A decoder that has shapes alone."""
    return Decoder(HuggingFacePolicy(without_weights(source).to(getattr(torch, dtype))), is_probed=False)


@dataclass(frozen=True)
class Training:
    """Sentences that vectors are trained on."""

    texts: int
    sentences: int
    """Of all texts."""
    tokens: int
    """Of all texts."""
    longest: int
    """Tokens of the longest text."""
    answer: int
    """Of the longest answer, on which a bias is trained whole."""
    sentence: int
    """Of the longest sentence."""
    layer: int
    """At whose output vectors are added."""
    keeps_states: bool
    """Whether keys and values of the layers above are kept."""
    minibatch: int
    """Examples of one vector in a step."""
    reads_losses: bool
    """Whether the base model's losses choose the sentences."""
    n_vectors: int
    """Of the table; 0 where nothing is trained."""
    has_bias: bool
    """Whether a vector for all texts is trained too."""


def of_training(weights: Weights, trained: Training, device: str) -> Memory:
    """Steering vectors of a base model: what is read and kept of the texts, and the largest pass."""
    source, dtype = weights
    foot, size = load_footprint(source), getattr(torch, dtype).itemsize
    above = foot.layers - 1 - trained.layer
    streams = trained.tokens * foot.width * size
    states = trained.tokens * foot.cached // foot.layers * above * size if trained.keeps_states else 0
    # Joining a list of pieces holds both for a moment.
    joined = streams + states + (max(streams, states // (2 * above)) if states else streams)
    rows = min(trained.texts, max(1, READ_TOKENS // trained.longest))
    read = _reading_peak(weights, rows, trained.longest, (foot.layers - 1,))
    if trained.reads_losses:
        stream = rows * trained.longest * foot.width * size
        read = max(read, stream + trained.longest * foot.vocab * (size + 2 * max(size, 4)))
    cells = PASS_CELLS["cpu" if device == "cpu" else "cuda"]
    largest = 0
    n_sentences = min(trained.minibatch * trained.n_vectors, trained.sentences)
    sentences = trained.longest - trained.sentence, trained.sentence, n_sentences
    texts = trained.longest - trained.answer, trained.answer, min(trained.minibatch, trained.texts)
    for context, width, most in (sentences, *([texts] if trained.has_bias else [])):
        examples = max(1, min(most, cells // ((context + width) * max(width, PREFILL_WIDTH))))
        largest = max(largest, _step_peak(weights, trained.layer, examples, max(1, context), width))
    optimisers = 5 * trained.n_vectors * foot.width * max(size, 4)
    kept = streams + states + optimisers
    peak = max(joined, read, streams + states + read if not trained.keeps_states else 0, kept + largest)
    return Memory({weights: weights_bytes(weights)}, training=peak)


@cache
def _step_peak(weights: Weights, layer: int, examples: int, context: int, width: int) -> int:
    """One step's pass forward and back, with the contexts' keys and values, beyond the weights and what is kept."""
    decoder = _shapes(*weights)
    model, n = decoder.policy.model, decoder.n_layers
    model.requires_grad_(False)
    of_model = {"dtype": decoder.policy.dtype, "device": "meta"}
    heads = getattr(model.config, "num_key_value_heads", None) or model.config.num_attention_heads
    states = (examples, heads, context, cached_numbers(model.config) // (2 * n * heads))
    with LiveMemory() as live:
        live.hold(model.parameters())
        before = live.now
        above = [
            PrefixStates(torch.zeros(states, **of_model), torch.zeros(states, **of_model)) for _ in range(n - 1 - layer)
        ]
        added = torch.zeros(examples, width, decoder.width, device="meta", requires_grad=True)
        steered = torch.zeros(examples, width, decoder.width, **of_model) + added.to(decoder.policy.dtype)
        positions = torch.zeros(examples, width, dtype=torch.long, device="meta")
        mask = torch.zeros(examples, 1, width, context + width, **of_model)
        cached = Cache(layers=[*(PrefixStates() for _ in range(layer + 1)), *above])
        hidden = decoder.layers(steered, layer + 1, n - 1, positions, mask, cached)
        logits = decoder.head(hidden.flatten(0, 1)[None])[0]
        functional.cross_entropy(logits, positions.flatten(), reduction="none").sum().backward()
    return live.peak - before


# --- clusters ---------------------------------------------------------------------------------------------------------


def of_autoencoders(
    sentences: int, width: int, sizes: Sequence[int], batch: int, validation: float, is_host: bool
) -> Memory:
    """A bank of Top-K autoencoders: the sentences as they are, normalised, and side by side; parameters with Adam's
    moments, gradient, scratch and the best ones so far; buffers of a batch and of a chunk of the validation sentences.
    `is_host`: with the sentences as they were read, in the order of files and of traces."""
    table, n = 4 * sentences * width, sum(sizes)
    bank = 4 * (5 + 2) * (2 * n * width + n + len(sizes) * width)
    squares = 4 * 2 * sum(size * size for size in sizes)
    chunk = min(CHUNK, round(validation * sentences))
    buffers = sum(4 * rows * (5 * n + len(sizes)) for rows in (min(batch, sentences), chunk)) + 2 * squares
    passing = 4 * 2 * width * max(min(batch, sentences), chunk)
    return Memory(training=(5 if is_host else 3) * table + bank + buffers + passing)
