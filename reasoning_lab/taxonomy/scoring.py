"""Three scores of a named taxonomy, and their mean (Venhoff et al. 2025, arXiv:2510.07364).

- consistency: can the judge tell a category's sentences from others by its description? Per category 200 sentences,
  20 % of them its own; the F1 of the judge's yes/no; unweighted mean over the categories.
- completeness: do sentences fit the category that they were assigned to? 200 sentences, mean rating / 10. (It measures
  the fit to the assigned category and not coverage.)
- independence: are the categories different functions? The share of unordered pairs whose similarity is at most 4 of
  10.

A reply that can't be read is left out of its score and counted. (The authors' code reads an unreadable similarity as 0,
hence as independent: `compat="venhoff2025"`.) The scores rise with the number of categories, for independence counts
pairs: they compare taxonomies of one size.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from reasoning_lab.checks import require, require_one_of
from reasoning_lab.engine.rng import Key
from reasoning_lab.judge.base import Category, Judge, Usage
from reasoning_lab.records import Record
from reasoning_lab.taxonomy.naming import CategorySet, LabelledSentence, Naming, members, name_categories, sample

Compat = Literal["none", "venhoff2025"]


@dataclass(frozen=True)
class Scoring:
    """How a taxonomy is scored."""

    n_sentences: int = 200
    """Per category for consistency, and in all for completeness."""
    own_share: float = 0.2
    """Of a category's own sentences among those of its consistency."""
    independent_up_to: int = 4
    """Highest similarity of 10 at which two categories are independent."""
    compat: Compat = "none"
    """venhoff2025: an unreadable similarity counts as independent."""

    def __post_init__(self) -> None:
        require(self.n_sentences >= 5, "n_sentences", self.n_sentences, "at least 5", "raise n_sentences")
        require(0 < self.own_share < 1, "own_share", self.own_share, "between 0 and 1", "the paper has 0.2")
        bound = self.independent_up_to
        require(0 <= bound <= 9, "independent_up_to", bound, "0 to 9", "the paper has 4")
        require_one_of(Compat, "compat", self.compat)


class Decision(NamedTuple):
    """One answer of the judge on whether a sentence belongs to a category."""

    category: int
    sentence: int
    """Index in the list of sentences."""
    is_own: bool
    """Whether the taxonomy assigned the sentence to the category."""
    answer: bool | None


@dataclass(frozen=True)
class RepetitionScore(Record):
    """The scores of one set of titles; None where nothing is left to score."""

    repetition: int
    judge: str
    consistency: float | None
    completeness: float | None
    independence: float | None
    f1: tuple[float | None, ...]
    """By cluster; None for one without a title or without a readable answer."""
    n_untitled: int
    """Clusters without a title, empty or unreadable: in none of the scores."""
    n_decisions: int
    n_decisions_unparsable: int
    n_ratings: int
    n_ratings_unparsable: int
    n_pairs: int
    n_pairs_unparsable: int

    @property
    def final(self) -> float | None:
        """Mean of the three; None if one is."""
        parts = [self.consistency, self.completeness, self.independence]
        known = [part for part in parts if part is not None]
        return fmean(known) if len(known) == len(parts) else None


class Spread(NamedTuple):
    """A score over the repetitions."""

    mean: float | None
    """Over the repetitions that have the score; None if none has."""
    sd: float | None
    """Standard deviation (n - 1); None for fewer than two."""
    n: int


@dataclass(frozen=True)
class TaxonomyScore:
    """All repetitions, and the decisions behind them."""

    repetitions: tuple[RepetitionScore, ...]
    decisions: tuple[tuple[Decision, ...], ...]
    """Per repetition the judge's answers on membership."""

    def spread(self, score: Literal["consistency", "completeness", "independence", "final"]) -> Spread:
        """One score's mean and standard deviation over the repetitions."""
        values = [value for each in self.repetitions if (value := getattr(each, score)) is not None]
        return Spread(fmean(values) if values else None, stdev(values) if len(values) > 1 else None, len(values))

    @property
    def n_unparsable(self) -> int:
        """Answers of any kind that couldn't be read."""
        return sum(r.n_decisions_unparsable + r.n_ratings_unparsable + r.n_pairs_unparsable for r in self.repetitions)


