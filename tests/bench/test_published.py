"""The published algorithm, written plainly, against our kernel in the authors' manner."""

from collections import Counter

import pytest
import torch
from scipy.stats import chi2_contingency

from reasoning_lab.bench.published import PublishedStream
from reasoning_lab.engine.policy import score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.power import Power
from tests.engine.oracle import unchecked

IDS, STOP = (2, 3), frozenset({1})


def plain(vocab: int):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=vocab, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).double().eval()


def stream(sampler: Power, vocab: int, seed: int = 0) -> PublishedStream:
    return PublishedStream(plain(vocab), sampler.ladder, sampler.alpha, STOP, seed)


def theirs(**sizes) -> Power:
    return Power(**sizes, compat="karan2025", redraw="from_cut", stop_rule="first_eos")


def test_what_a_call_scores_is_what_the_engine_scores() -> None:
    published = stream(theirs(max_new_tokens=12, alpha=2.0, block_size=12, n_steps=1), vocab=40)
    drawn = published.generate(list(IDS), 12)
    policy = HuggingFacePolicy(plain(40))

    def scored():
        return (yield score(IDS, drawn.ids, Key(0, "p")))

    [(_, chain)] = run(policy, [(0, scored())], 1, 32)
    assert drawn.log_p == pytest.approx(chain.log_p, abs=1e-5)
    laws = torch.stack([policy.next_logits([*IDS, *drawn.ids[:n]]) for n in range(len(drawn.ids))])
    # top_k=50 of 40 ids cuts nothing.
    log_q = torch.log_softmax(2.0 * laws, -1).gather(-1, torch.tensor(drawn.ids)[:, None])[:, 0]
    assert drawn.log_q == pytest.approx(log_q.tolist(), abs=1e-5)
    assert published.drawn == len(drawn.ids) and published.calls == 1


def test_answers_have_the_law_of_our_kernel_in_the_authors_manner() -> None:
    sampler, n = theirs(max_new_tokens=3, alpha=2.0, block_size=2, n_steps=2), 300
    published = stream(sampler, vocab=5)
    slow = Counter(tuple(published.answer(IDS)) for _ in range(n))
    policy = HuggingFacePolicy(plain(5))
    tasks = [(i, sampler.sample(Prompt(IDS, STOP, Key(0, "p", i)))) for i in range(4 * n)]
    with unchecked():
        fast = Counter(sample.chain.tokens for _, sample in run(policy, tasks, 64, 16))
    common = [state for state in {*slow, *fast} if slow[state] + fast[state] / 4 >= 16]
    assert len(common) >= 5
    table = [[counts[state] for state in common] for counts in (slow, fast)]
    rest = [counts.total() - sum(row) for counts, row in zip((slow, fast), table, strict=True)]
    table = [[*row, more] for row, more in zip(table, rest, strict=True)] if min(rest) > 8 else table
    assert chi2_contingency(table).pvalue > 1e-3
    assert len(set(map(len, slow))) > 1
