"""The engine against a runner without any cache, and against itself under every schedule."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from reasoning_lab.engine.policy import Chain, Request, score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.transformers import PREFILL_WIDTH, HuggingFacePolicy
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt, Sample
from reasoning_lab.sampler.best_of_n import Pool
from reasoning_lab.sampler.cue import Cued
from reasoning_lab.sampler.power import Power, PowerLimit
from tests.engine.oracle import Reprefill

STOP = frozenset({1})
SAMPLERS = {
    "power": Power(24, 4.0, 6, 3),
    "power, from the cut": Power(24, 4.0, 6, 3, redraw="from_cut"),
    "power, free temperature": Power(24, 2.0, 6, 2, proposal_temperature=0.8),
    "power, compat": Power(24, 4.0, 6, 3, compat="karan2025"),
    "power, jump": Power(24, 4.0, 6, 3, stop_rule="jump_to_final_cap"),
    "power_limit": PowerLimit(24, 12, 3, proposal_temperature=0.5),
    "pool": Pool(24, 1.0, n=3),
    "greedy": Greedy(24),
    "top_k": Temperature(24, 1.0, top_k=5),
}


def model(dtype: torch.dtype, kind: str = "llama") -> HuggingFacePolicy:
    """A random two-layer model with grouped heads; weights large enough for sharp, varied laws."""
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

    config = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}[kind](
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, initializer_range=0.25,
    )  # fmt: skip
    torch.manual_seed(0)
    return HuggingFacePolicy(AutoModelForCausalLM.from_config(config).to(dtype))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_our_attention_gives_transformers_own_logits(kind: str) -> None:
    policy = model(torch.float64, kind)
    ids = list(range(2, 30))
    ours = policy.next_logits(ids)
    policy.model.set_attn_implementation("sdpa")
    theirs = policy.model(torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(ours, theirs, atol=1e-12)


def prompts(n: int) -> list[Prompt]:
    """Prompts of lengths 1 ... beyond one prefill pass."""
    draw = random.Random(0)
    lengths = [1, 2, 5, PREFILL_WIDTH, PREFILL_WIDTH + 1, PREFILL_WIDTH + 7, 9, 30]
    return [
        Prompt(tuple(draw.randrange(2, 40) for _ in range(lengths[i % len(lengths)])), STOP, Key(3, f"p{i}"))
        for i in range(n)
    ]


def samples(policy: Any, sampler: Any, asked: list[Prompt], rows: int, counts: Counts | None = None) -> list[Sample]:
    tasks = [(i, sampler.sample(prompt)) for i, prompt in enumerate(asked)]
    drawn = dict(run(policy, tasks, rows, PREFILL_WIDTH + 7 + 24, counts=counts))
    return [drawn[i] for i in range(len(asked))]


def same_decisions(a: Sample, b: Sample) -> bool:
    """Tokens, cuts, proposals, decisions and costs; scalars are compared apart."""
    moves = [[(m.cut, m.old, m.new, m.accepted) for m in s.moves] for s in (a, b)]
    return a.chain.tokens == b.chain.tokens and moves[0] == moves[1] and a.decode_tokens == b.decode_tokens


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_rollback_equals_re_prefilling_move_by_move(name: str, kind: str) -> None:
    policy = model(torch.float64, kind)
    asked = prompts(8)
    fast = samples(policy, SAMPLERS[name], asked, rows=3)
    for prompt, ours in zip(asked, fast, strict=True):
        slow = Reprefill(policy).run(SAMPLERS[name].sample(prompt))
        assert same_decisions(ours, slow)
        for scalar in ("log_p", "log_q", "log_z", "negentropy"):
            assert getattr(ours.chain, scalar) == pytest.approx(getattr(slow.chain, scalar), abs=1e-10)


@pytest.mark.parametrize("name", ["power", "power, from the cut", "pool"])
def test_bit_identical_at_one_shape_beside_any_neighbours_in_any_order(name: str) -> None:
    policy, sampler, asked = model(torch.float32), SAMPLERS[name], prompts(16)
    together = samples(policy, sampler, asked, rows=16)
    for live in (1, 2, 7):
        order = random.Random(live).sample(range(16), live)
        for i, sample in zip(order, samples(policy, sampler, [asked[i] for i in order], rows=16), strict=True):
            assert sample == together[i], f"chain {i} among {live} live ones"


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_same_decisions_at_every_number_of_rows_in_float64(rows: int) -> None:
    policy, asked = model(torch.float64), prompts(10)
    for ours, other in zip(
        samples(policy, SAMPLERS["power"], asked, rows), samples(policy, SAMPLERS["power"], asked, 16), strict=True
    ):
        assert same_decisions(ours, other)


def test_float32_reports_its_flip_rate_across_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    policy, asked = model(torch.float32), prompts(32)
    a, b = samples(policy, SAMPLERS["power"], asked, 4), samples(policy, SAMPLERS["power"], asked, 16)
    flips = sum(not same_decisions(x, y) for x, y in zip(a, b, strict=True))
    with capsys.disabled():
        print(f"\nfloat32, 4 against 16 rows: {flips} of {len(asked)} power chains differ")
    assert flips < len(asked) // 2


def test_never_prefills_twice_and_draws_what_it_reports() -> None:
    policy, counts = model(torch.float64), Counts()
    prompt = prompts(3)[2]
    answers = samples(policy, SAMPLERS["power"], [prompt] * 1, rows=2, counts=counts)
    assert counts.prefilled == len(prompt.ids) - 1
    assert counts.drawn == answers[0].decode_tokens
    assert counts.forced == 0


def test_rows_refill_as_soon_as_they_are_free() -> None:
    counts = Counts()
    samples(model(torch.float32), SAMPLERS["power"], prompts(64), rows=8, counts=counts)
    assert counts.occupancy > 0.85


AHEAD = {
    "power": Power(24, 4.0, 6, 6),
    "power, from the cut": Power(24, 4.0, 6, 6, redraw="from_cut"),
    "power_limit": PowerLimit(24, 12, 6, proposal_temperature=1.0),
    "cued": Cued(Power(24, 4.0, 6, 6), cue_ids=(5, 6)),
    "pool": Pool(24, 1.0, n=5),
    "pool, budget": Pool(24, 1.0, budget=60.0),
}


@pytest.mark.parametrize("name", AHEAD)
@pytest.mark.parametrize("rows", [2, 8])
def test_drawing_ahead_changes_no_answer_and_no_count_of_what_was_asked_for(name: str, rows: int) -> None:
    policy, asked, found = model(torch.float32), prompts(5), []
    for draws_ahead in (False, True):
        counts = Counts()
        tasks = [(i, AHEAD[name].sample(prompt)) for i, prompt in enumerate(asked)]
        drawn = dict(run(policy, tasks, rows, PREFILL_WIDTH + 7 + 26, counts=counts, draws_ahead=draws_ahead))
        found.append((drawn, counts))
    (without, before), (ahead, after) = found
    assert ahead == without
    assert (after.drawn, after.work, after.forced) == (before.drawn, before.work, before.forced)
    assert after.drawn == sum(sample.decode_tokens for sample in ahead.values())
    assert before.ahead == 0
    assert after.steps < before.steps, "some of what was drawn ahead was asked for"


def test_a_request_of_another_task_takes_a_row_from_work_ahead() -> None:
    """Two tasks on two rows: one waits long while the other, on the last free row, is drawn ahead of and moves on."""
    policy, counts = model(torch.float32), Counts()
    asked = prompts(2)

    def slow():
        return (yield Request(Chain(asked[0].ids), 0, asked[0].key, 40, frozenset()))

    def quick():
        chain = Chain(asked[1].ids)
        wanted = [Request(chain, 0, asked[1].key._replace(step=n), 3, frozenset()) for n in range(4)]
        yield replace(wanted[0], ahead=lambda: iter([wanted[2], wanted[1], wanted[3]]))
        first = yield [wanted[1], wanted[3]]  # A list is started afresh: nothing is looked for among the work ahead.
        return first[0].tokens, (yield wanted[2]).tokens

    found = dict(run(policy, [("slow", slow()), ("quick", quick())], 2, 120, counts=counts))
    alone = [
        one(policy, Request(Chain(asked[1].ids), 0, asked[1].key._replace(step=n), 3, frozenset())) for n in (1, 2)
    ]
    assert found["quick"] == (alone[0].tokens, alone[1].tokens)
    assert counts.drawn == 40 + 4 * 3


def one(policy: Any, request: Request) -> Chain:
    def coroutine():
        return (yield request)

    return next(result for _, result in run(policy, [(0, coroutine())], 2, 40))


def test_forced_ids_are_scored_and_do_not_stop() -> None:
    policy = model(torch.float64)
    scored = one(policy, score((2, 3), [4, 1, 5], Key(0, "p")))
    assert scored.tokens == (4, 1, 5)
    assert scored.n_drawn == 0
    for n, id in enumerate(scored.tokens):
        law = torch.log_softmax(policy.next_logits([2, 3, *scored.tokens[:n]]), 0)
        assert scored.log_p[n] == pytest.approx(float(law[id]), abs=1e-10)
        assert scored.negentropy[n] == pytest.approx(float((law.exp() * law).sum()), abs=1e-10)


def test_excluded_first_id_is_never_drawn_and_q_is_renormalised() -> None:
    policy = ToyPolicy({(0,): (0.1, 0.6, 0.3)}, 3, 0)
    for chain in range(50):
        drawn = one(policy, Request(Chain((0,)), 0, Key(0, "p", chain), 1, frozenset({0}), excluded=1))
        assert drawn.tokens[0] != 1
        assert drawn.log_q[0] == pytest.approx(drawn.log_p[0] - drawn.log_z[0])
        assert drawn.log_z[0] == pytest.approx(float(torch.tensor(0.4).double().log()), abs=1e-7)


def test_schedule_alternatives_and_floor() -> None:
    policy = ToyPolicy({(0,): (0.1, 0.6, 0.3), (0, 1): (0.2, 0.5, 0.3), (0, 2): (0.2, 0.5, 0.3)}, 3, 0)
    drawn = one(
        policy, Request(Chain((0,)), 0, Key(0, "p", 1), 2, frozenset({0}), temperature=(1.0, 0.5), n_alternatives=2)
    )
    assert drawn.alternatives[0][0][0] == 1
    assert drawn.log_z[0] == pytest.approx(0.0, abs=1e-12)
    if len(drawn) == 2:
        assert drawn.log_z[1] == pytest.approx(float(torch.tensor(0.04 + 0.25 + 0.09).double().log()), abs=1e-7)
    given_up = one(
        policy,
        Request(Chain((0,)), 0, Key(0, "p"), 2, frozenset(), temperature=0.25, floor=-1e-9, floor_per_length=False),
    )
    assert given_up.finish == "floor"
    assert given_up.n_drawn == 1


def test_a_list_of_requests_is_answered_in_order() -> None:
    policy = model(torch.float64)

    def coroutine():
        return (yield [Request(Chain((2, 3)), 0, Key(0, "p", chain), 6, STOP) for chain in range(5)])

    [(_, chains)] = run(policy, [("x", coroutine())], 2, 40)
    for chain, grown in enumerate(chains):
        assert grown.tokens == one(policy, Request(Chain((2, 3)), 0, Key(0, "p", chain), 6, STOP)).tokens


def test_logits_that_are_not_finite_are_refused_by_problem_and_position() -> None:
    policy = ToyPolicy({(0,): (0.1, 0.6, 0.3), (0, 1): (float("nan"), 0.5, 0.5)}, 3, 0)
    request = Request(Chain((0,)), 0, Key(0, "p7", 2), 3, frozenset({0}), temperature=0.0)
    with pytest.raises(FloatingPointError, match="problem p7, chain 2: the logits of position 2 are not finite"):
        one(policy, request)


def test_too_long_a_request_names_prompt_cap_and_capacity() -> None:
    with pytest.raises(ValueError, match=r"prompt of 3 tokens \+ cap 50 exceed the capacity 40"):
        one(model(torch.float32), Request(Chain((2, 3, 4)), 0, Key(0, "p"), 50, STOP))
