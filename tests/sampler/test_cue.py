"""Cued samplers against the law that the same policy has behind its cue, by enumeration."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from reasoning_lab.engine.policy import Chain, Coroutine, Request
from reasoning_lab.engine.policy import State as EngineState
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt, Sample, Sampler, Words
from reasoning_lab.sampler.beam import Beam
from reasoning_lab.sampler.best_of_n import BestOfN, Majority, Pool, PoolOf
from reasoning_lab.sampler.budget_forcing import BudgetForcing
from reasoning_lab.sampler.cue import Cued, unescaped
from reasoning_lab.sampler.power import Power, PowerLimit
from tests.engine.oracle import (
    PROMPT,
    STOP,
    Reprefill,
    State,
    continuations,
    draws,
    matrix,
    p_value,
    power_law,
    samples,
)

LENGTH, ALPHA = 6, 2.0
CUES = [(2,), (1, 2)]


def policy_behind(cue: State, seed: int = 4) -> tuple[ToyPolicy, ToyPolicy]:
    """A random policy, and the policy that it is behind PROMPT and cue, as one that begins with PROMPT."""
    whole = ToyPolicy.random(seed, length=LENGTH)
    opening = (*PROMPT, *cue)
    laws = {(*PROMPT, *k[len(opening) :]): p for k, p in whole.laws.items() if k[: len(opening)] == opening}
    return whole, ToyPolicy(laws, 3, stop_id=0)


def behind(counts: Counter[State], cue: State) -> Counter[State]:
    """The answers without the cue, with which each begins."""
    assert all(answer[: len(cue)] == cue for answer in counts)
    return Counter({answer[len(cue) :]: n for answer, n in counts.items()})


def ladder_law(policy: ToyPolicy, sampler: Power) -> dict[State, float]:
    """Exact law of a ladder's output, by matrices."""
    law: dict[State, float] = {(): 1.0}
    caps = [*range(sampler.block_size, sampler.max_new_tokens, sampler.block_size), sampler.max_new_tokens]
    for cap in caps:
        states = sorted(policy.states(cap))
        extended = dict.fromkeys(states, 0.0)
        for state, p in law.items():
            for longer, q in continuations(policy, state, cap, 1 / sampler.alpha):
                extended[longer] += p * q
        P = matrix(policy, states, 1 / sampler.alpha, sampler.ladder.rule.log_ratio, lambda _, cap=cap: cap)
        after = np.array([extended[state] for state in states]) @ np.linalg.matrix_power(P, sampler.n_steps)
        law = dict(zip(states, after.tolist(), strict=True))
    return law


@pytest.mark.parametrize("cue", CUES)
def test_ancestral_draws_have_the_law_behind_the_cue(cue: State) -> None:
    whole, rest = policy_behind(cue)
    law = {state: np.exp(log_p) for state, log_p in rest.states(LENGTH - len(cue)).items()}
    counts = behind(draws(whole, Cued(Temperature(LENGTH, 1.0), cue_ids=cue), 2000), cue)
    assert p_value(counts, law) > 1e-3


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("n_steps", [1, 3])
def test_power_sampling_has_the_ladders_exact_law_behind_the_cue(cue: State, n_steps: int) -> None:
    """Lengths, cuts and the floor of early rejection that counted the cue would each give another law."""
    whole, rest = policy_behind(cue)
    inner = Power(LENGTH - len(cue), ALPHA, 2, n_steps)
    counts = behind(draws(whole, Cued(Power(LENGTH, ALPHA, 2, n_steps), cue_ids=cue), 3000), cue)
    assert p_value(counts, ladder_law(rest, inner)) > 1e-3


def test_power_sampling_tends_to_the_power_law_of_the_continuations() -> None:
    cue = (1, 2)
    whole, rest = policy_behind(cue)
    counts = behind(draws(whole, Cued(Power(LENGTH, ALPHA, 2, 25), cue_ids=cue), 1000), cue)
    assert p_value(counts, power_law(rest.states(LENGTH - 2), ALPHA)) > 1e-3


