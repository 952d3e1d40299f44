"""What must be said of the vectors that an experiment adds: which are missing, and which nothing was learned for."""

from collections.abc import Sequence

from reasoning_lab.artifacts.arms import Arms
from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.steered import Steered
from reasoning_lab.artifacts.vectors import SteeringVectors
from reasoning_lab.report.words import capital
from reasoning_lab.steering.vectors.base import CategoryLog, VectorLog


def vector_note(log: VectorLog, each: CategoryLog) -> str:
    """Why there is no vector, or what is wrong with it; empty: nothing."""
    if each.skipped or each not in log.untrained:
        return each.skipped
    return f"kept its {'random start' if each.norm else 'start, zero'}: no step had a lower loss"


def untrained_words(log: VectorLog) -> str:
    """One sentence that names the vectors which are still what training began with; empty: there are none."""
    groups = {
        "its random start": [each for each in log.untrained if each.norm],
        "its start, zero": [each for each in log.untrained if not each.norm],
    }
    said = [f"{_names(logs)} kept {start}" for start, logs in groups.items() if logs]
    return f"{capital(', '.join(said))}: no training step had a lower loss, nothing was learned there." if said else ""


def _names(logs: Sequence[CategoryLog]) -> str:
    """'the bias and the vectors of categories 3, 5'."""
    numbers = [str(each.category) for each in logs if each.category >= 0]
    named = ["the bias"] if len(numbers) < len(logs) else []
    plural = ("vector", "category") if len(numbers) == 1 else ("vectors", "categories")
    named += [f"the {plural[0]} of {plural[1]} {', '.join(numbers)}"] if numbers else []
    return (" and ".join(named)) + (" each" if len(logs) > 1 else "")


def untrained_lines(arms: Arms, context: Context) -> list[str]:
    """A line for each set of vectors that has untrained ones, with the arms that add them where arms differ in it."""
    users: dict[str, list[str]] = {}
    sets: dict[str, SteeringVectors] = {}
    for name, row in arms.rows.items():
        law = row.draws[0].completions.law
        if isinstance(law, Steered):
            users.setdefault(law.vectors.key, []).append(name)
            sets[law.vectors.key] = law.vectors
    said = {key: untrained_words(context.get(vectors).log) for key, vectors in sets.items()}
    of = {key: f"Vectors of {', '.join(names)}: " if len(sets) > 1 else "" for key, names in users.items()}
    return [of[key] + words for key, words in said.items() if words]
