"""What there is to draw: an experiment's arms as draws with their recipes, dependencies and expected cost."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from reasoning_lab.experiment import Arm, Experiment
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.recipes import CompletionsRecipe, prompts_digest
from reasoning_lab.records import Problem
from reasoning_lab.sampler.base import Sampler, Selection


@dataclass(frozen=True)
class Draw:
    """What to draw: one sampler on one role's model, some problems, some chains."""

    arm: str
    role: Role
    sampler: Sampler
    problems: tuple[Problem, ...]
    chains: tuple[int, int]
    recipe: CompletionsRecipe
    matched: "Draw | None" = None
    """The draw whose decode tokens set the sampler's budget."""
    pool: "Draw | None" = None
    """The draw whose candidates a Selection chooses from."""

    @property
    def n_answers(self) -> int:
        """Answers in all."""
        return len(self.problems) * (self.chains[1] - self.chains[0])

    @property
    def label(self) -> str:
        """What a reader sees of it."""
        is_pool = getattr(self.sampler, "tokens_matched_to", None) is not None
        return self.arm + (" pool" if is_pool else "") + (" (pass@k)" if self.chains[0] > 0 else "")


def problems_of(experiment: Experiment) -> tuple[Problem, ...]:
    """The benchmark's problems."""
    return tuple(experiment.benchmark.load())


def table_draws(experiment: Experiment, problems: Sequence[Problem]) -> dict[str, Draw]:
    """One draw per arm: all problems, the table's chains."""
    return {name: _arm_draw(experiment, name, problems, (0, experiment.n_samples)) for name in experiment.arms}


def passk_draws(experiment: Experiment, problems: Sequence[Problem]) -> dict[str, Draw]:
    """The chains that pass@k needs beyond the table's, per arm; empty where the table has them all."""
    first, last = experiment.n_samples, experiment.passk.n_samples
    if last <= first:
        return {}
    chosen = problems[: experiment.passk.n_problems]
    return {name: _arm_draw(experiment, name, chosen, (first, last)) for name in experiment.passk.arms}


def _arm_draw(experiment: Experiment, name: str, problems: Sequence[Problem], chains: tuple[int, int]) -> Draw:
    arm = experiment.arms[name]
    if not isinstance(arm.sampler, Selection):
        return _draw(experiment, name, arm, arm.sampler, problems, chains)
    pool = _draw(experiment, name, arm, arm.sampler.pool, problems, chains)
    # A selection's recipe is its pool's with the selection as sampler: same draws, another choice.
    recipe = replace(pool.recipe, sampler=arm.sampler, name=_name(experiment, arm.role, arm.sampler))
    return replace(pool, sampler=arm.sampler, recipe=recipe, pool=pool)


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
    pair, benchmark = experiment.model_pair, experiment.benchmark
    recipe = CompletionsRecipe(
        name=_name(experiment, arm.role, sampler),
        model=pair.source(arm.role).identity(),
        dtype=pair.dtype,
        steering=arm.steering,
        sampler=sampler,
        prompts=prompts_digest([(problem.id, benchmark.prompt(problem)) for problem in problems]),
        seed=experiment.seed,
        chains=chains,
        budget_of=matched.recipe if matched else None,
    )
    return Draw(name, arm.role, sampler, tuple(problems), chains, recipe, matched)


def _name(experiment: Experiment, role: str, sampler: Sampler) -> str:
    parts = (experiment.model_pair.name, role, type(sampler).__name__, type(experiment.benchmark).__name__)
    return "-".join(parts).lower()


def flat(draws: Sequence[Draw]) -> list[Draw]:
    """Draws with those they depend on, dependencies first, each recipe once."""
    found: dict[str, Draw] = {}
    for draw in draws:
        upstream = [other for other in (draw.matched, draw.pool) if other is not None]
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
