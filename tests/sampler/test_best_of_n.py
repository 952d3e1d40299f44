"""Pools, and choosing from them: exact laws by enumeration of whole pools, budgets, ties, resuming."""

import json
import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from reasoning_lab.artifacts.key import canonical_form
from reasoning_lab.engine.policy import Chain
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.records import Candidate
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt, Selection
from reasoning_lab.sampler.beam import Beam
from reasoning_lab.sampler.best_of_n import AnyPool, BestOfN, Majority, Pool, PoolOf, WeightedVote
from reasoning_lab.sampler.budget_forcing import BudgetForcing
from reasoning_lab.sampler.power import Power
from tests.engine.oracle import PROMPT, STOP, State, draws, p_value, power_law, unchecked


def candidates(*given: tuple[str | None, float | int, int]) -> Sequence[Candidate]:
    return [Candidate("", (1,) * n, "stop", float(log_p), 0.0, answer) for answer, log_p, n in given]


POOL = Pool(8, 1.0, n=4)


# -- exact laws --------------------------------------------------------------------------------------------------------


def answer_of(tokens: State) -> str | None:
    """What the toy's answers vote for: their first token; an answer that stops at once has none."""
    return None if tokens[0] in STOP else str(tokens[0])


def read(chain: Chain) -> Candidate:
    return Candidate(
        "", chain.tokens, "stop", sum(chain.log_p), sum(chain.negentropy) / len(chain), answer_of(chain.tokens)
    )


def read_exactly(policy: ToyPolicy, state: State) -> Candidate:
    """The candidate from the tables of the policy."""
    laws = [policy.probabilities(PROMPT + state[:n]) for n in range(len(state))]
    log_p = sum(math.log(p[id]) for p, id in zip(laws, state, strict=True))
    entropy = -sum(x * math.log(x) for p in laws for x in p if x > 0)
    return Candidate("", state, "stop", log_p, -entropy / len(state), answer_of(state))


@unchecked()
def law_of(policy: ToyPolicy, selection: Selection, cap: int, n: int) -> dict[State, float]:
    """Law of the chosen answer over all pools of n independent answers."""
    states = {state: math.exp(log_p) for state, log_p in policy.states(cap).items()}
    known = {state: read_exactly(policy, state) for state in states}
    law = dict.fromkeys(states, 0.0)
    for pool in product(states, repeat=n):
        chosen = pool[selection.choose([known[state] for state in pool])]
        law[chosen] += math.prod(states[state] for state in pool)
    return {state: p for state, p in law.items() if p > 0}


def selections(pool: AnyPool) -> dict[str, Selection]:
    return {
        "mean": BestOfN(pool, "mean_log_p"),
        "sum": BestOfN(pool, "sum_log_p"),
        "confidence": BestOfN(pool, "confidence"),
        "majority": Majority(pool),
        "weighted by mean": WeightedVote(pool),
        "weighted by confidence": WeightedVote(pool, "confidence", 3.0),
        "importance": WeightedVote(pool, "sum_log_p", 4.0),
    }


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", selections(POOL))
def test_the_chosen_answer_has_the_law_that_enumerating_all_pools_gives(name: str, n: int) -> None:
    policy = ToyPolicy.random(2, length=3)
    selection = selections(Pool(3, 1.0, n=n))[name]
    law = law_of(policy, selection, 3, n)
    assert sum(law.values()) == pytest.approx(1.0, abs=1e-12)
    counts = draws(policy, selection, 1500, candidate=read)
    assert p_value(counts, law) > 1e-3
    plain = {state: math.exp(log_p) for state, log_p in policy.states(3).items()}
    assert p_value(counts, plain) < 1e-3, "the test must see the choice"


def test_a_pool_of_any_sampler_has_the_law_of_independent_answers() -> None:
    policy = ToyPolicy.random(2, length=3)
    law = law_of(policy, Majority(POOL), 3, 3)
    assert p_value(draws(policy, Majority(PoolOf(Temperature(3, 1.0), n=3)), 1500, candidate=read), law) > 1e-3
    one_step = Power(3, 1.0, 3, 1)  # p^1: every state of its chain has the model's own law
    assert p_value(draws(policy, Majority(PoolOf(one_step, n=3)), 800, candidate=read), law) > 1e-3


