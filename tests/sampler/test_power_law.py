"""Power sampling against exact laws on enumerable policies (and the authors' own kernel: departures D1 to D5)."""

import math
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from reasoning_lab.engine.policy import Chain, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.token import TokenPlan, draw_tokens
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import Prompt, Sample, Sampler
from reasoning_lab.sampler.metropolis import AcceptanceRule, Ladder, OverlapRule, PowerRule, Redraw
from reasoning_lab.sampler.power import Power, PowerLimit
from tests.engine.oracle import (
    PROMPT,
    STOP,
    State,
    all_states,
    chain_of,
    continuations,
    draws,
    matrix,
    p_value,
    pad_log_ratio,
    power_law,
    stationary,
    total_variation,
    unchecked,
)

SEEDS = (1, 2, 3, 4)
ALPHA = 4.0
LENGTH = 5


def exact_rule(alpha: float = ALPHA) -> PowerRule:
    return Power(LENGTH, alpha, LENGTH, 1).ladder.rule  # pyright: ignore[reportReturnType]


def reference_rule(alpha: float = ALPHA) -> OverlapRule:
    return Power(LENGTH, alpha, LENGTH, 1, compat="karan2025").ladder.rule  # pyright: ignore[reportReturnType]


def vector(law: dict[State, float], states: list[State]) -> np.ndarray:
    return np.array([law.get(state, 0.0) for state in states])


# -- T1: one rung ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("temperature", [1 / ALPHA, 0.5, 1.0])
def test_one_rung_is_stationary_and_reversible_for_the_power_law(seed: int, temperature: float) -> None:
    policy = ToyPolicy.random(seed, length=LENGTH)
    states = sorted(policy.states(LENGTH))
    target = vector(power_law(policy.states(LENGTH), ALPHA), states)
    P = matrix(policy, states, temperature, exact_rule().log_ratio, lambda _: LENGTH)
    flow = target[:, None] * P
    assert np.abs(flow - flow.T).max() < 1e-15
    assert total_variation(stationary(P), target) < 1e-10


@pytest.mark.parametrize("seed", SEEDS)
def test_the_padded_kernel_has_the_same_law(seed: int) -> None:
    """K-pad is the independent oracle: cuts over all L positions, identity beyond the end, no length factor."""
    policy = ToyPolicy.random(seed, length=LENGTH)
    states = sorted(policy.states(LENGTH))
    padded = matrix(
        policy, states, 1 / ALPHA, pad_log_ratio(ALPHA, 1 / ALPHA, policy), lambda _: LENGTH, n_cuts=lambda _: LENGTH
    )
    ours = matrix(policy, states, 1 / ALPHA, exact_rule().log_ratio, lambda _: LENGTH)
    assert total_variation(stationary(padded), stationary(ours)) < 1e-10


@pytest.mark.parametrize("seed", SEEDS)
def test_combining_the_two_kernels_would_be_wrong(seed: int) -> None:
    """The length factor belongs to cuts over the state's own length; with padded cuts it breaks the law."""
    policy = ToyPolicy.random(seed, length=LENGTH)
    states = sorted(policy.states(LENGTH))
    mixed = matrix(policy, states, 1 / ALPHA, exact_rule().log_ratio, lambda _: LENGTH, n_cuts=lambda _: LENGTH)
    target = vector(power_law(policy.states(LENGTH), ALPHA), states)
    assert total_variation(stationary(mixed), target) > 1e-4


# -- the reference's departures, each by its own test ------------------------------------------------------------------


def reference_matrix(policy: ToyPolicy, states: list[State], alpha: float = ALPHA) -> np.ndarray:
    return matrix(policy, states, 1 / alpha, reference_rule(alpha).log_ratio, len)


