"""Truncated token laws: exact on every prefix of an enumerable policy, and as transformers cuts them."""

import math

import pytest
import torch

from reasoning_lab.artifacts.key import canonical_form
from reasoning_lab.engine.token import TokenPlan, draw_tokens
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from tests.engine.oracle import PROMPT, STOP, State, draws, p_value, samples, tempered

CUTS = [(1.0, 0, 0.9), (1.0, 0, 0.5), (0.5, 0, 0.8), (2.0, 3, 0.7), (1.0, 2, 1.0), (0.7, 3, 0.01)]


def cut_law(probabilities: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """q written plainly: temperature, then the k most probable, then the fewest of those that hold top_p of their
    mass; ties at an edge stay."""
    q = tempered(probabilities, temperature)
    if top_k:
        least = sorted(q, reverse=True)[min(top_k, len(q)) - 1]
        q = [value if value >= least else 0.0 for value in q]
        q = [value / sum(q) for value in q]
    mass, least = 0.0, 1.0
    for value in sorted(q, reverse=True):
        if mass < top_p - 1e-12:
            mass, least = mass + value, value
    q = [value if value >= least else 0.0 for value in q]
    return [value / sum(q) for value in q]


def answers(policy: ToyPolicy, prefix: State, cap: int, *cut: float) -> dict[State, float]:
    """Law of whole answers under the cut token law."""
    if len(prefix) == cap or (prefix and prefix[-1] in STOP):
        return {prefix: 1.0}
    law: dict[State, float] = {}
    for id, q in enumerate(cut_law(list(policy.probabilities(PROMPT + prefix)), *cut)):  # pyright: ignore
        if q > 0:
            law |= {state: q * rest for state, rest in answers(policy, (*prefix, id), cap, *cut).items()}
    return law


@pytest.mark.parametrize("cut", CUTS)
def test_log_q_and_log_z_are_those_of_the_cut_law_on_every_prefix(cut: tuple[float, int, float]) -> None:
    policy = ToyPolicy.random(1, vocab_size=5, length=3)
    temperature, top_k, top_p = cut
    for prefix in policy.laws:
        p = list(policy.probabilities(prefix))
        exact = cut_law(p, *cut)
        logits = policy.next_logits(prefix).expand(5, 5)
        given = draw_tokens(logits, [TokenPlan(temperature, 0.5, id, top_k, top_p) for id in range(5)])
        assert [math.exp(q) for q in given.log_q] == pytest.approx(exact, abs=1e-12)
        assert [math.exp(value) for value in given.log_p] == pytest.approx(p, abs=1e-12)
        log_z = math.log(sum(value ** (1 / temperature) for value, q in zip(p, exact, strict=True) if q > 0))
        assert given.log_z == pytest.approx([log_z] * 5, abs=1e-12)


@pytest.mark.parametrize("cut", CUTS)
def test_answers_have_the_law_of_the_cut_policy(cut: tuple[float, int, float]) -> None:
    policy = ToyPolicy.random(2, vocab_size=4, length=3)
    law = answers(policy, (), 3, *cut)
    counts = draws(policy, Temperature(3, cut[0], cut[1], cut[2]), 1500)
    assert set(counts) <= set(law)
    if len(law) > 1:
        assert p_value(counts, law) > 1e-3
        assert p_value(counts, answers(policy, (), 3, cut[0], 0, 1.0)) < 1e-3, "the test must see the cut"


def test_the_nucleus_keeps_ties_and_reaches_its_mass_but_for_rounding() -> None:
    def kept(p: list[float], top_p: float, top_k: int = 0) -> set[int]:
        n = len(p)
        logits = torch.tensor(p, dtype=torch.float64).log().expand(n, n)
        given = draw_tokens(logits, [TokenPlan(1.0, 0.5, id, top_k, top_p) for id in range(n)])
        return {id for id, q in enumerate(given.log_q) if q > -math.inf}

    assert kept([0.2, 0.4, 0.2, 0.2], 0.4) == {1}
    assert kept([0.2, 0.4, 0.2, 0.2], 0.5) == {0, 1, 2, 3}
    assert kept([0.5, 0.3, 0.2], 0.8) == {0, 1}
    assert kept([0.5, 0.3, 0.2], 0.81) == {0, 1, 2}
    assert kept([0.5, 0.3, 0.2], 1e-9) == {0}
    # Of the two most probable, .5 and .3, the first holds .625: the mass is that of what top_k leaves.
    assert kept([0.5, 0.3, 0.2], 0.6, top_k=2) == {0}


def test_the_cut_does_not_depend_on_the_order_of_ids_nor_on_other_rows() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 40)
    order = torch.randperm(40)
    cuts = [1.0, 0.9, 0.5, 1.0, 0.99, 0.1]

    def log_q(table: torch.Tensor, ids: list[int], top_p: list[float]) -> list[float]:
        return draw_tokens(table, [TokenPlan(0.7, 0.5, id, 0, p) for id, p in zip(ids, top_p, strict=True)]).log_q

    best = logits.argmax(-1)
    plain = log_q(logits, best.tolist(), cuts)
    where = torch.empty_like(order).scatter_(0, order, torch.arange(40))
    assert log_q(logits[:, order], where[best].tolist(), cuts) == pytest.approx(plain, abs=1e-12)
    uncut = log_q(logits, best.tolist(), [1.0] * 6)
    assert [plain[0], plain[3]] == [uncut[0], uncut[3]]
    for row in range(6):
        assert log_q(logits[row : row + 1], [int(best[row])], [cuts[row]]) == [plain[row]]


