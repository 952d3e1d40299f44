"""The hybrid's law: against the published loop written plainly, against itself without a cache, under any schedule."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from reasoning_lab.engine.policy import score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from reasoning_lab.sampler.base import Prompt, Sample
from reasoning_lab.sampler.power import Power
from reasoning_lab.steering.category import Argmax, RandomCategory
from reasoning_lab.steering.coefficient import Candidates, Fixed, Learned
from reasoning_lab.steering.controls import NoVector, ThinkingChoice
from reasoning_lab.steering.gate import Always, Boundary, Disagreement, Never, RandomPositions
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.steering import NoSteering, Steering, SteeringRule
from reasoning_lab.taxonomy.clusters import clusters_from
from tests.engine.oracle import Reprefill
from tests.steering.hybrid.oracle import Published
from tests.steering.pairs import (
    BASE_VOCAB,
    LAYER,
    SAE_LAYER,
    STOP,
    FixedCategory,
    Given,
    Pair,
    clusters,
    embedded_pair,
    prompts,
    random_pair,
)
from tests.steering.teacher_forced import teacher_forced_logits

CAP = 8
FEW = [1, 4, 5]
"""Prompts of 5, 66 and 1 tokens."""
CAPACITY = 66 + CAP
V1 = Candidates((0.5, 1.0), (1, 3, 0))


def steering(**changed: Any) -> Steering:
    usual: dict[str, Any] = {
        "vectors": Given(), "layer": LAYER, "gate": Disagreement(), "category": Argmax(), "coefficient": Fixed(1.0),
    }  # fmt: skip
    return Steering(**(usual | changed))


LAWS: dict[str, SteeringRule] = {
    "disagreement": steering(),
    "held, steered memory": steering(gate=Boundary(), category=Argmax("sentence"), memory="steered"),
    "always": steering(gate=Always(), category=Argmax("sentence"), use_bias=False),
    "disagreement, steered memory": steering(memory="steered", coefficient=Fixed(0.7)),
    "learned": steering(coefficient=Learned()),
    "window 3": steering(gate=RandomPositions(0.5), window=3),
    "window all": steering(category=RandomCategory(3, "sentence"), window=0, coefficient=Fixed(0.5)),
    "never": steering(gate=Never()),
    "fixed category": steering(gate=RandomPositions(0.4, 1), category=FixedCategory(2), memory="steered"),
    "thinking choice": ThinkingChoice(steering(), 4),
    "authors' B1": steering(normalise=False),
}
CHOICES = {
    "candidates": steering(coefficient=V1),
    "authors' B4": steering(coefficient=replace(V1, include_unsteered=False), normalise=False),
}


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair()


def asked(pair: Pair, which: range | list[int] = range(8)) -> list[Prompt]:
    ids = list(pair.prompts)
    return [Prompt(ids[i], STOP, Key(3, f"p{i}")) for i in which]


def samples(policy: Any, sampler: Any, prompts: list[Prompt], rows: int, counts: Counts | None = None) -> list[Sample]:
    tasks = [(i, sampler.sample(prompt)) for i, prompt in enumerate(prompts)]
    found = dict(run(policy, tasks, rows, CAPACITY, counts=counts))
    return [found[i] for i in range(len(prompts))]


def same_decisions(a: Sample, b: Sample) -> bool:
    moves = [[(m.cut, m.old, m.new, m.accepted) for m in s.moves] for s in (a, b)]
    return a.chain.tokens == b.chain.tokens and moves[0] == moves[1] and a.decode_tokens == b.decode_tokens


# -- the published loop -----------------------------------------------------------------------------------------------


def published(pair: Pair, rule: Steering) -> Published:
    """The loop at a steering's setting."""
    gates = {Disagreement: "disagreement", Always: "always", Boundary: "boundary", Never: "never"}
    table = pair.vectors.vectors
    if rule.use_bias and pair.vectors.bias is not None:
        table = table + pair.vectors.bias
    coefficient = rule.coefficient
    judged = isinstance(coefficient, Candidates)
    return Published(
        pair.base.model, pair.thinking.model, pair.clusters, pair.sae_layer, table, rule.layer, pair.ends,
        list(pair.vocabulary.to_thinking), list(pair.vocabulary.to_base),
        gates[type(rule.gate)], rule.category.hold,
        list(coefficient.values) if judged else [coefficient.value],  # pyright: ignore
        list(coefficient.windows) if judged else [rule.window],
        judged, coefficient.include_unsteered if judged else True, rule.memory, rule.normalise,
    )  # fmt: skip


