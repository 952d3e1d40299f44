"""States read off a chain's moves, against the chain itself and against chains with less to spend."""

from collections import defaultdict
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from reasoning_lab.engine.policy import Chain, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.records import Completion, Move
from reasoning_lab.sampler.base import Prompt, Sample
from reasoning_lab.sampler.metropolis import Ladder
from reasoning_lab.sampler.power import Power, PowerLimit
from reasoning_lab.sampler.trajectory import checkpoints, states_before
from tests.engine.oracle import PROMPT, STOP

LENGTH = 6
SAMPLERS = {
    "full ladder": Power(LENGTH, 2.0, 2, 3),
    "jump": Power(LENGTH, 2.0, 2, 3, stop_rule="jump_to_final_cap"),
    "compat": Power(LENGTH, 2.0, 2, 3, compat="karan2025"),
    "limit": PowerLimit(LENGTH, 3, 2, proposal_temperature=0.7),
}


def drawn(sampler: Any, chains: int = 30) -> list[Sample]:
    policy = ToyPolicy.random(5, length=LENGTH)
    tasks = [(i, sampler.sample(Prompt(PROMPT, STOP, Key(0, "p", i)))) for i in range(chains)]
    found = dict(run(policy, tasks, 16, 16))
    return [found[i] for i in range(chains)]


def completion(sample: Sample) -> Completion:
    return Completion("p", 0, "", sample.chain.tokens, "stop", 0.0, 0.0, 1, moves=sample.moves)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_states_are_those_that_the_chain_had(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[Any, dict[tuple[int, int], tuple[int, ...]]] = defaultdict(dict)
    move = Ladder._move

    def watched(self: Ladder, prompt: Prompt, state: Any, cap: int, step: int) -> Generator[Request, Chain, None]:
        if step == 1:
            seen[prompt.key][state.rung, 0] = state.chain.tokens
        yield from move(self, prompt, state, cap, step)
        seen[prompt.key][state.rung, step] = state.chain.tokens

    monkeypatch.setattr(Ladder, "_move", watched)
    n_steps = SAMPLERS[name].n_steps
    for sample, (_, states) in zip(drawn(SAMPLERS[name]), sorted(seen.items()), strict=True):
        last = max(rung for rung, _ in states)
        wanted = {at: ids for at, ids in states.items() if at[0] == last or at[1] == n_steps}
        assert checkpoints(completion(sample)) == wanted
        assert list(checkpoints(completion(sample))) == sorted(wanted)
        assert wanted[last, n_steps] == sample.chain.tokens


def test_the_state_after_a_rung_is_the_answer_of_a_ladder_that_ends_there() -> None:
    full = drawn(SAMPLERS["full ladder"])
    for rung in range(3):
        shorter = drawn(replace(SAMPLERS["full ladder"], max_new_tokens=2 * (rung + 1)))
        for sample, other in zip(full, shorter, strict=True):
            assert checkpoints(completion(sample))[rung, 3] == other.chain.tokens


def test_the_state_after_some_steps_of_one_rung_is_the_answer_of_as_many() -> None:
    one_rung = Power(LENGTH, 2.0, LENGTH, 5)
    full = drawn(one_rung)
    for n in range(1, 6):
        for sample, other in zip(full, drawn(replace(one_rung, n_steps=n)), strict=True):
            assert checkpoints(completion(sample))[0, n] == other.chain.tokens


def test_moves_that_lead_elsewhere_have_no_states() -> None:
    odd = Completion("p", 0, "", (3,), "stop", 0.0, 0.0, 1, moves=(Move(0, 1, 0, (1,), (2,), 0.0, True),))
    assert states_before(odd) is None and checkpoints(odd) == {}
    assert checkpoints(replace(odd, moves=())) == {}
