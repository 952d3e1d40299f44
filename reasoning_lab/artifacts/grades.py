"""Grades: a benchmark's verdicts on the answers of one arm."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.files import read_json, read_records, write_records, write_text
from reasoning_lab.artifacts.judged import tell_cost
from reasoning_lab.artifacts.key import IDENTITY
from reasoning_lab.artifacts.preferences import Preferences
from reasoning_lab.artifacts.telling import Grading, Values
from reasoning_lab.benchmark.alpaca_eval import AlpacaEval, judged
from reasoning_lab.judge.base import JudgeOption, Usage
from reasoning_lab.judge.preference import PreferenceOption
from reasoning_lab.judge.verdict import MAX_TOKENS, Case, says_yes, verdict_requests
from reasoning_lab.records import Completion, Grade

FILE = "grades.jsonl"
USAGE = "usage.json"
Verdicts = dict[tuple[str, int], Grade]
"""By problem and chain."""


def _read(record: dict[str, Any]) -> tuple[tuple[str, int], Grade]:
    grade = Grade.from_json(record)
    return (grade.problem, grade.chain), grade


@dataclass(frozen=True)
class Grades(Artifact[tuple[Grade, ...]]):
    """Verdicts on answers, in their order."""

    kind: ClassVar[str] = "grades"
    version: ClassVar[int] = 3
    completions: Completions
    judge: Annotated[JudgeOption | None, IDENTITY] = None
    """Who has the first word, where the benchmark asks a judge."""

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.completions.slug

    def canonical(self) -> dict[str, Any]:
        """With what of the benchmark can change a verdict: its grading and the gold answers."""
        problems = self.completions.problems
        return super().canonical() | {"grading": problems.benchmark.grading, "golds": problems.golds()}

    def upstream(self) -> tuple[Artifact[Any], ...]:
        """The answers, and a judge's preferences where they are the verdicts."""
        return (*super().upstream(), *([self._preferences] if self._preferences else []))

    def build(self, context: Context, folder: Path) -> None:
        """Grade what an earlier attempt left ungraded."""
        answers, caption = context.get(self.completions), self.completions.caption

        def tell(values: Values) -> None:
            context.on_values(caption, values)

        with context.log(self) as log:
            done = dict(log.of({(answer.problem, answer.chain) for answer in answers}, _read))
            if self.judge is not None:
                judged, usage = self._judged(answers, context)
                done = judged | done
                write_text(folder / USAGE, usage.dumps())
            left = [answer for answer in answers if (answer.problem, answer.chain) not in done]
            grading = Grading(tell, done.values())
            for grade in self._ruled(left, context.runtime.workers):
                done[grade.problem, grade.chain] = grade
                log.append(grade.to_json())
                grading.on_grade(grade)
                context.on_progress(f"grades of {caption}", len(answers), len(done), 0)
        verdicts = [done[answer.problem, answer.chain] for answer in answers]
        Grading(tell, verdicts).finish()  # As the table has it, whatever order they came in.
        write_records(folder / FILE, verdicts)

    def read(self, folder: Path) -> tuple[Grade, ...]:
        """The verdicts."""
        return read_records(folder / FILE, Grade)

    def usage(self, context: Context) -> Usage:
        """What the judge's questions cost when they were asked; nothing where there was none."""
        file = context.folder(self) / USAGE
        return Usage.from_json(read_json(file)) if file.exists() else Usage()

    def _ruled(self, answers: Sequence[Completion], n_threads: int) -> Iterator[Grade]:
        """The benchmark's own verdicts in the order of the answers; the work is that of other processes, and threads
        wait for them."""
        problems, benchmark = self.completions.problems.by_id, self.completions.problems.benchmark

        def grade(answer: Completion) -> Grade:
            return benchmark.grade(problems[answer.problem], answer.text, answer.chain, answer.finish)

        threads = ThreadPoolExecutor(n_threads)
        try:
            yield from threads.map(grade, answers)
        finally:  # Whoever stops listening waits for the programs at work, and for no further one.
            threads.shutdown(cancel_futures=True)

    @property
    def _preferences(self) -> Preferences | None:
        """AlpacaEval's verdicts are preferences; None of other benchmarks and judges."""
        if isinstance(self.completions.problems.benchmark, AlpacaEval) and isinstance(self.judge, PreferenceOption):
            return Preferences(self.completions, self.judge, self.completions.seed)
        return None

    def _judged(self, answers: Sequence[Completion], context: Context) -> tuple[Verdicts, Usage]:
        """Verdicts on the answers on which the judge gave its word, and what asking cost."""
        if self._preferences is not None:
            told = context.get(self._preferences)
            usage = Usage.from_json(read_json(context.folder(self._preferences) / USAGE))
            return {(each.problem, each.chain): judged(each.problem, each.chain, each.value) for each in told}, usage
        if isinstance(self.completions.problems.benchmark, AlpacaEval):
            return {}, Usage()
        return self._yes_or_no(answers, context)

    def _yes_or_no(self, answers: Sequence[Completion], context: Context) -> tuple[Verdicts, Usage]:
        """grader=venhoff2025: YES or NO of a chat model; nothing where there is none."""
        assert self.judge is not None
        chat = context.chat(self.judge.limited(MAX_TOKENS))
        if chat is None:
            return {}, Usage()
        before = chat.usage
        problems = self.completions.problems.by_id
        cases = [Case(problems[a.problem].question, problems[a.problem].gold, a.text) for a in answers]
        tell_cost(chat.name, chat.estimate(verdict_requests(cases)), context)
        verdicts = {
            (a.problem, a.chain): Grade(
                a.problem, a.chain, "correct" if yes else "wrong", None, f"yes by {chat.name}", "judge"
            )
            for a, yes in zip(answers, says_yes(chat, cases), strict=True)
            if yes is not None
        }
        return verdicts, chat.usage - before
