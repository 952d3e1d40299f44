"""What pages are made of: arms, problems, categories, vectors, and the words that only the caller knows."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from reasoning_lab.checks import require
from reasoning_lab.records import Annotation, ChainState, Completion, Grade, ModelSize, Problem, Record
from reasoning_lab.report.words import natural_key
from reasoning_lab.statistics import Interval, Outcomes, outcomes


@dataclass(frozen=True)
class Origin(Record):
    """How one artifact behind a page was built."""

    name: str
    """Caption of an arm's answers, else the artifact's kind."""
    key: str
    built: str
    """ISO time, UTC; empty: not recorded."""
    command: str
    settings: tuple[str, ...]
    """Commit, versions, and engine, device and shape, in words."""
    earlier: tuple[tuple[str, ...], ...] = ()
    """Settings of earlier attempts that it was begun by, where they differ."""


@dataclass(frozen=True)
class Provenance:
    """Where a page's numbers come from."""

    origins: tuple[Origin, ...] = ()
    """Of every artifact, upstream first."""
    sources: tuple[str, ...] = ()
    """Models and data, by commit or content."""
    page: str = ""
    """When, by what code and command the page itself was written."""
    files: tuple[tuple[str, str], ...] = ()
    """Downloads: label, and address relative to the page."""


UNKNOWN = Provenance()
"""Of numbers that no artifact holds."""


@dataclass(frozen=True)
class ArmResult:
    """One row of the table: a policy and a sampler on all problems."""

    name: str
    """Key of the arm: file-safe, unique."""
    label: str
    """What the reader sees."""
    role: str
    """Which model answered (base, thinking, grpo, hybrid ...)."""
    sampler: str
    """One line on how it was sampled."""
    completions: list[Completion]
    grades: list[Grade]
    checks: float | None = None
    """Mean number of check sentences per answer."""
    backtracks: float | None = None
    """Mean number of backtracking sentences per answer."""
    scored: list[tuple[float, float]] | None = None
    """Per answer, (log p per token, mean negative entropy) of its text under the BASE model [nats]."""
    note: str = ""
    """What else a reader must know of it: a sentence of the footer."""
    matched_to: str | None = None
    """Arm whose tokens were this one's budget."""
    is_null: bool = False
    """Whether it is a null control: what it reaches is not the doing of what is studied."""
    is_steered: bool = False
    """Whether a hybrid model wrote its answers."""
    is_plain: bool = False
    """Whether its answers are draws from the model's own law p, neither sharpened nor cut."""
    n_draws: int = 1
    """Draws of a random control: things drawn once for all problems, each with as many chains of a problem."""
    own_size: ModelSize | None = None
    """Of the model that writes (of a hybrid its base model); None: not known, and no FLOPs are given."""
    thinking_size: ModelSize | None = None
    """Of the thinking model that steers it, where one does."""
    states: tuple[ChainState, ...] = ()
    """Of an arm of Markov chains: what the first chain of each problem went through."""

    def __post_init__(self) -> None:
        if not self.completions:
            raise ValueError(f"Arm {self.name!r} has no completions; leave it out of the report.")
        answered = {(c.problem, c.chain) for c in self.completions}
        graded = {(g.problem, g.chain) for g in self.grades}
        if len(answered) != len(self.completions) or len(graded) != len(self.grades):
            raise ValueError(f"Arm {self.name!r} has two completions or two grades for one (problem, chain).")
        if odd := sorted(answered ^ graded):
            raise ValueError(f"Arm {self.name!r}: {len(odd)} completions without grade or grades without completion, "
                             f"the first is (problem, chain) = {odd[0]}; grade all of them.")  # fmt: skip

        if odd := [problem for problem, n in Counter(g.problem for g in self.grades).items() if n % self.n_draws]:
            raise ValueError(
                f"Arm {self.name!r}: the chains of {odd[0]!r} are no multiple of its {self.n_draws} draws."
            )

    @cached_property
    def outcomes(self) -> tuple[Outcomes, ...]:
        """Correctness by problem, one mapping per draw; of a problem, the draws' chains follow each other."""
        whole = (
            outcomes(sorted(self.grades, key=lambda grade: grade.chain)) if self.n_draws > 1 else outcomes(self.grades)
        )
        per_draw = {problem: len(samples) // self.n_draws for problem, samples in whole.items()}
        return tuple(
            {p: samples[draw * per_draw[p] : (draw + 1) * per_draw[p]] for p, samples in whole.items()}
            for draw in range(self.n_draws)
        )

    @property
    def mean_length(self) -> float:
        """Mean generated tokens of an answer."""
        return sum(len(c.ids) for c in self.completions) / len(self.completions)

    @property
    def about(self) -> str:
        """Role and sampler in one line."""
        return " · ".join(filter(None, (self.role, self.sampler)))


@dataclass(frozen=True)
class Published:
    """A number of the paper beside ours, and why they differ."""

    what: str
    """Model, benchmark and method."""
    published: str
    """The number as printed, with its source."""
    arm: str | None
    """Our arm to compare with; None when there is none."""
    difference: str
    """Why our number is not expected to be the same."""


@dataclass(frozen=True)
class Report:
    """Everything that the page about an experiment's arms shows."""

    title: str
    arms: list[ArmResult]
    """In the order of the table; all over the same problems."""
    problems: dict[str, Problem]
    """Problem id -> question, gold and tags."""
    decode: Callable[[tuple[int, ...]], str]
    """Token ids -> text, for the suffixes of moves."""
    base: str
    """Name of the arm that all others are compared with."""
    studied: str
    """Name of the arm that the headline is about."""
    reference: str | None = None
    """Name of the trained arm that the studied one is held against (RL-trained or thinking), when there is one."""
    passk: list[ArmResult] = field(default_factory=list)
    """Arms with at least two samples a problem, all over the same problems (maybe fewer than in the table)."""
    question: str = "Which way of sampling answers best?"
    grpo_length: float | None = None
    """Mean length of a completion during GRPO [tokens]; None takes the reference arm's mean length, if GRPO made it."""
    published: list[Published] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)
    """What the numbers are, a line each: model, seeds, caveats."""
    provenance: Provenance = UNKNOWN
    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError(f"Arm names repeat: {sorted(names)}.")
        for part, name in (("base", self.base), ("studied", self.studied), ("reference", self.reference)):
            known = name is None or name in names
            require(known, part, name, f"one of the arms {', '.join(names)}", "name one of them")
        for arm in self.passk:
            _require_repeats(arm)
        for arms in (self.arms, self.passk):
            _require_same_problems(arms, self.problems)

    def arm(self, name: str) -> ArmResult:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def is_steered(self) -> bool:
        """Whether the studied arm is a hybrid model's."""
        return self.arm(self.studied).is_steered

    @property
    def leading(self) -> list[str]:
        """Names of the arms that the question is about: base, studied and reference, without repeats."""
        return list(dict.fromkeys(name for name in (self.base, self.studied, self.reference) if name))

    @property
    def problem_ids(self) -> list[str]:
        """Ids of the table's problems in natural order (p2 before p10)."""
        return sorted({c.problem for c in self.arms[0].completions}, key=natural_key)


