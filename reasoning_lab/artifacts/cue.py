"""Cue: the opening tokens behind which a model's answers agree most, and the openings that were tried."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.completions import Completions, ProblemSet
from reasoning_lab.artifacts.files import read_json, read_records, write_records, write_text
from reasoning_lab.artifacts.key import APART, IDENTITY, Enters
from reasoning_lab.artifacts.memory import Memory, RowDemand, of_drawing
from reasoning_lab.artifacts.sampling import Shape
from reasoning_lab.cue.search import CueCandidate, FoundCue, Opening, answer_entropy, find_openings, ranked
from reasoning_lab.engine.local import TransformersEngine
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.sampler.base import Sampler
from reasoning_lab.sampler.cue import Cued

OPENINGS, FOUND = "openings.jsonl", "cue.json"


@dataclass(frozen=True)
class Openings(Artifact[tuple[Opening, ...]]):
    """The most probable first tokens of a model's answers, by falling probability."""

    kind: ClassVar[str] = "openings"
    version: ClassVar[int] = 1
    pair: Annotated[str, APART]
    """Name of the model pair, for the folder's name."""
    role: Annotated[str, APART]
    """Which of its models."""
    model: Annotated[ModelSource, IDENTITY]
    dtype: str
    problems: Annotated[ProblemSet, Enters(ProblemSet.prompts)]
    width: int
    depth: int

    @property
    def slug(self) -> str:
        """Pair, role and benchmark."""
        return f"{self.pair}-{self.role}-{type(self.problems.benchmark).__name__}".lower()

    def loads(self) -> tuple[Weights, ...]:
        """The model."""
        return ((self.model, self.dtype),)

    def n_rows(self, context: Context) -> int:
        """As many problems as there are."""
        return len(self.problems.problems)

    def memory(self, context: Context, shape: Shape) -> Memory:
        """Of the rows; no opening stays saved."""
        drawn = RowDemand.of_chains(shape.rows, shape.max_prompt_tokens, self.depth, 0)
        return of_drawing((self.model, self.dtype), drawn, self.problems.lengths(self.model).values())

    def build(self, context: Context, folder: Path) -> None:
        """One pass per problem and opening kept."""
        model = context.model(self.model, self.dtype)
        shape, counts = context.shape_of(self), Counts()
        capacity = shape.max_prompt_tokens + self.depth
        found = find_openings(
            model.policy, self.problems.encoded(model), model.stop_ids, self.width, self.depth, shape.rows,
            capacity, counts,
        )  # fmt: skip
        if not found:
            raise ValueError("cue: every first token of this model ends its answer; there is no opening to try.")
        write_records(folder / OPENINGS, [Opening(ids, model.decode(ids), p) for ids, p in found])

    def read(self, folder: Path) -> tuple[Opening, ...]:
        """The openings."""
        return read_records(folder / OPENINGS, Opening)


@dataclass(frozen=True)
class Cue(Artifact[FoundCue]):
    """The opening of the least mean answer entropy, beside all others that were tried."""

    kind: ClassVar[str] = "cue"
    version: ClassVar[int] = 1
    openings: Openings
    sampler: Sampler
    """Draws what follows an opening."""
    n_samples: int
    """Answers per problem and opening."""
    seed: int

    @property
    def slug(self) -> str:
        """That of the openings."""
        return self.openings.slug

    def canonical(self) -> dict[str, Any]:
        """With the benchmark's reading of answers, on which their entropy rests."""
        return super().canonical() | {"reading": self.problems.benchmark.reading}

    @property
    def problems(self) -> ProblemSet:
        """Whose answers are looked at."""
        return self.openings.problems

    @property
    def n_answers(self) -> int:
        """Answers at most, those without an opening included."""
        return (1 + self.openings.width) * len(self.problems.problems) * self.n_samples

    def expected_tokens(self, typical_length: float) -> float:
        """Decode tokens to find it, at most."""
        return self.n_answers * self.sampler.expected_tokens(typical_length)

    def answers(self, context: Context) -> list[Completions]:
        """Those without an opening, then those behind each; known once the openings are."""
        return [self.without(), *(self._behind(opening) for opening in context.get(self.openings))]

    def without(self) -> Completions:
        """The model's own answers to the same problems."""
        opened = self.openings
        return Completions(
            pair=opened.pair, writer="cue_search", caption="cue search: none", model=opened.model, dtype=opened.dtype,
            engine=TransformersEngine(), law=None, sampler=self.sampler, problems=self.problems, seed=self.seed,
            chains=(0, self.n_samples),
        )  # fmt: skip

    def _behind(self, opening: Opening) -> Completions:
        plain = self.without()
        sampler = Cued(self.sampler, cue_ids=opening.ids)
        return replace(plain, sampler=sampler, caption=f"cue search: {opening.text!r}")

    def build(self, context: Context, folder: Path) -> None:
        """Answer behind every opening, and compare the entropies."""
        openings, (plain, *drawn) = context.get(self.openings), self.answers(context)
        without = self._candidate(Opening((), "", 1.0), plain, context)
        pairs = zip(openings, drawn, strict=True)
        candidates = ranked([self._candidate(opening, answers, context) for opening, answers in pairs])
        found = FoundCue(candidates, without, len(self.problems.problems), self.n_samples)
        write_text(folder / FOUND, json.dumps(found.to_json(), indent=1, ensure_ascii=False))

    def read(self, folder: Path) -> FoundCue:
        """The search's result."""
        return FoundCue.from_json(read_json(folder / FOUND))

    def _candidate(self, opening: Opening, drawn: Completions, context: Context) -> CueCandidate:
        """The opening with the mean entropy of what follows it."""
        answers = context.get(drawn)
        votes: dict[str, list[str | None]] = {}
        for answer in answers:
            votes.setdefault(answer.problem, []).append(self.problems.vote(answer.text))
        return CueCandidate(
            opening.ids,
            opening.text,
            opening.probability,
            _mean([answer_entropy(each) for each in votes.values()]),
            _mean([float(vote is None) for each in votes.values() for vote in each]),
            sum(answer.decode_tokens for answer in answers),
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
