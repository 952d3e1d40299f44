"""Budget forcing against the procedure written plainly over whole laws; nothing that is put in is ever counted."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch

from reasoning_lab.engine.policy import Chain, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.sampler.budget_forcing import BudgetForcing
from tests.engine.oracle import PROMPT, STOP, Reprefill, State, draws, p_value, samples, tempered, unchecked
from tests.engine.test_scheduler import STOP as MODEL_STOP
from tests.engine.test_scheduler import model
from tests.engine.test_scheduler import prompts as model_prompts

TEXTS = {"wait": (1,), "final": (2, 1), "close": (3,), "two": (1, 1)}
LENGTH = 9


def encode(text: str) -> tuple[int, ...]:
    return TEXTS[text]


def forcing(**changed: Any) -> BudgetForcing:
    plain = {
        "max_new_tokens": LENGTH, "max_answer_tokens": 1, "max_thinking_tokens": 3, "n_waits": 1, "wait": "wait",
        "final_answer": "final", "think_close": None, "temperature": 1.0,
    }  # fmt: skip
    return BudgetForcing(**plain | changed)  # pyright: ignore


def law_policy(seed: int = 3, vocab_size: int = 4) -> ToyPolicy:
    """Normal logits after every prefix of ids 1 ... and the stop id 0 nowhere but at an end."""
    policy = ToyPolicy.random(seed, vocab_size=vocab_size, length=1, stop_logit=-0.3)
    generator = torch.Generator().manual_seed(seed)
    for n in range(LENGTH):
        for tail in product(range(1, vocab_size), repeat=n):
            if n < 7:
                policy.laws[PROMPT + tail] = torch.softmax(
                    torch.randn(vocab_size, generator=generator, dtype=torch.float64), 0
                ).tolist()
    return policy


# -- s1's procedure, over all draws ------------------------------------------------------------------------------------


def drawn(
    policy: ToyPolicy, text: State, ends: set[int], most: int, temperature: float, not_first: frozenset[int] | set[int]
) -> Iterator[tuple[State, int, float]]:
    """What one call of a text generator gives: (text with the end, if it ended, tokens drawn, probability)."""
    if most == 0:
        yield text, 0, 1.0
        return
    p = [0.0 if id in not_first else x for id, x in enumerate(policy.probabilities(PROMPT + text))]
    for id, q in enumerate(tempered(p, temperature)):
        if q == 0:
            continue
        if id in ends:
            yield (*text, id), 1, q
        else:
            for longer, n, rest in drawn(policy, (*text, id), ends, most - 1, temperature, set()):
                yield longer, n + 1, q * rest


def budget_forced(policy: ToyPolicy, s: BudgetForcing) -> dict[tuple[State, int], float]:
    """Law of (text, tokens drawn): s1's procedure, call by call."""
    stop, close = set(STOP), set(encode(s.think_close)) if s.think_close else set()
    ends = stop | close
    wait, final = (encode(text) if text else () for text in (s.wait, s.final_answer))
    assert s.max_thinking_tokens is not None
    thoughts: list[tuple[State, int, float]] = list(
        drawn(policy, (), ends, s.max_thinking_tokens, s.temperature, set())
    )
    for _ in range(s.n_waits):
        longer: list[tuple[State, int, float]] = []
        for text, n, p in thoughts:
            left = s.max_thinking_tokens - n
            if text[-1] in ends and left > 0:
                for after, more, q in drawn(policy, text[:-1] + wait, ends, left, s.temperature, ends):
                    longer.append((after, n + more, p * q))
            else:
                longer.append((text, n, p))
        thoughts = longer
    law: dict[tuple[State, int], float] = {}
    for text, n, p in thoughts:
        if text[-1] in stop and not close:
            law[text, n] = law.get((text, n), 0.0) + p
            continue
        cut = text[:-1] if text[-1] in stop else text
        before = text if text[-1] in close else cut + tuple(close) + final
        for after, more, q in drawn(policy, before, stop, s.max_answer_tokens, s.temperature, set()):
            law[after, n + more] = law.get((after, n + more), 0.0) + p * q
    return law


