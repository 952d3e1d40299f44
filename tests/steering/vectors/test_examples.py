"""Filters, choice and held-out split, by hand and by properties."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.records import Span
from reasoning_lab.steering.vectors.examples import (
    LabelledTrace,
    Sentence,
    at_random,
    by_activation,
    by_perplexity,
    check_labels,
    disagreements,
    heldout_traces,
    sampled,
    selection_and_test,
    sentence_example,
    text_example,
    token_categories,
    usable_sentences,
)
from tests.steering.toy import toy_traces, trace


def test_sentences_by_hand():
    """Prompt of 2, sentences of 3, 1, 2 tokens."""
    whole = trace([5, 6], [[7, 8, 9], [3], [4, 4]], [1, 0, 2], [0.5, 0.25, 0.125])
    assert usable_sentences([whole], 1, False, 99) == [
        Sentence(0, 0, 1, 0.5, 2, 5), Sentence(0, 1, 0, 0.25, 5, 6), Sentence(0, 2, 2, 0.125, 6, 8),
    ]  # fmt: skip
    assert [s.span for s in usable_sentences([whole], 2, False, 99)] == [0, 2]
    assert [s.span for s in usable_sentences([whole], 1, False, 6)] == [0, 1]
    assert [s.span for s in usable_sentences([replace(whole, cut=True)], 1, False, 99)] == [0, 1]
    wrong = replace(whole, verdict="wrong")
    assert {s.trace for s in usable_sentences([wrong, whole], 1, True, 99)} == {1}
    with pytest.raises(ValueError, match=r"correct_only=True, .* leave no sentence of 1 traces \(0 correct\)"):
        usable_sentences([wrong], 1, True, 99)


def test_positions_by_hand():
    """Tokens 5, 6, 7 of the text are predicted at 4, 5, 6."""
    sentence = Sentence(3, 0, 1, 0.0, 5, 8)
    scored = ((4, 1), (5, 1), (6, 1))
    for positions, steered in (("sentence", scored), ("targets", scored[1:]), ("boundary", scored[:1])):
        example = sentence_example(sentence, positions, 1)
        assert (example.trace, example.steered, example.scored) == (3, steered, scored)
        assert (example.start, example.stop) == (4, 7)
    own = [sentence, replace_last(sentence, 8, 10)]
    text = text_example(own, "boundary", 0)
    assert text.steered == ((4, 0), (7, 0))
    assert [p for p, _ in text.scored] == [4, 5, 6, 7, 8]
    assert [p for p, _ in text_example(own, "targets", 0).steered] == [5, 6, 7, 8]


def replace_last(sentence, first, last):
    return Sentence(sentence.trace, sentence.span + 1, sentence.category, 0.0, first, last)


def test_traces_that_do_not_fit_together_are_refused():
    good = trace([3], [[4, 5]], [0])
    for changes, message in (
        ({"prompt": ()}, "prompt="),
        ({"labels": (0, 1)}, "labels has 2 entries for 1 spans"),
        ({"scores": ()}, "scores has 0 entries"),
        ({"token_labels": (0,)}, "token_labels has 1 entries for 2 ids"),
        ({"ids": (4,)}, "a span ends after the 1 ids"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(good, **changes)
    check_labels([good], 1)
    with pytest.raises(ValueError, match="no traces"):
        check_labels([], 1)
    with pytest.raises(ValueError, match="trace 1 has label 1: categories are 0 ... 0"):
        check_labels([good, replace(good, token_labels=(0, 1))], 1)


# --- the held-out split -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.floats(0.01, 0.99), st.integers(0, 5), st.randoms())
def test_no_problem_is_on_both_sides(n_problems, chains, share, seed, rng):
    traces = toy_traces(n_problems, chains=chains)
    used = sorted(rng.sample(range(len(traces)), rng.randint(2, len(traces))))
    problems = {traces[index].prompt for index in used}
    if len(problems) < 2:
        with pytest.raises(ValueError, match="at least 2"):
            heldout_traces(traces, used, share, seed)
        return
    held = heldout_traces(traces, used, share, seed)
    held_problems = {traces[index].prompt for index in held}
    assert held <= set(used)
    assert not held_problems & {traces[index].prompt for index in used if index not in held}
    assert len(held_problems) == min(max(1, round(share * len(problems))), len(problems) - 1)
    shuffled = rng.sample(range(len(traces)), len(traces))
    again = heldout_traces([traces[i] for i in shuffled], [shuffled.index(i) for i in used], share, seed)
    assert {shuffled[i] for i in again} == held


def test_every_problem_is_held_out_equally_often():
    traces = toy_traces(5, chains=1)
    counts = [sum(index in heldout_traces(traces, range(5), 0.4, seed) for seed in range(500)) for index in range(5)]
    assert all(abs(count - 200) < 4 * (500 * 0.4 * 0.6) ** 0.5 for count in counts)


# --- ranking ----------------------------------------------------------------------------------------------------


def test_ranking_by_hand():
    a, b, c, d = (Sentence(i, 0, 0, score, 3, 5) for i, score in enumerate((0.1, 0.9, 0.5, 0.9)))
    assert by_activation([d, a, c, b], 3) == [b, d, c]
    assert by_perplexity([a, b, c, d], {a: 1.0, b: 3.0, c: 3.0, d: 2.0}, 3) == [b, c, d]


def test_random_choice_is_keyed_and_uniform():
    traces = toy_traces(4, chains=1)
    found = usable_sentences(traces, 1, False, 99)
    chosen = at_random(found, 5, traces, 1)
    assert len(set(chosen)) == 5
    assert at_random(found[::-1], 5, traces, 1) == chosen
    assert at_random(found, 3, traces, 1) == chosen[:3]
    n, k, draws = len(found), 5, 400
    drawn = [set(at_random(found, k, traces, seed)) for seed in range(draws)]
    for sentence in found:
        count = sum(sentence in each for each in drawn)
        assert abs(count - draws * k / n) < 4.5 * (draws * k / n * (1 - k / n)) ** 0.5


# --- disagreements ----------------------------------------------------------------------------------------------


def test_disagreements_by_hand():
    """Positions 1, 2, 3 predict tokens 7, 8, 9; the base model would have written 7, 3, 3; the last is a sentence of
    its own."""
    whole = trace([5, 6], [[7, 8], [9]], [1, 0])
    choices = {0: (4, 7, 3, 3)}
    assert disagreements([whole], usable_sentences([whole], 1, False, 99), choices) == {0: [(2, 1), (3, 0)]}
    assert disagreements([whole], usable_sentences([whole], 2, False, 99), choices) == {0: [(2, 1)]}
    token_by_token = replace(whole, token_labels=(0, 2, 1))
    assert disagreements([token_by_token], usable_sentences([whole], 1, False, 99), choices) == {0: [(2, 2), (3, 1)]}
    assert disagreements([whole], usable_sentences([whole], 1, False, 99), {0: (0, 7, 8, 9)}) == {}


def test_categories_of_positions():
    gap = LabelledTrace((3, 3), (4, 5, 6), (Span(0, 1, 0, 1), Span(1, 2, 2, 3)), (2, 1), (0.0, 0.0), "wrong")
    assert token_categories(gap) == {1: 2, 3: 1}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 8), st.integers(0, 3))
def test_sampled_positions(categories, most, seed):
    positions = list(enumerate(categories, start=4))
    kept = sampled(positions, most, toy_traces(1)[0], seed)
    assert list(kept) == sorted(set(kept))
    assert set(kept) <= set(positions)
    for category in range(3):
        assert sum(c == category for _, c in kept) == min(most, categories.count(category))


def test_what_picks_the_moment_and_what_reports_on_it_share_no_problem() -> None:
    """Both chains of a problem are on one side, whatever the order of the traces."""
    traces = toy_traces(7, chains=2)
    held = heldout_traces(traces, range(14), 0.6, 0)
    selection, test = selection_and_test(traces, held, 0)
    assert selection | test == held and not selection & test
    assert not {traces[i].prompt for i in selection} & {traces[i].prompt for i in test}
    assert len({traces[i].prompt for i in test}) == len({traces[i].prompt for i in held}) // 2 == 2
    one = heldout_traces(traces, range(14), 0.01, 0)
    assert selection_and_test(traces, one, 0) == (one, frozenset())
