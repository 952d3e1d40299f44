"""An experiment as artifacts: what each arm's answers, verdicts and annotations are made of. Nobody below sees the
experiment; stages and reports hold what is here and ask the context for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from reasoning_lab.artifacts.activations import SentenceActivations
from reasoning_lab.artifacts.annotations import Annotations
from reasoning_lab.artifacts.base import Artifact
from reasoning_lab.artifacts.completions import Completions, Law, ProblemSet
from reasoning_lab.artifacts.cue import Cue, Openings
from reasoning_lab.artifacts.grades import Grades
from reasoning_lab.artifacts.naming import TaxonomyNaming
from reasoning_lab.artifacts.scores import Scores
from reasoning_lab.artifacts.steered import Steered
from reasoning_lab.artifacts.taxonomy import TaxonomyClusters
from reasoning_lab.artifacts.traces import Traces
from reasoning_lab.artifacts.vectors import SteeringVectors
from reasoning_lab.cue.search import CueSearch
from reasoning_lab.engine.local import TransformersEngine
from reasoning_lab.experiment import Arm, Experiment, NoJudge, PassK, Taxonomy
from reasoning_lab.model_pair.pair import ModelPair, Role
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import Sampler
from reasoning_lab.sampler.cue import Cued, unescaped
from reasoning_lab.steering.controls import Control, ThinkingChoice
from reasoning_lab.steering.gate import Never
from reasoning_lab.steering.steering import NoSteering, SteeringRule


@dataclass(frozen=True)
class Answers:
    """The answers of one draw of an arm, and what is made of them."""

    completions: Completions
    grades: Grades
    scores: Scores
    """Under the base model."""


@dataclass(frozen=True)
class ArmRow:
    """An arm as a row of the table."""

    name: str
    title: str
    """What a reader sees."""
    role: Role
    sampler: str
    """In one line."""
    matched_to: str | None
    """The arm whose tokens are its budget."""
    rule: SteeringRule
    draws: tuple[Answers, ...]
    """One; of a random control one per draw."""
    beyond: Answers | None
    """The chains that pass@k needs beyond the table's."""
    drawn: Annotations | None = None
    """The first draw's answers as what steered them sees them; None without categories."""
    common: Annotations | None = None
    """The same in the experiment's categories, seen by a gate that never fires: a colour means one thing."""
    has_own_taxonomy: bool = False
    """Whether its steering picks from other categories than the experiment's."""

    @property
    def is_steered(self) -> bool:
        """Whether a hybrid wrote its answers."""
        return not isinstance(self.rule, NoSteering)

    @property
    def is_null(self) -> bool:
        """Whether what the arm recovers is not the categories' doing."""
        return isinstance(self.rule, Control) and not isinstance(self.rule, ThinkingChoice)

    @property
    def is_plain(self) -> bool:
        """Whether its answers are draws from a model's own law."""
        return not self.is_steered and self.draws[0].completions.sampler.is_plain


@dataclass(frozen=True)
class Categories:
    """The experiment's taxonomy as artifacts, one made of the other."""

    taxonomy: Taxonomy
    traces: Traces
    activations: SentenceActivations
    clusters: TaxonomyClusters
    naming: TaxonomyNaming | None
    """None without a judge."""


@dataclass(frozen=True)
class Arms:
    """All that an experiment asks for."""

    pair: ModelPair
    rows: dict[str, ArmRow]
    base: str
    """The arm that paired differences are against."""
    studied: str
    """The arm that the experiment is about: the sampler and steering of the root of the config, else the first."""
    reference: str | None
    """What it is held against: the GRPO model, or the thinking model where it is steered; None without one."""
    problems: ProblemSet
    passk: PassK
    categories: Categories | None
    vectors: SteeringVectors | None
    """Of the experiment's own steering."""
    cue: Cue | None
    """Of the base model; None where none is looked for."""

    def answers(self) -> list[Answers]:
        """Of all rows, those that pass@k needs last."""
        rows = self.rows.values()
        return [*(answers for row in rows for answers in row.draws), *(row.beyond for row in rows if row.beyond)]

    def made(self) -> list[Artifact[Any]]:
        """Everything of which something may have to be drawn."""
        chain = [self.categories.clusters] if self.categories else []
        return [*chain, *([self.vectors] if self.vectors else []), *(each.completions for each in self.answers())]

    @property
    def is_hybrid(self) -> bool:
        """Whether the studied arm is steered, with the two models beside it."""
        roles = {row.role for row in self.rows.values() if not row.is_steered}
        return self.rows[self.studied].is_steered and {"base", "thinking"} <= roles


