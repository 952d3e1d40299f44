"""What a build tells on the way: how its drawing goes, and how many of the answers so far are right."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from reasoning_lab.artifacts.listening import Pace
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.statistics import accuracy_interval
from reasoning_lab.statistics.intervals import Interval, weighted_share_interval

GRADING_SHARE = 0.005
"""Of the drawing's time that grading on the way may take: what it doesn't get to is graded after the drawing."""
Values = Mapping[str, float]


class AccuracySoFar:
    """Accuracy of the answers that are graded so far."""

    def __init__(self) -> None:
        self._verdicts: dict[str, list[bool]] = {}
        self.n = 0

    def add(self, grade: Grade) -> None:
        """One more."""
        self._verdicts.setdefault(grade.problem, []).append(grade.correct)
        self.n += 1

    def values(self) -> dict[str, float]:
        """`graded` answers, their `accuracy` and its bounds, once there is one.

        With as many answers of each problem it is the table's `accuracy_interval`; before, the share of the right
        ones of all that are graded, which that interval becomes.
        """
        if not self.n:
            return {}
        value, low, high = self._interval()
        return {"graded": float(self.n), "accuracy": value, "accuracy_low": low, "accuracy_high": high}

    def _interval(self) -> Interval:
        if len({len(given) for given in self._verdicts.values()}) == 1:
            return accuracy_interval(self._verdicts)
        right, sizes = (np.array([of(given) for given in self._verdicts.values()], float) for of in (sum, len))
        return weighted_share_interval(right, sizes, (0.0, 1.0))


class Drawing:
    """How the drawing of an arm goes: hears of each answer, and tells now and then.

    Answers are graded as they finish, the first first, where a rule does it in this process or by a formula's check:
    programs are not run, and judges not asked. It never takes more than GRADING_SHARE of the time.
    """

    def __init__(
        self, benchmark: Benchmark, problems: Mapping[str, Problem], n_answers: int, tell: Callable[[Values], None]
    ) -> None:
        self._benchmark, self._problems, self._tell = benchmark, problems, tell
        self._grades = not (benchmark.asks_judge or benchmark.runs_programs)
        self._n_answers = n_answers
        self._started = time.monotonic()
        self._pace, self._grading = Pace(), Pace(0.0, GRADING_SHARE)
        self._ungraded: deque[Completion] = deque()
        self._tally = AccuracySoFar()
        self._done = self._proposals = self._accepted = self._moved = 0

    def on_done(self, answer: Completion, counts: Counts) -> None:
        """One more answer; `counts` is what this process has drawn so far."""
        self._done += 1
        self._proposals += answer.n_proposals
        self._accepted += answer.n_accepted
        self._moved += answer.n_moved
        if self._grades:
            self._ungraded.append(answer)
            self._grade_some()
        if self._pace.is_due or self._done == self._n_answers:
            with self._pace.taken():
                self._tell(self.values(counts))
                if graded := self._tally.values():
                    self._tell(graded)

    def values(self, counts: Counts) -> dict[str, float]:
        """Answers, tokens drawn here per second, occupancy of the rows, and of a Markov chain its acceptance and move
        rate."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        told = {"answers": float(self._done)}
        if counts.steps:
            told |= {"tokens_per_second": counts.drawn / seconds, "occupancy": counts.occupancy}
        if self._proposals:
            told |= {"acceptance": self._accepted / self._proposals, "move_rate": self._moved / self._proposals}
        return told

    def _grade_some(self) -> None:
        while self._ungraded and self._grading.is_due:
            with self._grading.taken():
                answer = self._ungraded.popleft()
                problem = self._problems[answer.problem]
                self._tally.add(self._benchmark.grade(problem, answer.text, answer.chain, answer.finish))


class Grading:
    """How the grading of an arm goes: hears of each verdict, and tells now and then and at the end."""

    def __init__(self, tell: Callable[[Values], None], graded: Iterable[Grade] = ()) -> None:
        self._tell = tell
        self._pace, self._tally = Pace(), AccuracySoFar()
        for grade in graded:
            self._tally.add(grade)

    def on_grade(self, grade: Grade) -> None:
        """One more verdict."""
        self._tally.add(grade)
        if self._pace.is_due:
            self.finish()

    def finish(self) -> None:
        """Tell what is known by now."""
        with self._pace.taken():
            if values := self._tally.values():
                self._tell(values)
