"""Scores against tables by hand, perfect and blind judges, and scikit-learn's measures."""

import random
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark import grammar
from reasoning_lab.judge.base import Category, Chat, ChatRequest, Judge, Reply, Title, TitleRequest, Usage
from reasoning_lab.judge.chat import BATCH, ChatJudge
from reasoning_lab.judge.lexical import Lexical
from reasoning_lab.taxonomy.naming import CategorySet, LabelledSentence, Naming, name_categories
from reasoning_lab.taxonomy.scoring import (
    Decision,
    RepetitionScore,
    Scoring,
    ask_membership,
    estimate,
    f1_score,
    independence,
    judge_agreement,
    majority,
    proportion,
    score_taxonomy,
)


class Table(Judge):
    """Answers by what sentences say of themselves ("c1 ..." is of category 1), or by given ratings."""

    name = "table"

    def __init__(
        self, ratings: Sequence[int | None] = (10,), similar: Sequence[int | None] = (0,), blind: bool = False
    ) -> None:
        self.ratings, self.similar, self.blind = ratings, similar, blind
        self.asked: list[tuple[int, str]] = []

    def titles(self, requests: Sequence[TitleRequest]) -> list[Title | None]:
        return [Title(f"T{request.index}", "d") for request in requests]

    def belongs(self, questions, among) -> list[list[bool | None]]:
        self.asked += [(category.index, text) for category, texts in questions for text in texts]
        return [[None if self.blind else text.startswith(f"c{c.index} ") for text in texts] for c, texts in questions]

    def fits(self, pairs, among) -> list[int | None]:
        assert all(text.startswith(f"c{category.index} ") for category, text in pairs)
        return [self.ratings[n % len(self.ratings)] for n in range(len(pairs))]

    def similarity(self, pairs, among) -> list[int | None]:
        return [self.similar[n % len(self.similar)] for n in range(len(pairs))]

    def usage(self) -> Usage:
        return Usage()

    def dry(self) -> "Table":
        return self


def sentences(sizes: Sequence[int]) -> list[LabelledSentence]:
    return [LabelledSentence(f"c{c} s{i}", c, 1.0, "t") for c, n in enumerate(sizes) for i in range(n)]


def titled(n: int, repetition: int = 0, without: tuple[int, ...] = ()) -> CategorySet:
    categories = tuple(None if c in without else Category(c, f"T{c}", "d") for c in range(n))
    return CategorySet(repetition, "table", categories, len(without), 0)


def decisions(true: int, missed: int, false: int, right: int, unread: int = 0) -> list[Decision]:
    kinds = [(True, True)] * true + [(True, False)] * missed + [(False, True)] * false + [(False, False)] * right
    return [Decision(0, n, own, answer) for n, (own, answer) in enumerate(kinds)] + [
        Decision(0, 0, True, None)
    ] * unread


# -- consistency -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "f1"),
    [
        ((40, 0, 0, 160), 1.0), ((20, 20, 20, 140), 0.5), ((30, 10, 20, 140), 60 / 90), ((0, 40, 0, 160), 0.0),
        ((0, 0, 3, 0), 0.0), ((0, 0, 0, 160), None), ((0, 0, 0, 0), None), ((40, 0, 0, 160, 30), 1.0),
        ((0, 0, 0, 9, 40), None),
    ],
)  # fmt: skip
def test_f1_by_hand(table: tuple[int, ...], f1: float | None) -> None:
    found = f1_score(decisions(*table))
    assert found == (None if f1 is None else pytest.approx(f1))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    from sklearn.metrics import f1_score as reference

    found = f1_score([Decision(0, n, own, answer) for n, (own, answer) in enumerate(pairs)])
    own, answers = zip(*pairs, strict=True)
    if found is None:
        assert not any(own) and not any(answers)
    else:
        assert found == pytest.approx(reference(own, answers))