CASES = {
    "one wait": forcing(),
    "no wait": forcing(n_waits=0),
    "three waits": forcing(n_waits=3, max_thinking_tokens=3, final_answer=""),
    "an empty wait": forcing(wait="", n_waits=2),
    "a wait of two tokens": forcing(wait="two", max_thinking_tokens=3),
    "low temperature": forcing(temperature=0.5),
    "a tag": forcing(think_close="close"),
    "a tag and no wait": forcing(think_close="close", n_waits=0, max_answer_tokens=2, max_thinking_tokens=2),
    "only a cap": forcing(n_waits=0, final_answer="", max_thinking_tokens=2, max_answer_tokens=2),
}


@pytest.mark.parametrize("name", CASES)
def test_texts_have_the_law_of_the_procedure(name: str) -> None:
    policy, sampler = law_policy(), CASES[name]
    joint = budget_forced(policy, sampler)
    assert sum(joint.values()) == pytest.approx(1.0, abs=1e-12)
    law: dict[State, float] = {}
    for (text, _), p in joint.items():
        law[text] = law.get(text, 0.0) + p
    assert p_value(draws(policy, sampler, 3000, encode=encode), law) > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_costs_have_the_law_of_the_procedure(name: str) -> None:
    policy, sampler = law_policy(), CASES[name]
    joint = budget_forced(policy, sampler)
    answers = samples(policy, sampler, 400, encode=encode)
    assert {(s.chain.tokens, s.decode_tokens) for s in answers} <= set(joint)
    mean = sum(n * p for (_, n), p in joint.items())
    spread = math.sqrt(sum((n - mean) ** 2 * p for (_, n), p in joint.items()) / 400)
    assert abs(sum(s.decode_tokens for s in answers) / 400 - mean) < 4 * spread + 1e-9


def test_the_laws_of_the_cases_differ() -> None:
    """Else the tests above could not tell one procedure from another."""
    policy = law_policy()
    laws = [budget_forced(policy, sampler) for sampler in CASES.values()]
    for i, a in enumerate(laws):
        for b in laws[:i]:
            assert sum(abs(a.get(key, 0.0) - b.get(key, 0.0)) for key in {*a, *b}) > 0.05


def test_greedy_is_the_procedures_single_answer() -> None:
    for seed in range(6):
        policy = law_policy(seed)
        for name in ("one wait", "three waits", "a tag"):
            sampler = forcing(**{**vars(CASES[name]), "temperature": 0.0})
            sharp = forcing(**{**vars(CASES[name]), "temperature": 0.01})
            [(text, n), p] = max(budget_forced(policy, sharp).items(), key=lambda item: item[1])
            [sample] = samples(policy, sampler, 1, encode=encode)
            assert p > 0.5
            assert (sample.chain.tokens, sample.decode_tokens) == (text, n)


# -- what is put in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_no_inserted_token_is_ever_counted(name: str) -> None:
    policy, sampler, counts = law_policy(), CASES[name], Counts()
    tasks = [(i, sampler.sample(Prompt(PROMPT, STOP, Key(0, "p", i), encode=encode))) for i in range(60)]
    with unchecked():
        answers = [sample for _, sample in run(policy, tasks, 8, 16, counts=counts)]
    assert sum(sample.decode_tokens for sample in answers) == counts.drawn
    for sample in answers:
        chain, log_p, negentropy = sample.chain, 0.0, 0.0
        for n, id in enumerate(chain.tokens):
            p = list(policy.probabilities(PROMPT + chain.tokens[:n]))
            if n in chain.inserted:
                assert (chain.log_p[n], chain.log_q[n], chain.log_z[n], chain.negentropy[n]) == (0, 0, 0, 0)
                continue
            log_p += math.log(p[id])
            negentropy += sum(x * math.log(x) for x in p)
            # Behind a wait the ends are excluded: q is the law without them.
            ends = {0, 3} if sampler.think_close else {0}
            laws = [p, [0.0 if i in ends and id not in ends else x for i, x in enumerate(p)]]
            q = [math.log(tempered(law, sampler.temperature)[id]) for law in laws]
            assert min(abs(chain.log_q[n] - one) for one in q) < 1e-9
        assert sum(chain.log_p) == pytest.approx(log_p, abs=1e-9)
        assert sum(chain.negentropy) == pytest.approx(negentropy, abs=1e-9)
        assert chain.n_scored == len(chain) - len(chain.inserted) <= sample.decode_tokens


