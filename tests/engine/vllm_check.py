"""vLLM held against the transformers engine and an exact law, in an environment that has vLLM: prints one JSON object.

python -m tests.engine.vllm_check
"""

import itertools
import json
import math
import os
import tempfile
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from reasoning_lab.engine.base import Answering, Subject
from reasoning_lab.engine.local import Rows
from reasoning_lab.engine.policy import Chain, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.engine.vllm import VllmEngine, installed_version
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.beam import Beam
from reasoning_lab.sampler.best_of_n import Pool
from reasoning_lab.sampler.budget_forcing import BudgetForcing
from reasoning_lab.sampler.cue import Cued
from reasoning_lab.sampler.power import Power

VOCAB, STOP, CAPACITY, ROWS = 7, frozenset({0}), 96, 8
PROMPT = tuple(1 + n % 6 for n in range(40))
SAMPLERS = {
    "power": Power(48, 2.0, 16, 4), "power with top_k": Power(48, 4.0, 16, 2, compat="karan2025"),
    "temperature": Temperature(48, 0.7), "nucleus": Temperature(48, 1.0, top_p=0.8),
    "top_k": Temperature(48, 1.0, top_k=3), "greedy": Greedy(48), "beam": Beam(12, 3), "pool": Pool(24, 1.0, n=3),
    "cue": Cued(Power(24, 2.0, 8, 2), cue_ids=(3, 4)),
    "budget forcing": BudgetForcing(40, 8, 12, 2, "Wait", "So", temperature=0.8),
}  # fmt: skip