def test_forty_own_sentences_and_a_hundred_and_sixty_others() -> None:
    some = sentences([100, 300, 60])
    judge = Table()
    found = ask_membership(judge, [c for c in titled(3).categories if c], some, 3, Scoring(), 0, 0)
    for category in range(3):
        of = [d for d in found if d.category == category]
        assert (len(of), sum(d.is_own for d in of)) == (200, 40)
        assert len({d.sentence for d in of}) == 200
        assert all(d.is_own == (some[d.sentence].label == category) == d.answer for d in of)
        assert [text for c, text in judge.asked if c == category] == [some[d.sentence].text for d in of]
        # Own and others are mixed: no batch of 50 is of one kind.
        assert all(0 < sum(d.is_own for d in of[start : start + 50]) < 50 for start in range(0, 200, 50))
    # The others are drawn from all other clusters by their sizes.
    labels = [some[d.sentence].label for d in found if d.category == 0 and not d.is_own]
    assert 112 < labels.count(1) < 152 and labels.count(2) > 5


def test_another_repetition_or_seed_judges_other_sentences() -> None:
    some, among = sentences([300, 300]), [c for c in titled(2).categories if c]
    runs = [
        ask_membership(Table(), among, some, 2, Scoring(), seed, again)
        for seed, again in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    assert runs[0] == runs[3]
    assert len({tuple(run) for run in runs}) == 3


@pytest.mark.parametrize(
    ("n_own", "n_others", "expected"),
    [(40, 160, (40, 160)), (999, 999, (40, 160)), (10, 999, (10, 40)), (999, 80, (20, 80)), (10, 80, (10, 40)),
     (30, 80, (20, 80)), (1, 999, (1, 4)), (5, 1, (1, 1)), (1, 1, (1, 1)), (3, 0, (1, 0))],
)  # fmt: skip
def test_small_clusters_keep_the_proportion(n_own: int, n_others: int, expected: tuple[int, int]) -> None:
    assert proportion(n_own, n_others, Scoring()) == expected


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 300), st.integers(5, 200), st.floats(0.05, 0.95))
def test_never_more_than_there_are(n_own: int, n_others: int, n: int, share: float) -> None:
    own, others = proportion(n_own, n_others, Scoring(n_sentences=n, own_share=share))
    assert own <= n_own and others <= n_others and own + others <= n
    assert (own >= 1 or share * n < 1) and (others >= 1 or n_others == 0 or (1 - share) * n < 1)


# -- the three and their mean ------------------------------------------------------------------------------------------


def test_a_perfect_judge_of_a_perfect_taxonomy_gives_one() -> None:
    score = score_taxonomy(Table(), [titled(3, again) for again in range(5)], sentences([100, 100, 300]), Scoring(), 0)
    assert [score.spread(name) for name in ("consistency", "completeness", "independence", "final")] == [
        (1.0, 0.0, 5)
    ] * 4
    assert score.n_unparsable == 0 and len(score.decisions[0]) == 600


def test_scores_by_hand() -> None:
    """Ratings 7 2 None in turn; of the 3 pairs one is alike, one not, one unread."""
    judge = Table(ratings=[7, 2, None], similar=[4, 5, None])
    score = score_taxonomy(judge, [titled(3)], sentences([100, 100, 100]), Scoring(), 0).repetitions[0]
    n_7, n_2, n_none = 67, 67, 66
    completeness = (n_7 * 0.7 + n_2 * 0.2) / (n_7 + n_2)
    assert score.completeness == pytest.approx(completeness)
    assert (score.n_ratings, score.n_ratings_unparsable) == (200, n_none)
    assert (score.independence, score.n_pairs, score.n_pairs_unparsable) == (0.5, 3, 1)
    assert score.consistency == 1.0 and score.f1 == (1.0, 1.0, 1.0)
    assert score.final == pytest.approx((1 + completeness + 0.5) / 3)


def test_unread_pairs_are_no_success_but_by_compat() -> None:
    honest, authors = Scoring(), Scoring(compat="venhoff2025")
    assert independence([9, None, None, None], honest) == 0.0
    assert independence([9, None, None, None], authors) == 0.75
    assert independence([None], honest) is None and independence([None], authors) == 1.0
    assert independence([], authors) is None
    assert independence([0, 4, 5, 10], honest) == 0.5