PUBLISHED = {
    name: rule
    for name, rule in (LAWS | CHOICES).items()
    if isinstance(rule, Steering) and isinstance(rule.category, Argmax) and not isinstance(rule.coefficient, Learned)
    if not isinstance(rule.gate, RandomPositions)
} | {"window 5": steering(window=5), "window all, held": steering(window=0, category=Argmax("sentence"))}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_tokens_of_the_published_loop(pair: Pair, name: str) -> None:
    rule = PUBLISHED[name]
    policy, loop = pair.hybrid(rule), published(pair, rule)
    for temperature in (0.0,) if rule.chooses_tokens else (0.0, 0.8):
        sampler = Temperature(CAP, temperature) if temperature else Greedy(CAP)
        found = samples(policy, sampler, asked(pair, FEW), rows=3)
        for prompt, sample in zip(asked(pair, FEW), found, strict=True):
            slow = loop.generate(prompt.ids, pair.prompts[prompt.ids], CAP, STOP, prompt.key, temperature)
            assert list(sample.chain.tokens) == slow
    assert (loop.steered > 5) == (name != "never")


@pytest.mark.parametrize("name", ["disagreement", "held, steered memory", "candidates"])
def test_the_tokens_of_the_published_loop_on_the_embedded_pair(name: str) -> None:
    pair = embedded_pair("float64", 2)
    rule = replace(PUBLISHED[name], layer=2)
    policy, loop = pair.hybrid(rule), published(pair, rule)
    asking = [Prompt(ids, STOP, Key(1, str(i))) for i, ids in enumerate(pair.prompts)]
    for temperature in (0.0,) if rule.chooses_tokens else (0.0, 0.6):
        sampler = Temperature(20, temperature) if temperature else Greedy(20)
        found = dict(run(policy, [(p, sampler.sample(p)) for p in asking], 2, 120))
        for prompt, sample in found.items():
            slow = loop.generate(prompt.ids, pair.prompts[prompt.ids], 20, STOP, prompt.key, temperature)
            assert list(sample.chain.tokens) == slow
    assert loop.steered > 2


# -- itself without a cache -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_power_sampling_equals_re_prefilling_move_by_move(pair: Pair, name: str) -> None:
    policy, sampler = pair.hybrid(LAWS[name]), Power(6, 4.0, 3, 2)
    asking = asked(pair, [1, 5, 7])  # The long prompts are met by the published loop, above.
    for prompt, ours in zip(asking, samples(policy, sampler, asking, rows=2), strict=True):
        slow = Reprefill(policy).run(sampler.sample(prompt))
        assert same_decisions(ours, slow)
        for scalar in ("log_p", "log_q", "log_z", "negentropy"):
            assert getattr(ours.chain, scalar) == pytest.approx(getattr(slow.chain, scalar), abs=1e-9)


def forced(policy: HybridPolicy, prompt: tuple[int, ...], ids: list[int]) -> torch.Tensor:
    """Logits at every position of a given text, through a session beside an idle row."""
    session = policy.open(2, CAPACITY)
    if len(prompt) > 1:
        session.prefill(1, prompt[:-1])
    text = [prompt[-1], *ids]
    return torch.stack([session.step([0, id], [0, len(prompt) - 1 + at])[1] for at, id in enumerate(text)])


