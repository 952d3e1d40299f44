"""Completions: the answers of one law, drawn by one sampler, to the problems of a benchmark."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.files import read_records, write_records
from reasoning_lab.artifacts.key import APART, IDENTITY, Enters, digest
from reasoning_lab.artifacts.sampling import draw_completions
from reasoning_lab.artifacts.telling import Drawing
from reasoning_lab.benchmark.base import Benchmark, problems_of
from reasoning_lab.cue.search import FoundCue
from reasoning_lab.engine.base import Engine, Subject
from reasoning_lab.engine.policy import Policy
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader
from reasoning_lab.records import Candidate, Completion, Problem
from reasoning_lab.sampler.base import Sampler, Selection

FILE = "completions.jsonl"
CHOSEN = [field.name for field in fields(Candidate) if field.name in {f.name for f in fields(Completion)}]
"""What a selection's answer takes from the candidate that it chose."""


@dataclass(frozen=True)
class ProblemSet:
    """A benchmark's problems, or the first of them."""

    benchmark: Benchmark
    first: int | None = None
    """How many, from the first on; None is all."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the benchmark's order."""
        return problems_of(self.benchmark)[: self.first]

    @property
    def by_id(self) -> dict[str, Problem]:
        """By their ids."""
        return {problem.id: problem for problem in self.problems}

    def encoded(self, model: LoadedModel | Reader) -> dict[str, tuple[int, ...]]:
        """Prompt ids by problem id."""
        return {problem.id: model.encode(self.benchmark.prompt(problem)) for problem in self.problems}

    def prompts(self) -> str:
        """sha256 over the problems' ids and prompts in their order; the model's identity covers its tokenizer."""
        return _prompts(self)

    def golds(self) -> str:
        """sha256 over the problems' ids and gold answers: what answers are held against."""
        return _golds(self)

    def vote(self, text: str) -> str | None:
        """The answer read off a text, in the form in which it votes."""
        answer = self.benchmark.answer(text)
        return None if answer is None else self.benchmark.canonical(answer)


@cache
def _prompts(asked: ProblemSet) -> str:
    return digest([[problem.id, asked.benchmark.prompt(problem)] for problem in asked.problems])


@cache
def _golds(asked: ProblemSet) -> str:
    return digest([[problem.id, problem.gold] for problem in asked.problems])


class Law(ABC):
    """What makes another law of a base model: a frozen dataclass, part of the key of completions drawn from it."""

    @abstractmethod
    def policy(self, context: Context, problems: ProblemSet) -> Policy:
        """The law, for the prompts of some problems."""

    def loads(self) -> tuple[Weights, ...]:
        """The models that it needs in memory."""
        return ()


