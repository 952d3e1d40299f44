"""Controls: each differs from its steering in one thing, and its random draws are draws of their number alone."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from reasoning_lab.artifacts.key import canonical_form
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.steering.category import Argmax, RandomCategory
from reasoning_lab.steering.coefficient import Fixed
from reasoning_lab.steering.controls import (
    BiasOnly,
    Control,
    NoVector,
    RandomCategories,
    RandomFiring,
    RandomVectors,
    ThinkingChoice,
)
from reasoning_lab.steering.gate import Disagreement, RandomPositions
from reasoning_lab.steering.steering import NoSteering, Steering
from reasoning_lab.steering.vectors.base import VectorSet
from tests.steering.pairs import LAYER, STOP, Given, random_pair, vectors

OF = Steering(Given(), LAYER, Disagreement(), Argmax("sentence"), Fixed(1.0), use_bias=False)
VECTORS = replace(vectors(32, torch.float64, 1.5), vectors=vectors(32, torch.float64, 1.5).vectors * torch.eye(5, 1))
"""The first category's vector alone is there."""
FULL = vectors(32, torch.float64, 1.5)


def differing(control: Control) -> set[str]:
    """Fields in which the control's steering differs from its own."""
    mine = control.resolve()
    return {name for name in OF.__dataclass_fields__ if getattr(mine, name) != getattr(OF, name)}


def test_each_differs_in_one_thing() -> None:
    assert differing(BiasOnly(OF)) == {"use_bias"}
    assert differing(RandomVectors(OF)) == set()
    assert differing(RandomCategories(OF, 4)) == {"category"}
    assert RandomCategories(OF, 4).resolve().category == RandomCategory(4, "sentence")
    assert differing(RandomFiring(OF, 2, rate=0.1)) == {"gate"}
    assert RandomFiring(OF, 2).matched(0.3).resolve().gate == RandomPositions(0.3, 2)
    assert RandomFiring(OF, 2, rate=0.1).matched(0.3).resolve().gate == RandomPositions(0.1, 2)
    assert differing(NoVector(replace(OF, use_bias=True))) == set()
    assert ThinkingChoice(OF, 4).resolve().gate == OF.gate


def test_a_row_of_several_draws_is_as_many_rules() -> None:
    control = RandomFiring(OF, 2, 3, rate_matched_to="hybrid")
    one, two, three = control.draws()
    assert [one, two, three] == [RandomFiring(OF, draw, rate_matched_to="hybrid") for draw in (2, 3, 4)]
    assert one.draws() == (one,)
    assert RandomVectors(OF, 1, 2, "unit").draws() == (RandomVectors(OF, 1, 1, "unit"), RandomVectors(OF, 2, 1, "unit"))
    for rule in (OF, NoSteering(), BiasOnly(OF), ThinkingChoice(OF, 2)):
        assert rule.draws() == (rule,)
        assert rule.matched(0.3) is rule
    with pytest.raises(ValueError, match="n_draws=0: must be a whole number of at least 1"):
        RandomCategories(OF, 0, 0)


def test_vectors_of_the_controls() -> None:
    bias = BiasOnly(OF).transform(FULL)
    assert not bias.vectors.any()
    assert bias.bias is not None
    assert torch.equal(bias.bias, FULL.bias)
    assert not NoVector(OF).transform(FULL).vectors.any()
    for control in (RandomCategories(OF), RandomFiring(OF), ThinkingChoice(OF, 2)):
        assert control.transform(FULL) is FULL


def test_random_vectors_keep_norms_and_nothing_else() -> None:
    drawn = [RandomVectors(OF, draw).transform(FULL).vectors for draw in range(40)]
    for one in drawn:
        torch.testing.assert_close(one.norm(dim=1), FULL.norms)
    assert torch.equal(drawn[3], RandomVectors(OF, 3).transform(FULL).vectors)
    # Directions of different draws, and of one draw's categories, are those of independent Gaussians: mean 0, and a
    # cosine of variance 1/d.
    units = torch.stack(drawn) / FULL.norms[:, None]
    flat = units.flatten(0, 1)
    cosines = (flat @ flat.T)[torch.ones(200, 200).triu(1).bool()]
    assert abs(cosines.mean()) < 4 / (32 * len(cosines)) ** 0.5 * 2
    assert cosines.var().item() == pytest.approx(1 / 32, rel=0.05)
    same = RandomVectors(OF).transform(FULL)
    assert same.bias is FULL.bias


BIASED = replace(OF, use_bias=True)


def leaning(dtype: torch.dtype) -> VectorSet:
    """Vectors of many lengths that lean towards a bias much longer than they are, some away from it."""
    free, lean = FULL.vectors, torch.tensor([[3.0], [-2.0], [0.5], [0.0], [-9.0]], dtype=torch.float64)
    assert FULL.bias is not None
    bias = 20 * FULL.bias
    scaled = (free + lean * FULL.bias) * torch.tensor([[0.01], [1.0], [5.0], [40.0], [1.0]], dtype=torch.float64)
    return replace(FULL, vectors=scaled.to(dtype), bias=bias.to(dtype))


def length(vector: list[float]) -> float:
    return math.sqrt(math.fsum(x * x for x in vector))