@pytest.mark.parametrize("name", LAWS)
def test_the_law_at_every_position_of_a_given_text(pair: Pair, name: str) -> None:
    policy = pair.hybrid(LAWS[name])
    text = [random.Random(1).randrange(BASE_VOCAB) for _ in range(6)]
    for prompt in list(pair.prompts)[4:6]:
        found = forced(policy, prompt, text)
        for n in range(len(text) + 1):
            torch.testing.assert_close(found[n], policy.next_logits([*prompt, *text[:n]]), rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_steered_memory_is_what_vectors_are_trained_in(pair: Pair) -> None:
    """Loss in training = loss from the logits of generation, when the gate fires at the training positions."""
    prompt = list(pair.prompts)[1]
    text = [5, 8, 30, 9, 4, 2, 13, 7]
    policy = pair.hybrid(steering(gate=Boundary(), category=Argmax("sentence"), memory="steered"))
    assert policy.parts.ends & set(text)
    session = policy.watch(1, CAPACITY)
    session.prefill(0, prompt[:-1])
    logits, categories, fired = [], [], []
    for at, id in enumerate([prompt[-1], *text[:-1]]):
        logits.append(session.step([id], [len(prompt) - 1 + at])[0])
        reading = session.readings[0]
        assert reading is not None
        categories.append(reading.category)
        fired.append(reading.steered)
    whole = torch.tensor([[*prompt, *text[:-1]]])
    before = len(prompt) - 1
    steered = torch.tensor([[False] * before + fired])
    table = pair.vectors.vectors + pair.vectors.bias
    vectors = torch.cat((torch.zeros(before, table.shape[1]).double(), table[categories]))[None]
    trained = teacher_forced_logits(policy.parts.base, LAYER, whole, steered, vectors)[0, before:]
    loss = torch.nn.functional.cross_entropy
    target = torch.tensor(text)
    assert 1 < sum(fired) < len(fired)
    assert loss(torch.stack(logits), target).item() == pytest.approx(loss(trained, target).item(), abs=1e-10)


@pytest.mark.parametrize("name", ["always", "window 3", "window all", "random held", "thinking model"])
def test_a_saved_text_goes_on_in_another_row(pair: Pair, name: str) -> None:
    """Saved in two segments, loaded (the second in part) over another text of another prompt, and continued."""
    held = steering(gate=RandomPositions(0.5), category=Argmax("sentence"), window=2)
    # The thinking model's own law shows its states; a category or a choice may stay the same by chance.
    more = {"random held": held, "thinking model": ThinkingChoice(steering(gate=Always()), BASE_VOCAB)}
    policy = pair.hybrid((LAWS | more)[name])
    (prompt, other), text = list(pair.prompts)[3:5], [6, 12, 30, 2, 18, 22, 14]
    assert not policy.parts.ends & set(text), "the category picked at the prompt's end is held to the text's"
    session, n = policy.open(2, CAPACITY), len(prompt) - 1
    session.prefill(0, prompt[:-1])
    head = session.save(0, 0, n)
    for at, id in enumerate([prompt[-1], *text]):
        session.step([id, 0], [n + at, 0])
    first, second = session.save(0, n, n + 3), session.save(0, n + 3, n + 8)
    session.prefill(1, other[:-1])
    for at, id in enumerate([other[-1], 3, 4, 5]):
        session.step([0, id], [0, len(other) - 1 + at])
    session.load(1, head, 0, n)
    session.load(1, first._replace(stop=n + 2), n, n + 2)
    session.load(1, first, n + 2, n + 3)
    session.load(1, second, n + 3, n + 6)
    for at in (5, 6):
        found = session.step([0, text[at]], [0, n + 1 + at])[1]
        torch.testing.assert_close(found, policy.next_logits([*prompt, *text[: at + 1]]), rtol=1e-9, atol=1e-9)


def test_scalars_come_from_the_steered_law(pair: Pair) -> None:
    policy, prompt = pair.hybrid(LAWS["always"]), list(pair.prompts)[1]

    def coroutine():
        return (yield score(prompt, [4, 5, 6], Key(0, "p")))

    chain = next(result for _, result in run(policy, [(0, coroutine())], 2, CAPACITY))
    base = pair.base.next_logits(prompt).log_softmax(0)[4].item()
    law = policy.next_logits(prompt).log_softmax(0)[4].item()
    assert chain.log_p[0] == pytest.approx(law, abs=1e-9)
    assert abs(base - law) > 1e-3


# -- limits of the law ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [steering(gate=Never()), NoVector(steering()), NoVector(LAWS["window 3"])])
def test_without_a_gate_or_a_vector_it_is_the_base_model(pair: Pair, rule: SteeringRule) -> None:
    hybrid = samples(pair.hybrid(rule), Power(6, 4.0, 3, 2), asked(pair, FEW), rows=3)
    plain = samples(pair.base, Power(6, 4.0, 3, 2), asked(pair, FEW), rows=3)
    assert all(map(same_decisions, hybrid, plain))


def test_a_silent_gate_leaves_the_base_models_very_bits() -> None:
    pair = random_pair(torch.float32)
    for name in ("plain", "steered"):
        policy = pair.hybrid(steering(gate=Never(), memory=name))
        for ours, plain in zip(
            samples(policy, Temperature(CAP, 1.0), asked(pair), 4),
            samples(pair.base, Temperature(CAP, 1.0), asked(pair), 4),
            strict=True,
        ):
            assert ours == plain


def test_thinking_choice_of_one_id_is_the_base_models_own(pair: Pair) -> None:
    policy = pair.hybrid(ThinkingChoice(steering(gate=Always()), 1))
    hybrid, base = (samples(each, Greedy(CAP), asked(pair, FEW), 3) for each in (policy, pair.base))
    for ours, plain in zip(hybrid, base, strict=True):
        assert ours.chain.tokens == plain.chain.tokens
        assert ours.chain.log_p == (0.0,) * len(ours.chain)


def test_thinking_choice_among_all_ids_is_the_thinking_model(pair: Pair) -> None:
    policy = pair.hybrid(ThinkingChoice(steering(gate=Always()), BASE_VOCAB))
    prompt, theirs = list(pair.prompts.items())[1]
    law = policy.next_logits(prompt).softmax(0)
    mapped = pair.thinking.next_logits(theirs)[torch.tensor(pair.vocabulary.to_thinking)]
    mapped[[not exact for exact in pair.vocabulary.exact]] = -torch.inf
    torch.testing.assert_close(law, mapped.softmax(0))


def test_the_unsteered_token_is_a_candidate_unless_told_otherwise(pair: Pair) -> None:
    """With vectors of zero all candidates are the base's token, so B4 changes nothing; with ours it does."""
    found = {name: samples(pair.hybrid(rule), Greedy(CAP), asked(pair, FEW), 3) for name, rule in CHOICES.items()}
    without = {n: samples(pair.hybrid(NoVector(rule)), Greedy(CAP), asked(pair, FEW), 3) for n, rule in CHOICES.items()}
    tokens = {name: [s.chain.tokens for s in samples] for name, samples in found.items()}
    assert tokens["candidates"] != tokens["authors' B4"]
    assert len({tuple(s.chain.tokens for s in samples) for samples in without.values()}) == 1


# -- schedules --------------------------------------------------------------------------------------------------------

SCHEDULED = {
    "disagreement": (LAWS["disagreement"], Power(6, 4.0, 3, 2)),
    "held, steered memory": (LAWS["held, steered memory"], Power(6, 4.0, 3, 2)),
    "always": (LAWS["always"], Temperature(8, 1.0)),
    "window 3": (LAWS["window 3"], Temperature(8, 1.0)),
    "candidates": (CHOICES["candidates"], Greedy(6)),
    "thinking choice": (LAWS["thinking choice"], Temperature(8, 1.0)),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_bit_identical_at_one_shape_beside_any_neighbours_in_any_order(name: str) -> None:
    pair = random_pair(torch.float32, 16)
    rule, sampler = SCHEDULED[name]
    policy = pair.hybrid(rule)
    together = samples(policy, sampler, asked(pair, range(16)), rows=16)
    for live in (1, 2, 7):
        order = random.Random(live).sample(range(16), live)
        for i, sample in zip(order, samples(policy, sampler, asked(pair, order), rows=16), strict=True):
            assert sample == together[i], f"chain {i} among {live} live ones"


def test_prompts_that_differ_in_their_last_token_share_rows(pair: Pair) -> None:
    """The engine keeps what two prompts share; the thinking prompts differ nevertheless."""
    stem = (2, 9, 9, 4)
    shared = {(*stem, last): tuple(random.Random(last).sample(range(43), 3 + last % 3)) for last in range(6, 12)}
    policy = pair.hybrid(steering(), prompts=shared)
    asking = [Prompt(ids, STOP, Key(0, str(ids[-1]))) for ids in shared]
    for prompt, sample in zip(asking, samples(policy, Temperature(CAP, 1.0), asking, rows=1), strict=True):
        slow = Reprefill(policy).run(Temperature(CAP, 1.0).sample(prompt))
        assert sample.chain.tokens == slow.chain.tokens


def test_thinking_prompts_are_read_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = pair.hybrid(steering())
    read = []
    thinking = policy.parts.thinking
    embed = thinking.embed
    monkeypatch.setattr(thinking, "embed", lambda ids: (read.append(ids.shape), embed(ids))[1])
    samples(policy, Power(8, 4.0, 4, 2), asked(pair, [1] * 6), rows=3)
    assert len([shape for shape in read if shape[1] > 1]) == 1


def test_only_what_something_depends_on_is_run(pair: Pair) -> None:
    """A boundary gate needs the thinking model up to the taxonomy's layer, and no second pass above the steering."""
    policy = pair.hybrid(LAWS["held, steered memory"])
    ran = {"base": [], "thinking": []}
    handles = [
        layer.register_forward_hook(lambda *_, log=ran[name], index=index: log.append(index))
        for name in ran
        for index, layer in enumerate(getattr(pair, name).model.model.layers)
    ]
    session = policy.open(2, 20)
    prompt = list(pair.prompts)[5]
    assert len(prompt) == 1
    session.step([prompt[0], 0], [0, 0])
    ran["base"].clear()
    ran["thinking"].clear()
    session.step([7, 0], [1, 0])
    for handle in handles:
        handle.remove()
    assert ran["base"] == [0, 1, 2, 3]
    assert ran["thinking"] == list(range(SAE_LAYER + 1))


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_only_greedy_takes_a_rule_that_chooses_tokens() -> None:
    warm = Temperature(4, 1.0)
    CHOICES["candidates"].check_sampler(Greedy(4))
    for rule in (*CHOICES.values(), NoVector(steering(coefficient=V1))):
        with pytest.raises(ValueError, match="sampler=temperature: must be greedy: .*; use sampler=greedy"):
            rule.check_sampler(warm)
    for rule in (LAWS["learned"], NoSteering()):
        rule.check_sampler(warm)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer": -1}, "layer=-1"),
        ({"window": -15}, r"window=-15: must be at least 0; .* the authors write -15 for 15"),
        ({"memory": "steered", "window": 0}, "window=0: must be 1 with memory=steered"),
        ({"memory": "steered", "coefficient": V1}, "memory=steered: must be plain: candidates"),
        ({"window": 0, "coefficient": V1}, r"set coefficient\.windows"),
    ],
)
def test_bad_settings_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        steering(**changed)


