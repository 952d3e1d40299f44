"""A random Llama in float64 and traces over its vocabulary: small enough for finite differences and brute force."""

import random
from functools import cache

import torch
import transformers

from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.records import Span
from reasoning_lab.steering.vectors.examples import LabelledTrace

VOCABULARY, WIDTH, LAYERS, CONTEXT = 23, 16, 4, 64


@cache
def toy_decoder() -> Decoder:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=1, pad_token_id=2,
        initializer_range=0.3,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).double()
    # transformers' own norm rounds to float32 on its way, which finite differences and 1e-9 would see.
    for part in [model.model, *model.model.layers]:
        for name in ("norm", "input_layernorm", "post_attention_layernorm"):
            if hasattr(part, name):
                setattr(part, name, torch.nn.RMSNorm(WIDTH, eps=1e-6, dtype=torch.float64))
    return Decoder(HuggingFacePolicy(model))


def trace(prompt, sentences, labels, scores=None, verdict="correct", **rest) -> LabelledTrace:
    """A trace of the given prompt ids and sentences (lists of ids)."""
    spans, at = [], 0
    for sentence in sentences:
        spans.append(Span(at, at + len(sentence), at, at + len(sentence)))
        at += len(sentence)
    ids = tuple(token for sentence in sentences for token in sentence)
    scores = tuple(scores) if scores is not None else tuple(1.0 for _ in labels)
    return LabelledTrace(tuple(prompt), ids, tuple(spans), tuple(labels), scores, verdict, **rest)


def toy_traces(n_problems=6, n_categories=3, chains=2, seed=0, longest=6) -> list[LabelledTrace]:
    """Random traces; sentences of a category like its own ids, so that a vector has something to learn."""
    rng = random.Random(seed)
    found = []
    for problem in range(n_problems):
        prompt = [3, 4 + problem % 5, *(rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, 4)))]
        for _ in range(chains):
            labels = [rng.randrange(n_categories) for _ in range(rng.randint(2, 5))]
            sentences = [
                [rng.randrange(3 + 5 * label, 8 + 5 * label) for _ in range(rng.randint(1, longest))]
                for label in labels
            ]
            scores = [rng.random() for _ in labels]
            found.append(trace(prompt, sentences, labels, scores, rng.choice(["correct", "correct", "wrong"])))
    return found
