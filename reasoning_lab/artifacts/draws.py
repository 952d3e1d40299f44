"""What there is to draw: an experiment's arms as draws with their recipes, dependencies and expected cost."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from reasoning_lab.artifacts.lineage import completions_recipe, loaded, taxonomy_of, trace_recipe, vectors_recipe
from reasoning_lab.artifacts.recipes import CompletionsRecipe, SteeredLaw
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.experiment import Arm, Experiment, NoTaxonomy, TaxonomyChoice
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.records import Problem
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import Sampler, Selection
from reasoning_lab.steering.steering import NoSteering, SteeringRule


@dataclass(frozen=True)
class Draw:
    """What to draw: one sampler on one law, some problems, some chains."""

    arm: str
    role: Role
    """Model of the pair whose prompts and ids the answers are in."""
    sampler: Sampler
    benchmark: Benchmark
    problems: tuple[Problem, ...]
    chains: tuple[int, int]
    recipe: CompletionsRecipe
    steering: SteeringRule
    taxonomy: TaxonomyChoice
    """Categories that its steering picks from."""
    matched: "Draw | None" = None
    """The draw whose decode tokens set the sampler's budget."""
    pool: "Draw | None" = None
    """The draw whose candidates a Selection chooses from."""
    rate_of: "Draw | None" = None
    """The draw whose steered fraction is the rate of this one's random gate."""

    @property
    def n_answers(self) -> int:
        """Answers in all."""
        return len(self.problems) * (self.chains[1] - self.chains[0])

    @property
    def label(self) -> str:
        """What a reader sees of it."""
        is_pool = getattr(self.sampler, "tokens_matched_to", None) is not None
        return self.arm + (" pool" if is_pool else "") + (" (pass@k)" if self.chains[0] > 0 else "")

    @property
    def law(self) -> SteeredLaw | None:
        """What steers it; None for a model as it is."""
        return self.recipe.steering if isinstance(self.recipe.steering, SteeredLaw) else None


def problems_of(experiment: Experiment) -> tuple[Problem, ...]:
    """The benchmark's problems."""
    return loaded(experiment.benchmark)


def table_draws(experiment: Experiment, problems: Sequence[Problem]) -> dict[str, Draw]:
    """One draw per arm: all problems, the table's chains."""
    return {name: _arm_draw(experiment, name, problems, (0, experiment.n_samples)) for name in drawn_arms(experiment)}


def passk_draws(experiment: Experiment, problems: Sequence[Problem]) -> dict[str, Draw]:
    """The chains that pass@k needs beyond the table's, per arm; empty where the table has them all."""
    first, last = experiment.n_samples, experiment.passk.n_samples
    if last <= first:
        return {}
    chosen = problems[: experiment.passk.n_problems]
    return {name: _arm_draw(experiment, name, chosen, (first, last)) for name in experiment.passk.arms}


def all_draws(experiment: Experiment) -> list[Draw]:
    """The table's draws and those that pass@k needs beyond them."""
    problems = problems_of(experiment)
    return [*table_draws(experiment, problems).values(), *passk_draws(experiment, problems).values()]


def trace_draw(experiment: Experiment) -> Draw:
    """The thinking model's answers that the taxonomy is made of."""
    taxonomy = taxonomy_of(experiment)
    problems = loaded(taxonomy.benchmark)
    recipe = trace_recipe(experiment)
    return Draw(
        "traces", "thinking", taxonomy.sampler, taxonomy.benchmark, problems, (0, 1), recipe, NoSteering(), taxonomy
    )


def cold_start_draw(experiment: Experiment) -> Draw:
    """The base model's own answers, of which the right ones start a thinking model."""
    problems, benchmark = problems_of(experiment), experiment.benchmark
    sampler = Temperature(benchmark.max_new_tokens, experiment.training.temperature)
    recipe = completions_recipe(experiment, "base", sampler, benchmark, problems, (0, 1), NoSteering())
    return Draw("cold start", "base", sampler, benchmark, problems, (0, 1), recipe, NoSteering(), NoTaxonomy())


