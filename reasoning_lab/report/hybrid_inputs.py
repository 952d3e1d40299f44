"""What the report of a hybrid model is made of, beside the table's arms."""

from dataclasses import dataclass

from reasoning_lab.records import Annotation
from reasoning_lab.report.inputs import ReportInput
from reasoning_lab.statistics import Interval


@dataclass(frozen=True)
class CategoryView:
    """One category of reasoning steps, as a reader meets it."""

    index: int
    title: str
    description: str
    examples: tuple[str, ...]
    """Representative sentences, the nearest to the category's centre first."""
    share: float
    """Of the traces' sentences, in [0, 1]."""
    truth: str = ""
    """Ground-truth category of most of its sentences and their share; empty where no truth is known."""


@dataclass(frozen=True)
class TaxonomyView:
    """The taxonomy behind the vectors."""

    method: str
    """One line: clustering, layer, pooling, number of sentences."""
    judge: str
    """Who named and scored the categories; empty: nobody did."""
    categories: tuple[CategoryView, ...]
    scores: dict[str, Interval]
    """Consistency, completeness, independence, final; NMI, ARI, purity where truth is known: with 95 % intervals or,
    for the judge's scores, the range over its repetitions."""
    n_dead: int
    """Categories that no sentence belongs to."""
    notes: tuple[str, ...] = ()
    """What was skipped or counted (unparsable replies, short sentences ...), a line each."""


@dataclass(frozen=True)
class VectorView:
    """One steering vector, for the table of norms and losses."""

    category: int
    """-1: the bias."""
    norm: float
    loss_before: float | None
    """Held-out cross-entropy without the vector [nats/token]; None where there was too little to train on."""
    loss_after: float | None
    n_examples: int
    note: str = ""


@dataclass(frozen=True)
class HybridReport:
    """Everything that the page about a hybrid model shows."""

    report: ReportInput
    """The arms, all over the same problems; a random control's draws are further chains of its one arm."""
    base: str
    hybrid: str
    thinking: str
    nulls: tuple[str, ...]
    """Arms of the null controls: whatever they recover is not the categories' doing."""
    rivals: tuple[str, ...]
    """Other arms to compare with (the thinking model's choice among base tokens, the published defaults ...)."""
    annotations: dict[str, list[Annotation]]
    """By arm; of a random control those of its first draw."""
    token_texts: dict[str, list[tuple[str, ...]]]
    """By arm and completion: the text of each generated token; joined they are the completion's text."""
    choice_texts: dict[int, str]
    """Text of every id that occurs among the annotations' choices."""
    taxonomy: TaxonomyView
    vectors: tuple[VectorView, ...]
    truths: dict[str, dict[str, float]]
    """By arm: share of each ground-truth category of its sentences; empty where no truth is known."""
    shares: dict[str, tuple[float, ...]]
    """By arm (base, power-sampled, hybrid, thinking ...): share of each taxonomy category of its sentences."""
    published: tuple[tuple[str, ...], ...] = ()
    """Rows of the paper's Tables 2 and 3 beside ours: what, base, hybrid, thinking, gap recovered, steered, source."""
