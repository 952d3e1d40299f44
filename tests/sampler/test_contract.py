"""What every sampler promises; each yaml of conf/sampler enters by itself."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.engine.policy import Chain
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.records import Candidate
from reasoning_lab.sampler import base
from reasoning_lab.sampler.base import AnyPool, Prompt, Sample, Sampler, Selection
from tests.engine.oracle import PROMPT, STOP

POOLS = {"best_of_n", "majority", "weighted_vote", "self_consistency_budget_forcing"}

SAMPLERS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "sampler").glob("*.yaml"))
LENGTH = 6


@cache
def sampler(name: str) -> Sampler:
    """The sampler of a yaml, as the command line builds it, made small enough for the toy policy."""
    return shrunk(build(Composer().compose([f"sampler={name}", "arms=single"])).sampler)


def shrunk(one: Any) -> Any:
    known = {f.name for f in fields(one)}
    small = {"max_new_tokens": LENGTH, "block_size": 2, "n_steps": 3, "width": 3, "max_answer_tokens": 1}
    changed = {name: value for name, value in small.items() if name in known}
    if "pool" in known:
        changed["pool"] = shrunk(one.pool)
    if "sampler" in known:
        changed["sampler"] = shrunk(one.sampler)
    if "of" in known:
        changed |= {"of": shrunk(one.of), "cue_ids": (2,)}
    if "budget" in known:
        changed |= {"n": None, "tokens_matched_to": None, "budget": 12.0}
    return replace(one, **changed)


def prompt(chain: int = 0) -> Prompt:
    def candidate(answer: Chain) -> Candidate:
        return Candidate(str(answer.tokens), answer.tokens, "stop", sum(answer.log_p), 0.0, str(answer.tokens[0]))

    return Prompt(PROMPT, STOP, Key(0, "p", chain), candidate, encode=lambda _text: (2,))


def draw(name: str, chains: int = 40, rows: int = 16) -> list[Sample]:
    policy = ToyPolicy.random(5, length=LENGTH)
    tasks = [(i, sampler(name).sample(prompt(i))) for i in range(chains)]
    samples = dict(run(policy, tasks, rows, 16))
    return [samples[i] for i in range(chains)]


def test_a_samplers_error_does_not_wait_for_torch() -> None:
    modules = sorted(path.stem for path in Path(base.__file__).parent.glob("*.py"))
    lines = "".join(f"import reasoning_lab.sampler.{module}\n" for module in modules if module != "__init__")
    code = f"import sys\n{lines}assert not {{'torch', 'transformers', 'numpy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_answer_ends_at_its_first_stop_id_or_at_the_cap(name: str) -> None:
    for sample in draw(name):
        tokens = sample.chain.tokens
        assert 1 <= len(tokens) <= LENGTH
        has_caps_of_its_own = name == "power_karan2025" or "budget_forcing" in name
        assert tokens[-1] in STOP or len(tokens) == LENGTH or has_caps_of_its_own
        assert not set(tokens[:-1]) & STOP


@pytest.mark.parametrize("name", SAMPLERS)
def test_scalars_are_those_of_the_policy(name: str) -> None:
    policy = ToyPolicy.random(5, length=LENGTH)
    for sample in draw(name, chains=10):
        law = [policy.next_logits((*PROMPT, *sample.chain.tokens[:n])) for n in range(len(sample.chain))]
        expected = [float(p[t]) for p, t in zip(law, sample.chain.tokens, strict=True)]
        for inserted in sample.chain.inserted:
            expected[inserted] = 0.0
        assert sample.chain.log_p == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_draw_at_any_number_of_rows_and_in_any_order(name: str) -> None:
    assert draw(name, 20, rows=16) == draw(name, 20, rows=1) == draw(name, 40, rows=3)[:20]


@pytest.mark.parametrize("name", SAMPLERS)
def test_decode_tokens_count_every_drawn_token(name: str) -> None:
    from reasoning_lab.engine.scheduler import Counts

    policy, counts = ToyPolicy.random(5, length=LENGTH), Counts()
    tasks = [(i, sampler(name).sample(prompt(i))) for i in range(10)]
    assert sum(sample.decode_tokens for _, sample in run(policy, tasks, 4, 16, counts=counts)) == counts.drawn


@pytest.mark.parametrize("name", SAMPLERS)
def test_resuming_from_any_checkpoint_gives_the_same_answer(name: str) -> None:
    policy = ToyPolicy.random(5, length=LENGTH)
    for chain in range(5):
        states: list[Any] = []
        [(_, whole)] = run(policy, [(0, sampler(name).sample(prompt(chain)))], 2, 16, lambda _, s: states.append(s))
        for state in states:
            saved = json.loads(json.dumps(state))
            [(_, resumed)] = run(policy, [(0, sampler(name).sample(prompt(chain), saved))], 2, 16)
            for field in ("decode_tokens", "moves"):
                assert getattr(resumed, field) == getattr(whole, field)
            for a, b in zip((resumed.chain, *resumed.candidates), (whole.chain, *whole.candidates), strict=True):
                assert a.plain() == b.plain()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_deterministic_sampler_gives_one_answer_and_no_other_does(name: str) -> None:
    assert (len({sample.chain.tokens for sample in draw(name)}) == 1) == sampler(name).is_deterministic


@pytest.mark.parametrize("name", SAMPLERS)
def test_greedy_alone_is_greedy(name: str) -> None:
    assert sampler(name).is_greedy == (name == "greedy")
    if sampler(name).is_greedy:
        policy = ToyPolicy.random(5, length=LENGTH)
        for sample in draw(name, chains=3):
            laws = [policy.next_logits((*PROMPT, *sample.chain.tokens[:n])) for n in range(len(sample.chain))]
            assert sample.chain.tokens == tuple(int(law.argmax()) for law in laws)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_that_reads_answers_is_one_with_candidates(name: str) -> None:
    assert sampler(name).reads_answers == (name in POOLS)
    assert all(bool(sample.candidates) == sampler(name).reads_answers for sample in draw(name, chains=3))


def matched(one: Any) -> Any:
    """The sampler with its budget left to another arm, where it takes a budget."""
    if isinstance(one, Selection):
        return replace(one, pool=matched(one.pool))  # pyright: ignore[reportArgumentType]
    return replace(one, n=None, budget=None, tokens_matched_to="power") if isinstance(one, AnyPool) else one


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_budget_sets_what_matched_to_left_to_another_arm(name: str) -> None:
    takes_one, waiting = name in POOLS, matched(sampler(name))
    assert sampler(name).matched_to is None
    assert waiting.matched_to == ("power" if takes_one else None)
    given = waiting.with_budget(7.0)
    assert type(given) is type(waiting)
    assert given.matched_to is None
    assert (given is waiting) == (not takes_one)
    if takes_one:
        assert given.expected_tokens(1000.0) == 7.0
        [(_, sample)] = run(ToyPolicy.random(5, length=LENGTH), [(0, given.sample(prompt()))], 2, 16)
        assert len(sample.candidates) > 1
        assert sample.decode_tokens >= 7


@pytest.mark.parametrize("name", sorted(POOLS))
def test_pools_keep_the_contract_too_and_a_budget_replaces_their_own_size(name: str) -> None:
    selection = matched(sampler(name))
    pool = selection.pool
    assert (pool.matched_to, pool.reads_answers, pool.is_greedy) == ("power", True, False)
    assert pool.with_budget(7.0) == replace(pool, tokens_matched_to=None, budget=7.0)
    assert selection.with_budget(7.0) == replace(selection, pool=pool.with_budget(7.0))
    assert replace(pool, n=4, tokens_matched_to=None).with_budget(7.0) == pool.with_budget(7.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_expected_tokens_grow_with_the_answer(name: str) -> None:
    assert 0 < sampler(name).expected_tokens(2.0) <= sampler(name).expected_tokens(5.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_bad_lengths_are_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"max_new_tokens=0: must be (≥ 1|a whole number of at least 1)"):
        build(Composer().compose([f"sampler={name}", "arms=single", "benchmark.max_new_tokens=0"]))


@pytest.mark.parametrize("name", [n for n in SAMPLERS if isinstance(sampler(n), Selection)])
def test_a_selection_chooses_from_its_pools_own_draws(name: str) -> None:
    policy, selection = ToyPolicy.random(5, length=LENGTH), sampler(name)
    assert isinstance(selection, Selection)
    for chain in range(10):
        [(_, chosen)] = run(policy, [(0, selection.sample(prompt(chain)))], 2, 16)
        [(_, pooled)] = run(policy, [(0, selection.pool.sample(prompt(chain)))], 2, 16)
        assert chosen.candidates == pooled.candidates
        read = prompt().candidate
        assert read is not None
        assert chosen.chain == pooled.candidates[selection.choose([read(c) for c in pooled.candidates])]
