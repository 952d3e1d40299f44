"""Trajectories: the states that chains went through, graded, so that convergence can be looked at."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.files import read_records, write_records
from reasoning_lab.artifacts.grades import Grades
from reasoning_lab.benchmark.base import Finish
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.records import ChainState, Verdict
from reasoning_lab.sampler.trajectory import checkpoints

FILE = "states.jsonl"


class _Text(NamedTuple):
    """A text that some state has; several often have the same one."""

    problem: str
    text: str
    finish: Finish


@dataclass(frozen=True)
class Trajectories(Artifact[tuple[ChainState, ...]]):
    """States of the first chain of each problem, whose moves are kept, in the order of answers, rungs and steps."""

    kind: ClassVar[str] = "trajectories"
    version: ClassVar[int] = 1
    grades: Grades
    """Of the chains' answers: by them the states are graded too."""

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.grades.slug

    def build(self, context: Context, folder: Path) -> None:
        """Read each state's text and grade every different text once; no weights are read."""
        answers = self.grades.completions
        reader = load_reader(answers.model)
        states: list[tuple[int, int, int, int, _Text]] = []
        for answer in context.get(answers):
            for (rung, step), ids in checkpoints(answer).items():
                finish: Finish = "stop" if ids[-1] in reader.stop_ids else "cap"
                text = _Text(answer.problem, reader.decode(ids), finish)
                states.append((answer.chain, rung, step, len(ids), text))
        verdicts = self._verdicts(list(dict.fromkeys(text for *_, text in states)), context)
        votes = {text: answers.problems.vote(text.text) for text in dict.fromkeys(text for *_, text in states)}
        rows = (
            ChainState(text.problem, chain, rung, step, length, verdicts.get(text), votes[text])
            for chain, rung, step, length, text in states
        )
        write_records(folder / FILE, rows)

    def read(self, folder: Path) -> tuple[ChainState, ...]:
        """The states."""
        return read_records(folder / FILE, ChainState)

    def _verdicts(self, texts: Sequence[_Text], context: Context) -> dict[_Text, Verdict]:
        """The benchmark's own verdicts, those of an earlier attempt from its log; none where a judge has the word."""
        if self.grades.judge is not None:
            return {}
        with context.log(self) as log:
            done: dict[_Text, Verdict] = dict(log.of(set(texts), lambda each: (_Text(*each["text"]), each["verdict"])))
            left = [text for text in texts if text not in done]
            for text, verdict in zip(left, self._graded(left, context.runtime.workers), strict=True):
                done[text] = verdict
                log.append({"text": list(text), "verdict": verdict})
                caption = f"states of {self.grades.completions.caption}"
                context.on_progress(caption, len(texts), len(done), 0)
        return done

    def _graded(self, texts: Sequence[_Text], n_threads: int) -> Iterator[Verdict]:
        problems = self.grades.completions.problems
        by_id, benchmark = problems.by_id, problems.benchmark

        def verdict(text: _Text) -> Any:
            return benchmark.grade(by_id[text.problem], text.text, 0, text.finish).verdict

        threads = ThreadPoolExecutor(n_threads)
        try:
            yield from threads.map(verdict, texts)
        finally:
            threads.shutdown(cancel_futures=True)
