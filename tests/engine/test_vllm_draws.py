"""What engine=vllm does inside of vLLM and around it, over a stand-in for its steps; vLLM itself is in test_vllm.py."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from reasoning_lab.engine.driver import Driver
from reasoning_lab.engine.policy import Chain, Policy, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.vllm import chain_of, is_all_given
from reasoning_lab.engine.vllm_draws import Drawn, Draws, WorkerRequest, asked_of, plain
from reasoning_lab.engine.work import Work
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.base import Sample
from tests.engine.oracle import PROMPT, STOP
from tests.sampler.test_contract import LENGTH, SAMPLERS, prompt, sampler

POLICY = ToyPolicy.random(5, length=LENGTH)


class Steps:
    """As vLLM: a prompt and its produced ids, a step at a time, ended by a stop id or a number of tokens."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.draws = policy, Draws()
        self.at_work: dict[str, tuple[WorkerRequest, list[int], list[int]]] = {}

    def add(self, name: str, request: Request) -> None:
        asked = asked_of(json.loads(json.dumps(plain(name, request))))
        given = request.forced if request.insert else ()
        self.at_work[name] = asked, [*request.parent.prompt, *request.parent.tokens[: request.keep], *given], []

    def step(self) -> Iterator[tuple[str, list[Drawn]]]:
        """One token for each; those that are done."""
        logits = torch.stack([self.policy.next_logits([*ids, *out]) for _, ids, out in self.at_work.values()])
        rows = [(asked, len(out)) for asked, _, out in self.at_work.values()]
        self.draws.emitted(logits, rows)  # A row that is computed twice counts once.
        for (name, (asked, _, out)), id in zip(
            list(self.at_work.items()), self.draws.emitted(logits, rows), strict=True
        ):
            out.append(id)
            request = asked.request
            if id in request.stop_ids or len(out) == request.cap - asked.start:
                del self.at_work[name]
                yield name, [Drawn(*each) for each in self.draws.take([name])[0]]


def driven(tasks: Any, rows: int = 4, counts: Counts | None = None) -> dict[Any, Any]:
    counts = counts or Counts()
    driver, steps, jobs = Driver(tasks, None, counts, lambda p: Work(prefill=len(p) - 1)), Steps(POLICY), {}
    found: dict[Any, Any] = {}
    while True:
        for job in driver.take(rows - len(jobs)):
            if is_all_given(job.request):
                driver.answer(job, chain_of(job.request, []), Work())
                continue
            name = str(counts.steps) + "/" + str(len(jobs))
            jobs[name] = job
            steps.add(name, job.request)
        found |= dict(driver.results())
        if not jobs:
            if driver.is_exhausted:
                return found
            continue
        counts.steps += 1
        for name, tokens in list(steps.step()):
            job = jobs.pop(name)
            chain = chain_of(job.request, tokens)
            counts.drawn += chain.n_drawn
            driver.answer(job, chain, Work(decode=chain.n_drawn + len(job.request.forced)))
        found |= dict(driver.results())


def one(request: Request) -> Any:
    return (yield request)


def ours(request: Request) -> Chain:
    [(_, chain)] = run(POLICY, [(0, one(request))], 1, 32)
    return chain


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_what_it_draws_with_the_transformers_engine(name: str) -> None:
    def tasks() -> list[Any]:
        return [(i, sampler(name).sample(prompt(i))) for i in range(20)]

    counts, expected = Counts(), Counts()
    theirs: dict[int, Sample] = driven(tasks(), counts=counts)
    for i, sample in run(POLICY, tasks(), 4, 32, counts=expected):
        assert theirs[i].moves == sample.moves
        assert theirs[i].decode_tokens == sample.decode_tokens
        for a, b in zip((theirs[i].chain, *theirs[i].candidates), (sample.chain, *sample.candidates), strict=True):
            assert a.plain() == b.plain()
            assert a.alternatives == b.alternatives
    assert counts.drawn == expected.drawn
    assert {i: work.decode for i, work in counts.work.items()} == {i: w.decode for i, w in expected.work.items()}


CHAIN = ours(Request(Chain(PROMPT), 0, Key(2, "p"), LENGTH, frozenset(), temperature=0.7, forced=(1, 2, 1, 2, 1, 2)))
REQUESTS = {
    "forced": Request(Chain(PROMPT), 0, Key(0, "p"), LENGTH, STOP, temperature=0.5, forced=(1, 2)),
    "forced alone": Request(Chain(PROMPT), 0, Key(0, "p"), 2, STOP, forced=(1, 0), want_negentropy=True),
    "inserted": Request(CHAIN, 2, Key(0, "p"), LENGTH, STOP, forced=(1,), insert=True),
    "inserted alone": Request(CHAIN, 2, Key(0, "p"), 3, STOP, forced=(1,), insert=True),
    "excluded": Request(CHAIN, 1, Key(0, "p"), LENGTH, STOP, excluded=frozenset({0, 1})),
    "excluded behind forced": Request(CHAIN, 1, Key(0, "p"), LENGTH, STOP, forced=(2,), excluded=0),
    "schedule": Request(Chain(PROMPT), 0, Key(0, "p"), LENGTH, STOP, temperature=(1.0, 0.2, 0.0)),
    "given up": Request(CHAIN, 1, Key(3, "p"), LENGTH, STOP, temperature=0.5, floor=-0.7, excluded=0),
    "given up without a stop id": Request(CHAIN, 1, Key(0, "p"), LENGTH, frozenset(), temperature=0.9, floor=-0.8),
    "cut": Request(CHAIN, 1, Key(0, "p"), LENGTH, STOP, top_k=2, top_p=0.9, n_alternatives=2, want_negentropy=True),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_has_the_transformers_engines_answer(name: str) -> None:
    mine, expected = driven([(0, one(REQUESTS[name]))])[0], ours(REQUESTS[name])
    assert mine == expected
    assert (mine.finish == "floor") == name.startswith("given up")


def test_logits_that_are_no_numbers_are_named() -> None:
    request = Request(Chain(PROMPT), 0, Key(0, "sum"), 3, STOP)
    broken = [Drawn(1, float("nan"), 0.0, 0.0, 0.0, ())]
    with pytest.raises(FloatingPointError, match=r"problem sum, chain 0: the logits of generated position 0"):
        chain_of(request, broken)