def test_a_judge_that_answers_nothing_scores_nothing() -> None:
    judge = Table(ratings=[None], similar=[None], blind=True)
    score = score_taxonomy(judge, [titled(3)], sentences([50, 50, 50]), Scoring(), 0)
    (one,) = score.repetitions
    assert (one.consistency, one.completeness, one.independence, one.final) == (None,) * 4
    # 50 own and 100 others make 25 to 100 of the wanted 40 to 160.
    assert score.n_unparsable == one.n_decisions + 150 + 3 and one.n_decisions == 3 * 125
    assert score.spread("final") == (None, None, 0)


def test_untitled_categories_are_in_no_score_and_counted() -> None:
    judge = Table(similar=[2, 9, 9])
    score = score_taxonomy(judge, [titled(4, without=(1,))], sentences([60, 60, 60, 60]), Scoring(), 0).repetitions[0]
    assert score.n_untitled == 1 and score.f1 == (1.0, None, 1.0, 1.0)
    assert {c for c, _ in judge.asked} == {0, 2, 3}
    assert score.n_pairs == 3 and score.independence == pytest.approx(1 / 3)
    alone = score_taxonomy(Table(), [titled(2, without=(0,))], sentences([60, 60]), Scoring(), 0).repetitions[0]
    assert alone.independence is None and alone.final is None


def test_the_spread_is_over_the_repetitions() -> None:
    class Moody(Table):
        def similarity(self, pairs, among) -> list[int | None]:
            self.turn = getattr(self, "turn", 0) + 1
            return [10 if n < self.turn else 0 for n in range(len(pairs))]

    score = score_taxonomy(Moody(), [titled(3, again) for again in range(3)], sentences([60] * 3), Scoring(), 0)
    found = score.spread("independence")
    assert found.mean == pytest.approx(1 / 3) and found.sd == pytest.approx(stdev([2 / 3, 1 / 3, 0]))
    assert score_taxonomy(Moody(), [titled(3)], sentences([60] * 3), Scoring(), 0).spread("final").sd is None


def test_scores_go_to_json_and_come_back() -> None:
    (one,) = score_taxonomy(Table(), [titled(2)], sentences([60, 60]), Scoring(), 0).repetitions
    assert RepetitionScore.from_json(one.to_json() | {"f1": list(one.f1)}) == one


# -- against the truth -------------------------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    """Cluster 0 stands for a, 1 for b. Sentence 2 is truly b, but in cluster 0."""
    labels, truth = [0, 0, 0, 1, 1], ["a", "a", "b", "b", "b"]
    assert majority(labels, truth) == {0: "a", 1: "b"}
    asked = [
        Decision(0, 0, True, True),
        Decision(0, 2, True, False),
        Decision(1, 2, False, True),
        Decision(1, 0, False, True),
        Decision(0, 3, False, None),
    ]
    # said T F T T, true T F T F: observed 3/4, chance 3/4 * 1/2 + 1/4 * 1/2 = 1/2.
    assert judge_agreement(asked, majority(labels, truth), truth) == (4, 1, 0.75, 0.5)
    assert judge_agreement([], majority(labels, truth), truth) == (0, 0, None, None)
    assert judge_agreement(asked[:1], majority(labels, truth), truth) == (1, 0, 1.0, None)
    assert majority([0, 0], ["b", "a"]) == {0: "a"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    # Two further sentences make "a" the majority of cluster 0; no decision is about them.
    truth = ["a" if true else "b" for _, true in pairs] + ["a"] * (len(pairs) + 1)
    told = [Decision(0, n, True, said) for n, (said, _) in enumerate(pairs)]
    found = judge_agreement(told, majority([0] * len(truth), truth), truth)
    said, true = zip(*pairs, strict=True)
    if found.kappa is None:
        assert len({*said, *true}) == 1
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(said, true))


