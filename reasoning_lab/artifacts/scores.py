"""Scores: one model's answers under another model (Karan & Du 2025, Figure 4)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.files import read_lines, write_lines
from reasoning_lab.artifacts.key import IDENTITY
from reasoning_lab.artifacts.memory import Memory, RowDemand, of_drawing
from reasoning_lab.artifacts.sampling import AnswerId, Shape, score_texts
from reasoning_lab.artifacts.vectors import read_by
from reasoning_lab.model_pair.pair import ModelSource

FILE = "scores.jsonl"


@dataclass(frozen=True)
class Scores(Artifact[tuple[tuple[float, float], ...]]):
    """Per answer log p per token and the mean of sum_v p log p over its positions [nats], in the answers' order."""

    kind: ClassVar[str] = "scores"
    version: ClassVar[int] = 3
    completions: Completions
    model: Annotated[ModelSource, IDENTITY]
    """Under which the answers are scored."""
    dtype: str

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.completions.slug

    def loads(self) -> tuple[Weights, ...]:
        """The model; none where its own answers are scored already."""
        return () if self._is_own else ((self.model, self.dtype),)

    def n_rows(self, context: Context) -> int:
        """The answers; 0 where they are scored already."""
        return 0 if self._is_own else self.completions.n_answers

    def memory(self, context: Context, shape: Shape) -> Memory:
        """Of the rows; no answer stays saved."""
        if self._is_own:
            return Memory()
        longest, problems = self.completions.sampler.max_new_tokens, self.completions.problems
        drawn = RowDemand.of_chains(shape.rows, shape.max_prompt_tokens, longest, 0)
        return of_drawing((self.model, self.dtype), drawn, problems.lengths(self.model).values())

    def build(self, context: Context, folder: Path) -> None:
        """Forced decoding of every answer; what the model itself drew is scored already."""
        write_lines(folder / FILE, map(json.dumps, self._own(context) if self._is_own else self._forced(context)))

    def read(self, folder: Path) -> tuple[tuple[float, float], ...]:
        """The scores."""
        return tuple((log_p, negentropy) for log_p, negentropy in read_lines(folder / FILE))

    @property
    def _is_own(self) -> bool:
        answers = self.completions
        return answers.law is None and (answers.model, answers.dtype) == (self.model, self.dtype)

    def _own(self, context: Context) -> list[tuple[float, float]]:
        answers = context.get(self.completions)
        return [(a.log_p / (len(a.ids) - len(a.inserted)), a.negentropy) for a in answers]

    def _forced(self, context: Context) -> list[tuple[float, float]]:
        answers, model = context.get(self.completions), context.model(self.model, self.dtype)
        prompts = self.completions.problems.encoded(model)
        read = read_by(self.model, self.completions.model, [a.ids for a in answers])
        texts = [(AnswerId(a.problem, a.chain), prompts[a.problem], ids) for a, ids in zip(answers, read, strict=True)]
        scored = score_texts(model, texts, context.shape_of(self), self.completions.sampler.max_new_tokens)
        return [scored[answer] for answer, _, _ in texts]