@pytest.mark.parametrize(
    "inner",
    [
        Temperature(LENGTH, 0.5), Greedy(LENGTH), Beam(LENGTH, 2), Power(LENGTH, ALPHA, 2, 3),
        PowerLimit(LENGTH, 2, 3, 0.5), Power(LENGTH, ALPHA, 2, 2, compat="karan2025"),
        BudgetForcing(LENGTH, 1, n_waits=1, wait="w", final_answer="f", temperature=1.0),
    ],
    ids=lambda inner: type(inner).__name__,
)  # fmt: skip
def test_any_sampler_is_cued_by_one_mechanism(inner: Sampler) -> None:
    """The cue is inserted, unscored and kept through every move; a runner without cache agrees token by token."""
    cue, encode = (2, 1), lambda _text: (1,)
    whole = ToyPolicy.random(5, length=LENGTH)
    sampler = Cued(inner, cue_ids=cue)
    prompts = [Prompt(PROMPT, STOP, Key(7, "toy", n), encode=encode) for n in range(12)]
    for n, sample in run(whole, [(n, sampler.sample(prompt)) for n, prompt in enumerate(prompts)], 4, 16):
        chain = sample.chain
        assert chain.tokens[:2] == cue and chain.inserted[:2] == (0, 1) and len(chain) <= LENGTH
        assert chain.prompt == PROMPT
        expected = [float(whole.next_logits((*PROMPT, *chain.tokens[:k]))[t]) for k, t in enumerate(chain.tokens)]
        for at in chain.inserted:
            expected[at] = 0.0
        assert chain.log_p == pytest.approx(expected, abs=1e-10)
        assert all(move.cut >= 2 for move in sample.moves)
        slow = Reprefill(whole).run(sampler.sample(prompts[n]))
        assert (slow.chain.tokens, slow.decode_tokens, slow.moves) == (
            chain.tokens, sample.decode_tokens, sample.moves,
        )  # fmt: skip


def test_the_cue_costs_no_draw() -> None:
    whole, counts = ToyPolicy.random(5, length=LENGTH), Counts()
    sampler = Cued(Temperature(LENGTH, 1.0), cue_ids=(1, 2))
    tasks = [(i, sampler.sample(Prompt(PROMPT, STOP, Key(0, "p", i)))) for i in range(20)]
    done = [sample for _, sample in run(whole, tasks, 4, 16, counts=counts)]
    assert sum(s.decode_tokens for s in done) == counts.drawn == sum(len(s.chain) - 2 for s in done)


def test_a_schedule_of_temperatures_begins_behind_the_cue() -> None:
    @dataclass(frozen=True)
    class Cooling(Sampler):
        max_new_tokens: int

        def sample(self, prompt: Prompt, resume: EngineState | None = None) -> Coroutine[Sample]:
            heat = (1.0, 0.0)
            chain = yield Request(Chain(prompt.ids), 0, prompt.key, self.max_new_tokens, prompt.stop_ids, heat)
            return Sample(chain, chain.n_drawn)

        def expected_tokens(self, mean_length: float) -> float:
            return mean_length

    whole = ToyPolicy.random(5, length=LENGTH)
    firsts = set()
    for sample in samples(whole, Cued(Cooling(LENGTH), cue_ids=(1, 2)), 40):
        tokens = sample.chain.tokens
        firsts.add(tokens[2])
        for n in range(3, len(tokens)):
            assert tokens[n] == int(whole.next_logits((*PROMPT, *tokens[:n])).argmax())
    assert len(firsts) > 1


