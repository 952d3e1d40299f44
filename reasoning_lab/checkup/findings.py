"""What a look at an experiment's models found: claims that hold or not, each with the next move where it doesn't."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from reasoning_lab.records import Record


@dataclass(frozen=True)
class Finding(Record):
    """One claim, looked at."""

    subject: str
    """What it is about: a role of the pair, the pair, the benchmark, the machine."""
    claim: str
    """What should be so."""
    holds: bool
    found: str
    """What was measured."""
    move: str = ""
    """What to do next; empty where the claim holds."""


@dataclass(frozen=True)
class Claim:
    """Something that should be so, and how to look."""

    subject: str
    claim: str
    look: Callable[[], str]
    """Returns what was found where the claim holds; raises `Broken` where it doesn't."""

    def finding(self) -> Finding:
        """Look; an error of any kind is a claim that doesn't hold."""
        try:
            return Finding(self.subject, self.claim, True, self.look())
        except Broken as broken:
            return Finding(self.subject, self.claim, False, broken.found, broken.move)
        except Exception as error:  # Whatever a model, a template or a grader raises is what was looked for.
            found = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return Finding(self.subject, self.claim, False, found, "read the error; the run would end in it")


class Broken(Exception):
    """A claim that doesn't hold: what was found instead, and the next move."""

    def __init__(self, found: str, move: str) -> None:
        super().__init__(found)
        self.found, self.move = found, move


def findings_table(findings: Sequence[Finding]) -> Table:
    """One line each, green or red, the next move below what was found."""
    n_red = sum(not each.holds for each in findings)
    title = (
        f"Check: all {len(findings)} claims hold" if not n_red else f"Check: {n_red} of {len(findings)} claims do not"
    )
    table = Table(title=title, title_justify="left")
    for column in ("", "of", "claim", "found"):
        table.add_column(column)
    for each in findings:
        mark = "[green]✓[/green]" if each.holds else "[red]✗[/red]"
        found = each.found if each.holds else f"{each.found}\n→ {each.move}"
        table.add_row(mark, each.subject, each.claim, _plain(found))
    return table


def _plain(text: str) -> str:
    """As it is: brackets are no markup."""
    return text.replace("[", r"\[")