def score_taxonomy(
    judge: Judge,
    sets: Sequence[CategorySet],
    sentences: Sequence[LabelledSentence],
    scoring: Scoring,
    seed: int,
) -> TaxonomyScore:
    """The scores of every repetition's titles; which sentences are judged is keyed by (seed, repetition, cluster)."""
    scored = [_repetition(judge, titles, sentences, scoring, seed) for titles in sets]
    return TaxonomyScore(tuple(score for score, _ in scored), tuple(decisions for _, decisions in scored))


def _repetition(
    judge: Judge, titles: CategorySet, sentences: Sequence[LabelledSentence], scoring: Scoring, seed: int
) -> tuple[RepetitionScore, tuple[Decision, ...]]:
    among = [category for category in titles.categories if category is not None]
    decisions = ask_membership(judge, among, sentences, len(titles.categories), scoring, seed, titles.repetition)
    ratings = ask_fits(judge, among, sentences, scoring, seed, titles.repetition)
    similarities = judge.similarity(list(combinations(among, 2)), among)
    f1 = tuple(f1_score([d for d in decisions if d.category == c]) for c in range(len(titles.categories)))
    score = RepetitionScore(
        titles.repetition,
        judge.name,
        _mean([value for value in f1 if value is not None]),
        _mean([rating / 10 for rating in ratings if rating is not None]),
        independence(similarities, scoring),
        f1,
        len(titles.categories) - len(among),
        len(decisions),
        sum(decision.answer is None for decision in decisions),
        len(ratings),
        sum(rating is None for rating in ratings),
        len(similarities),
        sum(rating is None for rating in similarities),
    )
    return score, tuple(decisions)


# -- consistency -------------------------------------------------------------------------------------------------------


def ask_membership(
    judge: Judge,
    among: Sequence[Category],
    sentences: Sequence[LabelledSentence],
    n_categories: int,
    scoring: Scoring,
    seed: int,
    repetition: int,
) -> list[Decision]:
    """The judge's answers on own and other sentences of each category, shuffled together."""
    groups = members(sentences, n_categories)
    ordered = [index for group in groups for index in group]
    chosen = []
    for category in among:
        own, before = groups[category.index], sum(map(len, groups[: category.index]))
        others = _Others(ordered, before, len(own))
        chosen.append(_own_and_others(own, others, scoring, Key(seed, "taxonomy", repetition, category.index)))
    questions = [(c, [sentences[index].text for index in some]) for c, some in zip(among, chosen, strict=True)]
    return [
        Decision(category.index, index, sentences[index].label == category.index, answer)
        for category, some, answers in zip(among, chosen, judge.belongs(questions, among), strict=True)
        for index, answer in zip(some, answers, strict=True)
    ]


class _Others(NamedTuple):
    """All sentences but those of one cluster, without a copy of the list."""

    ordered: Sequence[int]
    """All sentences, cluster by cluster."""
    start: int
    """Where the cluster's begin."""
    n_own: int

    @property
    def n(self) -> int:
        """How many."""
        return len(self.ordered) - self.n_own

    def at(self, rank: int) -> int:
        """The rank-th of them."""
        return self.ordered[rank if rank < self.start else rank + self.n_own]


def _own_and_others(own: Sequence[int], others: _Others, scoring: Scoring, key: Key) -> list[int]:
    """Sentences of a category and of the others, shuffled, in the wanted proportion: where either side is too small,
    both are reduced, for F1 depends on the proportion."""
    want_own, want_others = proportion(len(own), others.n, scoring)
    mine = [own[at] for at in sample(len(own), want_own, key, "own sentences")]
    rest = [others.at(at) for at in sample(others.n, want_others, key, "other sentences")]
    together = mine + rest
    return [together[at] for at in sample(len(together), len(together), key, "order of judged sentences")]


