"""One frozen Recipe per stage: exactly what determines its result, and nothing else.

A recipe's key is the sha256 of its canonical JSON: class, version, the fields that differ from their defaults, and for
upstream recipes their keys. A field added later gets the default that reproduces the old behaviour, so old keys stay; a
change of meaning bumps `version`. Device, rows, threads and logging are in `runtime` and `tracking` and have no field
here.
"""

import hashlib
import json
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar

from reasoning_lab.records import Problem


class Recipe:
    """Base of the recipes; subclasses are frozen dataclasses."""

    stage: ClassVar[str]
    version: ClassVar[int]

    @property
    def slug(self) -> str:
        """Readable beginning of the folder's name."""
        raise NotImplementedError

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(json.dumps(self.canonical(), sort_keys=True).encode()).hexdigest()

    def canonical(self) -> dict[str, Any]:
        """Class, version, stage and the fields that differ from their defaults."""
        return {"version": self.version, "stage": self.stage} | canonical(self)


def canonical(value: Any) -> Any:
    """Plain data that identifies a value; upstream recipes become their keys."""
    if isinstance(value, dict):
        return {str(name): canonical(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    found: dict[str, Any] = {"class": type(value).__name__}
    for field in fields(value):
        item = getattr(value, field.name)
        default = field.default if field.default is not MISSING else MISSING
        if item != default:
            found[field.name] = {"key": item.key} if isinstance(item, Recipe) else canonical(item)
    return found


@dataclass(frozen=True)
class CompletionsRecipe(Recipe):
    """Answers of one arm: a law, a sampler, problems as rendered, and which chains."""

    stage: ClassVar[str] = "completions"
    version: ClassVar[int] = 1
    name: str
    """Arm and benchmark, for the folder's name."""
    model: dict[str, Any]
    """Identity of the model that gives the law."""
    dtype: str
    steering: Any
    sampler: Any
    prompts: str
    """sha256 over the rendered prompts with their problem ids, in order."""
    seed: int
    chains: tuple[int, int]
    """First chain and one past the last, per problem."""
    budget_of: "CompletionsRecipe | None" = None
    """Arm whose decode tokens set the sampler's budget."""

    @property
    def slug(self) -> str:
        """The name."""
        return self.name

    def canonical(self) -> dict[str, Any]:
        """Without the name: two arms that ask for the same answers share them."""
        found = super().canonical()
        del found["name"]
        return found


@dataclass(frozen=True)
class AnswersRecipe(Recipe):
    """Base of what is made of the answers of one arm."""

    completions: CompletionsRecipe

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.completions.slug


@dataclass(frozen=True)
class GradesRecipe(AnswersRecipe):
    """Verdicts on the answers of one arm."""

    stage: ClassVar[str] = "grades"
    version: ClassVar[int] = 1
    grader: str
    """Benchmark class and its version."""
    golds: str
    """sha256 over problem ids and gold answers."""


@dataclass(frozen=True)
class PreferencesRecipe(AnswersRecipe):
    """A judge's preferences on the answers of one arm."""

    stage: ClassVar[str] = "preferences"
    version: ClassVar[int] = 1
    judge: dict[str, Any]
    """Identity of the judge."""
    template: str
    """sha256 of the prompt."""
    golds: str
    """sha256 over problem ids and reference outputs."""
    seed: int
    """Of the order of the outputs."""


@dataclass(frozen=True)
class ScoresRecipe(AnswersRecipe):
    """One model's answers scored under another (the paper's Figure 4)."""

    stage: ClassVar[str] = "scores"
    version: ClassVar[int] = 1
    model: dict[str, Any]
    """Identity of the scoring model."""
    dtype: str


@dataclass(frozen=True)
class TracesRecipe(Recipe):
    """A thinking model's graded answers, cut into sentences."""

    stage: ClassVar[str] = "traces"
    version: ClassVar[int] = 1
    grades: GradesRecipe
    think_open: str | None
    think_close: str | None

    @property
    def slug(self) -> str:
        """That of the answers."""
        return self.grades.slug


@dataclass(frozen=True)
class ActivationsRecipe(Recipe):
    """One vector per sentence and layer, read in the model that wrote the traces."""

    stage: ClassVar[str] = "activations"
    version: ClassVar[int] = 1
    traces: TracesRecipe
    dtype: str
    layers: tuple[int, ...]
    pooling: str

    @property
    def slug(self) -> str:
        """Model, benchmark and pooling."""
        return f"{self.traces.slug}-{self.pooling}"


@dataclass(frozen=True)
class TaxonomyRecipe(Recipe):
    """Clusters of the sentence vectors of one layer."""

    stage: ClassVar[str] = "taxonomy"
    version: ClassVar[int] = 2
    activations: ActivationsRecipe
    layer: int
    clustering: Any
    n_clusters: int
    min_words: int
    seed: int

    @property
    def slug(self) -> str:
        """Model, benchmark, layer and size."""
        return f"{self.activations.traces.slug}-l{self.layer}-n{self.n_clusters}"


@dataclass(frozen=True)
class LabelsRecipe(Recipe):
    """Titles of a taxonomy's categories and the scores that a judge gives them."""

    stage: ClassVar[str] = "labels"
    version: ClassVar[int] = 1
    taxonomy: TaxonomyRecipe
    judge: dict[str, Any]
    """What determines its answers."""
    naming: Any
    scoring: Any

    @property
    def slug(self) -> str:
        """That of the taxonomy."""
        return self.taxonomy.slug


@dataclass(frozen=True)
class VectorsRecipe(Recipe):
    """Steering vectors of a base model, one per category."""

    stage: ClassVar[str] = "vectors"
    version: ClassVar[int] = 1
    taxonomy: TaxonomyRecipe
    model: dict[str, Any]
    """Identity of the base model."""
    dtype: str
    prompts: str
    """sha256 over the traces' problems as the base model reads them."""
    method: Any
    layer: int
    seed: int
    normalise: bool
    """Whether the clusters read normalised activations."""
    labels: str
    """sentence or token: what has a category."""

    @property
    def slug(self) -> str:
        """That of the taxonomy, and the method."""
        return f"{self.taxonomy.slug}-{type(self.method).__name__.lower()}"


@dataclass(frozen=True)
class SteeredLaw:
    """What determines the law of a hybrid model beside its base model: the `steering` of its completions."""

    rule: Any
    vectors: VectorsRecipe
    rate_of: CompletionsRecipe | None = None
    """Answers whose steered fraction is the rate of a random gate."""


@dataclass(frozen=True)
class AnnotationsRecipe(AnswersRecipe):
    """Answers of an arm, seen through base model, thinking model and taxonomy."""

    stage: ClassVar[str] = "annotations"
    version: ClassVar[int] = 1
    law: SteeredLaw
    """The hybrid through which they are seen; its gate never fires for answers that no hybrid wrote."""
    models: list[dict[str, Any]]
    """Identities of base and thinking model."""


def digest(*parts: Any) -> str:
    """sha256 of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def prompts_digest(prompts: list[tuple[str, str]]) -> str:
    """Identity of problems as they are asked: (problem id, prompt) pairs; the model's identity covers its tokenizer."""
    return digest([list(pair) for pair in prompts])


def golds_digest(problems: list[Problem]) -> str:
    """Identity of what answers are held against."""
    return digest([[problem.id, problem.gold] for problem in problems])