def drawn_arms(experiment: Experiment) -> dict[str, Arm]:
    """The arms, and for a random control its further draws, as name@1, name@2 ..."""
    found: dict[str, Arm] = {}
    for name, arm in experiment.arms.items():
        found[name] = arm
        rule: Any = arm.steering
        for number in range(rule.n_draws if rule.n_draws > 1 else 0):
            one = replace(rule, draw=rule.draw + number, n_draws=1)
            found[f"{name}@{number}" if number else name] = replace(arm, steering=one)
    return found


def row_of(name: str) -> str:
    """The arm whose row a draw belongs to."""
    return name.partition("@")[0]


def _arm_draw(experiment: Experiment, name: str, problems: Sequence[Problem], chains: tuple[int, int]) -> Draw:
    arm = drawn_arms(experiment)[name]
    if not isinstance(arm.sampler, Selection):
        return _draw(experiment, name, arm, arm.sampler, problems, chains)
    pool = _draw(experiment, name, arm, arm.sampler.pool, problems, chains)
    # A selection's recipe is its pool's with the selection as sampler: same draws, another choice.
    slug = pool.recipe.name.replace(type(pool.sampler).__name__.lower(), type(arm.sampler).__name__.lower())
    return replace(pool, sampler=arm.sampler, recipe=replace(pool.recipe, sampler=arm.sampler, name=slug), pool=pool)


def _draw(
    experiment: Experiment,
    name: str,
    arm: Arm,
    sampler: Sampler,
    problems: Sequence[Problem],
    chains: tuple[int, int],
) -> Draw:
    matched_name = getattr(sampler, "tokens_matched_to", None)
    matched = _arm_draw(experiment, matched_name, problems, chains) if matched_name else None
    rate_name = getattr(arm.steering, "rate_matched_to", None)
    rate_of = _arm_draw(experiment, rate_name, problems, chains) if rate_name else None
    taxonomy = arm.taxonomy or experiment.taxonomy
    recipe = completions_recipe(
        experiment,
        arm.role,
        sampler,
        experiment.benchmark,
        problems,
        chains,
        _law(replace(experiment, taxonomy=taxonomy), arm.steering, rate_of),
        matched.recipe if matched else None,
    )
    return Draw(
        name, arm.role, sampler, experiment.benchmark, tuple(problems), chains, recipe, arm.steering,
        taxonomy, matched, rate_of=rate_of,
    )  # fmt: skip


def _law(experiment: Experiment, rule: SteeringRule, rate_of: Draw | None) -> NoSteering | SteeredLaw:
    if isinstance(rule, NoSteering):
        return rule
    return SteeredLaw(rule, vectors_recipe(experiment, rule), rate_of.recipe if rate_of else None)


def flat(draws: Sequence[Draw]) -> list[Draw]:
    """Draws with those they depend on, dependencies first, each recipe once."""
    found: dict[str, Draw] = {}
    for draw in draws:
        upstream = [other for other in (draw.matched, draw.pool, draw.rate_of) if other is not None]
        for other in [*flat(upstream), draw]:
            found.setdefault(other.recipe.key, other)
    return list(found.values())


def expected_tokens(experiment: Experiment, draw: Draw) -> float:
    """Expected decode tokens of a whole draw."""
    return 0.0 if draw.pool else draw.n_answers * _expected(experiment, draw)


def _expected(experiment: Experiment, draw: Draw) -> float:
    """Expected decode tokens per answer."""
    if draw.matched is not None:
        return _expected(experiment, draw.matched)
    return draw.sampler.expected_tokens(experiment.typical_length)


def describe(sampler: Sampler) -> str:
    """One line: the class and its parameters, without the length cap."""
    shown = []
    for f in fields(sampler):  # pyright: ignore[reportArgumentType] -- every sampler is a dataclass
        value = getattr(sampler, f.name)
        if f.name == "max_new_tokens" or value == f.default or value is None:
            continue
        shown.append(f"{f.name}={describe(value) if isinstance(value, Sampler) else value}")
    return f"{type(sampler).__name__}({', '.join(shown)})"