def arms_of(experiment: Experiment) -> Arms:
    """The artifacts of an experiment; nothing is loaded but the benchmarks."""
    studied = _studied(experiment)
    role = "grpo" if isinstance(experiment.arms[studied].steering, NoSteering) else "thinking"
    taxonomy, steering = experiment.taxonomy, experiment.steering
    has_categories = isinstance(taxonomy, Taxonomy)
    return Arms(
        pair=experiment.model_pair,
        rows={name: _row(experiment, name) for name in experiment.arms},
        base=experiment.baseline,
        studied=studied,
        reference=_first_with(experiment, lambda arm: arm.role == role),
        problems=ProblemSet(experiment.benchmark),
        passk=experiment.passk,
        categories=_categories(experiment, taxonomy) if has_categories else None,
        vectors=_vectors(experiment, steering, taxonomy)
        if has_categories and not isinstance(steering, NoSteering)
        else None,
        cue=_cue(experiment, "base") if isinstance(experiment.cue, CueSearch) else None,
    )


def cold_start(experiment: Experiment) -> Grades:
    """The base model's own answers to the training problems, graded; the right ones start a thinking model."""
    benchmark = experiment.training.benchmark
    sampler = Temperature(benchmark.max_new_tokens, experiment.training.temperature)
    return _grades(experiment, _plain(experiment, "base", sampler, ProblemSet(benchmark), "cold start"))


def _studied(experiment: Experiment) -> str:
    at_root = (experiment.sampler, experiment.steering)
    return _first_with(experiment, lambda arm: (arm.sampler, arm.steering) == at_root) or next(iter(experiment.arms))


def _first_with(experiment: Experiment, holds: Callable[[Arm], bool]) -> str | None:
    return next((name for name, arm in experiment.arms.items() if holds(arm)), None)


# --- answers --------------------------------------------------------------------------------------------------------


def _row(experiment: Experiment, name: str) -> ArmRow:
    arm = experiment.arms[name]
    table, first, last = ProblemSet(experiment.benchmark), experiment.n_samples, experiment.passk.n_samples
    draws = tuple(
        _answers(experiment, _completions(experiment, name, table, (0, first), number))
        for number in range(len(arm.steering.draws()))
    )
    few = ProblemSet(experiment.benchmark, experiment.passk.n_problems)
    is_beyond = name in experiment.passk.arms and last > first
    beyond = _answers(experiment, _completions(experiment, name, few, (first, last))) if is_beyond else None
    row = ArmRow(
        name,
        arm.label or name.replace("_", " "),
        arm.role,
        describe(arm.sampler),
        arm.sampler.matched_to,
        arm.steering,
        draws,
        beyond,
    )
    if not isinstance(experiment.taxonomy, Taxonomy) or isinstance(experiment.steering, NoSteering):
        return row
    answers, is_own = draws[0].completions, arm.taxonomy is not None
    return replace(row, drawn=_drawn(experiment, answers), common=_common(experiment, answers), has_own_taxonomy=is_own)


def _answers(experiment: Experiment, completions: Completions) -> Answers:
    pair = experiment.model_pair
    return Answers(completions, _grades(experiment, completions), Scores(completions, pair.source("base"), pair.dtype))


def _grades(experiment: Experiment, completions: Completions) -> Grades:
    return Grades(completions, experiment.judge if completions.problems.benchmark.asks_judge else None)


def _completions(
    experiment: Experiment, name: str, problems: ProblemSet, chains: tuple[int, int], draw: int = 0
) -> Completions:
    """An arm's answers; `draw` is the number of a random control's draw."""
    arm = experiment.arms[name]
    matched_to = arm.sampler.matched_to
    budget_of = _completions(experiment, matched_to, problems, chains) if matched_to is not None else None
    caption = name + (f"@{draw}" if draw else "") + (" (pass@k)" if chains[0] > 0 else "")
    law = _law(experiment, arm, arm.steering.draws()[draw], problems, chains)
    plain = _plain(experiment, arm.role, arm.sampler, problems, caption, "hybrid" if law else arm.role)
    return replace(plain, engine=experiment.engine, law=law, chains=chains, budget_of=budget_of)


def _plain(
    experiment: Experiment, role: Role, sampler: Sampler, problems: ProblemSet, caption: str, writer: str = ""
) -> Completions:
    """One chain per problem of a model as it is, drawn in this process, where its layers are read too."""
    pair = experiment.model_pair
    return Completions(
        pair=pair.name,
        writer=writer or role,
        caption=caption,
        model=pair.source(role),
        dtype=pair.dtype,
        engine=TransformersEngine(),
        law=None,
        sampler=sampler,
        problems=problems,
        seed=experiment.seed,
        chains=(0, 1),
        cue=_cue(experiment, role) if sampler.waits_for_cue else None,
    )