def test_of_equal_candidates_the_first_is_chosen(pair: Pair) -> None:
    """The unsteered token stands before all, then the pairs in their order; a token may stand among them twice."""
    thinking = torch.zeros(40, dtype=torch.float64)
    thinking[[7, 9]] = 3.0
    for include, tokens, chosen in (
        (True, [9, 9, 7, 9, 9, 9], (7, 0.0)),
        (False, [2, 2, 2, 9, 7, 9], (9, 1.0)),
        (False, [2, 7, 2, 7, 7, 9], (7, 0.5)),
    ):
        parts = pair.hybrid(steering(coefficient=replace(V1, include_unsteered=include))).parts
        id, coefficient, law = parts.choose(7, tokens, thinking)
        assert (id, coefficient) == chosen
        assert law.argmax() == id and law.exp().sum() == 1


def test_empty_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"coefficient\.values=\(\): must be at least one number"):
        Candidates(())
    with pytest.raises(ValueError, match=r"coefficient\.windows=-1"):
        Candidates(windows=(-1,))


def test_parts_that_do_not_fit_are_refused(pair: Pair) -> None:
    narrow = clusters(9, torch.float64)
    wide = replace(pair.vectors, vectors=torch.zeros(5, 33), bias=None, mlp=None)
    few = replace(pair.vectors, vectors=torch.zeros(4, 32), mlp=None)
    at2 = replace(pair.vectors, layer=2)
    no_mlp = replace(pair.vectors, mlp=None)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"steering": steering(layer=4), "vectors": replace(pair.vectors, layer=4)}, r"layers 0 \.\.\. 3"),
        ({"sae_layer": 3}, r"sae_layer of the thinking model: layer=3: the model has layers 0 \.\.\. 2"),
        ({"vectors": at2}, "vectors trained at layer 2 cannot steer layer=1"),
        ({"vectors": wide}, "vectors of width 33"),
        ({"vectors": few}, "4 vectors for 5 categories"),
        ({"vectors": replace(pair.vectors, base="abc")}, "belong to base model abc"),
        ({"base_key": "abc"}, r"belong to base model \(unnamed\)"),
        ({"clusters": narrow}, "activations of width 9"),
        ({"vectors": no_mlp, "steering": LAWS["learned"]}, "no coefficient network"),
        ({"vocabulary": replace(pair.vocabulary, to_thinking=(0,))}, "vocabulary map is for 1 and 43 ids"),
        ({"prompts": {(1, 2): (3,), (1, 2, 3): (4,)}}, "one of 3 tokens begins with another of 2"),
        ({"prompts": {(1, 2): ()}}, "an empty one"),
    ]
    for changed, message in cases:
        with pytest.raises(ValueError, match=message):
            pair.hybrid(**({"steering": steering()} | changed))