def test_the_lexical_judge_tells_a_true_clustering_from_a_random_one() -> None:
    """On the embedded pair's grammar, where the truth is known."""
    rng, law, found, traces = random.Random(0), grammar.Grammar(), [], {}
    for number, problem in enumerate(grammar.heldout_problems(60)):
        text = traces[str(number)] = grammar.response(rng, law, problem, "V")
        found += [(text[start:end], category, str(number)) for start, end, category in grammar.categories(text)]
    truth = [category for _, category, _ in found]
    names = sorted(set(truth))
    judge = Lexical(3, 3).open(Path("unused"), "cpu")

    def scores(labels: list[int]) -> tuple[float, float]:
        some = [
            LabelledSentence(text, label, 1.0, trace) for (text, _, trace), label in zip(found, labels, strict=True)
        ]
        sets = name_categories(judge, some, traces, len(names), Naming(n_repetitions=2), 0)
        score = score_taxonomy(judge, sets, some, Scoring(), 0)
        agreement = judge_agreement([d for run in score.decisions for d in run], majority(labels, truth), truth)
        final = score.spread("final").mean
        assert final is not None and agreement.kappa is not None
        return final, agreement.kappa

    true, chance = (
        scores([names.index(category) for category in truth]),
        scores([rng.randrange(len(names)) for _ in truth]),
    )
    assert true[0] > 0.95 and true[1] > 0.99
    assert chance[0] < 0.5 and abs(chance[1]) < 0.4


# -- cost --------------------------------------------------------------------------------------------------------------


class Calls(NamedTuple):
    """Requests that a chat judge is asked, at most; equal ones are sent once."""

    titles: int
    membership: int
    fits: int
    pairs: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def calls(n_categories: int, naming: Naming, scoring: Scoring) -> Calls:
    """How many requests naming and scoring take, for clusters with sentences enough."""
    n, again = n_categories, naming.n_repetitions
    batches = -(-scoring.n_sentences // BATCH)
    return Calls(again * n, again * n * batches, again * scoring.n_sentences, again * n * (n - 1) // 2)


def test_the_papers_grid_takes_as_many_calls_as_its_arithmetic_says() -> None:
    """Per layer and repetition, sizes 5 to 50: 1100 + 2000 + 4675 to score."""
    grid = [calls(n, Naming(n_repetitions=1), Scoring()) for n in range(5, 51, 5)]
    assert [sum(column) for column in zip(*grid, strict=True)] == [275, 1100, 2000, 4675]
    assert calls(50, Naming(), Scoring()) == Calls(250, 1000, 1000, 6125)
    assert calls(50, Naming(), Scoring()).total == 8375


class Counting(Chat):
    """Has no replies, and counts what it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.usage = Usage()
        self.n = 0

    def ask(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        raise AssertionError("an estimate sends nothing")

    def estimate(self, requests: Sequence[ChatRequest]) -> Usage:
        self.n += len(requests)
        return Usage(asked=len(requests), prompt_tokens=sum(len(request.prompt) for request in requests))


def test_an_estimate_is_made_of_the_very_questions() -> None:
    chat, some = Counting(), sentences([300] * 6)
    found = estimate(ChatJudge(chat), some, {"t": "trace " * 100}, 6, Naming(), Scoring(), 0)
    assert found.asked == chat.n == calls(6, Naming(), Scoring()).total
    assert found.prompt_tokens > 30 * 200 * 5
    fewer = estimate(ChatJudge(Counting()), sentences([300, 300, 0, 300]), {}, 4, Naming(), Scoring(), 0)
    assert fewer.asked == calls(3, Naming(), Scoring()).total
    assert estimate(Lexical(3, 3).open(Path("unused"), "cpu"), some, {}, 6, Naming(), Scoring(), 0) == Usage()


def test_bad_fields_are_named() -> None:
    for change, message in [
        ({"n_sentences": 4}, "n_sentences=4: must be at least 5"),
        ({"own_share": 1.0}, "own_share=1.0: must be between 0 and 1"),
        ({"independent_up_to": 10}, "independent_up_to=10: must be 0 to 9"),
        ({"compat": "karan2025"}, "compat"),
    ]:
        with pytest.raises(Exception, match=message):
            Scoring(**change)