def test_the_importance_vote_weighs_answers_as_the_power_law_does() -> None:
    """On a pool in which each text comes as often as its probability says."""
    policy = ToyPolicy.of_sequences({(1, 1): 0.19, (1, 2): 0.18, (1, 3): 0.18, (2, 1): 0.25, (2, 2): 0.2}, 4)
    states = policy.states(3)
    pool = [read_exactly(policy, state) for state, log_p in states.items() for _ in range(round(100 * math.exp(log_p)))]
    assert len(pool) == 100
    winners = set()
    for alpha in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        mass = {"1": 0.0, "2": 0.0}
        for state, p in power_law(states, alpha).items():
            mass[str(state[0])] += p
        winner = max(mass, key=lambda answer: mass[answer])
        assert pool[WeightedVote(POOL, "sum_log_p", alpha).choose(pool)].answer == winner
        winners.add(winner)
    assert winners == {"1", "2"}


# -- rules of choice ---------------------------------------------------------------------------------------------------


def test_majority_takes_the_first_candidate_of_the_most_frequent_answer() -> None:
    assert Majority(POOL).choose(candidates(("7", 0, 1), ("9", 0, 1), ("9", 0, 1))) == 1


@pytest.mark.parametrize("vote", [Majority(POOL), WeightedVote(POOL)])
def test_vote_ties_go_to_the_answer_seen_first_and_missing_answers_do_not_vote(vote: Selection) -> None:
    assert vote.choose(candidates((None, 0, 1), ("9", 0, 1), (None, 0, 1), ("7", 0, 1))) == 1
    assert vote.choose(candidates((None, 0, 1), (None, 0, 1))) == 0


def test_weights_are_exponentials_and_the_heaviest_candidate_stands_for_the_answer() -> None:
    pool = candidates(("9", -3.0, 3), ("7", -1.0, 2), ("9", -2.0, 4))
    # exp(mean): 9 has e^-1 + e^-0.5, 7 has e^-0.5.
    assert WeightedVote(POOL).choose(pool) == 2
    # exp(3 sum): 9 has e^-9 + e^-6, 7 has e^-3.
    assert WeightedVote(POOL, "sum_log_p", 4.0).choose(pool) == 1
    # exp(sum) of 4,000 nats is 0 in floating point; 7 has e^-0.9 + e^-0.5 > 1 of what 9 has.
    far = candidates(("9", -4000.0, 1), ("7", -4000.9, 1), ("7", -4000.5, 1))
    assert WeightedVote(POOL, "sum_log_p", 2.0).choose(far) == 2


def test_alpha_one_is_the_plain_vote() -> None:
    for answers in product(["7", "9", None], repeat=4):
        pool = candidates(*((answer, -1.5, 2) for answer in answers))
        for score in ("mean_log_p", "sum_log_p", "confidence"):
            assert WeightedVote(POOL, score, 1.0).choose(pool) == Majority(POOL).choose(pool)


def test_best_of_n_by_sum_prefers_short_answers_and_by_mean_does_not() -> None:
    pool = candidates(("a", -2.0, 1), ("b", -3.0, 10))
    assert BestOfN(POOL, "sum_log_p").choose(pool) == 0
    assert BestOfN(POOL, "mean_log_p").choose(pool) == 1


# -- pools -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1.0, 5.0, 20.5])
@pytest.mark.parametrize("kind", ["pool", "pool of"])
def test_a_budget_is_crossed_by_the_last_candidate_and_by_no_earlier_one(budget: float, kind: str) -> None:
    policy = ToyPolicy.random(2, length=6)
    sampler = Pool(6, 1.0, budget=budget) if kind == "pool" else PoolOf(Temperature(6, 1.0), budget=budget)
    for chain in range(20):
        [(_, sample)] = run(policy, [(0, sampler.sample(Prompt(PROMPT, STOP, Key(0, "p", chain))))], 2, 16)
        spent = [len(candidate) for candidate in sample.candidates]
        assert sum(spent) == sample.decode_tokens >= budget
        assert sum(spent[:-1]) < budget


def test_a_budget_counts_all_that_its_sampler_draws() -> None:
    """Power sampling and budget forcing draw more than their answers hold."""
    policy = ToyPolicy.random(2, length=6)
    for inner in (Power(6, 2.0, 2, 3), BudgetForcing(6, 1, n_waits=1, temperature=1.0)):
        prompt = Prompt(PROMPT, STOP, Key(0, "p"), encode=lambda _text: (2,))
        [(_, sample)] = run(policy, [(0, PoolOf(inner, budget=60.0).sample(prompt))], 2, 16)
        assert sample.decode_tokens >= 60.0
        answers = sum(candidate.n_scored for candidate in sample.candidates)
        assert answers < sample.decode_tokens