def dot(one: list[float], other: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_added_is_as_long_and_as_long_along_the_bias(dtype: torch.dtype) -> None:
    given = leaning(dtype)
    assert given.bias is not None
    bias: list[float] = given.bias.tolist()
    for draw in range(20):
        drawn = RandomVectors(BIASED, draw).transform(given)
        assert drawn.bias is given.bias and drawn.vectors.dtype == dtype
        for learned, random in zip(given.vectors.tolist(), drawn.vectors.tolist(), strict=True):
            ours, theirs = ([x + y for x, y in zip(v, bias, strict=True)] for v in (random, learned))
            assert length(ours) == pytest.approx(length(theirs), rel=1e-6)
            assert dot(ours, bias) / length(bias) == pytest.approx(dot(theirs, bias) / length(bias), rel=1e-6)
            assert length(random) == pytest.approx(length(learned), rel=1e-6)
            assert length([x - y for x, y in zip(random, learned, strict=True)]) > 0.5 * length(learned) / 32


def test_the_part_orthogonal_to_the_bias_is_uniform_on_its_sphere() -> None:
    """Of a uniform unit vector u in d - 1 = 31 dimensions and a fixed unit vector w of them, (u·w)² has mean 1/31 and
    (u·w)⁴ has mean 3/(31·33)."""
    given = leaning(torch.float64)
    assert given.bias is not None
    axis = given.bias / given.bias.norm()
    drawn = torch.stack([RandomVectors(BIASED, draw).transform(given).vectors for draw in range(400)])
    free = drawn - (drawn @ axis)[..., None] * axis
    units = (free / free.norm(dim=-1, keepdim=True)).flatten(0, 1)
    assert (units @ axis).abs().max() < 1e-12
    learned = given.vectors[0] - (given.vectors[0] @ axis) * axis
    other = torch.linalg.svd(axis[None])[2][7]  # some direction orthogonal to the axis
    for fixed in (learned / learned.norm(), other):
        cosines = units @ fixed
        assert abs(cosines.mean()) < 4 / (31 * 2000) ** 0.5
        assert cosines.square().mean().item() == pytest.approx(1 / 31, rel=4 * (2 / 2000) ** 0.5)
        assert cosines.pow(4).mean().item() == pytest.approx(3 / (31 * 33), rel=0.3)
    of_one_draw = units.view(400, 5, 32)
    between = of_one_draw @ of_one_draw.mT
    assert abs(between[:, 0, 1:].mean()) < 4 / (31 * 1600) ** 0.5, "categories of one draw are independent"


def test_without_a_bias_that_is_added_the_direction_is_free() -> None:
    given = leaning(torch.float64)
    assert given.bias is not None
    plain = RandomVectors(OF, 3).transform(given).vectors
    torch.testing.assert_close(plain.norm(dim=1), given.norms)
    assert torch.equal(plain, RandomVectors(BIASED, 3).transform(replace(given, bias=None)).vectors)
    assert torch.equal(plain, RandomVectors(BIASED, 3).transform(replace(given, bias=0 * given.bias)).vectors)
    assert not torch.allclose(plain, RandomVectors(BIASED, 3).transform(given).vectors, rtol=0.1)


def test_a_vector_along_the_bias_has_nothing_to_turn() -> None:
    bias = torch.randn(32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along = replace(FULL, vectors=torch.tensor([[2.0], [-0.5], [0.0], [-1.0], [1e-3]]).double() * bias, bias=bias)
    drawn = RandomVectors(BIASED).transform(along)
    torch.testing.assert_close(drawn.vectors, along.vectors, rtol=1e-12, atol=1e-12)
    assert drawn.empty == (2,)


def test_another_meaning_is_another_key() -> None:
    assert canonical_form(RandomVectors(OF))["version"] == 2
    assert "version" not in canonical_form(RandomCategories(OF))


def test_unit_random_vectors_are_the_authors() -> None:
    assert RandomVectors(OF, norm="unit").transform(FULL).vectors.norm(dim=1).tolist() == pytest.approx([1.0] * 5)


def test_a_category_without_vector_gets_no_random_one() -> None:
    for norm in ("matched", "unit"):
        drawn = RandomVectors(OF, norm=norm).transform(VECTORS)
        assert drawn.empty == (1, 2, 3, 4)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="these vectors have no bias"):
        BiasOnly(OF).transform(replace(FULL, bias=None))
    with pytest.raises(ValueError, match="rate=null: measure"):
        RandomFiring(OF).resolve()
    with pytest.raises(ValueError, match="rate=2"):
        RandomFiring(OF, rate=2.0).resolve()
    with pytest.raises(ValueError, match="top_k=0"):
        ThinkingChoice(OF, 0)


def test_random_controls_do_not_know_chain_or_move() -> None:
    """Chains of one problem are steered at the same positions with the same categories."""
    pair = random_pair()
    policy = pair.hybrid(RandomCategories(replace(OF, gate=RandomPositions(0.5), category=Argmax()), 1))
    prompt = list(pair.prompts)[1]
    readings = []
    for text in ([4, 9, 30, 2], [8, 8, 3, 6]):
        session = policy.watch(2, 40)
        session.prefill(0, prompt[:-1])
        seen: list[Any] = []
        for at, id in enumerate([prompt[-1], *text]):
            session.step([id, 0], [len(prompt) - 1 + at, 0])
            seen.append(session.readings[0])
        readings.append([(r.category, r.steered) for r in seen])
    assert readings[0] == readings[1]
    assert len(set(readings[0])) > 2
    asked = [Prompt(prompt, STOP, Key(0, "p", chain)) for chain in range(2)]
    found = dict(run(policy, [(each, Temperature(6, 1.0).sample(each)) for each in asked], 2, 40))
    assert found[asked[0]].chain.tokens != found[asked[1]].chain.tokens
