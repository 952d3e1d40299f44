"""Annotations: answers token by token, as base model, thinking model and taxonomy see them."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.completions import Completions, Law, ProblemSet
from reasoning_lab.artifacts.files import read_records, write_records
from reasoning_lab.artifacts.memory import Memory, RowDemand, of_hybrid
from reasoning_lab.artifacts.sampling import Shape
from reasoning_lab.artifacts.vectors import SteeringVectors, vocabulary_between
from reasoning_lab.engine.transformers import PREFILL_WIDTH
from reasoning_lab.model_pair.size import load_footprint
from reasoning_lab.records import Annotation
from reasoning_lab.steering.coefficient import Candidates
from reasoning_lab.steering.hybrid.annotate import Unannotated, annotate
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.hybrid.session import slots_of
from reasoning_lab.steering.steering import SteeringRule

FILE = "annotations.jsonl"


class HybridLaw(Law):
    """A law of a base model that a thinking model steers."""

    vectors: SteeringVectors
    rule: SteeringRule

    @abstractmethod
    def policy(self, context: Context, problems: ProblemSet) -> HybridPolicy:
        """The hybrid model, for the prompts of some problems."""

    def loads(self) -> tuple[Weights, ...]:
        """Base and thinking model."""
        return self.vectors.pair

    def memory(self, problems: ProblemSet, drawn: RowDemand, context: Context, is_watched: bool = False) -> Memory:
        """Of the rows of both models, and of what is run aside."""
        rule, (base, thinking) = self.rule.resolve(), self.vectors.pair
        ours, theirs = (problems.lengths(source) for source, _ in (base, thinking))
        lengths = [(n, theirs[problem]) for problem, n in ours.items()]
        windows = rule.coefficient.windows if isinstance(rule.coefficient, Candidates) else (rule.window,)
        width = max(PREFILL_WIDTH if window == 0 else min(window, PREFILL_WIDTH) for window in windows)
        slots = slots_of(rule, drawn.rows) if rule.memory == "plain" and not self.rule.thinking_top_k else 0
        depth = self.vectors.taxonomy.layer + 1 if rule.category.scored else 0
        if is_watched or rule.gate.compares or rule.chooses_tokens or self.rule.thinking_top_k:
            depth = load_footprint(thinking[0]).layers
        streams = any(window != 1 for window in windows)
        return of_hybrid(base, thinking, drawn, lengths, depth, slots, streams, width)


@dataclass(frozen=True)
class Annotations(Artifact[tuple[Annotation, ...]]):
    """Category, gate, coefficient and both models' choices at every token, in the order of the answers."""

    kind: ClassVar[str] = "annotations"
    version: ClassVar[int] = 2
    completions: Completions
    law: HybridLaw
    """The hybrid through which they are seen; its gate never fires for answers that no hybrid wrote."""

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.completions.slug

    def loads(self) -> tuple[Weights, ...]:
        """As the hybrid."""
        return self.law.loads()

    def n_rows(self, context: Context) -> int:
        """The answers."""
        return self.completions.n_answers

    def memory(self, context: Context, shape: Shape) -> Memory:
        """As answers of the hybrid, of which nothing stays saved."""
        longest = self.completions.sampler.max_new_tokens
        drawn = RowDemand(shape.rows, shape.max_prompt_tokens + longest, longest, 0.0, saves_prompts=False)
        return self.law.memory(self.completions.problems, drawn, context, is_watched=True)

    def build(self, context: Context, folder: Path) -> None:
        """Both models over every answer; the thinking model's are read in the base model's ids."""
        answers, vectors = self.completions, self.law.vectors
        base, thinking = vectors.models(context)
        is_thinking = answers.law is None and answers.model == vectors.taxonomy.thinking
        ids_of = vocabulary_between(base.reader, thinking.reader).in_base if is_thinking else tuple
        prompts, shape = answers.problems.encoded(base), context.shape_of(self)
        items = [Unannotated(a.problem, a.chain, prompts[a.problem], ids_of(a.ids)) for a in context.get(answers)]
        policy = self.law.policy(context, answers.problems)
        capacity = shape.max_prompt_tokens + answers.sampler.max_new_tokens
        write_records(folder / FILE, annotate(policy, items, shape.rows, capacity))

    def read(self, folder: Path) -> tuple[Annotation, ...]:
        """The annotations."""
        return read_records(folder / FILE, Annotation)