def proportion(n_own: int, n_others: int, scoring: Scoring) -> tuple[int, int]:
    """How many own and other sentences are judged of those that there are; at least one of each that exists."""
    own = round(scoring.n_sentences * scoring.own_share)
    others = scoring.n_sentences - own
    if n_own >= own and n_others >= others:
        return own, others
    if n_own * others <= n_others * own:  # The own sentences are the scarcer.
        return n_own, min(n_others, max(1, n_own * others // own))
    return max(1, n_others * own // others), n_others


def f1_score(decisions: Sequence[Decision]) -> float | None:
    """2 TP / (2 TP + FP + FN) of the readable answers; None where that is 0/0: no own sentence has a readable answer
    and none was taken for own."""
    readable = Counter((decision.is_own, decision.answer) for decision in decisions if decision.answer is not None)
    true, false = readable[True, True], readable[False, True] + readable[True, False]
    return 2 * true / (2 * true + false) if true + false else None


# -- completeness and independence -------------------------------------------------------------------------------------


def ask_fits(
    judge: Judge,
    among: Sequence[Category],
    sentences: Sequence[LabelledSentence],
    scoring: Scoring,
    seed: int,
    repetition: int,
) -> list[int | None]:
    """The judge's ratings of sentences in their own categories; sentences of untitled clusters are left out."""
    titled = {category.index: category for category in among}
    able = [index for index, sentence in enumerate(sentences) if sentence.label in titled]
    key = Key(seed, "taxonomy", repetition)
    chosen = [able[at] for at in sample(len(able), min(scoring.n_sentences, len(able)), key, "rated sentences")]
    return judge.fits([(titled[sentences[index].label], sentences[index].text) for index in chosen], among)


def independence(similarities: Sequence[int | None], scoring: Scoring) -> float | None:
    """The share of pairs of at most `independent_up_to`; unreadable ones are left out, or independent by compat."""
    if scoring.compat == "venhoff2025":
        similarities = [0 if rating is None else rating for rating in similarities]
    return _mean([float(rating <= scoring.independent_up_to) for rating in similarities if rating is not None])


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


# -- against the truth -------------------------------------------------------------------------------------------------


class JudgeAgreement(NamedTuple):
    """A judge's answers on membership against known categories."""

    n: int
    """Readable answers."""
    n_unparsable: int
    accuracy: float | None
    """Share of agreement; None without readable answers."""
    kappa: float | None
    """Cohen's kappa: (observed - chance agreement) / (1 - chance agreement); None where chance agreement is 1."""


def judge_agreement(
    decisions: Sequence[Decision], stands_for: Mapping[int, str], truth: Sequence[str]
) -> JudgeAgreement:  # fmt: skip
    """How far a judge that answers by a cluster's description agrees with ground truth (where a grammar gives it, as
    for the embedded pair).

    A cluster stands for the true category that most of its clustered sentences have (`majority`); a sentence truly
    belongs if it has that category, wherever the clustering put it. So a judge is not blamed for the clustering's
    errors, as it is in the consistency score. Arguments: what each cluster stands for, and per sentence its category.
    """
    pairs = Counter(
        (decision.answer, truth[decision.sentence] == stands_for.get(decision.category))
        for decision in decisions
        if decision.answer is not None
    )
    n = pairs.total()
    if n == 0:
        return JudgeAgreement(0, len(decisions), None, None)
    observed = (pairs[True, True] + pairs[False, False]) / n
    said, true = (pairs[True, True] + pairs[True, False]) / n, (pairs[True, True] + pairs[False, True]) / n
    chance = said * true + (1 - said) * (1 - true)
    return JudgeAgreement(n, len(decisions) - n, observed, (observed - chance) / (1 - chance) if chance < 1 else None)


def majority(labels: Sequence[int], truth: Sequence[str]) -> Mapping[int, str]:
    """Per cluster the most frequent true category, ties to the first by name."""
    counts: dict[int, Counter[str]] = {}
    for label, category in zip(labels, truth, strict=True):
        counts.setdefault(label, Counter())[category] += 1
    return {label: min(count, key=lambda category: (-count[category], category)) for label, count in counts.items()}


# -- cost --------------------------------------------------------------------------------------------------------------


def estimate(
    judge: Judge,
    sentences: Sequence[LabelledSentence],
    traces: Mapping[str, str],
    n_categories: int,
    naming: Naming,
    scoring: Scoring,
    seed: int,
    heldout: Sequence[LabelledSentence] = (),
) -> Usage:
    """What naming and scoring will cost with this judge: the very questions, with stand-ins of the usual length for
    the titles that aren't known yet. Nothing is sent."""
    dry = judge.dry()
    name_categories(dry, sentences, traces, n_categories, naming, seed)
    groups = members(sentences, n_categories)
    stand_ins = tuple(
        Category(c, f"Usual title {c}", "About sixty words. " * 20, tuple(sentences[i].text for i in group[:1]))
        if group
        else None
        for c, group in enumerate(groups)
    )
    n_empty = sum(category is None for category in stand_ins)
    sets = [CategorySet(again, dry.name, stand_ins, 0, n_empty) for again in range(naming.n_repetitions)]
    score_taxonomy(dry, sets, sentences, scoring, seed)
    if heldout:
        score_taxonomy(dry, sets, heldout, scoring, seed)
    return dry.usage()
