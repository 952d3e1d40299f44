"""What a hybrid's answer takes of both models, against a witness that wraps their layers and heads."""

from typing import Any

import pytest
import torch

from reasoning_lab.engine.policy import Policy
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.work import Work
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.power import Power
from reasoning_lab.steering.hybrid.session import HybridSession
from tests.engine.witness import witnessed
from tests.steering.hybrid.test_policy import CAPACITY, CHOICES, LAWS, asked
from tests.steering.pairs import Pair, random_pair

CAP = 6
RULES = LAWS | CHOICES


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair(torch.float32)


def sampler_of(rule: Any) -> Any:
    return Greedy(CAP) if rule.inner.chooses_tokens else Temperature(CAP, 1.0)


def taken(policy: Policy, sampler: Any, prompts: list[Prompt], rows: int) -> Counts:
    counts = Counts()
    tasks = [(i, sampler.sample(prompt)) for i, prompt in enumerate(prompts)]
    list(run(policy, tasks, rows, CAPACITY, counts=counts))
    return counts


def both(base: Work, thinking: Work) -> Work:
    return Work(base.prefill, base.decode, base.heads, thinking.prefill, thinking.decode, thinking.heads)


@pytest.mark.parametrize("name", RULES)
def test_an_answer_takes_what_was_really_passed_through_both_models(pair: Pair, name: str) -> None:
    policy, rule = pair.hybrid(RULES[name]), RULES[name]
    session = policy.open(1, CAPACITY)
    assert isinstance(session, HybridSession)
    spare = session._thinking_capacity
    for prompt in asked(pair, [0, 2, 4, 5]):
        with witnessed(pair.base.model, CAPACITY) as base, witnessed(pair.thinking.model, spare) as thinking:
            counts = taken(policy, sampler_of(rule), [prompt], rows=1)
        assert counts.passed == both(base.all, thinking.all)
        assert counts.work == {0: both(base.real, thinking.real)}


@pytest.mark.parametrize("name", RULES)
def test_neighbours_and_rows_change_nothing_of_it(name: str) -> None:
    pair = random_pair(torch.float64)
    policy, sampler, prompts = pair.hybrid(RULES[name]), sampler_of(RULES[name]), asked(pair)
    alone = taken(policy, sampler, prompts, rows=1).work
    assert taken(policy, sampler, prompts, rows=3).work == taken(policy, sampler, prompts, rows=11).work == alone


def test_power_over_a_hybrid_counts_what_its_rejected_proposals_took(pair: Pair) -> None:
    policy, [prompt] = pair.hybrid(LAWS["disagreement"]), asked(pair, [1])
    session = policy.open(1, CAPACITY)
    assert isinstance(session, HybridSession)
    with (
        witnessed(pair.base.model, CAPACITY) as base,
        witnessed(pair.thinking.model, session._thinking_capacity) as thinking,
    ):
        counts = taken(policy, Power(8, 4.0, 4, 2), [prompt], rows=1)
    assert counts.work == {0: both(base.real, thinking.real)}


def test_a_candidate_costs_its_window_above_the_layer_and_one_head(pair: Pair) -> None:
    """By hand: base 4 layers, steered after the second; thinking 3 layers; one token, whatever fires."""
    policy, [prompt] = pair.hybrid(CHOICES["candidates"]), asked(pair, [1])
    rule = policy.parts.steering.coefficient
    counted = taken(policy, Greedy(1), [prompt], rows=1).work[0]
    n = len(prompt.ids)
    inside = sum(min(window, n) if window else n for _, window in rule.pairs)  # pyright: ignore
    fired = counted.heads > 1
    n_pairs = len(rule.pairs)  # pyright: ignore
    assert counted == Work(
        4 * (n - 1), 4 + 2 * inside * fired, 1 + n_pairs * fired, 3 * (len(pair.prompts[prompt.ids]) - 1), 3, 1
    )
