"""Choosing from a pool."""

from collections.abc import Sequence

import pytest

from reasoning_lab.engine import run
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.records import Candidate
from reasoning_lab.rng import Key
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.best_of_n import BestOfN, Majority, Pool
from tests.oracle import PROMPT, STOP


def candidates(*given: tuple[str | None, float | int, int]) -> Sequence[Candidate]:
    return [Candidate("", (1,) * n, "stop", float(log_p), 0.0, answer) for answer, log_p, n in given]


POOL = Pool(8, 1.0, n=4)


def test_majority_takes_the_first_candidate_of_the_most_frequent_answer() -> None:
    assert Majority(POOL).choose(candidates(("7", 0, 1), ("9", 0, 1), ("9", 0, 1))) == 1


def test_majority_ties_go_to_the_answer_seen_first_and_missing_answers_do_not_vote() -> None:
    assert Majority(POOL).choose(candidates((None, 0, 1), ("9", 0, 1), (None, 0, 1), ("7", 0, 1))) == 1
    assert Majority(POOL).choose(candidates((None, 0, 1), (None, 0, 1))) == 0


def test_best_of_n_by_sum_prefers_short_answers_and_by_mean_does_not() -> None:
    pool = candidates(("a", -2.0, 1), ("b", -3.0, 10))
    assert BestOfN(POOL, "sum_log_p").choose(pool) == 0
    assert BestOfN(POOL, "mean_log_p").choose(pool) == 1


@pytest.mark.parametrize("budget", [1.0, 5.0, 20.5])
def test_a_budget_is_crossed_by_the_last_candidate_and_by_no_earlier_one(budget: float) -> None:
    policy = ToyPolicy.random(2, length=6)
    for chain in range(20):
        sampler = Pool(6, 1.0, budget=budget)
        [(_, sample)] = run(policy, [(0, sampler.sample(Prompt(PROMPT, STOP, Key(0, "p", chain))))], 2, 16)
        spent = [len(candidate) for candidate in sample.candidates]
        assert sum(spent) == sample.decode_tokens >= budget
        assert sum(spent[:-1]) < budget


def test_candidates_of_a_pool_are_independent_draws() -> None:
    policy = ToyPolicy.random(2, length=6)
    [(_, sample)] = run(policy, [(0, Pool(6, 1.0, n=30).sample(Prompt(PROMPT, STOP, Key(0, "p"))))], 2, 16)
    assert len({candidate.tokens for candidate in sample.candidates}) > 5


def test_exactly_one_size_is_given() -> None:
    with pytest.raises(ValueError, match="exactly one of n, budget, tokens_matched_to"):
        Pool(8, 1.0)
    with pytest.raises(ValueError, match="exactly one of n, budget, tokens_matched_to"):
        Pool(8, 1.0, n=2, budget=3.0)
    with pytest.raises(ValueError, match="budget=-1.0: must be at least 1"):
        Pool(8, 1.0, budget=-1.0)
