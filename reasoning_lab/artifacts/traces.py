"""Traces: a thinking model's graded answers, cut into sentences."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.files import read_records, write_records
from reasoning_lab.artifacts.grades import Grades
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.records import Trace
from reasoning_lab.taxonomy.traces import traces_of

FILE = "traces.jsonl"
SENTENCE_TOKENS, LONG_SENTENCE = 20, 128
"""Tokens of a sentence, and of a long one, where none is drawn yet."""


@dataclass(frozen=True)
class Traces(Artifact[tuple[Trace, ...]]):
    """One trace per answer, in their order."""

    kind: ClassVar[str] = "traces"
    version: ClassVar[int] = 2
    grades: Grades
    think_open: str | None
    """Tag before the thinking text; None: the whole answer is."""
    think_close: str | None
    """Tag after it."""

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.grades.slug

    @property
    def completions(self) -> Completions:
        """The answers."""
        return self.grades.completions

    def n_sentences(self, context: Context) -> int:
        """Of all traces; where they are not drawn yet, at most about so many."""
        if context.is_built(self):
            return sum(len(trace.spans) for trace in context.get(self))
        return sum(answer for _, answer, _ in self.lengths(context)) // SENTENCE_TOKENS

    def lengths(self, context: Context) -> list[tuple[int, int, int]]:
        """Of each trace the tokens up to its last sentence's end, prompt included, of its answer, and of its
        longest sentence; where they are not drawn yet, the most that each can have."""
        if context.is_built(self):
            cut = [trace for trace in context.get(self) if trace.spans]
            return [
                (len(t.prompt) + t.spans[-1].last, t.spans[-1].last, max(s.last - s.first for s in t.spans))
                for t in cut
            ]
        longest = self.completions.sampler.max_new_tokens
        prompts = self.completions.problems.lengths(self.completions.model).values()
        chains = self.completions.chains[1] - self.completions.chains[0]
        return [(n + longest, longest, min(longest, LONG_SENTENCE)) for n in prompts for _ in range(chains)]

    def build(self, context: Context, folder: Path) -> None:
        """Cut the answers; no weights are read."""
        answers = self.grades.completions
        reader = load_reader(answers.model)
        cut = traces_of(
            context.get(answers), context.get(self.grades), answers.problems.encoded(reader), reader.decode,
            self.think_open, self.think_close,
        )  # fmt: skip
        write_records(folder / FILE, cut)

    def read(self, folder: Path) -> tuple[Trace, ...]:
        """The traces."""
        return read_records(folder / FILE, Trace)
