"""Naming: the titles of a taxonomy's categories, and the scores that a judge gives them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.files import read_json, read_lines, read_records, write_lines, write_records, write_text
from reasoning_lab.artifacts.judged import require_replies, tell_cost
from reasoning_lab.artifacts.key import IDENTITY
from reasoning_lab.artifacts.taxonomy import TaxonomyClusters
from reasoning_lab.judge.base import JudgeOption, Usage
from reasoning_lab.taxonomy.naming import CategorySet, Naming, name_categories
from reasoning_lab.taxonomy.scoring import (
    Decision,
    RepetitionScore,
    Scoring,
    TaxonomyScore,
    estimate,
    score_taxonomy,
)

HELDOUT = "heldout_"
"""Beginning of the files of scores on sentences that were not clustered."""


class NamedCategories(NamedTuple):
    """What a judge said about a taxonomy."""

    sets: tuple[CategorySet, ...]
    """Titles and descriptions, once per repetition."""
    score: TaxonomyScore
    heldout: TaxonomyScore | None
    """The same titles on sentences of problems that were not clustered; None where none was held out."""
    usage: Usage
    """What its questions cost when they were asked."""


@dataclass(frozen=True)
class TaxonomyNaming(Artifact[NamedCategories]):
    """A judge's titles and scores of a taxonomy's categories."""

    kind: ClassVar[str] = "naming"
    version: ClassVar[int] = 3
    taxonomy: TaxonomyClusters
    judge: Annotated[JudgeOption, IDENTITY]
    naming: Naming
    scoring: Scoring

    @property
    def slug(self) -> str:
        """That of the taxonomy."""
        return self.taxonomy.slug

    def build(self, context: Context, folder: Path) -> None:
        """Ask the judge: first for titles, then about them."""
        sentences, n, seed = self.taxonomy.labelled(context), self.taxonomy.n_clusters, self.taxonomy.seed
        heldout = self.taxonomy.labelled(context, is_heldout=True)
        texts = {str(number): trace.text for number, trace in enumerate(context.get(self.taxonomy.traces))}
        judge = self.judge.open(context.replies, context.device)
        if judge.dry() is not judge:  # One that sends nothing costs nothing.
            cost = estimate(judge, sentences, texts, n, self.naming, self.scoring, seed, heldout)
            tell_cost(judge.name, cost, context)
        sets = name_categories(judge, sentences, texts, n, self.naming, seed)
        score = score_taxonomy(judge, sets, sentences, self.scoring, seed)
        on_heldout = score_taxonomy(judge, sets, heldout, self.scoring, seed) if heldout else TaxonomyScore((), ())
        require_replies(judge.usage())
        write_records(folder / "titles.jsonl", sets)
        for name, each in (("", score), (HELDOUT, on_heldout)):
            write_records(folder / f"{name}scores.jsonl", each.repetitions)
            write_lines(folder / f"{name}decisions.jsonl", map(json.dumps, each.decisions))
        write_text(folder / "usage.json", judge.usage().dumps())

    def read(self, folder: Path) -> NamedCategories:
        """Titles, scores, and the judge's yes and no one by one."""
        sets = read_records(folder / "titles.jsonl", CategorySet)
        own, heldout = (_score_of(folder, name) for name in ("", HELDOUT))
        usage = Usage.from_json(read_json(folder / "usage.json"))
        return NamedCategories(sets, own, heldout if heldout.repetitions else None, usage)


def _score_of(folder: Path, name: str) -> TaxonomyScore:
    repetitions = read_records(folder / f"{name}scores.jsonl", RepetitionScore)
    lines = read_lines(folder / f"{name}decisions.jsonl")
    return TaxonomyScore(repetitions, tuple(tuple(Decision(*each) for each in line) for line in lines))
