"""What each result is made of: the recipes of an experiment, from the thinking model's traces to a steered answer."""

from collections.abc import Sequence
from functools import cache

from reasoning_lab.artifacts.recipes import (
    ActivationsRecipe,
    AnnotationsRecipe,
    CompletionsRecipe,
    GradesRecipe,
    LabelsRecipe,
    SteeredLaw,
    TaxonomyRecipe,
    TracesRecipe,
    VectorsRecipe,
    digest,
    golds_digest,
    prompts_digest,
)
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.experiment import Experiment, Taxonomy
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.records import Problem
from reasoning_lab.sampler.base import Sampler
from reasoning_lab.steering.steering import NoSteering, SteeringRule


@cache
def loaded(benchmark: Benchmark) -> tuple[Problem, ...]:
    """The benchmark's problems, read once."""
    return tuple(benchmark.load())


def completions_recipe(
    experiment: Experiment,
    role: Role,
    sampler: Sampler,
    benchmark: Benchmark,
    problems: Sequence[Problem],
    chains: tuple[int, int],
    law: NoSteering | SteeredLaw,
    budget_of: CompletionsRecipe | None = None,
) -> CompletionsRecipe:
    """Answers of one law, drawn by one sampler, to some problems of a benchmark."""
    pair = experiment.model_pair
    steered = "hybrid" if isinstance(law, SteeredLaw) else role
    return CompletionsRecipe(
        name="-".join((pair.name, steered, type(sampler).__name__, type(benchmark).__name__)).lower(),
        model=pair.source(role).identity(),
        dtype=pair.dtype,
        steering=law,
        sampler=sampler,
        prompts=prompts_digest([(problem.id, benchmark.prompt(problem)) for problem in problems]),
        seed=experiment.seed,
        chains=chains,
        budget_of=budget_of,
    )


def grades_recipe(
    experiment: Experiment, completions: CompletionsRecipe, benchmark: Benchmark, problems: Sequence[Problem]
) -> GradesRecipe:
    """Verdicts of a benchmark on answers to its problems; of the judge, where it asks one."""
    judge = f", judge {digest(experiment.judge.identity())}" if benchmark.asks_judge else ""
    return GradesRecipe(completions, benchmark.grading + judge, golds_digest(list(problems)))


def taxonomy_of(experiment: Experiment) -> Taxonomy:
    """The experiment's taxonomy; ValueError where it has none."""
    if not isinstance(experiment.taxonomy, Taxonomy):
        raise ValueError("taxonomy=none: this needs categories of reasoning steps; choose taxonomy=venhoff2025.")
    return experiment.taxonomy


def trace_recipe(experiment: Experiment) -> CompletionsRecipe:
    """The thinking model's answers to the taxonomy's problems."""
    taxonomy = taxonomy_of(experiment)
    problems = loaded(taxonomy.benchmark)
    return completions_recipe(
        experiment, "thinking", taxonomy.sampler, taxonomy.benchmark, problems, (0, 1), NoSteering()
    )


def traces_recipe(experiment: Experiment) -> TracesRecipe:
    """Those answers, graded and cut into sentences."""
    taxonomy = taxonomy_of(experiment)
    grades = grades_recipe(experiment, trace_recipe(experiment), taxonomy.benchmark, loaded(taxonomy.benchmark))
    return TracesRecipe(grades, taxonomy.think_open, taxonomy.think_close)


def activations_recipe(experiment: Experiment) -> ActivationsRecipe:
    """Sentence vectors at all layers that the taxonomy collects."""
    taxonomy = taxonomy_of(experiment)
    return ActivationsRecipe(
        traces_recipe(experiment), experiment.model_pair.dtype, tuple(sorted(set(taxonomy.layers))), taxonomy.pooling
    )


def taxonomy_recipe(experiment: Experiment) -> TaxonomyRecipe:
    """The clusters."""
    taxonomy = taxonomy_of(experiment)
    return TaxonomyRecipe(
        activations_recipe(experiment),
        taxonomy.layer,
        taxonomy.clustering,
        taxonomy.n_clusters,
        taxonomy.min_words,
        experiment.seed,
    )


def labels_recipe(experiment: Experiment) -> LabelsRecipe:
    """Their titles and scores."""
    taxonomy = taxonomy_of(experiment)
    return LabelsRecipe(taxonomy_recipe(experiment), experiment.judge.identity(), taxonomy.naming, taxonomy.scoring)


def vectors_recipe(experiment: Experiment, rule: SteeringRule) -> VectorsRecipe:
    """The steering vectors that a rule adds."""
    taxonomy, steering, pair = taxonomy_of(experiment), rule.inner, experiment.model_pair
    problems = loaded(taxonomy.benchmark)
    return VectorsRecipe(
        taxonomy_recipe(experiment),
        pair.source("base").identity(),
        pair.dtype,
        prompts_digest([(problem.id, taxonomy.benchmark.prompt(problem)) for problem in problems]),
        steering.vectors,
        steering.layer,
        experiment.seed,
        steering.normalise,
        steering.category.hold if steering.vectors.reads_tokens else "sentence",
    )


def annotations_recipe(experiment: Experiment, completions: CompletionsRecipe, law: SteeredLaw) -> AnnotationsRecipe:
    """Answers seen through both models and the taxonomy."""
    pair = experiment.model_pair
    return AnnotationsRecipe(completions, law, [pair.source("base").identity(), pair.source("thinking").identity()])
