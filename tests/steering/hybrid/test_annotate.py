"""Annotations: a hybrid's own completion replayed gives itself back, at any number of rows."""

from dataclasses import replace

import pytest
import torch

from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.records import Annotation
from reasoning_lab.sampler.ancestral import Greedy
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.steering.category import Argmax
from reasoning_lab.steering.coefficient import Candidates, Fixed, Learned
from reasoning_lab.steering.gate import Boundary, Disagreement, Never
from reasoning_lab.steering.hybrid.annotate import Unannotated, annotate
from reasoning_lab.steering.steering import Steering
from tests.steering.pairs import LAYER, STOP, Given, Pair, random_pair

PLAIN = Steering(Given(), LAYER, Disagreement(), Argmax("sentence"), Fixed(1.5))
JUDGED = replace(PLAIN, coefficient=Candidates((0.5, 1.0), (1, 2)))
RULES = {
    "plain": PLAIN,
    "steered": replace(PLAIN, gate=Boundary(), memory="steered"),
    "learned": replace(PLAIN, coefficient=Learned()),
    "judged": JUDGED,
}


@pytest.fixture(scope="module")
def pair() -> Pair:
    return random_pair()


def completions(pair: Pair, rule: Steering) -> list[Unannotated]:
    policy = pair.hybrid(rule)
    asked = [Prompt(ids, STOP, Key(0, str(i))) for i, ids in enumerate(list(pair.prompts)[3:8])]
    found = dict(run(policy, [(p, Greedy(8).sample(p)) for p in asked], 3, 80))
    return [Unannotated(p.key.problem, 0, p.ids, found[p].chain.tokens) for p in asked]


@pytest.mark.parametrize("name", RULES)
def test_a_greedy_completion_reproduces_itself(pair: Pair, name: str) -> None:
    """Where the gate is silent the token is the base's choice; where it fires, that of the law at the given factor."""
    rule = RULES[name]
    items, policy = completions(pair, rule), pair.hybrid(rule)
    found = list(annotate(policy, items, 3, 80))
    assert [(a.problem, a.chain) for a in found] == [item[:2] for item in items]
    seen = {"fired": 0, "silent": 0}
    for (_, _, prompt, ids), annotation in zip(items, found, strict=True):
        assert len(annotation.categories) == len(ids)
        for n, id in enumerate(ids):
            assert int(policy.next_logits([*prompt, *ids[:n]]).argmax()) == id
            if annotation.steered[n]:
                seen["fired"] += 1
                continue
            seen["silent"] += 1
            assert annotation.base_choices[n] == id
            assert annotation.coefficients[n] == 0
        if isinstance(rule.gate, Disagreement):
            assert annotation.steered == tuple(map(int.__ne__, annotation.base_choices, annotation.thinking_choices))
        else:
            ends = (True, *(id in pair.ends for id in ids[:-1]))
            assert annotation.steered == ends
        for n in range(1, len(ids)):
            if ids[n - 1] not in pair.ends:
                assert annotation.categories[n] == annotation.categories[n - 1]
    assert min(seen.values()) > 3


def test_coefficients_are_those_that_were_added(pair: Pair) -> None:
    fixed, learned, judged = (
        [c for a in annotate(pair.hybrid(rule), completions(pair, rule), 3, 80)
         for c, fired in zip(a.coefficients, a.steered, strict=True) if fired]
        for rule in (PLAIN, RULES["learned"], JUDGED)
    )  # fmt: skip
    assert set(fixed) == {1.5}
    assert len(set(learned)) == len(learned)
    assert min(learned) > 0
    assert set(judged) <= {0.0, 0.5, 1.0}
    assert len(set(judged)) > 1


def test_any_number_of_rows_gives_the_same(pair: Pair) -> None:
    items = completions(pair, PLAIN)
    policy = pair.hybrid(PLAIN)
    found = [list(annotate(policy, items, rows, 80)) for rows in (1, 3, 8)]
    assert all(each == found[0] for each in found)


def test_completions_of_other_models_are_seen_with_a_gate_that_never_fires(pair: Pair) -> None:
    policy = pair.hybrid(replace(PLAIN, gate=Never(), category=Argmax()))
    prompt, theirs = list(pair.prompts.items())[1]
    ids = (5, 9, 12, 30)
    (found,) = annotate(policy, [Unannotated("p", 2, prompt, ids)], 2, 80)
    assert found.steered_fraction == 0
    for n in range(len(ids)):
        assert found.base_choices[n] == int(pair.base.next_logits([*prompt, *ids[:n]]).argmax())
        mapped = [pair.vocabulary.to_thinking[id] for id in ids[:n]]
        law = pair.thinking.next_logits([*theirs, *mapped])
        assert found.thinking_choices[n] == pair.vocabulary.to_base[int(law.argmax())]
        with torch.inference_mode():
            stream = pair.thinking.model(torch.tensor([[*theirs, *mapped]]), output_hidden_states=True).hidden_states[2]
        assert found.categories[n] == int(pair.clusters.labels(stream[0, -1:])[0])


def test_empty_items_and_no_items(pair: Pair) -> None:
    policy = pair.hybrid(PLAIN)
    prompt = list(pair.prompts)[1]
    assert list(annotate(policy, [], 2, 40)) == []
    found = list(
        annotate(
            policy, [Unannotated(name, 0, prompt, ids) for name, ids in (("a", ()), ("b", (4,)), ("c", ()))], 2, 40
        )
    )
    assert [len(a.categories) for a in found] == [0, 1, 0]
    assert found[0] == Annotation("a", 0, (), (), (), (), ())


def test_texts_beyond_the_capacity_are_refused(pair: Pair) -> None:
    prompt = list(pair.prompts)[1]
    with pytest.raises(ValueError, match=r"problem p, chain 1: 15 tokens exceed the capacity 12"):
        list(annotate(pair.hybrid(PLAIN), [Unannotated("p", 1, prompt, (4,) * 10)], 2, 12))
