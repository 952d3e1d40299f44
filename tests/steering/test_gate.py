"""Gates and category rules: what they look at, and the law and keys of the random ones."""

import itertools
from dataclasses import replace

import pytest

from reasoning_lab.steering.category import Argmax, RandomCategory
from reasoning_lab.steering.gate import Always, Boundary, Disagreement, Never, Place, RandomPositions

HERE = Place("a", 3, False, picked=2, held=4, base_choice=7, thinking_choice=8)


def test_gates() -> None:
    assert Disagreement().fires(HERE)
    assert not Disagreement().fires(replace(HERE, thinking_choice=7))
    assert Disagreement().fires(replace(HERE, thinking_choice=-1))
    assert Always().fires(HERE)
    assert not Never().fires(HERE)
    assert not Boundary().fires(HERE)
    assert Boundary().fires(replace(HERE, ends_sentence=True))


def test_categories_are_picked_at_every_token_or_held_through_a_sentence() -> None:
    ending = replace(HERE, ends_sentence=True)
    assert [Argmax().category(place, 5) for place in (HERE, ending)] == [2, 2]
    assert [Argmax("sentence").category(place, 5) for place in (HERE, ending)] == [4, 2]
    assert RandomCategory(0, "sentence").category(HERE, 5) == 4


def places(n: int, prompt: str = "a") -> list[Place]:
    return [replace(HERE, prompt=prompt, position=position) for position in range(n)]


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 1.0])
def test_random_positions_fire_at_their_rate(rate: float) -> None:
    n = 4000
    fired = sum(map(RandomPositions(rate).fires, places(n)))
    assert abs(fired - rate * n) <= 4 * (n * rate * (1 - rate)) ** 0.5


def test_random_categories_are_uniform() -> None:
    n, k = 4000, 5
    found = [RandomCategory(1).category(place, k) for place in places(n)]
    chi2 = sum((found.count(c) - n / k) ** 2 / (n / k) for c in range(k))
    assert chi2 < 23.5  # The 0.9999 quantile of chi-square with 4 degrees of freedom.


@pytest.mark.parametrize("rule", [lambda seed: RandomPositions(0.5, seed).fires, lambda s: _random(s)])
def test_random_rules_look_at_seed_prompt_and_position_alone(rule) -> None:
    """Nothing else of the place counts, and each of the three does."""
    other = replace(HERE, ends_sentence=True, picked=0, held=0, base_choice=1, thinking_choice=1)
    same = [rule(0)(replace(other, position=p)) for p in range(64)]
    assert [rule(0)(place) for place in places(64)] == same
    streams = [same, [rule(1)(place) for place in places(64)], [rule(0)(place) for place in places(64, "b")]]
    assert all(a != b for a, b in itertools.combinations(streams, 2))


def _random(seed: int):
    return lambda place: RandomCategory(seed).category(place, 5)


def test_bad_settings_are_refused() -> None:
    for rate in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"rate=.*: must be from 0 to 1"):
            RandomPositions(rate)