def tiny(folder: str) -> HuggingFacePolicy:
    """A Qwen2 of two layers and random weights that make its laws sharp enough to go wrong."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2, bos_token_id=None, eos_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight[0] *= 0.3
    model.save_pretrained(folder)
    return HuggingFacePolicy(model)


def tasks(sampler: Any, n: int, first: int = 0) -> list[tuple[int, Any]]:
    """Chains of one prompt."""
    return [
        (i, sampler.sample(Prompt(PROMPT, STOP, Key(3, "tiny", i), encode=lambda _: (2, 5))))
        for i in range(first, first + n)
    ]


def drawn(engine: Answering, sampler: Any, n: int, counts: Counts | None = None) -> list[Any]:
    """Samples in the order of chains."""
    found = dict(engine.run(tasks(sampler, n), ROWS, CAPACITY, counts=counts))
    return [found[i] for i in range(n)]


def compared(theirs: Answering, ours: Answering) -> dict[str, Any]:
    """By sampler: chains of equal tokens, the largest differences of their scalars, and decode tokens of both."""
    found = {}
    for name, sampler in SAMPLERS.items():
        one, other = (drawn(engine, sampler, 12) for engine in (theirs, ours))
        equal = [(a.chain, b.chain) for a, b in zip(one, other, strict=True) if a.chain.tokens == b.chain.tokens]
        columns = ("log_p", "log_q", "log_z", "negentropy")
        found[name] = {
            "chains": len(one),
            "equal": len(equal),
            "inserted_equal": all(a.inserted == b.inserted and a.finish == b.finish for a, b in equal),
            **{column: _largest(equal, column) for column in columns},
            "given_up": sum(move.log_ratio is None for sample in one for move in sample.moves),
            "decode_tokens": [sum(sample.decode_tokens for sample in each) for each in (one, other)],
        }
    return found


def _largest(pairs: list[tuple[Chain, Chain]], column: str) -> float:
    both = (zip(getattr(a, column), getattr(b, column), strict=True) for a, b in pairs)
    return max((abs(x - y) for x, y in itertools.chain.from_iterable(both)), default=0.0)


def exact_law(engine: Answering, policy: HuggingFacePolicy, n: int) -> dict[str, Any]:
    """Draws of two tokens at temperature 0.5 against the enumerated law: chi-square over cells of 8 expected."""
    law: dict[tuple[int, ...], float] = {}
    for first, q in enumerate(_tempered(policy, ())):
        if first in STOP:
            law[(first,)] = q
        else:
            law |= {(first, second): q * r for second, r in enumerate(_tempered(policy, (first,)))}
    counts = Counter(sample.chain.tokens for sample in drawn(engine, Temperature(2, 0.5), n))
    from scipy.stats import chisquare

    big = [state for state, q in law.items() if n * q >= 8]
    rest = 1 - sum(law[state] for state in big)
    observed, expected = [counts[state] for state in big], [n * law[state] for state in big]
    if rest > 1e-6:
        observed, expected = [*observed, n - sum(observed)], [*expected, n * rest]
    return {"p_value": float(chisquare(observed, expected).pvalue), "cells": len(expected), "draws": n}


def _tempered(policy: HuggingFacePolicy, tail: tuple[int, ...]) -> list[float]:
    return torch.softmax(2 * policy.next_logits((*PROMPT, *tail)).double(), -1).tolist()


def requests(theirs: Answering, ours: Answering) -> dict[str, Any]:
    """Single requests that no sampler above makes."""
    asked = {
        "forced": Request(Chain(PROMPT), 0, Key(1, "r"), 20, STOP, 0.7, forced=(1, 2, 3)),
        "scored": Request(Chain(PROMPT), 0, Key(1, "r"), 4, frozenset(), forced=(1, 0, 3, 4), want_negentropy=True),
        "excluded": Request(Chain(PROMPT), 0, Key(1, "r"), 20, STOP, excluded=frozenset({0, 1, 2, 3, 4})),
        "schedule": Request(Chain(PROMPT), 0, Key(1, "r"), 20, STOP, temperature=(1.0, 0.5, 0.0)),
        "alternatives": Request(Chain(PROMPT), 0, Key(1, "r"), 5, STOP, n_alternatives=3),
    }
    found = {}
    for name, request in asked.items():
        a, b = (dict(engine.run([(0, _one(request))], ROWS, CAPACITY))[0] for engine in (theirs, ours))
        listed = [[id for id, _ in each] for each in a.alternatives] == [[id for id, _ in e] for e in b.alternatives]
        found[name] = {
            "equal": a.tokens == b.tokens and a.finish == b.finish and a.n_drawn == b.n_drawn and listed,
            "log_q": _largest([(a, b)], "log_q"),
        }
    return found


def _one(request: Request) -> Any:
    return (yield request)


def closed_early(engine: Answering) -> bool:
    """Whether an engine whose caller went away half-way starts afresh."""
    run = engine.run(tasks(Temperature(40, 1.0), 12), ROWS, CAPACITY)
    next(run)
    run.close()
    return len(drawn(engine, Temperature(8, 1.0), 3)) == 3


def other_shape(engine: Answering, ours: Answering) -> bool:
    """Whether vLLM starts anew for another number of rows, and draws the same."""
    one, other = (dict(each.run(tasks(Temperature(24, 1.0), 6), 3, 80)) for each in (engine, ours))
    return all(one[i].chain.tokens == other[i].chain.tokens for i in range(6))


def second_interface(policy: HuggingFacePolicy) -> bool:
    """Whether the processor of model runner V2 masks all but the drawn ids, handed rows by hand: vLLM never ran it."""
    from reasoning_lab.engine.vllm_draws import EXTRA, plain
    from reasoning_lab.engine.vllm_processors import KeyedDrawsOfSlots

    request = Request(Chain(PROMPT), 0, Key(1, "r"), 20, STOP, 0.7)
    states = SimpleNamespace(prompt_len=SimpleNamespace(np=[0, 0, len(PROMPT)]))
    processor = KeyedDrawsOfSlots(None, states)
    processor.add_request(2, SimpleNamespace(extra_args={EXTRA: plain("x", request)}))
    [(_, chain)] = Rows(policy).run([(0, _one(request))], 1, CAPACITY)
    ids = list(PROMPT)
    for expected in chain.tokens[:5]:
        logits = torch.stack([policy.next_logits(ids).float()] * 2)
        row = SimpleNamespace(expanded_idx_mapping=torch.tensor([0, 2]), pos=torch.tensor([3, len(ids) - 1]))
        masked = processor.apply(logits.clone(), row)
        if int(masked[1].argmax()) != expected or int((masked[1] > -math.inf).sum()) != 1:
            return False
        if not torch.equal(masked[0], logits[0]):
            return False
        ids.append(expected)
    return True


def speed(theirs: Answering, ours: Answering) -> dict[str, list[float]]:
    """Tokens drawn per second of both, in turns."""
    found: dict[str, list[float]] = {"vllm": [], "transformers": []}
    for _ in range(3):
        for name, engine in (("vllm", theirs), ("transformers", ours)):
            counts, started = Counts(), time.perf_counter()
            drawn(engine, SAMPLERS["power"], 24, counts)
            found[name].append(counts.drawn / (time.perf_counter() - started))
    return found


def main() -> None:
    """All checks."""
    with tempfile.TemporaryDirectory() as folder:
        policy = tiny(folder)
        subject = Subject(lambda: policy, folder, None, "float32", "cpu", 2)
        theirs = VllmEngine("v1", 0.5, 1, enforce_eager=True).open(subject)
        ours = Rows(policy)
        found = {
            "version": installed_version(),
            "samplers": compared(theirs, ours),
            "requests": requests(theirs, ours),
            "law": exact_law(theirs, policy, 4000),
            "closed_early": closed_early(theirs),
            "other_shape": other_shape(theirs, ours),
            "second_interface": second_interface(policy),
            "tokens_per_second": speed(theirs, ours),
        }
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
