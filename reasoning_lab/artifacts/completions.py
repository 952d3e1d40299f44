"""Completions: the answers of one law, drawn by one sampler, to the problems of a benchmark."""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch

from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.files import read_records, write_records
from reasoning_lab.artifacts.key import APART, IDENTITY, Enters, digest
from reasoning_lab.artifacts.memory import Memory, RowDemand, of_drawing
from reasoning_lab.artifacts.runlog import RunLog, records_of
from reasoning_lab.artifacts.sampling import Shape, draw_completions
from reasoning_lab.artifacts.store import Store
from reasoning_lab.artifacts.telling import Drawing
from reasoning_lab.benchmark.base import Benchmark, problems_of
from reasoning_lab.checks import require
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
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)
"""A device's memory, or the machine's, is full."""
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

    def lengths(self, model: ModelSource) -> Mapping[str, int]:
        """Tokens of each prompt by problem id; ValueError where the model's tokenizer can't be had."""
        return _lengths(self, model)

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
def _lengths(asked: ProblemSet, model: ModelSource) -> Mapping[str, int]:
    return {problem: len(ids) for problem, ids in asked.encoded(load_reader(model)).items()}


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

    @abstractmethod
    def memory(self, problems: ProblemSet, drawn: RowDemand, context: Context) -> Memory:
        """What answers need at once."""


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

    def n_rows(self, context: Context) -> int:
        """Its answers; 0 where none is drawn."""
        return 0 if self.pool else self.n_answers

    def memory(self, context: Context, shape: Shape) -> Memory:
        """Of the rows of its model, or of the law's; a choice from a pool needs none."""
        if self.pool:
            return Memory()
        longest = self.sampler.max_new_tokens
        drawn = RowDemand.of_chains(shape.rows, shape.max_prompt_tokens, longest, self.sampler.n_held)
        if self.law is not None:
            return self.law.memory(self.problems, drawn, context)
        return of_drawing((self.model, self.dtype), drawn, self.problems.lengths(self.model).values())

    def shards(self, n: int) -> "tuple[CompletionsShard, ...]":
        """The answers in `n` parts, or as many as there are problems; none where there is one part, or nothing to
        draw."""
        n = 1 if self.pool else min(n, len(self.problems.problems))
        return tuple(CompletionsShard(self, part, n) for part in range(n)) if n > 1 else ()

    def build(self, context: Context, folder: Path) -> None:
        """Choose from the pool, merge the shards, or draw."""
        if self.pool:
            answers = [self._chosen(answer) for answer in context.get(self.pool)]
        elif shards := self.shards(context.n_shards):
            answers = self._merged(context, shards)
        else:
            answers = self.drawn(context, self, self.problems.problems, self.caption)
        write_records(folder / FILE, answers)

    def read(self, folder: Path) -> tuple[Completion, ...]:
        """The answers."""
        return read_records(folder / FILE, Completion)

    def _chosen(self, pooled: Completion) -> Completion:
        """A selection's answer, read off its pool's candidates."""
        assert isinstance(self.sampler, Selection)
        chosen = pooled.candidates[self.sampler.choose(pooled.candidates)]
        return replace(pooled, **{name: getattr(chosen, name) for name in CHOSEN})

    def _merged(self, context: Context, shards: "Sequence[CompletionsShard]") -> list[Completion]:
        """The shards' answers in the order of problems, then chains. What other processes draw is waited for last."""
        for shard in shards:
            if not context.store.is_at_work(shard):
                context.folder(shard)
        answers = [answer for shard in shards for answer in shard.read(context.folder(shard))]
        with context.log(self) as log:
            for shard in shards:
                manifest = context.store.manifest(shard)
                for runtime in (manifest["runtime"], *manifest["earlier_attempts"]):
                    log.attempted(runtime)
        places = {problem.id: place for place, problem in enumerate(self.problems.problems)}
        return sorted(answers, key=lambda answer: (places[answer.problem], answer.chain))

    def drawn(
        self, context: Context, whole: "Artifact[tuple[Completion, ...]]", problems: Sequence[Problem], caption: str
    ) -> list[Completion]:
        """The answers to some of the problems, in order: the engine runs, or as much of it as logs leave to do.

        Arguments: `whole` is what is built of them, whose log it is; `caption` is what a reader sees meanwhile.
        """
        started = time.monotonic()
        while (found := self._attempted(context, whole, problems, caption)) is None:
            pass  # In fewer rows.
        answers, counts = found
        seconds = time.monotonic() - started
        context.tell(
            f"  {caption}: {len(answers):,} answers, {counts.drawn:,} tokens drawn in {seconds:.1f} s "
            f"({counts.drawn / max(seconds, 1e-9):,.0f}/s, {100 * counts.useful_share:.0f} % of layer passes useful)"
        )
        return answers

    def _attempted(
        self, context: Context, whole: "Artifact[tuple[Completion, ...]]", problems: Sequence[Problem], caption: str
    ) -> tuple[list[Completion], Counts] | None:
        """As `drawn`; None where memory ran out, and half of the rows are to go on from the log."""
        sampler, reader = self.resolved(context), load_reader(self.model)
        encoded, engine = self.problems.encoded(reader), self.engine.open(self._subject(context))
        prompts = {problem.id: encoded[problem.id] for problem in problems}
        with context.log(whole) as log:
            log.adopt(self._found_elsewhere(context.store, whole, log, prompts))
            try:
                return draw_completions(
                    engine, reader, sampler, prompts, self.chains, self.seed, self.problems.vote,
                    context.shape_of(self), log, context.runtime.checkpoint_seconds,
                    self._counting(context, len(problems), caption),
                )  # fmt: skip
            except OUT_OF_MEMORY as error:
                reason = str(error).partition("\n")[0]
                if context.shape_of(self).rows == 1:
                    raise
        # Behind the handler, whose error holds on to the tensors of the pass that failed.
        context.halve(self, reason)
        with context.log(whole) as log:
            log.attempted(context.witness(whole))
        return None

    def _found_elsewhere(
        self, store: Store, whole: "Artifact[tuple[Completion, ...]]", log: RunLog, problems: Container[str]
    ) -> list[dict[str, Any]]:
        """What attempts in other parts left of these problems and the log has not: an arm that is begun in two shards
        goes on in three, or in one."""
        finished = {answer_of(record) for record in log.records if "completion" in record}
        begun = {answer_of(record) for record in log.records}
        return [
            record
            for record in self.found(store, whole)
            for name in (answer_of(record),)
            if name[0] in problems and name not in (finished if "completion" in record else begun)
        ]

    def found(self, store: Store, beside: "Artifact[tuple[Completion, ...]] | None" = None) -> list[dict[str, Any]]:
        """Records of all logs and finished shards of these answers, but of `beside`."""
        parts = [each for each in (self, *self._begun_shards(store)) if beside is None or each.key != beside.key]
        return [record for part in parts for record in _records_of(part, store)]

    def _begun_shards(self, store: Store) -> "Iterator[CompletionsShard]":
        """Shards in any number of parts that have a folder or a log, by their names."""
        pattern = re.compile(re.escape(self.slug) + r"-(\d+)of(\d+)-[0-9a-f]{12}(\.log)?")
        place = store.root / CompletionsShard.kind
        names = sorted(os.listdir(place)) if place.is_dir() else ()
        for match in filter(None, map(pattern.fullmatch, names)):
            shard = CompletionsShard(self, int(match[1]) - 1, int(match[2]))
            if match[0].removesuffix(".log") == store.folder(shard).name:
                yield shard

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

    def _counting(self, context: Context, n_problems: int, caption: str) -> Callable[[Completion, Counts], None]:
        """Reports every answer with the tokens so far, and now and then how the drawing goes."""
        done, tokens, n_answers = 0, 0, n_problems * (self.chains[1] - self.chains[0])
        drawing = Drawing(
            self.problems.benchmark, self.problems.by_id, n_answers, lambda values: context.on_values(caption, values)
        )  # fmt: skip

        def on_done(completion: Completion, counts: Counts) -> None:
            nonlocal done, tokens
            done, tokens = done + 1, tokens + completion.decode_tokens
            drawing.on_done(completion, counts)
            context.on_progress(caption, n_answers, done, tokens)

        return on_done


