"""Naming: which sentences a judge sees, in which order, and what becomes of its names."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from reasoning_lab.engine.rng import Key
from reasoning_lab.judge.base import Category, Judge, Title, TitleRequest, Usage
from reasoning_lab.judge.lexical import Lexical
from reasoning_lab.taxonomy.naming import (
    CategorySet,
    LabelledSentence,
    Naming,
    members,
    name_categories,
    sample,
    spread,
)


class Recording(Judge):
    """Keeps what it is asked; its titles are counts."""

    name = "recording"

    def __init__(self, blind_to: tuple[int, ...] = ()) -> None:
        self.requests: list[TitleRequest] = []
        self.blind_to = blind_to

    def titles(self, requests: Sequence[TitleRequest]) -> list[Title | None]:
        self.requests += requests
        return [None if r.index in self.blind_to else Title(f"T{r.index}", f"{len(r.sentences)}") for r in requests]

    def belongs(self, questions, among):
        raise AssertionError("not asked")

    def fits(self, pairs, among):
        raise AssertionError("not asked")

    def similarity(self, pairs, among):
        raise AssertionError("not asked")

    def usage(self) -> Usage:
        return Usage()

    def dry(self) -> "Recording":
        return self


def corpus(sizes: Sequence[int]) -> tuple[list[LabelledSentence], dict[str, str]]:
    """`sizes[c]` sentences of cluster c, of falling scores, spread over 7 traces."""
    sentences = [
        LabelledSentence(f"c{c} s{i}", c, -float(i), f"t{i % 7}") for c, n in enumerate(sizes) for i in range(n)
    ]
    return sentences, {f"t{i}": f"trace {i}" for i in range(7)}


# -- drawing -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 50), st.data())
def test_a_sample_is_without_replacement_and_a_head_of_the_full_shuffle(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    key = Key(data.draw(st.integers()), "p")
    drawn = sample(n, k, key, "role")
    assert len(set(drawn)) == len(drawn) == k and set(drawn) <= set(range(n))
    assert sample(n, n, key, "role")[:k] == drawn


def test_every_arrangement_is_equally_likely() -> None:
    """All 4 * 3 ordered pairs of 4."""
    counts = Counter(tuple(sample(4, 2, Key(seed, "p"), "role")) for seed in range(6000))
    assert len(counts) == 12
    assert chisquare(list(counts.values())).pvalue > 1e-3


# -- which sentences ---------------------------------------------------------------------------------------------------


def test_the_first_of_each_decile_by_hand() -> None:
    """40 ranked sentences, 2 of each of 4 quarters: ranks 0 1, 10 11, 20 21, 30 31."""
    scores = [float((7 * i) % 40) for i in range(40)]
    ranked = sorted(range(40), key=lambda i: -scores[i])
    naming = Naming(n_sentences=8, n_quantiles=4)
    assert spread(range(40), scores, naming) == [ranked[r] for r in (0, 1, 10, 11, 20, 21, 30, 31)]


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=90), st.integers(1, 6), st.integers(1, 5))
def test_a_spread_has_no_sentence_twice_and_is_ranked(scores: list[float], n: int, each: int) -> None:
    naming = Naming(n_sentences=n * each, n_quantiles=n)
    chosen = spread(range(len(scores)), scores, naming)
    assert len(chosen) == len(set(chosen)) == min(len(scores), n * each)
    assert [scores[i] for i in chosen] == sorted((scores[i] for i in chosen), reverse=True)
    if len(scores) > n * each:
        bounds = [q * len(scores) // n for q in range(n + 1)]
        ranked = sorted(range(len(scores)), key=lambda i: -scores[i])
        ranks = [ranked.index(i) for i in chosen]
        assert np.histogram(ranks, [*bounds[:-1], len(scores) + 1])[0].tolist() == [each] * n


def test_the_papers_protocol_on_a_large_and_a_small_cluster() -> None:
    sentences, traces = corpus([1000, 30])
    judge = Recording()
    sets = name_categories(judge, sentences, traces, 2, Naming(), 0)
    assert len(sets) == 5 and len(judge.requests) == 10
    first = judge.requests[0]
    assert len(first.sentences) == len(set(first.sentences)) == 200
    assert Counter(int(text.split("s")[1]) // 100 for text in first.sentences) == dict.fromkeys(range(10), 20)
    assert all(int(text.split("s")[1]) % 100 < 20 for text in first.sentences)
    assert set(judge.requests[1].sentences) == {f"c1 s{i}" for i in range(30)}
    assert all(
        len(set(request.traces)) == 3 and set(request.traces) <= set(traces.values()) for request in judge.requests
    )
    # Examples stand by rank, whatever the order in which they were shown.
    assert sets[0].categories[1] == Category(1, "T1", "30", tuple(f"c1 s{i}" for i in range(30)))
    assert first.sentences != sets[0].categories[0].examples  # pyright: ignore[reportOptionalMemberAccess]


def test_repetitions_clusters_and_seeds_differ_in_order_and_traces_and_nothing_else_does() -> None:
    sentences, traces = corpus([40, 40])
    one, same, other = Recording(), Recording(), Recording()
    name_categories(one, sentences, traces, 2, Naming(), 0)
    name_categories(same, sentences, dict(reversed(traces.items())), 2, Naming(), 0)
    name_categories(other, sentences, traces, 2, Naming(), 1)
    assert one.requests == same.requests
    everything = one.requests + other.requests
    orders = {tuple(int(text.split("s")[1]) for text in request.sentences) for request in everything}
    assert len(orders) == 20
    assert len({request.traces for request in everything}) > 10
    assert {frozenset(request.sentences) for request in everything if request.index == 0} == {
        frozenset(f"c0 s{i}" for i in range(40))
    }


def test_few_traces_are_all_shown() -> None:
    judge = Recording()
    name_categories(judge, corpus([3])[0], {"t0": "only"}, 1, Naming(n_repetitions=1), 0)
    assert judge.requests[0].traces == ("only",)


# -- what becomes of names ---------------------------------------------------------------------------------------------


def test_empty_clusters_and_unread_replies_are_counted_apart() -> None:
    sentences, traces = corpus([5, 0, 5, 5])
    judge = Recording(blind_to=(2,))
    (found,) = name_categories(judge, sentences, traces, 4, Naming(n_repetitions=1), 0)
    assert [category and category.index for category in found.categories] == [0, None, None, 3]
    assert (found.n_unparsable, found.n_empty, found.judge) == (1, 1, "recording")
    assert [request.index for request in judge.requests] == [0, 2, 3]


def test_a_set_goes_to_json_and_comes_back() -> None:
    one = CategorySet(2, "j", (Category(0, "a", "b\nc", ("x", "y")), None), 1, 0)
    assert CategorySet.from_json(json.loads(one.dumps())) == one


def test_the_lexical_judge_names_planted_clusters() -> None:
    texts = ["Wait, that is wrong.", "We add the two.", "Check: it holds."]
    sentences = [LabelledSentence(texts[c], c, 1.0, "t") for c in (0, 1, 2) for _ in range(30)]
    judge = Lexical(3, 3).open(Path("unused"), "cpu")
    sets = name_categories(judge, sentences, {"t": " ".join(texts)}, 3, Naming(), 0)
    assert len({found.categories for found in sets}) == 1  # It has no mood: repetitions agree.
    titles = [category.title for category in sets[0].categories if category]
    assert [word in title for word, title in zip(["wait", "add", "check"], titles, strict=True)] == [True] * 3


def test_bad_input_is_named() -> None:
    sentences, traces = corpus([2, 2])
    with pytest.raises(ValueError, match=r"sentence 2 has label 1: labels are 0 ... 0"):
        name_categories(Recording(), sentences, traces, 1, Naming(), 0)
    with pytest.raises(ValueError, match="n_sentences=25: must be a multiple of n_quantiles=10"):
        Naming(n_sentences=25)
    with pytest.raises(ValueError, match="n_repetitions=0: must be a whole number of at least 1"):
        Naming(n_repetitions=0)
    assert members([], 2) == [[], []]
