"""The offline judge: by hand, on planted categories, and against its own blindness."""

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark import grammar
from reasoning_lab.judge.base import Category, TitleRequest
from reasoning_lab.judge.lexical import Lexical, LexicalJudge, without_numbers

JUDGE = Lexical(3, 3).open(Path("unused"), "cpu")


def planted() -> dict[str, list[str]]:
    """Sentences of the embedded pair's grammar by their true categories."""
    rng, law = random.Random(0), grammar.Grammar()
    found: dict[str, list[str]] = {}
    for problem in grammar.heldout_problems(60):
        text = grammar.response(rng, law, problem, "V")
        for start, end, category in grammar.categories(text):
            found.setdefault(category, []).append(text[start:end].strip())
    return found


def taxonomy(sentences: dict[str, list[str]]) -> list[Category]:
    return [Category(n, name, "", tuple(some[: len(some) // 2])) for n, (name, some) in enumerate(sentences.items())]


def test_it_says_what_it_is() -> None:
    assert JUDGE.name == "lexical (TF-IDF, no language model)"


def test_weights_are_class_based_tf_idf_by_hand() -> None:
    """Two classes of 3 and 1 words, A = 2: w(t, c) = tf / n_c * log(1 + 2 / f)."""
    weights, terms = LexicalJudge(1, 1)._class_weights([["wait wait so"], ["so"]])
    assert terms == ["so", "wait"]
    assert np.allclose(weights, [[math.log(2) / 3, 2 * math.log(2) / 3], [math.log(2), 0.0]])


def test_a_phrase_weighs_as_many_words_as_it_has() -> None:
    weights, terms = LexicalJudge(1, 2)._class_weights([["let us"], ["so"]])
    by_term = dict(zip(terms, weights[0], strict=True))
    assert by_term["let us"] == pytest.approx(2 * by_term["let"]) == pytest.approx(2 * math.log(1 + 2) / 3)


def test_titles_mark_planted_categories_and_are_told_from_their_rivals() -> None:
    sentences = planted()
    requests = [TitleRequest(n, tuple(some), (), 0) for n, some in enumerate(sentences.values())]
    titles = dict(zip(sentences, JUDGE.titles(requests), strict=True))
    marks = {
        "plan": "step",
        "setup": "starts",
        "rule": "we",
        "check": "check",
        "backtrack": "wait",
        "conclude": "answer",
    }
    for category, word in marks.items():
        title = titles[category]
        assert title is not None and word in title.title, (category, title)
    assert not any(digit in str(titles) for digit in "123456789")
    assert JUDGE.titles(requests) == list(titles.values())


def test_each_repetition_is_a_taxonomy_of_its_own() -> None:
    requests = [
        TitleRequest(n, (text,), (), again) for again in (0, 1) for n, text in enumerate(["We add.", "Wait, no."])
    ]
    assert JUDGE.titles(requests) == 2 * JUDGE.titles(requests[:2])


def test_sentences_without_words_get_no_title() -> None:
    (found,) = JUDGE.titles([TitleRequest(0, ("", "..."), (), 0)])
    assert found is None


def test_planted_categories_are_recognised_on_sentences_not_seen() -> None:
    sentences = planted()
    among = taxonomy(sentences)
    for category, some in zip(among, sentences.values(), strict=True):
        unseen = some[len(some) // 2 :]
        for rival in among:
            (answers,) = JUDGE.belongs([(rival, unseen)], among)
            assert answers == [rival is category] * len(unseen)
        assert JUDGE.fits([(category, text) for text in unseen], among) == [10] * len(unseen)


def test_numbers_are_no_difference() -> None:
    assert without_numbers("40 - 5 = 35, about 3.5 or 1,000") == "0 - 0 = 0, about 0 or 0"
    among = [Category(0, "a", "", ("7 + 8 = 15.",)), Category(1, "b", "", ("Check: 7 + 8 = 15.",))]
    assert JUDGE.belongs([(among[0], ["99 + 1 = 100."]), (among[1], ["99 + 1 = 100."])], among) == [[True], [False]]


def test_a_sentence_of_unknown_words_has_no_answer() -> None:
    among = taxonomy(planted())
    assert JUDGE.belongs([(among[0], ["Bonjour", ""])], among) == [[None, None]]
    assert JUDGE.fits([(among[0], "Bonjour")], among) == [None]


def test_similarity_is_that_of_the_wording() -> None:
    same, other = Category(0, "a", "", ("we add", "we halve")), Category(1, "b", "", ("wait not",))
    among = [same, other, Category(2, "c", "", same.examples)]
    assert JUDGE.similarity([(same, other), (same, among[2]), (same, same)], among) == [0, 10, 10]


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_any_text_has_an_answer_of_the_right_form(sentences: Sequence[str]) -> None:
    among = [Category(0, "a", "", ("we add", *sentences)), Category(1, "b", "", ("wait , not 0",))]
    (answers,) = JUDGE.belongs([(among[0], sentences)], among)
    assert len(answers) == len(sentences)
    ratings = JUDGE.fits([(among[1], sentence) for sentence in sentences], among)
    assert all(rating is None or 0 <= rating <= 10 for rating in ratings)
    titles = JUDGE.titles([TitleRequest(0, tuple(sentences), (), 0), TitleRequest(1, ("wait",), (), 0)])
    assert len(titles) == 2 and all(title is None or title.title for title in titles)


def test_categories_without_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="category 4 .'x'. has no examples: a lexical judge needs"):
        JUDGE.belongs([], [Category(4, "x", "")])
    with pytest.raises(ValueError, match="title_terms=0: must be a whole number of at least 1"):
        Lexical(0, 3)