def test_a_taxonomy_of_another_model_or_layer_is_refused(pair: Pair) -> None:
    fitted = pair.clusters.of_source("layer 3 of one (aaaa)")
    found = pair.hybrid(steering=steering(), clusters=fitted, source="layer 3 of one (aaaa)")
    assert clusters_from(found.parts.clusters.tensors(), found.parts.clusters.metadata()).normaliser.source
    for other in ("layer 3 of one (bbbb)", "layer 2 of one (aaaa)", ""):
        with pytest.raises(ValueError, match=r"fitted on layer 3 of one \(aaaa\), not on .*; fit one there"):
            pair.hybrid(steering=steering(), clusters=fitted, source=other)


def test_unregistered_prompts_are_refused(pair: Pair) -> None:
    policy = pair.hybrid(steering())
    unknown = Prompt((9, 9, 9), STOP, Key(0, "x"))
    with pytest.raises(ValueError, match="no registered prompt"):
        samples(policy, Greedy(4), [unknown], 2)
    with pytest.raises(ValueError, match="no registered prompt"):
        policy.next_logits([9, 9, 9])


def test_room_for_the_longer_thinking_prompt_is_kept(pair: Pair) -> None:
    policy = pair.hybrid(steering())
    assert policy.context_length == 256 - 17  # One thinking prompt has 17 tokens more than its base prompt.
    with pytest.raises(ValueError, match=r"capacity=240 exceeds the 239 positions"):
        policy.open(2, 240)
    longest = max(prompts(8).values(), key=len)
    assert len(longest) == 73
