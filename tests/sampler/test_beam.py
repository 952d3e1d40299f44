"""Beam search: the mode by enumeration, the procedure written plainly, greedy, and transformers' own."""

import math

import pytest
import torch

from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.ancestral import Greedy
from reasoning_lab.sampler.base import Prompt, Sample
from reasoning_lab.sampler.beam import Beam
from tests.engine.oracle import PROMPT, STOP, Reprefill, State, samples
from tests.engine.test_scheduler import model
from tests.engine.test_scheduler import prompts as model_prompts

PENALTIES = [0.0, 0.7, 1.0, 1.5]


def searched(policy: ToyPolicy, sampler: Beam) -> Sample:
    [sample] = samples(policy, sampler, 1)
    return sample


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_best_of_all_answers(seed: int, penalty: float) -> None:
    policy = ToyPolicy.random(seed, length=5)
    states = policy.states(5)
    best = max(states, key=lambda state: states[state] / len(state) ** penalty)
    sample = searched(policy, Beam(5, len(states), penalty))
    assert sample.chain.tokens == best
    assert sum(sample.chain.log_p) == pytest.approx(states[best], abs=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("seed", range(5))
def test_width_one_is_greedy(seed: int, penalty: float) -> None:
    policy = ToyPolicy.random(seed, vocab_size=4, length=6)
    sample = searched(policy, Beam(6, 1, penalty))
    [greedy] = samples(policy, Greedy(6), 1)
    for name in ("tokens", "log_p", "log_q", "log_z", "negentropy", "finish"):
        assert getattr(sample.chain, name) == getattr(greedy.chain, name)
    assert sample.decode_tokens == greedy.decode_tokens


def plain_search(policy: ToyPolicy, cap: int, width: int, penalty: float) -> tuple[State, int]:
    """The class's rule on a table of whole laws: answer, and prefixes that were extended."""
    live: dict[State, float] = {(): 0.0}
    answers: dict[State, float] = {}
    extended = 0
    while live and len(answers) < width:
        extended += len(live)
        ranked = sorted(
            (
                (score + math.log(p), (*state, id))
                for state, score in live.items()
                for id, p in enumerate(policy.probabilities(PROMPT + state))
                if p > 0
            ),
            reverse=True,
        )
        top = ranked[:width]
        at_cap = len(ranked[0][1]) == cap
        answers |= {state: score for score, state in top if state[-1] in STOP or at_cap}
        going = [(score, state) for score, state in ranked if state[-1] not in STOP]
        live = {} if at_cap else {state: score for score, state in going[:width]}
    return max(answers, key=lambda state: answers[state] / len(state) ** penalty), extended


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("width", [2, 3, 5])
def test_every_width_finds_what_the_plain_search_finds_at_its_cost(width: int, penalty: float) -> None:
    answers = set()
    for seed in range(12):
        policy = ToyPolicy.random(seed, vocab_size=4, length=5, stop_logit=0.0)
        sample = searched(policy, Beam(5, width, penalty))
        assert (sample.chain.tokens, sample.decode_tokens) == plain_search(policy, 5, width, penalty)
        answers.add(sample.chain.tokens)
    assert len(answers) > 3


def test_a_narrow_beam_can_miss_what_a_wide_one_finds() -> None:
    policy = ToyPolicy.of_sequences({(1, 1): 0.3, (1, 2): 0.3, (2, 1): 0.4}, vocab_size=3)
    assert searched(policy, Beam(3, 1, 0.0)).chain.tokens == (1, 1, 0)
    assert searched(policy, Beam(3, 2, 0.0)).chain.tokens == (2, 1, 0)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_answer_is_transformers_own(width: int, penalty: float) -> None:
    policy = model(torch.float64)
    asked = [prompt for prompt in model_prompts(8) if len(prompt.ids) > 1][:5]
    ours = dict(run(policy, [(i, Beam(16, width, penalty).sample(p)) for i, p in enumerate(asked)], 6, 100))
    policy.model.set_attn_implementation("sdpa")
    for i, prompt in enumerate(asked):
        ids = torch.tensor([prompt.ids])
        theirs = policy.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, num_beams=width, early_stopping=width > 1,
            length_penalty=penalty, do_sample=False, eos_token_id=sorted(prompt.stop_ids), pad_token_id=0,
        )[0, len(prompt.ids) :].tolist()  # fmt: skip
        tokens = list(ours[i].chain.tokens)
        assert theirs[: len(tokens)] == tokens
        assert set(theirs[len(tokens) :]) <= {0}


@pytest.mark.parametrize("width", [2, 4])
def test_rollback_equals_re_prefilling(width: int) -> None:
    policy = model(torch.float64)
    asked = model_prompts(4)
    for prompt, rows in zip(asked, (1, 2, 3, 8), strict=True):
        [(_, fast)] = run(policy, [(0, Beam(20, width).sample(prompt))], rows, 100)
        slow = Reprefill(policy).run(Beam(20, width).sample(prompt))
        assert (fast.chain.tokens, fast.decode_tokens) == (slow.chain.tokens, slow.decode_tokens)
        assert fast.chain.log_p == pytest.approx(slow.chain.log_p, abs=1e-10)


def test_several_stop_ids_end_answers_and_take_no_live_place() -> None:
    """Two stop ids before one that goes on: the live prefix is found behind both."""
    policy = ToyPolicy({(0,): (0.4, 0.35, 0.25), (0, 2): (0.0, 0.99, 0.01)}, 3, 0)
    prompt = Prompt(PROMPT, frozenset({0, 1}), Key(0, "p"))
    [(_, sample)] = run(policy, [(0, Beam(2, 2, 0.0).sample(prompt))], 2, 8)
    assert sample.chain.tokens == (0,)
    [(_, sample)] = run(policy, [(0, Beam(2, 3, 1.0).sample(prompt))], 2, 8)
    assert sample.chain.tokens == (2, 1)  # mean log p: (log .25 + log .99) / 2 above log .4


def test_bad_parameters_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="width=0: must be a whole number of at least 1; raise width"):
        Beam(8, 0)
    with pytest.raises(ValueError, match=r"length_penalty=-1.0: must be at least 0; 0 is the sum"):
        Beam(8, 2, -1.0)