def test_the_support_is_that_of_transformers_warpers() -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(1)
    logits = torch.randn(20, 50, dtype=torch.float64) * 3
    no_ids = torch.zeros(20, 1, dtype=torch.long)
    for temperature, top_k, top_p in [(1.0, 0, 0.9), (0.5, 0, 0.95), (1.5, 12, 0.6)]:
        theirs = TemperatureLogitsWarper(temperature)(no_ids, logits)  # pyright: ignore
        if top_k:
            theirs = TopKLogitsWarper(top_k)(no_ids, theirs)  # pyright: ignore
        theirs = torch.log_softmax(TopPLogitsWarper(top_p)(no_ids, theirs), -1)  # pyright: ignore
        for row in range(20):
            table = logits[row].expand(50, 50)
            ours = draw_tokens(table, [TokenPlan(temperature, 0.5, id, top_k, top_p) for id in range(50)])
            assert ours.log_q == pytest.approx(theirs[row].tolist(), abs=1e-10)


def test_limits_of_top_p_are_greedy_and_the_whole_law() -> None:
    policy = ToyPolicy.random(3, vocab_size=4, length=5)
    [greedy] = samples(policy, Greedy(5), 1)
    assert {s.chain.tokens for s in samples(policy, Temperature(5, 1.0, top_p=1e-6), 20)} == {greedy.chain.tokens}
    whole = samples(policy, Temperature(5, 1.0), 50)
    assert [s.chain for s in samples(policy, Temperature(5, 1.0, top_p=1.0), 50)] == [s.chain for s in whole]


def test_an_unused_top_p_keeps_artifact_keys() -> None:
    name = "reasoning_lab.sampler.ancestral.Temperature"
    assert canonical_form(Temperature(8, 1.0)) == {"class": name, "max_new_tokens": 8, "temperature": 1.0}
    assert canonical_form(Temperature(8, 1.0, top_p=0.9))["top_p"] == 0.9


@pytest.mark.parametrize("top_p", [0.0, -0.1, 1.01, math.nan])
def test_a_mass_outside_the_unit_interval_is_refused(top_p: float) -> None:
    with pytest.raises(ValueError, match=rf"top_p={top_p}: must be above 0 and at most 1"):
        Temperature(8, 1.0, top_p=top_p)
