"""How far an artifact is: finished, begun by an attempt whose log it goes on from, or not begun."""

from dataclasses import dataclass
from typing import Any

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.completions import Completions, answer_of
from reasoning_lab.artifacts.cue import Cue
from reasoning_lab.artifacts.grades import Grades
from reasoning_lab.artifacts.runlog import records_of

ITEMS = ("completion", "verdict")
"""What a log's record of a finished item has; the others are states on the way and what the log says of itself."""


@dataclass(frozen=True)
class Standing:
    """Whether an artifact is there, and else what its log holds."""

    is_built: bool
    n_logged: int = 0
    """Finished items (answers, verdicts) of earlier attempts."""
    has_log: bool = False

    @property
    def word(self) -> str:
        """'built', 'resumes' or 'to make'."""
        return "built" if self.is_built else "resumes" if self.has_log else "to make"


def standing_of(artifact: Artifact[Any], context: Context) -> Standing:
    """How far the artifact is, in all its shards; logs are read and stay as they are."""
    if context.is_built(artifact):
        return Standing(is_built=True)
    if isinstance(artifact, Completions):
        records = artifact.found(context.store)
        finished = len({answer_of(record) for record in records if "completion" in record})
        return Standing(False, finished, bool(records) or context.store.is_begun(artifact))
    log = context.store.log_path(artifact)
    finished = sum(any(name in record for name in ITEMS) for record in records_of(log, artifact.key))
    return Standing(False, finished, context.store.is_begun(artifact))


def n_items(artifact: Artifact[Any]) -> int | None:
    """How many items its log will have; None where they can't be counted beforehand."""
    if isinstance(artifact, Completions):
        return artifact.n_answers
    return artifact.completions.n_answers if isinstance(artifact, Grades) else None


def tokens_left(artifact: Completions | Cue, standing: Standing, typical_length: float) -> float:
    """Decode tokens that are still to draw, expected at `typical_length` tokens of a plain answer: of the answers that
    no log holds; of a cue's search at most."""
    if standing.is_built:
        return 0.0
    share = 1 - standing.n_logged / artifact.n_answers if isinstance(artifact, Completions) else 1.0
    return share * artifact.expected_tokens(typical_length)