def test_inserted_tokens_are_the_texts_and_stay_in_the_answer() -> None:
    policy = law_policy()
    answers = samples(policy, forcing(max_new_tokens=12, wait="two", n_waits=2), 200, encode=encode)
    assert any(s.chain.inserted for s in answers)
    for sample in answers:
        chain = sample.chain
        runs: list[list[int]] = []
        for position in chain.inserted:
            if runs and runs[-1][-1] == position - 1 and len(runs[-1]) < 2:
                runs[-1].append(position)
            else:
                runs.append([position])
        assert all(tuple(chain.tokens[i] for i in one) in {(1, 1), (2, 1)} for one in runs)


def test_a_cut_at_an_inserted_token_is_refused() -> None:
    policy = law_policy()
    chains = (s.chain for s in samples(policy, forcing(), 50, encode=encode))
    chain = next(chain for chain in chains if chain.inserted and chain.inserted[-1] < len(chain) - 1)
    for keep in chain.inserted:
        with pytest.raises(ValueError, match=f"keep={keep}: that token was inserted; cut where one was drawn"):
            Request(chain, keep, Key(0, "p"), LENGTH, STOP)
    last = chain.inserted[-1] + 1
    assert Request(chain, last, Key(0, "p"), LENGTH, STOP).parent.kept(last).inserted == chain.inserted
    assert chain.kept(chain.inserted[0]).inserted == ()
    assert Chain.restored(PROMPT, chain.plain()).inserted == chain.inserted


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rollback_equals_re_prefilling(temperature: float) -> None:
    policy = model(torch.float64)
    texts = {"wait": (5, 6), "final": (7,), "close": (9,)}
    sizes = {"max_new_tokens": 24, "max_thinking_tokens": 12, "max_answer_tokens": 4, "n_waits": 2}
    for tag in (None, "close"):
        sampler = forcing(**sizes, temperature=temperature, think_close=tag)
        asked = [Prompt(p.ids, MODEL_STOP | {2, 3, 4}, p.key, encode=texts.__getitem__) for p in model_prompts(8)]
        fast = dict(run(policy, [(i, sampler.sample(prompt)) for i, prompt in enumerate(asked)], 3, 100))
        for i, prompt in enumerate(asked):
            slow = Reprefill(policy).run(sampler.sample(prompt))
            assert (fast[i].chain.tokens, fast[i].decode_tokens) == (slow.chain.tokens, slow.decode_tokens)
            assert fast[i].chain.inserted == slow.chain.inserted
            assert fast[i].chain.log_p == pytest.approx(slow.chain.log_p, abs=1e-10)
        assert any(sample.chain.inserted for sample in fast.values())


# -- lengths and mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [0, 1, 3])
def test_an_answer_never_outgrows_max_new_tokens(waits: int) -> None:
    policy = law_policy(1)
    sampler = forcing(max_new_tokens=8, max_thinking_tokens=None, n_waits=waits, think_close="close")
    lengths = [len(s.chain) for s in samples(policy, sampler, 200, encode=encode)]
    assert max(lengths) <= 8


def test_bad_parameters_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="n_waits=-1: must be at least 0; 0 only cuts off"):
        forcing(n_waits=-1)
    with pytest.raises(ValueError, match="temperature=-1.0: must be at least 0; 0 is greedy"):
        forcing(temperature=-1.0)
    with pytest.raises(ValueError, match="max_answer_tokens=9: must be at most max_new_tokens=9 less 3 of thinking"):
        forcing(max_answer_tokens=9)
    with pytest.raises(ValueError, match="max_thinking_tokens=0: must be a whole number of at least 1"):
        forcing(max_thinking_tokens=0)


def test_what_only_the_tokenizer_knows_is_refused_before_anything_is_drawn() -> None:
    def first(sampler: BudgetForcing, **given: Any) -> Any:
        return next(sampler.sample(Prompt(PROMPT, STOP, Key(0, "p"), **given)))

    with pytest.raises(ValueError, match="needs prompt.encode"):
        first(forcing())
    with pytest.raises(ValueError, match="think_close=two: must be one token of the model, is 2; set think_close=null"):
        first(forcing(think_close="two"), encode=encode)
    with pytest.raises(ValueError, match="max_new_tokens=5: must be at least 7 for 3 of thinking, 3 inserted"):
        first(forcing(max_new_tokens=5), encode=encode)
