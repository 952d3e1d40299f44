"""The Engine contract: whatever answers Requests with Chains. A sampler's coroutine never learns which one did.

An engine is an option of the config, a frozen dataclass; opened for a model it is an `Answering`, which runs
coroutines. What changes a number that it gives (its kind, its version, what it serves) is its identity and enters the
key of all that is drawn by it; its address, its devices and how much it does at once do not.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from reasoning_lab.engine.policy import Coroutine, Policy, State

if TYPE_CHECKING:  # Samplers import this module, and torch takes a second.
    from reasoning_lab.engine.scheduler import Counts

Name = TypeVar("Name")
T = TypeVar("T")

Need = Literal["top_k", "top_p", "hot", "forced", "excluded", "alternatives", "negentropy"]
"""What a sampler's law may rest on beside draws at a temperature: q cut to its top k or top p, log Z at a temperature
above 1, log p of given tokens, ids that may not be drawn, the most probable ids of a position, sum_v p log p."""


@dataclass(frozen=True)
class Subject:
    """The model whose tokens are drawn, as far as an engine may want to know it."""

    policy: Callable[[], Policy]
    """Loads it here and gives its law, steered or not."""
    path: str
    """Hub id or folder."""
    revision: str | None
    """The hub's commit."""
    dtype: str
    device: str
    """cpu, cuda or cuda:N."""
    n_layers: int
    """Decoder layers, by which passes are counted."""
    gguf_file: str | None = None
    """File within the folder that has the weights, quantised."""


class EngineError(ValueError):
    """What is at the other end can't be used; the message has the next move."""


class Answering(ABC):
    """An engine at work for one model."""

    @abstractmethod
    def run(
        self,
        tasks: Iterable[tuple[Name, Coroutine[T]]],
        rows: int,
        capacity: int,
        on_checkpoint: Callable[[Name, State], None] | None = None,
        counts: "Counts | None" = None,
    ) -> Iterator[tuple[Name, T]]:
        """Run the coroutines; yield (name, result) as each returns, in the order in which they end.

        Arguments: `tasks` are (name, coroutine) pairs, pulled as rows fall free; `rows` requests are at work at once,
        of at most `capacity` positions, prompt included; `on_checkpoint(name, state)` receives what coroutines yield as
        Checkpoint; `counts` is filled in place: when a coroutine yields a Checkpoint or returns, `counts.work` has
        what it took.
        """


class Engine(ABC):
    """Base of the options of the group `engine`, each a frozen dataclass."""

    name: ClassVar[str]
    """Its option's."""
    takes_laws: ClassVar[bool] = False
    """Whether it draws from any Policy (a steered model); False: from a model as it is."""
    holds_weights: ClassVar[bool] = True
    """Whether the model's weights must be on this machine."""
    lacks: ClassVar[frozenset[Need]] = frozenset()
    """What it can't give."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What of it changes a number: `engine`, its kind, and its version."""

    @property
    @abstractmethod
    def note(self) -> str:
        """What a reader of its numbers must know, in a sentence for the table's footer."""

    def check(self) -> None:  # noqa: B027
        """ValueError where a package or a key that it needs is missing; nothing is started or sent."""

    @abstractmethod
    def open(self, subject: Subject) -> Answering:
        """At work for a model."""

    def refusal(self, role: str, is_steered: bool, needs: frozenset[Need]) -> str | None:
        """Why it can't draw the answers of an arm, or None where it can: the model's role in the pair, whether vectors
        are added to it, and what the sampler needs."""
        if is_steered and not self.takes_laws:
            return f"engine={self.name} draws from a model as it is, and this arm steers one"
        if missing := sorted(needs & self.lacks):
            return f"its sampler needs {WORDS[missing[0]]}, which engine={self.name} does not give"
        return None


WORDS: dict[Need, str] = {
    "top_k": "draws from the most probable tokens alone (top_k)",
    "top_p": "draws from a nucleus (top_p)",
    "hot": "log Z of a proposal at a temperature above 1",
    "forced": "log p of given tokens (forced)",
    "excluded": "draws without certain ids (excluded; power sampling with redraw=from_cut does not)",
    "alternatives": "the most probable ids of a position (alternatives)",
    "negentropy": "sum p log p over the whole vocabulary (negentropy)",
}
"""Needs as a reader sees them."""
