"""engine=server against a real server on loopback: the law, the bounds, the samplers' contract, and what it refuses."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reasoning_lab.engine.base import EngineError, Subject
from reasoning_lab.engine.local import Rows
from reasoning_lab.engine.policy import Chain, Policy, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.engine.server import ServerEngine
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.machine import check_machine
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.loaded import LoadedModel, load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import Prompt, Sample, Sampler
from reasoning_lab.sampler.power import Power
from tests.engine.completions_server import CompletionsServer, served
from tests.engine.oracle import PROMPT, STOP, matrix, p_value, tempered, unchecked
from tests.sampler.test_contract import LENGTH, SAMPLERS
from tests.sampler.test_contract import prompt as toy_prompt
from tests.sampler.test_contract import sampler as as_configured

QUESTION = "Lily has 40 cards. She sells 5. How many cards now?\n"
TOY = ToyPolicy.random(5, vocab_size=5, length=LENGTH)


def option(url: str = "http://localhost:1/v1", **changes: Any) -> ServerEngine:
    """That of the yaml, for a server of the tests."""
    plain = build(Composer().compose(["engine=server", "arms=single", "sampler.redraw=from_cut"])).engine
    assert isinstance(plain, ServerEngine)
    base = {"base_url": url, "model": "served", "declared": "of the tests", "first_wait_s": 0.01, "retries": 2}
    return replace(plain, **(base | changes))


def subject(n_layers: int = 1) -> Subject:
    def no_weights() -> Policy:
        raise AssertionError("a server's weights are not here")

    return Subject(no_weights, "nowhere", None, "float32", "cpu", n_layers)


def drawn(
    server: CompletionsServer, tasks: list[Any], rows: int = 8, counts: Counts | None = None, **changes: Any
) -> dict[Any, Any]:
    engine = option(server.url, **changes).open(subject())
    return dict(engine.run(tasks, rows, 200, counts=counts))


def one(request: Request) -> Any:
    return (yield request)


@pytest.fixture(scope="module")
def model() -> LoadedModel[Any]:
    return load_model(ModelSource("package:embedded/base"), "float32", "cpu")


@pytest.fixture(scope="module")
def toy_server() -> Iterator[CompletionsServer]:
    with served(CompletionsServer(TOY)) as server:
        yield server


# --- the law ----------------------------------------------------------------------------------------------------------


def test_answers_at_a_temperature_follow_their_law(toy_server: CompletionsServer) -> None:
    sampler = Temperature(LENGTH, 0.5)
    tasks = [(i, sampler.sample(Prompt(PROMPT, STOP, Key(3, "toy", i)))) for i in range(1000)]
    with unchecked():
        answers = drawn(toy_server, tasks, logprobs=2)
    law = {state: math.exp(sum(_log_q(state, 0.5))) for state in TOY.states(LENGTH)}
    assert p_value(Counter(sample.chain.tokens for sample in answers.values()), law) > 1e-3


def _log_q(state: tuple[int, ...], temperature: float) -> list[float]:
    laws = (tempered(list(TOY.probabilities(PROMPT + state[:n])), temperature) for n in range(len(state)))
    return [math.log(law[id]) for law, id in zip(laws, state, strict=True)]


@pytest.mark.parametrize("k", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_markov_chain_on_few_logprobs_has_the_law_of_its_kernel(k: int, toy_server: CompletionsServer) -> None:
    """One rung of N steps: the law of the output is the draft's times P^N, whatever the bounds left open. k=1 leaves
    many verdicts open, which the second look at all of the vocabulary settles."""
    sampler = Power(4, 4.0, 4, 2, redraw="from_cut")
    tasks = [(i, sampler.sample(Prompt(PROMPT, STOP, Key(4, "toy", i)))) for i in range(400)]
    with unchecked():
        answers = drawn(toy_server, tasks, logprobs=k, most_logprobs=9, chunk=2)
    states = sorted(TOY.states(4))
    P = matrix(TOY, states, 0.25, sampler.ladder.rule.log_ratio, lambda _: 4)
    start = np.array([math.exp(sum(_log_q(state, 0.25))) for state in states])
    law = dict(zip(states, (start @ P @ P).tolist(), strict=True))
    assert p_value(Counter(sample.chain.tokens for sample in answers.values()), law) > 1e-3
    settled = Counter(move.settled for sample in answers.values() for move in sample.moves)
    assert settled["undecided"] == 0
    assert settled["rescored"] > (50 if k == 1 else 5)


def test_a_rescored_verdict_is_that_of_an_engine_that_sees_the_whole_law(toy_server: CompletionsServer) -> None:
    sampler = Power(4, 4.0, 4, 3, redraw="from_cut")
    few, all_of_them = (drawn(toy_server, list(_again(sampler)), logprobs=k, most_logprobs=9, chunk=99) for k in (1, 9))
    assert any(move.settled == "rescored" for sample in few.values() for move in sample.moves)
    for name, sample in few.items():
        assert sample.chain.tokens == all_of_them[name].chain.tokens
        ours = [(move.old, move.accepted) for move in sample.moves]
        assert ours == [(move.old, move.accepted) for move in all_of_them[name].moves]


def _again(sampler: Sampler) -> Iterator[tuple[int, Any]]:
    return ((i, sampler.sample(Prompt(PROMPT, STOP, Key(4, "toy", i)))) for i in range(60))


def test_where_a_server_scores_nothing_the_chain_says_what_stayed_open() -> None:
    with served(CompletionsServer(TOY, echoes=False)) as server:
        few = drawn(server, list(_again(Power(4, 4.0, 4, 3, redraw="from_cut"))), logprobs=1)
        settled = Counter(move.settled for sample in few.values() for move in sample.moves)
        assert settled["undecided"] > 5 and settled["rescored"] == 0
        with pytest.raises(EngineError, match=r"does not score given tokens .*; lower engine\.most_logprobs"):
            drawn(server, [(0, one(Request(Chain(PROMPT), 0, Key(0, "p"), 3, STOP, forced=(1, 2))))])


# --- scalars ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("returns", ["token_ids", "prefixed"])
def test_log_p_is_the_models_and_log_z_within_its_bounds(returns: str, model: LoadedModel[Any]) -> None:
    ids = model.encode(QUESTION)
    sampler = Temperature(48, 0.25)
    with served(CompletionsServer(model.policy, returns=returns)) as server:
        tasks = [(i, sampler.sample(Prompt(ids, model.stop_ids, Key(5, "lily", i)))) for i in range(6)]
        answers = drawn(server, tasks, logprobs=20)
    widths = []
    for sample in answers.values():
        chain = sample.chain
        asked = Request(Chain(ids), 0, Key(0, "again"), len(chain), frozenset(), 0.25, forced=chain.tokens)
        [(_, exact)] = Rows(model.policy).run([(0, one(replace(asked, want_negentropy=True)))], 1, 200)
        assert chain.log_p == pytest.approx(exact.log_p, abs=1e-5)
        for n in range(len(chain)):
            low, high = chain.log_z[n], chain.log_z[n] + chain.log_z_slack[n]
            assert low - 1e-5 <= exact.log_z[n] <= high + 1e-5
            assert chain.negentropy[n] >= exact.negentropy[n] - 1e-5
            widths.append(high - low)
        assert chain.log_q == pytest.approx([4 * p - z for p, z in zip(chain.log_p, chain.log_z, strict=True)])
    print(f"\nlog Z at alpha 4, k=20, embedded base, {len(widths)} tokens: mean width {sum(widths) / len(widths):.1e}")


def test_forced_tokens_are_scored_and_insertions_are_not(toy_server: CompletionsServer) -> None:
    forced = Request(Chain(PROMPT), 0, Key(0, "p"), LENGTH, STOP, temperature=0.5, forced=(1, 2))
    inserted = replace(forced, insert=True)
    chains = drawn(toy_server, [("forced", one(forced)), ("inserted", one(inserted))])
    [(_, exact)] = Rows(TOY).run([(0, one(forced))], 1, 32)
    chain = chains["forced"]
    assert chain.tokens[:2] == (1, 2) and not chain.inserted
    assert chain.log_p[:2] == pytest.approx(exact.log_p[:2])
    assert chain.log_z[:2] == pytest.approx(exact.log_z[:2])
    chain = chains["inserted"]
    assert chain.inserted == (0, 1) and chain.log_p[:2] == chain.log_z_slack[:2] == (0.0, 0.0)
    expected = [float(TOY.next_logits((*PROMPT, *chain.tokens[:n]))[chain.tokens[n]]) for n in range(2, len(chain))]
    assert chain.log_p[2:] == pytest.approx(expected)


def test_a_proposal_that_must_fail_is_given_up_within_a_chunk(toy_server: CompletionsServer) -> None:
    counts = Counts()
    request = Request(Chain(PROMPT), 0, Key(0, "p"), LENGTH, frozenset(), temperature=0.25, floor=1.0)
    before = len(toy_server.bodies)
    chain = drawn(toy_server, [(0, one(request))], counts=counts, chunk=2)[0]
    assert (chain.finish, len(chain), chain.n_drawn, counts.drawn) == ("floor", 1, 1, 1)
    assert [body["max_tokens"] for body in toy_server.bodies[before:]][-1] == 2
    assert counts.passed.heads == 2, "what was drawn for nothing is counted"


def test_a_floor_is_passed_for_certain_alone(toy_server: CompletionsServer) -> None:
    """With the least log Z the chain would be given up; the greatest allows it on."""
    plain = Request(Chain(PROMPT), 0, Key(1, "p"), LENGTH, frozenset(), temperature=0.25)
    whole = drawn(toy_server, [(0, one(plain))], logprobs=1)[0]
    least, most = sum(whole.log_z[:-1]), sum(whole.log_z[:-1]) + sum(whole.log_z_slack[:-1])
    assert most > least + 0.1
    between = replace(plain, floor=(least + most) / 2, floor_per_length=False)
    assert drawn(toy_server, [(0, one(between))], logprobs=1, chunk=99)[0].finish == "cap"
    above = replace(plain, floor=most + 1e-9, floor_per_length=False)
    assert drawn(toy_server, [(0, one(above))], logprobs=1, chunk=99)[0].finish == "floor"


# --- the samplers' contract -------------------------------------------------------------------------------------------


def sampler(name: str) -> Any:
    """That of the yaml, its proposals drawn from the cut on: a server leaves out no id."""
    given = as_configured(name)
    return replace(given, redraw="from_cut") if hasattr(given, "redraw") else given


GIVEN = [name for name in SAMPLERS if not sampler(name).needs & ServerEngine.lacks]


def samples(server: CompletionsServer, name: str, chains: int, rows: int = 8, **changes: Any) -> list[Sample]:
    tasks = [(i, sampler(name).sample(toy_prompt(i))) for i in range(chains)]
    found = drawn(server, tasks, rows, **changes)
    return [found[i] for i in range(chains)]


@pytest.fixture(scope="module")
def contract_server() -> Iterator[CompletionsServer]:
    with served(CompletionsServer(ToyPolicy.random(5, length=LENGTH))) as server:
        yield server


@pytest.mark.parametrize("name", GIVEN)
def test_samplers_keep_their_contract(name: str, contract_server: CompletionsServer) -> None:
    policy, counts = contract_server.policy, Counts()
    for sample in samples(contract_server, name, 8, counts=counts):
        tokens = sample.chain.tokens
        assert 1 <= len(tokens) <= LENGTH and not set(tokens[:-1]) & STOP
        law = [policy.next_logits((*PROMPT, *tokens[:n])) for n in range(len(tokens))]
        expected = [0.0 if n in sample.chain.inserted else float(law[n][t]) for n, t in enumerate(tokens)]
        assert sample.chain.log_p == pytest.approx(expected, abs=1e-10)
    assert counts.drawn > 0 and set(counts.work) == set(range(8))


@pytest.mark.parametrize("name", GIVEN)
def test_the_same_draw_at_any_number_of_requests_in_flight(name: str, contract_server: CompletionsServer) -> None:
    """The server here draws the same at the same seed."""
    few, many = (samples(contract_server, name, 6, rows) for rows in (1, 5))
    assert [sample.chain.plain() for sample in few] == [sample.chain.plain() for sample in many]


@pytest.mark.parametrize("name", GIVEN)
def test_decode_tokens_are_counted(name: str, contract_server: CompletionsServer) -> None:
    counts = Counts()
    found = samples(contract_server, name, 6, counts=counts)
    assert sum(sample.decode_tokens for sample in found) == counts.drawn
    assert counts.useful.heads <= counts.passed.heads


@pytest.mark.parametrize("name", ["power", "majority"])
def test_a_chain_goes_on_from_any_checkpoint(name: str, contract_server: CompletionsServer) -> None:
    states: list[Any] = []
    engine = option(contract_server.url, logprobs=2).open(subject())
    [(_, whole)] = engine.run([(0, sampler(name).sample(toy_prompt(1)))], 2, 16, lambda _, state: states.append(state))
    assert states
    for state in states:
        saved = json.loads(json.dumps(state))
        [(_, resumed)] = engine.run([(0, sampler(name).sample(toy_prompt(1), saved))], 2, 16)
        assert resumed.chain.plain() == whole.chain.plain() and resumed.moves == whole.moves


def test_requests_are_in_flight_together_up_to_the_rows(contract_server: CompletionsServer) -> None:
    contract_server.most_at_once = 0
    samples(contract_server, "temperature", 30, rows=3)
    assert 1 <= contract_server.most_at_once <= 3


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "changes", "words"),
    [
        ({"processed": True}, {}, r"logprobs follow the temperature.*raw_logprobs"),
        ({"returns": "text"}, {}, r"tokens as text, not as ids.*engine\.extra"),
        ({"model": "another"}, {}, r"says that it serves another, and engine\.model=served"),
        ({"most_logprobs": 3}, {}, r"status 400 .*is more than 3.*engine\.logprobs"),
        ({"ends_at": frozenset({1, 2, 3, 4})}, {}, r"ended behind id \d of \d tokens drawn.*ignore_eos"),
        ({"failures": [(401, "no")]}, {"api_key_env": "NO_KEY"}, r"status 401 \(no\).*NO_KEY is refused"),
        ({"failures": [(503, "busy")] * 3}, {}, r"status 503 \(busy\)"),
    ],
    ids=["processed", "text", "another model", "few logprobs", "other ends", "key", "down"],
)
def test_a_server_that_cant_be_used_is_refused_with_the_next_move(
    faults: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with served(CompletionsServer(TOY, **faults)) as server, pytest.raises(EngineError, match=words):
        drawn(server, list(_again(Power(4, 4.0, 4, 1, redraw="from_cut"))), **changes)


def test_nobody_there_is_told_in_one_line() -> None:
    engine = option("http://127.0.0.1:9/v1").open(subject())
    with pytest.raises(EngineError, match=r"cannot be reached \(connection refused\); start the server"):
        list(engine.run(_again(Power(4, 4.0, 4, 1, redraw="from_cut")), 2, 16))


def test_failures_that_pass_are_tried_again() -> None:
    with served(CompletionsServer(TOY, failures=[(503, "busy"), (429, "slow")])) as server:
        assert len(drawn(server, list(_again(Power(4, 4.0, 4, 1, redraw="from_cut"))))) == 60


def test_a_server_without_stop_ids_is_cut_at_ours() -> None:
    with served(CompletionsServer(TOY, knows_stop_ids=False)) as server:
        answers = drawn(server, list(_again(Power(LENGTH, 4.0, LENGTH, 1, redraw="from_cut"))), stop_parameter=None)
    ends = Counter(sample.chain.tokens[-1] in STOP for sample in answers.values())
    assert ends[True] and all(not set(sample.chain.tokens[:-1]) & STOP for sample in answers.values())


def test_a_law_that_is_certain_everywhere_shows_nothing() -> None:
    certain = ToyPolicy({PROMPT: [0.0, 1.0], (0, 1): [1.0, 0.0]}, 2, 0)
    with served(CompletionsServer(certain)) as server, pytest.raises(EngineError, match="is certain of what follows"):
        drawn(server, list(_again(Power(2, 4.0, 2, 1, redraw="from_cut"))))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("engine.logprobs=0", "logprobs=0: must be a whole number of at least 1"),
        ("engine.most_logprobs=3", "most_logprobs=3: must be at least logprobs=20"),
        ("engine.base_url=ftp://x", "base_url=ftp://x: must be http://HOST"),
        ("engine.api_key_env=sk-123", "api_key_env: must be the NAME"),
        ("+engine.extra.temperature=1", "extra=temperature: must be parameters that the engine does not set"),
        ("arms=karan2025", r"arms\.\w+: "),
    ],
)
def test_a_config_that_cant_work_is_refused_before_anything_is_sent(override: str, words: str) -> None:
    arms = [] if override.startswith("arms=") else ["arms=single"]
    with pytest.raises(ConfigError, match=words):
        build(Composer().compose(["engine=server", override, "sampler.redraw=from_cut", *arms]))


def test_a_run_asks_what_is_served() -> None:
    asked = ["engine=server", "arms=single", "sampler.redraw=from_cut", "runtime.device=cpu"]
    with pytest.raises(ConfigError, match=r"engine\.model=None: must be what the server calls the model"):
        check_machine(build(Composer().compose(asked)))
    check_machine(build(Composer().compose([*asked, "engine.model=m", "engine.declared=weights"])))


def test_the_address_is_no_part_of_the_key_and_what_is_served_is() -> None:
    one = option()
    assert replace(one, base_url="http://elsewhere/v1", timeout_s=1.0, retries=9).identity() == one.identity()
    for change in ({"model": "b"}, {"declared": "other weights"}, {"logprobs": 5}, {"chunk": 7}):
        assert replace(one, **change).identity() != one.identity()


def test_few_verdicts_stay_open_at_20_logprobs(model: LoadedModel[Any]) -> None:
    """The embedded base model at alpha 4: what a run would see."""
    ids = model.encode(QUESTION)
    tasks = [
        (i, Power(48, 4.0, 16, 6, redraw="from_cut").sample(Prompt(ids, model.stop_ids, Key(6, "lily", i))))
        for i in range(6)
    ]
    with served(CompletionsServer(model.policy)) as server:
        answers = drawn(server, tasks, logprobs=20)
    moves = [move for sample in answers.values() for move in sample.moves]
    open_ones = sum(move.settled != "exact" for move in moves)
    print(f"\nverdicts open at alpha 4, k=20: {open_ones} of {len(moves)}")
    assert len(moves) > 50 and open_ones <= len(moves) / 50
