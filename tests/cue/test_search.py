"""The search for a cue: openings against enumeration, entropies by hand, and what can't win."""

import math

import pytest

from reasoning_lab.cue.search import (
    CueCandidate,
    FoundCue,
    answer_entropy,
    find_openings,
    ranked,
)
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.toy import ToyPolicy

STOP = frozenset({0})


def candidate(entropy: float, probability: float = 0.5, ids: tuple[int, ...] = (1,)) -> CueCandidate:
    return CueCandidate(ids, "", probability, entropy, 0.0, 10)


def test_entropy_is_shannons_in_nats() -> None:
    assert answer_entropy(["5", "5", "5", "5"]) == 0
    assert answer_entropy(["5", "5", "7", "7"]) == pytest.approx(math.log(2))
    assert answer_entropy(["5", "6", "7", "5"]) == pytest.approx(1.5 * math.log(2))


def test_silence_is_no_agreement() -> None:
    """A cue behind which nothing can be read must not win by an entropy of zero."""
    assert answer_entropy([None] * 8) == pytest.approx(math.log(8))
    assert answer_entropy([None] * 4 + ["5"] * 4) > answer_entropy(["5", "6", "7", "8", *["9"] * 4]) - 1e-12
    silent, split = answer_entropy([None] * 8), answer_entropy(["5"] * 4 + ["6"] * 4)
    assert ranked([candidate(silent, ids=(1,)), candidate(split, ids=(2,))])[0].ids == (2,)


def test_ties_go_to_the_more_probable() -> None:
    one, two, three = candidate(1.0, 0.2, (1,)), candidate(1.0, 0.3, (2,)), candidate(0.5, 0.1, (3,))
    assert ranked([one, two, three]) == (three, two, one)
    found = FoundCue(ranked([one, two, three]), candidate(2.0), 3, 4)
    assert found.chosen is three and found.tokens == 40
    assert FoundCue.from_json(found.to_json()) == found


def two_problems() -> tuple[ToyPolicy, dict[str, tuple[int, ...]]]:
    one = ToyPolicy.random(1, vocab_size=4, length=3, prompt=(1,))
    two = ToyPolicy.random(2, vocab_size=4, length=3, prompt=(2,))
    return ToyPolicy(one.laws | two.laws, 4, stop_id=0), {"one": (1,), "two": (2,)}


def enumerated(policy: ToyPolicy, prompts: dict[str, tuple[int, ...]], depth: int) -> dict[tuple[int, ...], float]:
    """Mean probability of every opening without a stop id."""
    means: dict[tuple[int, ...], float] = {}

    def grow(ids: tuple[int, ...], ps: list[float]) -> None:
        if len(ids) == depth:
            return
        for id in range(1, 4):
            laws = (policy.probabilities((*prompt, *ids)) for prompt in prompts.values())
            here = [p * law[id] for p, law in zip(ps, laws, strict=True)]
            means[*ids, id] = sum(here) / len(here)
            grow((*ids, id), here)

    grow((), [1.0] * len(prompts))
    return means


@pytest.mark.parametrize("depth", [1, 2])
def test_openings_are_the_most_probable_on_average_over_the_problems(depth: int) -> None:
    policy, prompts = two_problems()
    means = enumerated(policy, prompts, depth)
    expected = sorted(means.items(), key=lambda pair: (-pair[1], pair[0]))
    found = find_openings(policy, prompts, STOP, 12, depth, rows=3, capacity=8, counts=Counts())
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    assert [p for _, p in found] == pytest.approx([p for _, p in expected])
    few = find_openings(policy, prompts, STOP, 2, depth, rows=3, capacity=8, counts=Counts())
    assert few[0][0] == expected[0][0] and len(few) == 2


def test_an_extension_that_the_model_writes_anyway_is_no_other_opening() -> None:
    laws = {(1,): [0.0, 0.6, 0.4, 0.0], (1, 1): [0.0, 0.0, 0.0, 1.0], (1, 2): [0.0, 0.5, 0.5, 0.0]}
    found = find_openings(ToyPolicy(laws, 4, 0), {"p": (1,)}, STOP, 8, 2, rows=2, capacity=8, counts=Counts())
    assert dict(found) == pytest.approx({(1,): 0.6, (2,): 0.4, (2, 1): 0.2, (2, 2): 0.2})


def test_a_cue_never_ends_the_answer() -> None:
    laws = {(1,): [0.9, 0.1, 0.0, 0.0], (1, 1): [1.0, 0.0, 0.0, 0.0]}
    found = find_openings(ToyPolicy(laws, 4, 0), {"p": (1,)}, STOP, 8, 2, rows=2, capacity=8, counts=Counts())
    assert [ids for ids, p in found if p > 0] == [(1,)]


MISTAKES = [
    ("cue.width=0", "cue.width=0: must be a whole number of at least 1; raise width."),
    ("cue.width=300", "cue.width=300: must be at most 256; the paper has 20."),
    ("cue.depth=3", "cue.depth=3: must be 1 or 2; the paper has 2."),
    ("cue.n_samples=1", "cue.n_samples=1: must be at least 2; one answer alone has no entropy."),
]


@pytest.mark.parametrize(("override", "expected"), MISTAKES)
def test_a_mistake_is_named(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Composer().compose([override]))
    assert str(error.value) == expected


def test_what_waits_for_a_cue_says_so_where_none_is_looked_for() -> None:
    expected = r"arms.cue.sampler.cue=null: is to be found, and cue=none looks for none; choose cue=hendrycks_math"
    with pytest.raises(ConfigError, match=expected):
        build(Composer().compose(["cue=none"]))
    given = build(Composer().compose(["cue=none", "arms.cue.sampler.cue=' We'"]))
    assert given.arms["cued_power"].sampler == type(given.arms["cue"].sampler)(given.sampler, cue=" We")