@pytest.mark.parametrize(
    "pool", [Pool(6, 1.0, n=30), PoolOf(Temperature(6, 1.0), n=30), PoolOf(Power(6, 1.5, 3, 2), n=30)]
)
def test_candidates_of_a_pool_are_independent_draws(pool: AnyPool) -> None:
    policy = ToyPolicy.random(2, length=6)
    [(_, sample)] = run(policy, [(0, pool.sample(Prompt(PROMPT, STOP, Key(0, "p"))))], 2, 16)
    assert len({candidate.tokens for candidate in sample.candidates}) > 5


def test_a_pool_goes_on_within_the_candidate_that_was_in_the_making() -> None:
    policy, pool = ToyPolicy.random(2, length=6), PoolOf(Power(6, 2.0, 2, 2), n=3)
    states: list[Any] = []
    tasks = [(0, pool.sample(Prompt(PROMPT, STOP, Key(0, "p"))))]
    [(_, whole)] = run(policy, tasks, 2, 16, on_checkpoint=lambda _, state: states.append(state))
    assert sum(state["within"] is not None for state in states) >= 3
    assert sum(state["within"] is None for state in states) == 3
    for state in states:
        saved = json.loads(json.dumps(state))
        [(_, resumed)] = run(policy, [(0, pool.sample(Prompt(PROMPT, STOP, Key(0, "p")), saved))], 2, 16)
        assert [c.tokens for c in resumed.candidates] == [c.tokens for c in whole.candidates]
        assert resumed.decode_tokens == whole.decode_tokens


def test_pools_keep_the_artifact_keys_that_they_had() -> None:
    assert canonical_form(BestOfN(POOL)) == {
        "class": "reasoning_lab.sampler.best_of_n.BestOfN",
        "pool": {"class": "reasoning_lab.sampler.best_of_n.Pool", "max_new_tokens": 8, "temperature": 1.0, "n": 4},
    }


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pool", "pool of"])
def test_exactly_one_size_is_given(kind: str) -> None:
    def pool(**size: Any) -> AnyPool:
        return Pool(8, 1.0, **size) if kind == "pool" else PoolOf(Temperature(8, 1.0), **size)

    with pytest.raises(ValueError, match="exactly one of n, budget, tokens_matched_to"):
        pool()
    with pytest.raises(ValueError, match="exactly one of n, budget, tokens_matched_to"):
        pool(n=2, budget=3.0)
    with pytest.raises(ValueError, match="budget=-1.0: must be at least 1"):
        pool(budget=-1.0)


@pytest.mark.parametrize("same", [Greedy(8), Beam(8, 2), BudgetForcing(8, 1)])
def test_a_pool_of_equal_answers_is_refused(same: Any) -> None:
    with pytest.raises(ValueError, match=r"sampler=\w+: must be one whose answers differ; set a temperature above 0"):
        PoolOf(same, n=2)


def test_a_pool_of_pools_is_refused() -> None:
    for nested in (POOL, Majority(POOL)):
        with pytest.raises(ValueError, match=r"sampler=\w+: must be a sampler of single answers"):
            PoolOf(nested, n=2)


def test_a_mean_does_not_count_inserted_tokens() -> None:
    pool = [Candidate("", (1,) * 4, "stop", -2.0, 0.0, "a", (1, 2)), Candidate("", (1,) * 3, "stop", -2.0, 0.0, "b")]
    assert BestOfN(POOL).choose(pool) == 1


def test_a_flattening_vote_is_refused() -> None:
    for alpha in (0.5, math.inf, math.nan):
        with pytest.raises(ValueError, match=rf"alpha={alpha}: must be at least 1 and finite; 1 is the plain vote"):
            WeightedVote(POOL, alpha=alpha)


def test_a_budget_that_nobody_resolved_is_named() -> None:
    with pytest.raises(ValueError, match="tokens_matched_to=power: the run must resolve it to a budget first"):
        next(Pool(8, 1.0, tokens_matched_to="power").sample(Prompt(PROMPT, STOP, Key(0, "p"))))