@pytest.mark.parametrize("seed", SEEDS)
def test_d1_reference_length_can_shrink_but_never_grow(seed: int) -> None:
    policy = ToyPolicy.random(seed, length=LENGTH)
    states = all_states(policy, LENGTH)
    P = reference_matrix(policy, states)
    lengths = np.array([len(state) for state in states])
    assert P[lengths[:, None] < lengths[None, :]].max() == 0
    assert P[lengths[:, None] > lengths[None, :]].max() > 0
    ours = matrix(policy, sorted(policy.states(LENGTH)), 1 / ALPHA, exact_rule().log_ratio, lambda _: LENGTH)
    own = np.array([len(state) for state in sorted(policy.states(LENGTH))])
    assert ours[own[:, None] < own[None, :]].max() > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_d2_reference_ratio_ignores_what_lies_beyond_the_proposal(seed: int) -> None:
    policy = ToyPolicy.random(seed, length=LENGTH)
    short = chain_of(policy, (0,), 0.25)
    long, other = chain_of(policy, (1, 1, 1, 1, 1), 0.25), chain_of(policy, (1, 2, 2, 2, 0), 0.25)
    assert reference_rule().log_ratio(long, short, 0) == reference_rule().log_ratio(other, short, 0)
    assert exact_rule().log_ratio(long, short, 0) != exact_rule().log_ratio(other, short, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_d3_without_the_length_factor_the_law_is_wrong(seed: int) -> None:
    policy = ToyPolicy.random(seed, length=LENGTH)
    states = sorted(policy.states(LENGTH))
    target = vector(power_law(policy.states(LENGTH), ALPHA), states)

    def bare(x, y, cut):
        return exact_rule().log_ratio(x, y, cut) - math.log(len(x)) + math.log(len(y))

    assert total_variation(stationary(matrix(policy, states, 1 / ALPHA, bare, lambda _: LENGTH)), target) > 1e-3
    same = chain_of(policy, (1, 1, 1, 1, 1), 0.25), chain_of(policy, (2, 2, 2, 2, 2), 0.25)
    # At equal lengths the reference's ratio is the exact one: the defect is about lengths alone.
    assert reference_rule().log_ratio(*same, 0) == pytest.approx(exact_rule().log_ratio(*same, 0), abs=1e-12)


def test_d4_reference_rungs_extend_from_the_present_length() -> None:
    """After a shrink and a reopening the reference ends below T; the exact ladder's caps are k B whatever happened."""
    policy = ToyPolicy.random(3, length=8)
    reference = Power(8, 2.0, 2, 6, compat="karan2025")
    caps = [request.cap for request in _extensions(policy, reference, chains=300)]
    assert any(cap % 2 == 1 for cap in caps)
    ours = [request.cap for request in _extensions(policy, Power(8, 2.0, 2, 6), chains=300)]
    assert {cap % 2 for cap in ours} == {0}


def _extensions(policy: ToyPolicy, sampler: Sampler, chains: int) -> list[Request]:
    """The requests that extend a state to its rung's cap."""
    seen: list[Request] = []

    def watched(coroutine: Any) -> Any:
        answer = None
        while True:
            try:
                asked = coroutine.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(asked, Request) and asked.key.step == 0:
                seen.append(asked)
            answer = yield asked

    tasks = ((i, watched(sampler.sample(Prompt(PROMPT, STOP, Key(0, "p", i))))) for i in range(chains))
    with unchecked():
        for _ in run(policy, tasks, rows=256, capacity=16):
            pass
    return seen


@pytest.mark.parametrize("seed", SEEDS)
def test_d5_stopping_at_the_first_end_of_text_stays_biased_with_perfect_rungs(seed: int) -> None:
    """With infinitely many steps per rung the full ladder is exact; returning early is not."""
    policy, alpha = ToyPolicy.random(seed, length=6), 2.0
    target = power_law(policy.states(6), alpha)
    early: dict[State, float] = {}
    going = 1.0
    for cap in (2, 4, 6):
        rung = power_law(policy.states(cap), alpha)
        finished = {state: p for state, p in rung.items() if state[-1] in STOP or cap == 6}
        for state, p in finished.items():
            early[state] = early.get(state, 0.0) + going * p
        going *= 1 - sum(finished.values())
    states = sorted(set(early) | set(target))
    assert total_variation(vector(early, states), vector(target, states)) > 0.01


def test_stationary_laws_of_exact_and_reference_kernels_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["seed  TV exact   TV reference  mean length: target  exact  reference"]
    for seed in SEEDS:
        policy = ToyPolicy.random(seed, length=LENGTH)
        states = all_states(policy, LENGTH)
        target = vector(power_law(policy.states(LENGTH), ALPHA), states)
        own = sorted(policy.states(LENGTH))
        exact = dict(
            zip(own, stationary(matrix(policy, own, 1 / ALPHA, exact_rule().log_ratio, lambda _: LENGTH)), strict=True)
        )
        start = vector(dict(continuations(policy, (), LENGTH, 1 / ALPHA)), states)
        reference = stationary(reference_matrix(policy, states), start)
        lengths = np.array([len(state) for state in states])
        ours = vector(exact, states)
        assert total_variation(ours, target) < 1e-10
        assert total_variation(reference, target) > 0.01
        lines.append(
            f"{seed:4d}  {total_variation(ours, target):.1e}    {total_variation(reference, target):.3f}"
            f"                      {target @ lengths:.3f}  {ours @ lengths:.3f}  {reference @ lengths:.3f}"
        )
    with capsys.disabled():
        print("\n" + "\n".join(lines))


# -- T2, T3: the whole ladder, and the production sampler on it --------------------------------------------------------


@cache
def rung_matrix(seed: int, length: int, alpha: float, cap: int) -> np.ndarray:
    """One step of the exact kernel on the states of a rung of ToyPolicy.random(seed, length=length)."""
    policy = ToyPolicy.random(seed, length=length)
    return matrix(policy, sorted(policy.states(cap)), 1 / alpha, exact_rule(alpha).log_ratio, lambda _: cap)


def ladder_law(
    seed: int, alpha: float, block: int, length: int, n_steps: int, first_eos: bool = False
) -> dict[State, float]:
    """Exact law of the ladder's output after n_steps steps per rung, by matrices."""
    policy, temperature = ToyPolicy.random(seed, length=length), 1 / alpha
    law: dict[State, float] = {(): 1.0}
    returned: dict[State, float] = {}
    for cap in range(block, length + 1, block):
        states = sorted(policy.states(cap))
        extended = dict.fromkeys(states, 0.0)
        for state, p in law.items():
            for longer, q in continuations(policy, state, cap, temperature):
                extended[longer] += p * q
        after = vector(extended, states) @ np.linalg.matrix_power(rung_matrix(seed, length, alpha, cap), n_steps)
        law = dict(zip(states, after, strict=True))
        if first_eos:
            for state in [state for state in law if state[-1] in STOP]:
                returned[state] = returned.get(state, 0.0) + law.pop(state)
    for state, p in returned.items():
        law[state] = law.get(state, 0.0) + p
    return law


@pytest.mark.parametrize(("n_steps", "redraw"), [(1, "from_difference"), (2, "from_cut"), (10, "from_difference")])
def test_production_sampler_has_the_exact_law_after_n_steps(n_steps: int, redraw: Redraw) -> None:
    """Catches off-by-ones that stationarity cannot see."""
    policy, alpha = ToyPolicy.random(4, length=6), 2.0
    law = ladder_law(4, alpha, block=2, length=6, n_steps=n_steps)
    assert p_value(draws(policy, Power(6, alpha, 2, n_steps, redraw=redraw), 2000), law) > 1e-3


# -- what is drawn of a proposal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1 / ALPHA, 1.0])
def test_a_proposal_that_is_drawn_from_its_first_difference_has_the_proposals_law(temperature: float) -> None:
    """One step from a given state, for every cut: the proposals against enumeration."""
    policy, start = ToyPolicy.random(4, length=LENGTH), (1, 2, 1, 1, 2)
    current = chain_of(policy, start, temperature)
    ladder = Power(LENGTH, ALPHA, LENGTH, 1, proposal_temperature=temperature).ladder
    ladder = replace(ladder, rule=PatientRule())
    resumed = {"chain": current.plain(), "rung": 0, "decode_tokens": 0, "moves": []}
    tasks = [(i, ladder.climb(Prompt(PROMPT, STOP, Key(1, "p", i)), resumed)) for i in range(6000)]
    with unchecked():
        found = [sample.moves[0] for _, sample in run(policy, tasks, 256, 16)]
    for cut in range(LENGTH):
        law = dict(continuations(policy, start[:cut], LENGTH, temperature))
        proposals = Counter(start[:cut] + move.new for move in found if move.cut == cut)
        assert proposals.total() > 900
        assert p_value(proposals, law) > 1e-3


class PatientRule(AcceptanceRule):
    """Accepts everything, and gives nothing up."""

    def log_ratio(self, current: Chain, proposal: Chain, cut: int) -> float:
        return math.inf


@pytest.mark.parametrize("alpha", [1.0, 2.0, ALPHA])
def test_every_scalar_is_that_of_the_whole_law_wherever_the_drawing_began(alpha: float) -> None:
    policy = ToyPolicy.random(5, length=6)
    with unchecked():
        tasks = [(i, Power(6, alpha, 2, 6).sample(Prompt(PROMPT, STOP, Key(0, "p", i)))) for i in range(60)]
        drawn = [sample.chain for _, sample in run(policy, tasks, 32, 16)]
    for chain in drawn:
        exact = chain_of(policy, chain.tokens, 1 / alpha)
        for scalar in ("log_p", "log_q", "log_z"):
            assert getattr(chain, scalar) == pytest.approx(getattr(exact, scalar), abs=1e-12)


def test_an_excluded_id_that_is_scored_shapes_the_draw_alone() -> None:
    """With top_k and top_p: the support is the law's own, and what is drawn is q given that it is another id."""
    torch.manual_seed(0)
    n, cut = 4000, {"temperature": 0.7, "top_k": 6, "top_p": 0.95}
    logits = torch.randn(9, dtype=torch.float64) * 2
    table = logits.expand(9, 9)
    q = [math.exp(value) for value in draw_tokens(table, [TokenPlan(forced=id, **cut) for id in range(9)]).log_q]
    out = max(range(9), key=lambda id: q[id])
    plans = [TokenPlan(uniform=(i + 0.5) / n, excluded=frozenset({out}), scores_excluded=True, **cut) for i in range(n)]
    drawn = draw_tokens(logits.expand(n, 9), plans)
    assert out not in drawn.ids
    for id, log_q in zip(drawn.ids, drawn.log_q, strict=True):
        assert math.exp(log_q) == pytest.approx(q[id], abs=1e-12)
    for id in range(9):
        expected = 0.0 if id == out else q[id] / (1 - q[out])
        assert drawn.ids.count(id) / n == pytest.approx(expected, abs=1.01 / n)


def test_what_agrees_with_the_state_is_not_drawn() -> None:
    policy = ToyPolicy.random(6, length=8)
    costs = {}
    for redraw in ("from_cut", "from_difference"):
        tasks = (
            (i, Power(8, ALPHA, 2, 10, redraw=redraw).sample(Prompt(PROMPT, STOP, Key(0, "p", i)))) for i in range(60)
        )
        with unchecked():
            drawn = [sample for _, sample in run(policy, tasks, 64, 16)]
        costs[redraw] = sum(sample.decode_tokens for sample in drawn)
        # A proposal that is the state is accepted, whatever the uniform.
        assert all(move.accepted and move.log_ratio == 0 for s in drawn for move in s.moves if move.old == move.new)
    assert costs["from_difference"] < 0.7 * costs["from_cut"]


def test_production_sampler_that_returns_at_the_first_end_of_text_has_that_law() -> None:
    policy, alpha = ToyPolicy.random(4, length=6), 2.0
    law = ladder_law(4, alpha, 2, 6, 3, first_eos=True)
    assert p_value(draws(policy, Power(6, alpha, 2, 3, stop_rule="first_eos"), 3000), law) > 1e-3


def test_production_sampler_tends_to_the_power_law() -> None:
    policy, alpha = ToyPolicy.random(4, length=4), 2.0
    target = power_law(policy.states(4), alpha)
    assert p_value(draws(policy, Power(4, alpha, 2, 25), 1000), target) > 1e-3
    assert p_value(draws(policy, Power(4, alpha, 2, 25, stop_rule="jump_to_final_cap"), 1000), target) > 1e-3
    low = draws(policy, Temperature(4, 1 / alpha), 2000)
    assert p_value(low, target) < 1e-3, "the test must be able to tell low temperature from the power law"


@pytest.mark.slow
def test_other_proposal_temperatures_have_the_same_target() -> None:
    policy, alpha = ToyPolicy.random(5, length=4), 2.0
    target = power_law(policy.states(4), alpha)
    for temperature in (0.5, 1.0):
        sampler = Power(4, alpha, 2, 25, proposal_temperature=temperature)
        assert p_value(draws(policy, sampler, 800), target) > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_steps", [1, 3, 7])
def test_power_one_is_ancestral_sampling_at_every_n(seed: int, n_steps: int) -> None:
    policy = ToyPolicy.random(seed, length=6)
    law = ladder_law(seed, 1.0, block=2, length=6, n_steps=n_steps)
    for state, log_p in policy.states(6).items():
        assert law[state] == pytest.approx(math.exp(log_p), abs=1e-13)


def test_ladder_output_approaches_the_target_and_the_reference_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """T2 in short: mean total variation of the *output* law over six models, alpha = 4."""
    rows = []
    for n_steps in (2, 10, 100):
        distances = []
        for seed in range(6):
            policy = ToyPolicy.random(seed, length=6)
            target = power_law(policy.states(6), ALPHA)
            law = ladder_law(seed, ALPHA, 2, 6, n_steps)
            states = sorted(target)
            distances.append(total_variation(vector(law, states), vector(target, states)))
        rows.append((n_steps, float(np.mean(distances))))
    assert rows[0][1] > rows[1][1] > rows[2][1]
    with capsys.disabled():
        print("\nT2 exact ladder, alpha 4, mean TV: " + ", ".join(f"N={n}: {tv:.3f}" for n, tv in rows))


# -- T4: invariances ---------------------------------------------------------------------------------------------------


def test_early_rejection_changes_cost_and_nothing_else() -> None:
    policy = ToyPolicy.random(6, length=8)
    early = Ladder(8, 2, 10, 1 / ALPHA, 0, PowerRule(ALPHA, is_tempered_target=True), "full_ladder")
    patient = Ladder(8, 2, 10, 1 / ALPHA, 0, PowerRule(ALPHA, is_tempered_target=False), "full_ladder")
    runs: list[list[Sample]] = []
    for ladder in (early, patient):
        tasks = ((i, ladder.climb(Prompt(PROMPT, STOP, Key(0, "p", i)), None)) for i in range(100))
        with unchecked():
            runs.append([sample for _, sample in sorted(run(policy, tasks, 64, 16), key=lambda pair: pair[0])])
    for a, b in zip(*runs, strict=True):
        assert a.chain.tokens == b.chain.tokens
        assert [m.accepted for m in a.moves] == [m.accepted for m in b.moves]
        assert [m.cut for m in a.moves] == [m.cut for m in b.moves]
    costs = [sum(sample.decode_tokens for sample in samples) for samples in runs]
    assert costs[0] < costs[1]


def test_resuming_from_any_checkpoint_gives_the_same_chain() -> None:
    policy, sampler = ToyPolicy.random(8, length=8), Power(8, 2.0, 2, 5)
    for chain in range(20):
        prompt = Prompt(PROMPT, STOP, Key(0, "p", chain))
        states: list[dict] = []
        [(_, whole)] = run(policy, [(0, sampler.sample(prompt))], 2, 16, on_checkpoint=lambda _, s: states.append(s))
        assert len(states) == 3
        for state in states:
            [(_, resumed)] = run(policy, [(0, sampler.sample(prompt, state))], 2, 16)
            assert resumed.chain.tokens == whole.chain.tokens
            assert resumed.moves == whole.moves
            assert resumed.decode_tokens == whole.decode_tokens


# -- T6: the slides' numbers -------------------------------------------------------------------------------------------


def test_slide_example_power_law() -> None:
    law = power_law({(1,): math.log(0.5), (2,): math.log(0.3), (3,): math.log(0.2)}, 2.0)
    assert [round(p, 3) for p in law.values()] == [0.658, 0.237, 0.105]


def test_slide_example_pivotal_token_flips() -> None:
    """p(aa, ab, ba, bb) = 0, .40, .25, .25: p^2 prefers a (.160 : .125), low temperature b (.160 : .250)."""
    a, b = 1, 2
    policy = ToyPolicy.of_sequences({(a, b): 0.40, (b, a): 0.25, (b, b): 0.25}, vocab_size=3)
    power = power_law(policy.states(3), 2.0)
    first = {token: sum(p for state, p in power.items() if state[0] == token) for token in (a, b)}
    assert first[a] / first[b] == pytest.approx(0.160 / 0.125)
    drawn = draws(policy, Temperature(3, 0.5), 4000)
    low = {token: sum(n for state, n in drawn.items() if state[0] == token) for token in (a, b)}
    assert chisquare([low[a], low[b]], [4000 * 0.16 / 0.41, 4000 * 0.25 / 0.41]).pvalue > 1e-3
    sampled = draws(policy, Power(3, 2.0, 3, 30), 1000)
    high = {token: sum(n for state, n in sampled.items() if state[0] == token) for token in (a, b)}
    assert high[a] > high[b] and low[a] < low[b]


def test_gaussian_mixture_sharpens_to_its_fourth_power() -> None:
    """The paper's Figure 2: draws from p^4 of a Gaussian mixture on a grid, written as five binary digits."""
    grid = np.linspace(-4, 4, 32)
    density = 0.6 * np.exp(-((grid + 1.5) ** 2) / 2) + 0.4 / 0.5 * np.exp(-((grid - 2) ** 2) / 0.5)
    digits = [tuple(1 + (i >> k & 1) for k in (4, 3, 2, 1, 0)) for i in range(32)]
    policy = ToyPolicy.of_sequences(dict(zip(digits, density, strict=True)), vocab_size=3)
    counts = draws(policy, Power(6, 4.0, 6, 30), 1200)
    target = density**4 / (density**4).sum()
    assert p_value(counts, {(*d, 0): p for d, p in zip(digits, target, strict=True)}) > 1e-3


def test_power_limit_climbs_to_the_mode() -> None:
    policy = ToyPolicy.random(9, length=4)
    best = max(policy.states(4).items(), key=lambda item: item[1])[0]
    counts = draws(policy, PowerLimit(4, 2, 200, proposal_temperature=1.0), 50)
    assert set(counts) == {best}


def cost_multiple(n_steps: int, max_new_tokens: float, block_size: int, with_plus_one: bool) -> float:
    """Proposal tokens per answer token by Karan & Du's formula.

    sum_k N k B / 2 over k = 1 ... T/B, divided by T. The paper (eq. 12) drops the +1 of K(K+1)/2: N T / (4 B) = 8.84
    at N=10, T=679, B=192; with it: N (T + B) / (4 B) = 11.34 (the slides).
    """
    return n_steps * (max_new_tokens + block_size * with_plus_one) / (4 * block_size)


def test_cost_formulas_and_the_measured_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert round(cost_multiple(10, 679.0, 192, with_plus_one=False), 2) == 8.84
    assert round(cost_multiple(10, 679.0, 192, with_plus_one=True), 2) == 11.34
    # A law that never stops and is uniform: every proposal is accepted, every length is 679.
    policy = ToyPolicy({}, 2, 0)
    policy.probabilities = lambda _ids: (0.5, 0.5)  # pyright: ignore[reportAttributeAccessIssue]
    policy.context_length = 1024
    sampler = Power(679, 4.0, 192, 10)
    counts = Counts()
    tasks = ((i, sampler.sample(Prompt(PROMPT, frozenset(), Key(0, "p", i)))) for i in range(8))
    with unchecked():
        spent = [sample.decode_tokens / 679 for _, sample in run(policy, tasks, 8, 700, counts=counts)]
    expected = sampler.expected_tokens(679.0) / 679
    assert expected == pytest.approx(14.51, abs=0.01)
    assert np.mean(spent) == pytest.approx(expected, rel=0.15)
    with capsys.disabled():
        print(
            f"\ncost per answer token at N=10, T=679, B=192: paper 8.84, with the +1 11.34, whole ragged ladder "
            f"{expected:.2f}, measured {np.mean(spent):.2f} ± {np.std(spent) / len(spent) ** 0.5:.2f}"
        )