def _require_repeats(arm: ArmResult) -> None:
    counts = Counter(completion.problem for completion in arm.completions)
    if few := [problem for problem, n in counts.items() if n < 2]:
        raise ValueError(f"passk arm {arm.name!r} has one sample of problem {few[0]!r}; pass@k needs two or more.")


def _require_same_problems(arms: list[ArmResult], problems: dict[str, Problem]) -> None:
    for arm in arms:
        ids = {c.problem for c in arm.completions}
        if unknown := sorted(ids - set(problems)):
            raise ValueError(f"Arm {arm.name!r} answers problem {unknown[0]!r}, which is not in problems.")
        if odd := sorted(ids ^ {c.problem for c in arms[0].completions}):
            raise ValueError(
                f"Arms {arms[0].name!r} and {arm.name!r} differ in {len(odd)} problems, the first is {odd[0]!r}; "
                "a paired table needs the same problems in every arm."
            )


# --- a taxonomy, and a hybrid model ---------------------------------------------------------------------------


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
    provenance: Provenance = UNKNOWN


@dataclass(frozen=True)
class VectorView:
    """One steering vector, for the table of norms and losses."""

    category: int
    """-1: the bias."""
    norm: float
    loss_before: float | None
    """Cross-entropy without the vector [nats/token] on problems that neither trained it nor picked its moment; None
    where there are none."""
    loss_after: float | None
    """The same with it."""
    n_examples: int
    note: str = ""


@dataclass(frozen=True)
class HybridReport:
    """Everything that the page about a hybrid model shows; its studied arm is the hybrid, its reference the thinking
    model, which must be there."""

    report: Report
    """The arms, all over the same problems; the draws of a random control are further chains of its one arm."""
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

    def __post_init__(self) -> None:
        given = self.report.reference is not None
        require(given, "reference", None, "the thinking model's arm", "name it, for a hybrid is held against it")

    @property
    def nulls(self) -> tuple[str, ...]:
        """Arms of the null controls: whatever they recover is not the categories' doing."""
        return tuple(arm.name for arm in self.report.arms if arm.is_null)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Other arms to compare with (the thinking model's choice among base tokens, the published defaults ...)."""
        return tuple(arm.name for arm in self.report.arms if not arm.is_null and arm.name not in self.report.leading)

    @property
    def base(self) -> str:
        """Name of the unsteered base model's arm."""
        return self.report.base

    @property
    def studied(self) -> str:
        """Name of the hybrid's arm."""
        return self.report.studied

    @property
    def reference(self) -> str:
        """Name of the thinking model's arm."""
        assert self.report.reference is not None, "checked when the report was made"
        return self.report.reference