@dataclass(frozen=True)
class CompletionsShard(Artifact[tuple[Completion, ...]]):
    """A part of the answers, by problem: those to every `of`-th problem from number `part` on, in the order of the
    whole. Shards are drawn in processes, on GPUs or in jobs of their own, and merged; an answer is the same in any."""

    kind: ClassVar[str] = "completion_shards"
    version: ClassVar[int] = 1
    completions: Completions
    """The whole."""
    part: int
    """From 0."""
    of: int
    """Parts in all."""

    def __post_init__(self) -> None:
        require(0 <= self.part < self.of, "part", self.part, f"from 0 to {self.of - 1}", "number the parts from 0")

    @property
    def slug(self) -> str:
        """That of the whole, and which part it is, from 1."""
        return f"{self.completions.slug}-{self.part + 1}of{self.of}"

    def canonical(self) -> dict[str, Any]:
        """What the whole says of itself beside its key, so that a manifest tells what was drawn."""
        return self.completions.canonical() | super().canonical()

    def upstream(self) -> tuple[Artifact[Any], ...]:
        """That of the whole, which is made of this."""
        return self.completions.upstream()

    def loads(self) -> tuple[Weights, ...]:
        """As the whole."""
        return self.completions.loads()

    def n_rows(self, context: Context) -> int:
        """Those of the whole: all shards have one physical shape, so that an answer is the same in any."""
        return self.completions.n_rows(context)

    def memory(self, context: Context, shape: Shape) -> Memory:
        """As the whole."""
        return self.completions.memory(context, shape)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Whose answers it has."""
        return self.completions.problems.problems[self.part :: self.of]

    def expected_tokens(self, typical_length: float) -> float:
        """Its share of the whole's."""
        share = len(self.problems) / len(self.completions.problems.problems)
        return share * self.completions.expected_tokens(typical_length)

    def build(self, context: Context, folder: Path) -> None:
        """Draw."""
        caption = f"{self.completions.caption} ({self.part + 1} of {self.of})"
        write_records(folder / FILE, self.completions.drawn(context, self, self.problems, caption))

    def read(self, folder: Path) -> tuple[Completion, ...]:
        """The answers."""
        return read_records(folder / FILE, Completion)


def answer_of(record: Mapping[str, Any]) -> tuple[Any, Any]:
    """Problem and chain that a record of a drawing's log is about."""
    named = record.get("completion", record)
    return named.get("problem"), named.get("chain")


def _records_of(part: "Completions | CompletionsShard", store: Store) -> list[dict[str, Any]]:
    """What a finished shard, or the log of one that is begun, has; of the whole its log alone."""
    folder = store.find(part) if isinstance(part, CompletionsShard) else None
    if folder is not None:
        return [{"completion": answer.to_json()} for answer in part.read(folder)]
    return records_of(store.log_path(part), part.key)
