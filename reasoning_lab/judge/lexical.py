"""A judge without a language model: words alone, offline, the same answer every time.

It can't read; it tells categories apart where their wording differs. Its scores are a floor for real judges, and a way
to run the whole pipeline where there is none.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from reasoning_lab.checks import require_count
from reasoning_lab.judge.base import Category, Judge, JudgeOption, Title, TitleRequest, Usage

TERM = r"[^\W\d_]+(?:'[^\W\d_]+)?|0|[^\w\s]"
"""A word, a number (each is a 0 by then) or a mark."""


@dataclass(frozen=True)
class Lexical(JudgeOption):
    """The offline judge."""

    title_terms: int
    """Terms of a title."""
    longest_term: int
    """Words and marks of a term, at most."""

    def __post_init__(self) -> None:
        require_count(self, "title_terms", "longest_term")

    def open(self, cache: Path, device: str) -> "LexicalJudge":
        """The judge; it needs neither."""
        return LexicalJudge(self.title_terms, self.longest_term)

    def identity(self) -> dict[str, Any]:
        """The parameters, and a version of the rules."""
        return {"judge": "lexical", "version": 1, "title_terms": self.title_terms, "longest_term": self.longest_term}

    def check(self) -> None:
        """Nothing can be missing."""


class LexicalJudge(Judge):
    """Titles by class-based TF-IDF, answers by the nearest centroid of TF-IDF vectors.

    Class-based TF-IDF of term t in category c: tf(t, c) log(1 + A / f(t)), with tf the term's share of c's terms (a
    count in Grootendorst 2022, arXiv:2203.05794, eq. 2), f its count in all categories, A the mean number of terms per
    category; here times the number of words in the term, so that a phrase goes before its parts. A centroid is the mean
    of the unit TF-IDF vectors of a category's examples, scaled to length 1. The examples are those of the naming, so
    sentences that are judged later may be among them, as with any judge here.
    """

    name = "lexical (TF-IDF, no language model)"

    def __init__(self, title_terms: int, longest_term: int) -> None:
        self._title_terms, self._longest_term = title_terms, longest_term

    def titles(self, requests: Sequence[TitleRequest]) -> list[Title | None]:
        """The terms that mark each category against the others of the same repetition; None where there is none."""
        titles: dict[int, Title | None] = {}
        together = defaultdict(list)
        for number, request in enumerate(requests):
            together[request.repetition].append(number)
        for numbers in together.values():
            weights, terms = self._class_weights([requests[number].sentences for number in numbers])
            for number, row in zip(numbers, weights, strict=True):
                titles[number] = self._title(row, terms)
        return [titles[number] for number in range(len(requests))]

    def belongs(
        self, questions: Sequence[tuple[Category, Sequence[str]]], among: Sequence[Category]
    ) -> list[list[bool | None]]:
        """Whether the category's centroid is the nearest of all, ties to the first; None for a sentence without any
        known term."""
        space = _Space.of(tuple(among))
        answers: list[list[bool | None]] = []
        for category, sentences in questions:
            position, cosines = space.position(category), space.cosines(sentences)
            answers.append([bool(row.argmax() == position) if row.any() else None for row in cosines])
        return answers

    def fits(self, pairs: Sequence[tuple[Category, str]], among: Sequence[Category]) -> list[int | None]:
        """10 cos(sentence, category) / max over all categories of that cosine, rounded; None as in `belongs`."""
        space = _Space.of(tuple(among))
        cosines = space.cosines([sentence for _, sentence in pairs])
        return [
            round(10 * float(row[space.position(category)] / row.max())) if row.any() else None
            for (category, _), row in zip(pairs, cosines, strict=True)
        ]

    def similarity(self, pairs: Sequence[tuple[Category, Category]], among: Sequence[Category]) -> list[int | None]:
        """10 cos(centroid, centroid), rounded."""
        space = _Space.of(tuple(among))
        cosines = space.centroids @ space.centroids.T
        return [round(10 * float(cosines[space.position(one), space.position(other)])) for one, other in pairs]

    def usage(self) -> Usage:
        """Nothing is spent."""
        return Usage()

    def dry(self) -> "LexicalJudge":
        """Itself: it sends nothing."""
        return self

    def _class_weights(self, classes: Sequence[Sequence[str]]) -> tuple[Float[np.ndarray, "class term"], list[str]]:
        from sklearn.feature_extraction.text import CountVectorizer

        counter = CountVectorizer(
            preprocessor=without_numbers, token_pattern=TERM, ngram_range=(1, self._longest_term), lowercase=False
        )
        rows = np.array([row for row, some in enumerate(classes) for _ in some], dtype=int)
        try:
            counts: Any = counter.fit_transform([sentence for some in classes for sentence in some])
        except ValueError:  # No sentence has a term.
            return np.zeros((len(classes), 0)), []
        summed = np.zeros((len(classes), counts.shape[1]))
        for number in range(len(classes)):
            summed[number] = counts[rows == number].sum(axis=0)
        terms = list(counter.get_feature_names_out())
        share = summed / np.maximum(summed.sum(axis=1, keepdims=True), 1)
        lengths = np.array([term.count(" ") + 1 for term in terms])
        return lengths * share * np.log1p(summed.sum() / len(classes) / summed.sum(axis=0)), terms

    def _title(self, weights: Float[np.ndarray, " term"], terms: list[str]) -> Title | None:
        """The heaviest terms that begin and end with a word or a number, no two with a word in common."""
        chosen: list[str] = []
        for index in np.argsort(-weights, kind="stable"):
            term = terms[index]
            if weights[index] <= 0 or len(chosen) == self._title_terms:
                break
            if term[0].isalnum() and term[-1].isalnum() and not _overlap(term, chosen):
                chosen.append(term)
        if not chosen:
            return None
        shown = ", ".join(f"“{term}”" for term in chosen)
        return Title(" · ".join(chosen), f"Sentences whose wording differs from the others' most by {shown}.")


def without_numbers(sentence: str) -> str:
    """Lower case, every number a 0: operands and results are not what a sentence does."""
    return re.sub(r"\d+(?:[.,]\d+)*", "0", sentence).lower()


def _overlap(term: str, chosen: Sequence[str]) -> bool:
    """Whether a word of the term stands in a chosen one; a number is in too many to count."""
    taken = {word for other in chosen for word in other.split()} - {"0"}
    return term in chosen or bool(taken & set(term.split()))


@dataclass(frozen=True, eq=False)
class _Space:
    """TF-IDF vectors over the examples of a taxonomy."""

    vectorizer: Any
    centroids: Float[np.ndarray, "category term"]
    positions: dict[Category, int]

    @staticmethod
    @lru_cache(maxsize=2)
    def of(categories: tuple[Category, ...]) -> "_Space":
        """The space of a taxonomy; the last two are kept, for every question needs it."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        for category in categories:
            if not category.examples:
                raise ValueError(
                    f"category {category.index} ({category.title!r}) has no examples: a lexical judge needs the "
                    "sentences that it was named by; name it again, or choose another judge."
                )
        vectorizer = TfidfVectorizer(preprocessor=without_numbers, token_pattern=TERM, lowercase=False)
        try:
            vectorizer.fit([example for category in categories for example in category.examples])
        except ValueError:
            raise ValueError("the categories' examples hold no word at all; check the sentences.") from None
        means = np.stack([vectorizer.transform(c.examples).toarray().mean(axis=0) for c in categories])
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        centroids = means / np.where(lengths > 0, lengths, 1.0)
        return _Space(vectorizer, centroids, {category: at for at, category in reversed(list(enumerate(categories)))})

    def position(self, category: Category) -> int:
        """Where the category stands in the taxonomy."""
        return self.positions[category]

    def cosines(self, sentences: Sequence[str]) -> Float[np.ndarray, "sentence category"]:
        """With every centroid; a row of zeros for a sentence without a known term."""
        if not sentences:
            return np.zeros((0, len(self.centroids)))
        return np.asarray(self.vectorizer.transform(sentences) @ self.centroids.T)