@dataclass(frozen=True)
class Completions(Artifact[tuple[Completion, ...]]):
    """Answers, one per problem and chain, in the order of problems, then chains."""

    kind: ClassVar[str] = "completions"
    version: ClassVar[int] = 3
    pair: Annotated[str, APART]
    """Name of the model pair, for the folder's name."""
    writer: Annotated[str, APART]
    """Who answers: a role of the pair, or hybrid."""
    caption: Annotated[str, APART]
    """What a reader sees of it while it is drawn: two arms that ask for the same answers share them."""
    model: Annotated[ModelSource, IDENTITY]
    """Whose prompts and ids the answers are in."""
    dtype: str
    engine: Annotated[Engine, IDENTITY]
    """Who draws."""
    law: Law | None
    """What steers the model; None for the model as it is."""
    sampler: Sampler
    problems: Annotated[ProblemSet, Enters(ProblemSet.prompts)]
    seed: int
    chains: tuple[int, int]
    """First chain and one past the last, per problem."""
    budget_of: "Completions | None" = None
    """Answers whose mean decode tokens per problem are the sampler's budget."""
    cue: Artifact[FoundCue] | None = None
    """Finds the opening tokens that the sampler waits for; None where it waits for none."""

    @property
    def slug(self) -> str:
        """Pair, writer, sampler and benchmark."""
        names = (self.pair, self.writer, type(self.sampler).__name__, type(self.problems.benchmark).__name__)
        return "-".join(names).lower()

    def canonical(self) -> dict[str, Any]:
        """With the benchmark's reading of answers where candidates carry them."""
        reading = {"reading": self.problems.benchmark.reading} if self.sampler.reads_answers else {}
        return super().canonical() | reading

    def upstream(self) -> tuple[Artifact[Any], ...]:
        """Those of the fields, and a selection's pool."""
        return (*super().upstream(), *([self.pool] if self.pool else []))

    @property
    def pool(self) -> "Completions | None":
        """The answers from whose candidates a selection chooses; None for other samplers."""
        if not isinstance(self.sampler, Selection):
            return None
        return replace(self, sampler=self.sampler.pool, caption=f"{self.caption} pool")

    @property
    def n_answers(self) -> int:
        """Answers in all."""
        return len(self.problems.problems) * (self.chains[1] - self.chains[0])

    def expected_tokens(self, typical_length: float) -> float:
        """Expected decode tokens in all, at `typical_length` tokens of a plain answer; 0 for a selection's own."""
        return 0.0 if self.pool else self.n_answers * self._expected_each(typical_length)

    def _expected_each(self, typical_length: float) -> float:
        if self.budget_of is not None:
            return self.budget_of._expected_each(typical_length)
        return self.sampler.expected_tokens(min(typical_length, float(self.sampler.max_new_tokens)))

    def loads(self) -> tuple[Weights, ...]:
        """The model and those of the law; none where a pool is chosen from."""
        own = ((self.model, self.dtype),) if self.engine.holds_weights else ()
        return () if self.pool else tuple(dict.fromkeys((*own, *(self.law.loads() if self.law else ()))))

    def build(self, context: Context, folder: Path) -> None:
        """Draw, or choose from the pool."""
        answers = [self._chosen(answer) for answer in context.get(self.pool)] if self.pool else self._drawn(context)
        write_records(folder / FILE, answers)

    def read(self, folder: Path) -> tuple[Completion, ...]:
        """The answers."""
        return read_records(folder / FILE, Completion)

    def _chosen(self, pooled: Completion) -> Completion:
        """A selection's answer, read off its pool's candidates."""
        assert isinstance(self.sampler, Selection)
        chosen = pooled.candidates[self.sampler.choose(pooled.candidates)]
        return replace(pooled, **{name: getattr(chosen, name) for name in CHOSEN})

    def _drawn(self, context: Context) -> list[Completion]:
        """Run the engine, or as much of it as the log of an earlier attempt leaves to do."""
        sampler, reader = self.resolved(context), load_reader(self.model)
        prompts, engine = self.problems.encoded(reader), self.engine.open(self._subject(context))
        started = time.monotonic()
        with context.log(self) as log:
            answers, counts = draw_completions(
                engine, reader, sampler, prompts, self.chains, self.seed, self.problems.vote, context.shape, log,
                context.runtime.checkpoint_seconds, self._counting(context),
            )  # fmt: skip
        seconds = time.monotonic() - started
        context.tell(
            f"  {self.caption}: {len(answers):,} answers, {counts.drawn:,} tokens drawn in {seconds:.1f} s "
            f"({counts.drawn / max(seconds, 1e-9):,.0f}/s, {100 * counts.useful_share:.0f} % of layer passes useful)"
        )
        return answers

    def resolved(self, context: Context) -> Sampler:
        """The sampler, with the cue that was found and the budget of the matched answers."""
        sampler = self.sampler if self.cue is None else self.sampler.with_cue(context.get(self.cue).chosen.ids)
        if self.budget_of is None:
            return sampler
        spent = [answer.decode_tokens for answer in context.get(self.budget_of)]
        return sampler.with_budget(sum(spent) / len(spent))

    def _subject(self, context: Context) -> Subject:
        """What the answers are drawn from."""

        def policy() -> Policy:
            model = context.model(self.model, self.dtype)
            return model.policy if self.law is None else self.law.policy(context, self.problems)

        folder, layers = self.model.folder(), load_reader(self.model).n_layers
        path, revision = (self.model.path, self.model.commit) if folder is None else (str(folder), None)
        return Subject(policy, path, revision, self.dtype, context.device, layers, self.model.gguf_file)

    def _counting(self, context: Context) -> Callable[[Completion, Counts], None]:
        """Reports every answer with the tokens so far, and now and then how the drawing goes."""
        done, tokens = 0, 0
        drawing = Drawing(
            self.problems.benchmark, self.problems.by_id, self.n_answers,
            lambda values: context.on_values(self.caption, values),
        )  # fmt: skip

        def on_done(completion: Completion, counts: Counts) -> None:
            nonlocal done, tokens
            done, tokens = done + 1, tokens + completion.decode_tokens
            drawing.on_done(completion, counts)
            context.on_progress(self.caption, self.n_answers, done, tokens)

        return on_done