def _cue(experiment: Experiment, role: Role) -> Cue:
    """The cue of a model as it is, steered or not: the experiment has seen to it that one is looked for."""
    search, pair = experiment.cue, experiment.model_pair
    assert isinstance(search, CueSearch), "who waits for a cue has a search"
    openings = Openings(
        pair.name, role, pair.source(role), pair.dtype, ProblemSet(search.benchmark), search.width, search.depth
    )  # fmt: skip
    return Cue(openings, search.sampler, search.n_samples, experiment.seed)


def _law(
    experiment: Experiment, arm: Arm, rule: SteeringRule, problems: ProblemSet, chains: tuple[int, int]
) -> Law | None:
    if isinstance(rule, NoSteering):
        return None
    rate_of = None
    if rule.rate_matched_to is not None:
        rate_of = _drawn(experiment, _completions(experiment, rule.rate_matched_to, problems, chains))
    return Steered(rule, _vectors(experiment, rule, arm.taxonomy or experiment.taxonomy), rate_of)


# --- categories and what they steer ---------------------------------------------------------------------------------


def _categories(experiment: Experiment, taxonomy: Any) -> Categories:
    """ValueError where there is no taxonomy."""
    if not isinstance(taxonomy, Taxonomy):
        raise ValueError("taxonomy=none: this needs categories of reasoning steps; choose taxonomy=venhoff2025.")
    problems = ProblemSet(taxonomy.benchmark)
    answers = _plain(experiment, "thinking", taxonomy.sampler, problems, "traces")
    traces = Traces(_grades(experiment, answers), taxonomy.think_open, taxonomy.think_close)
    layers = tuple(sorted(set(taxonomy.layers)))
    activations = SentenceActivations(traces, experiment.model_pair.dtype, layers, taxonomy.pooling)
    clusters = TaxonomyClusters(
        activations, taxonomy.layer, taxonomy.clustering, taxonomy.n_clusters, taxonomy.min_words, experiment.seed,
        taxonomy.heldout_share,
    )  # fmt: skip
    has_judge = not isinstance(experiment.judge, NoJudge)
    naming = TaxonomyNaming(clusters, experiment.judge, taxonomy.naming, taxonomy.scoring) if has_judge else None
    return Categories(taxonomy, traces, activations, clusters, naming)


def _vectors(experiment: Experiment, rule: SteeringRule, taxonomy: Any) -> SteeringVectors:
    """The vectors that a rule adds."""
    pair, steering = experiment.model_pair, rule.inner
    return SteeringVectors(
        _categories(experiment, taxonomy).clusters,
        pair.source("base"),
        pair.dtype,
        steering.vectors,
        steering.layer,
        steering.normalise,
        steering.category.hold if steering.vectors.reads_tokens else "sentence",
    )


def _drawn(experiment: Experiment, answers: Completions) -> Annotations:
    """Answers as what steered them sees them."""
    return Annotations(answers, answers.law) if isinstance(answers.law, Steered) else _common(experiment, answers)


def _common(experiment: Experiment, answers: Completions) -> Annotations:
    """Answers in the experiment's categories, steered nowhere."""
    rule = replace(experiment.steering.inner, gate=Never())
    return Annotations(answers, Steered(rule, _vectors(experiment, rule, experiment.taxonomy)))


# --- words ----------------------------------------------------------------------------------------------------------


def describe(sampler: Sampler, decode: Callable[[Sequence[int]], str] | None = None) -> str:
    """One line: the class and its parameters, without the length cap; of a cued sampler first the cue, whose ids are
    read by `decode`."""
    if isinstance(sampler, Cued):
        return f"cue: {_cue_words(sampler, decode)}, then {describe(sampler.of, decode)}"
    shown = []
    for field in fields(sampler):  # pyright: ignore[reportArgumentType] -- every sampler is a dataclass
        value = getattr(sampler, field.name)
        if field.name == "max_new_tokens" or value == field.default or value is None:
            continue
        shown.append(f"{field.name}={describe(value, decode) if isinstance(value, Sampler) else value}")
    return f"{type(sampler).__name__}({', '.join(shown)})"


def _cue_words(sampler: Cued, decode: Callable[[Sequence[int]], str] | None) -> str:
    """The cue as a reader sees it."""
    if sampler.waits_for_cue:
        return "as found"
    if sampler.cue is not None:
        return repr(unescaped(sampler.cue))
    return repr(decode(sampler.cue_ids or ())) if decode else f"ids {list(sampler.cue_ids or ())}"
