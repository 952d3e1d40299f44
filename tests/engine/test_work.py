"""What an answer takes, against a witness that wraps the model's layers and head."""

import json
import random
from typing import Any

import pytest
import torch

from reasoning_lab.engine.policy import Chain
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.transformers import PREFILL_WIDTH
from reasoning_lab.engine.work import Work
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.records import Candidate
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.beam import Beam
from reasoning_lab.sampler.best_of_n import BestOfN, Pool, PoolOf
from reasoning_lab.sampler.budget_forcing import BudgetForcing
from reasoning_lab.sampler.power import Power
from tests.engine.test_scheduler import STOP, model
from tests.engine.witness import witnessed

CAP = 24
CAPACITY = PREFILL_WIDTH + 7 + CAP
N_LAYERS = 2
FORCED = BudgetForcing(CAP, max_answer_tokens=5, max_thinking_tokens=6, n_waits=2, temperature=1.0)
SAMPLERS = {
    "ancestral": Temperature(CAP, 1.0),
    "greedy": Greedy(CAP),
    "power": Power(CAP, 4.0, 6, 3),
    "power, compat": Power(CAP, 4.0, 6, 3, compat="karan2025"),
    "best of n": BestOfN(Pool(CAP, 1.0, n=3)),
    "pool under a budget": BestOfN(Pool(CAP, 1.0, budget=40.0)),
    "beam": Beam(CAP, 3),
    "budget forcing": FORCED,
    "pool of budget forcing": PoolOf(FORCED, n=2),
}


def candidate(chain: Chain) -> Candidate:
    return Candidate("", chain.tokens, "stop", sum(chain.log_p), 0.0, None, chain.inserted)


def asked(lengths: list[int]) -> list[Prompt]:
    draw = random.Random(1)
    return [
        Prompt(
            tuple(draw.randrange(2, 40) for _ in range(n)),
            STOP,
            Key(3, f"p{i}"),
            candidate,
            lambda text: (7, len(text)),
        )
        for i, n in enumerate(lengths)
    ]


def taken(policy: Any, sampler: Any, prompts: list[Prompt], rows: int, capacity: int = CAPACITY) -> dict[Any, Work]:
    counts = Counts()
    tasks = [(i, sampler.sample(prompt)) for i, prompt in enumerate(prompts)]
    assert len(list(run(policy, tasks, rows, capacity, counts=counts))) == len(prompts)
    return counts.work


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_answer_takes_what_was_really_passed(name: str) -> None:
    policy = model(torch.float32)
    for prompt in asked([1, 5, PREFILL_WIDTH, PREFILL_WIDTH + 7]):
        with witnessed(policy.model, spare=CAPACITY) as seen:
            [counted] = taken(policy, SAMPLERS[name], [prompt], rows=1).values()
        assert counted == seen.real
        assert seen.real.prefill == (len(prompt.ids) - 1) * N_LAYERS


@pytest.mark.parametrize("name", SAMPLERS)
def test_neighbours_and_rows_change_nothing_of_it(name: str) -> None:
    policy, prompts = model(torch.float64), asked([5, 9, 30, 2, 66])
    alone = taken(policy, SAMPLERS[name], prompts, rows=1)
    assert taken(policy, SAMPLERS[name], prompts, rows=3) == taken(policy, SAMPLERS[name], prompts, rows=16) == alone


@pytest.mark.parametrize("rows", [1, 4])
def test_all_that_is_passed_is_counted_apart_padding_included(rows: int) -> None:
    policy, counts = model(torch.float32), Counts()
    tasks = [(i, SAMPLERS["power"].sample(prompt)) for i, prompt in enumerate(asked([5, 70]))]
    with witnessed(policy.model, spare=CAPACITY) as seen:
        list(run(policy, tasks, rows, CAPACITY, counts=counts))
    assert counts.passed == seen.all
    assert counts.passed.prefill == 3 * PREFILL_WIDTH * N_LAYERS
    assert counts.useful == sum(counts.work.values(), Work())
    assert 0 < counts.useful_share == counts.useful.decode / counts.passed.decode <= 1
    assert (counts.useful_share == 1) == (rows == 1)


def test_every_chain_of_a_problem_has_its_prompt_counted_though_it_is_read_once() -> None:
    policy, [prompt] = model(torch.float32), asked([30])
    with witnessed(policy.model, spare=CAPACITY) as seen:
        counted = taken(policy, SAMPLERS["ancestral"], [prompt] * 3, rows=1)
    assert seen.real.prefill == 29 * N_LAYERS
    assert sum(each.prefill for each in counted.values()) == 3 * 29 * N_LAYERS
    assert sum(each.decode for each in counted.values()) == seen.real.decode


def test_prefill_computes_no_logits() -> None:
    policy = model(torch.float32)
    with witnessed(policy.model, spare=CAPACITY) as seen:
        policy.open(2, CAPACITY).prefill(0, list(range(2, 32)))
    assert seen.all == Work(prefill=PREFILL_WIDTH * N_LAYERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_who_goes_on_from_any_checkpoint_has_taken_the_same(name: str) -> None:
    """What is read again after a resume is no part of it, nor is anything lost."""
    policy, sampler, [prompt] = model(torch.float64), SAMPLERS[name], asked([9])
    counts = Counts()
    saved: list[tuple[Any, Work]] = []

    def save(_: Any, state: Any) -> None:
        saved.append((json.loads(json.dumps(state)), counts.work[0]))

    list(run(policy, [(0, sampler.sample(prompt))], 1, CAPACITY, save, counts))
    for state, so_far in saved:
        again = Counts(work={0: so_far})
        list(run(policy, [(0, sampler.sample(prompt, state))], 1, CAPACITY, counts=again))
        assert again.work == counts.work
        assert again.useful == counts.work[0] - so_far
    if name in ("power", "pool of budget forcing", "best of n"):
        assert saved


def test_the_toy_is_a_model_of_one_layer() -> None:
    policy = ToyPolicy.random(5, length=6)
    counted = taken(
        policy, Temperature(6, 1.0), [Prompt((0,), frozenset({0}), Key(0, "p", i)) for i in range(9)], 4, 16
    )
    drawn = dict(
        run(
            policy,
            [(i, Temperature(6, 1.0).sample(Prompt((0,), frozenset({0}), Key(0, "p", i)))) for i in range(9)],
            4,
            16,
        )
    )
    assert counted == {i: Work(0, sample.decode_tokens, sample.decode_tokens) for i, sample in drawn.items()}