def test_a_pool_is_of_cued_answers() -> None:
    whole = ToyPolicy.random(5, length=LENGTH)
    [sample] = samples(whole, PoolOf(Cued(Temperature(LENGTH, 1.0), cue_ids=(2,)), n=5), 1)
    assert len(sample.candidates) == 5 and {chain.tokens[0] for chain in sample.candidates} == {2}
    for pool in (Pool(LENGTH, 1.0, n=2), Majority(Pool(LENGTH, 1.0, n=2))):
        with pytest.raises(ValueError, match=r"of=\w+: must be a sampler of single answers; .*PoolOf"):
            Cued(pool, cue_ids=(2,))


def test_who_waits_for_a_cue_is_given_one_and_nobody_else_is_changed() -> None:
    waiting = Cued(Temperature(LENGTH, 1.0))
    given = Cued(Temperature(LENGTH, 1.0), cue_ids=(1, 2))
    assert waiting.waits_for_cue and waiting.with_cue((1, 2)) == given
    assert not given.waits_for_cue and given.with_cue((2,)) is given
    pooled = BestOfN(PoolOf(waiting, n=2))
    assert pooled.waits_for_cue and pooled.with_cue((1, 2)) == BestOfN(PoolOf(given, n=2))
    plain = Temperature(LENGTH, 1.0)
    assert not plain.waits_for_cue and plain.with_cue((1,)) is plain
    with pytest.raises(ValueError, match=r"cue=null: the run must find one first \(stage=cue\)"):
        samples(ToyPolicy.random(5), waiting, 1)


def test_a_text_is_a_cue_with_line_breaks_as_a_command_line_writes_them() -> None:
    seen: list[str] = []

    def encode(text: str) -> tuple[int, ...]:
        seen.append(text)
        return (1, 2)

    sampler = Cued(Temperature(LENGTH, 1.0), cue=r"\n\n Okay")
    [sample] = samples(ToyPolicy.random(5, length=LENGTH), sampler, 1, encode=encode)
    assert sample.chain.tokens[:2] == (1, 2) and seen == ["\n\n Okay"]
    assert unescaped(r"a\\nb\tc\nd\q") == "a\\nb\tc\nd\\q"


def test_bad_cues_are_refused_by_name() -> None:
    def asked(*overrides: str) -> None:
        build(Composer().compose(["sampler=cue", "arms=single", *overrides]))

    with pytest.raises(ConfigError, match=r"sampler.cue='': must be a text or null"):
        asked("sampler.cue=''")
    with pytest.raises(ConfigError, match=r"sampler.cue_ids=\(\): must be token ids"):
        asked("sampler.cue_ids=[]")
    with pytest.raises(ConfigError, match=r"sampler.cue_ids=\(3,\): must be null where cue is given"):
        asked("sampler.cue=a", "sampler.cue_ids=[3]")
    with pytest.raises(ConfigError, match=r"max_new_tokens=2: must be above the 2 tokens of the cue"):
        asked("sampler.cue_ids=[3,4]", "benchmark.max_new_tokens=2")
    with pytest.raises(ValueError, match=r"cue_ids=\[1, 0\]: id 0 ends an answer"):
        Cued(Temperature(LENGTH, 1.0), cue_ids=(1, 0)).check(Words(lambda _: (), STOP, 3))
    with pytest.raises(ValueError, match=r"cue='x': no token of this model"):
        Cued(Temperature(LENGTH, 1.0), cue="x").check(Words(lambda _: (), STOP, 3))
    with pytest.raises(ValueError, match=r"cue_ids=3: must be an id of the model, 0 to 2"):
        Cued(Temperature(LENGTH, 1.0), cue_ids=(1, 3)).check(Words(lambda _: (), STOP, 3))
    PoolOf(Cued(Temperature(LENGTH, 1.0), cue="x"), n=2).check(Words(lambda _: (1,), STOP, 3))
    with pytest.raises(ValueError, match=r"no token of this model"):
        Majority(PoolOf(Cued(Temperature(LENGTH, 1.0), cue="x"), n=2)).check(Words(lambda _: (), STOP, 3))
