"""Preferences: which of two outputs a judge prefers, an arm's answer or the gold one (AlpacaEval 2.0)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.files import read_records, write_records, write_text
from reasoning_lab.artifacts.judged import require_replies, tell_cost
from reasoning_lab.artifacts.key import IDENTITY, digest
from reasoning_lab.judge.preference import (
    Pair,
    Preference,
    PreferenceOption,
    annotator_prompt,
    preference_requests,
    preferences,
)
from reasoning_lab.records import Completion

FILE = "preferences.jsonl"


@dataclass(frozen=True)
class Preferences(Artifact[tuple[Preference, ...]]):
    """A judge's preferences on the answers of one arm, in their order. Replies that came before a failure stay in the
    judge's cache."""

    kind: ClassVar[str] = "preferences"
    version: ClassVar[int] = 2
    completions: Completions
    judge: Annotated[PreferenceOption, IDENTITY]
    seed: int
    """Of the order of the two outputs."""

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.completions.slug

    def canonical(self) -> dict[str, Any]:
        """With the prompt's template and the gold outputs."""
        return super().canonical() | {
            "template": digest(annotator_prompt()),
            "golds": self.completions.problems.golds(),
        }

    def build(self, context: Context, folder: Path) -> None:
        """Ask the judge."""
        template, chat = annotator_prompt(), context.chat(self.judge)
        assert chat is not None, "a PreferenceOption has a chat model"
        pairs, before = self._pairs(context.get(self.completions)), chat.usage
        tell_cost(chat.name, chat.estimate(list(preference_requests(pairs, template, self.seed).values())), context)
        told = preferences(chat, pairs, template, self.seed)
        require_replies(chat.usage - before)
        write_records(folder / FILE, told)
        write_text(folder / "usage.json", (chat.usage - before).dumps())

    def read(self, folder: Path) -> tuple[Preference, ...]:
        """The preferences."""
        return read_records(folder / FILE, Preference)

    def _pairs(self, answers: Sequence[Completion]) -> list[Pair]:
        problems = self.completions.problems.by_id
        return [
            Pair(a.problem, a.chain, problems[a.problem].question, a.text, problems[a.problem].gold) for a in answers
        ]
