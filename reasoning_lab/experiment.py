"""The root of the config tree: one frozen Experiment, made of the very objects that do the work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reasoning_lab.benchmark.base import MOST_PROBLEMS, Benchmark, problems_of
from reasoning_lab.benchmark.overlap import shared_problems
from reasoning_lab.checks import require, require_count, require_positive
from reasoning_lab.cue.search import CueChoice, CueSearch, NoCue
from reasoning_lab.engine.base import Engine
from reasoning_lab.engine.local import TransformersEngine
from reasoning_lab.judge.base import Judge, JudgeOption
from reasoning_lab.model_pair.pair import ModelPair, Role
from reasoning_lab.records import Problem
from reasoning_lab.sampler.base import Sampler
from reasoning_lab.steering.controls import BiasOnly
from reasoning_lab.steering.steering import NoSteering, SteeringRule
from reasoning_lab.taxonomy.clusterings import Clustering
from reasoning_lab.taxonomy.naming import Naming
from reasoning_lab.taxonomy.scoring import Scoring
from reasoning_lab.taxonomy.spans import Pooling
from reasoning_lab.training.thinking import ThinkingHyperparameters

Stage = Literal[
    "traces",
    "activations",
    "taxonomy",
    "vectors",
    "export",
    "cue",
    "completions",
    "grades",
    "preferences",
    "report",
    "bench",
    "check",
    "thinking",
    "embedded_pair",
]
"""What can be made; stages.py has a function of each."""


MOST_CHAINS, MOST_ROWS, MOST_PROCESSES = 10_000_000, 65_536, 1_024
"""Chains of one arm, sequences side by side, processes or threads: more than any machine in use works on."""
IN_PROCESS = TransformersEngine()
"""The engine that gives every arm."""
NO_CUE = NoCue()
"""Where a benchmark has no option of the group `cue`."""


class TaxonomyChoice:
    """What the group `taxonomy` builds."""


@dataclass(frozen=True)
class NoTaxonomy(TaxonomyChoice):
    """No categories of reasoning steps."""


@dataclass(frozen=True)
class Taxonomy(TaxonomyChoice):
    """Categories of a thinking model's sentences (Venhoff et al. 2025, section 3): whose sentences, seen where, and
    how they are clustered."""

    benchmark: Benchmark
    """Whose problems the thinking model answers; disjoint from the problems that the arms are measured on."""
    sampler: Sampler
    """How it answers them."""
    think_open: str | None
    """Tag before the thinking text; None: the whole answer is."""
    think_close: str | None
    """Tag after it."""
    layers: tuple[int, ...]
    """Layers whose residual streams are collected, all in one pass."""
    layer: int
    """The one that is clustered, and that the hybrid model reads."""
    pooling: Pooling
    """Tokens whose mean is a sentence's vector."""
    min_words: int
    """Shorter sentences are not clustered."""
    clustering: Clustering
    n_clusters: int
    """Categories."""
    naming: Naming
    """How a judge names them."""
    scoring: Scoring
    """How it scores them."""
    heldout_share: float = 0.0
    """Share of the problems whose sentences are left out of the clustering, and scored beside those that are in it."""

    def __post_init__(self) -> None:
        require_count(self, "n_clusters", most=MOST_ROWS)
        share = self.heldout_share
        require(0 <= share < 1, "heldout_share", share, "in [0, 1)", "0 scores the clustered sentences alone")
        if self.layer not in self.layers:
            listed = ", ".join(map(str, self.layers))
            raise ValueError(f"layer={self.layer}: must be one of the collected layers ({listed}); add it to layers.")


@dataclass(frozen=True)
class NoJudge(JudgeOption):
    """No judge: categories keep their numbers, and no score is given."""

    def open(self, cache: Path, device: str) -> Judge:
        raise ValueError("judge=none: nobody can name the categories; choose judge=lexical, local or openai.")

    def identity(self) -> dict[str, Any]:
        return {"judge": "none"}

    def check(self) -> None:
        """Nothing can be missing."""


@dataclass(frozen=True)
class Arm:
    """One row of the table: whose law, steered how, drawn by what."""

    role: Role
    steering: SteeringRule
    sampler: Sampler
    label: str = ""
    """Name in tables; empty: the arm's key."""
    taxonomy: Taxonomy | None = None
    """Categories of this arm's steering; None: the experiment's."""


@dataclass(frozen=True)
class PassK:
    """pass@k of some arms, on the first problems of the benchmark with several chains each."""

    arms: tuple[str, ...]
    """Arms to measure; empty for none."""
    n_problems: int
    """Problems, from the first on; their chain 0 is shared with the table."""
    n_samples: int
    """Chains per problem: the largest k."""

    def __post_init__(self) -> None:
        require_count(self, "n_problems", most=MOST_PROBLEMS)
        require_count(self, "n_samples", most=MOST_CHAINS)


@dataclass(frozen=True)
class Runtime:
    """Where and how fast, never what: no field of it can enter an artifact's key."""

    device: str
    """auto, cpu, cuda or cuda:N."""
    rows: Literal["auto"] | int
    """R: sequences that advance together; part of the physical shape. auto: the power of two that fits work and
    memory, by the plan's estimate."""
    max_prompt_tokens: int
    """Longest prompt; with max_new_tokens it fixes the cache's length, which no single problem may set."""
    workers: int
    """Processes that draw at the same time on a CPU; on GPUs one a device."""
    threads: int
    """CPU threads of torch in each process; 0 leaves torch's default."""
    checkpoint_seconds: float
    """Least time between two saved states of one chain [s]."""
    build_shared: bool = True
    """Before a sweep, the launching process draws what several cells need; else the first cell that needs it does."""
    shards: Literal["auto"] | int = "auto"
    """Parts, by problem, in which one arm's answers are drawn; they are merged, and the result does not depend on their
    number. auto: as many as keep all processes at work."""
    devices: Literal["auto"] | tuple[str, ...] = "auto"
    """Of the processes that draw, each with its own: cuda:0, cuda:1 ... auto: what `device` says, on CUDA all that are
    seen."""
    devices_each: int = 1
    """Devices of a process, over which its models are spread: each is put where the fewest weights are."""

    def __post_init__(self) -> None:
        require_count(self, "max_prompt_tokens")
        require_count(self, "devices_each", most=MOST_PROCESSES)
        for name, most in (("rows", MOST_ROWS), ("shards", MOST_PROCESSES)):
            if getattr(self, name) != "auto":
                require_count(self, name, most=most)
        n_devices = len(self.devices)
        require(0 < n_devices <= MOST_PROCESSES, "devices", self.devices, "auto or a list", "name at least one device")
        require_count(self, "workers", most=MOST_PROCESSES)
        threads = self.threads
        holds = 0 <= threads <= MOST_PROCESSES
        require(holds, "threads", threads, f"from 0 to {MOST_PROCESSES:,}", "0 leaves torch's default")
        wait = self.checkpoint_seconds
        require(wait >= 0, "checkpoint_seconds", wait, "at least 0", "0 saves at every block")


@dataclass(frozen=True)
class Tracking:
    """Where metrics go beside the local log, which is always written."""

    backend: Literal["none", "wandb", "trackio"]
    """The dashboard; none: the local log alone."""
    project: str
    entity: str | None
    mode: Literal["auto", "online", "offline", "disabled"]
    """Of W&B. auto: online with a key, else offline with a notice; or online, offline, disabled."""
    tags: tuple[str, ...] = ()
    """Of the run, beside those that it gets by what it is."""
    notes: str = ""
    """A line about the run."""


@dataclass(frozen=True)
class Experiment:
    """Everything about one run."""

    stage: Stage
    """What to make."""
    seed: int
    n_samples: int
    """Chains per problem and arm of the table."""
    typical_length: float
    """Tokens of a plain answer, for the plan's estimate alone."""
    model_pair: ModelPair
    taxonomy: TaxonomyChoice
    steering: SteeringRule
    benchmark: Benchmark
    sampler: Sampler
    """The sampler under study: arms refer to it."""
    judge: JudgeOption
    training: ThinkingHyperparameters
    """Of stage=thinking."""
    arms: dict[str, Arm]
    baseline: str
    """Arm that the paired differences are against."""
    passk: PassK
    runtime: Runtime
    tracking: Tracking
    outputs: str
    """Folder of artifacts, runs, sweeps and tables."""
    engine: Engine = IN_PROCESS
    """Draws the answers of the arms."""
    cue: CueChoice = NO_CUE
    """How the opening tokens of arms that wait for some are found."""
    title: str = ""
    """Of the report; empty: a title made of pair, benchmark and sampler."""
    published: tuple[dict[str, Any], ...] = ()
    """Rows of the paper to print beside ours: arm, value, source, reason for a difference."""
    metric: str | None = None
    """What a sweeper optimises, a name among the run's metrics; None: the studied arm's accuracy."""

    def __post_init__(self) -> None:
        require_count(self, "n_samples", most=MOST_CHAINS)
        require_positive(self, "typical_length")
        n = (self.benchmark.n_problems or 1) * self.n_samples
        bound = f"at most {MOST_CHAINS:,} chains, and {self.benchmark.n_problems or 'all'} problems make {n:,}"
        require(n <= MOST_CHAINS, "n_samples", self.n_samples, bound, "lower n_samples or benchmark.n_problems")
        known = ", ".join(self.arms)
        if self.baseline not in self.arms:
            raise ValueError(f"baseline={self.baseline}: must be one of the arms ({known}); set it to one.")
        if unknown := [arm for arm in self.passk.arms if arm not in self.arms]:
            raise ValueError(f"passk.arms={unknown[0]}: must be among the arms ({known}).")
        for name, arm in self.arms.items():
            if getattr(self.model_pair, arm.role) is None:
                raise ValueError(
                    f"arms.{name}.role={arm.role}: model_pair={self.model_pair.name} has no {arm.role} model; choose "
                    f"arms=base_model (or power, single), or drop the arm by ~arms.{name}."
                )
            if not isinstance(arm.steering, NoSteering):
                _check_steered(name, arm, self)
            elif arm.taxonomy is not None:
                raise ValueError(f"arms.{name}.taxonomy: steering=none picks no category; set it to null.")
            if arm.sampler.waits_for_cue and not isinstance(self.cue, CueSearch):
                raise ValueError(
                    f"arms.{name}.sampler.cue=null: is to be found, and cue=none looks for none; choose "
                    f"cue=hendrycks_math (or another option), give arms.{name}.sampler.cue, or drop the arm by "
                    f"~arms.{name}."
                )
            _check_engine(name, arm, self.engine)
            matched = arm.sampler.matched_to
            if matched is not None and matched not in self.arms:
                raise ValueError(f"tokens_matched_to={matched}: must be one of the arms ({known}).")
        _check_matches(self.arms)

    def fitted_on(self) -> dict[str, Benchmark]:
        """By config key every set of problems that something is fitted on: taxonomies with their vectors, the cue, a
        model in training."""
        found: dict[str, Benchmark] = {}
        if isinstance(self.taxonomy, Taxonomy):
            found["taxonomy.benchmark"] = self.taxonomy.benchmark
        for name, arm in self.arms.items():
            if arm.taxonomy is not None:
                found[f"arms.{name}.taxonomy.benchmark"] = arm.taxonomy.benchmark
        looks_for_cue = self.stage == "cue" or any(arm.sampler.waits_for_cue for arm in self.arms.values())
        if isinstance(self.cue, CueSearch) and looks_for_cue:
            found["cue.benchmark"] = self.cue.benchmark
        if self.stage == "thinking":
            found["training.benchmark"] = self.training.benchmark
        return found

    def check_disjoint(self, trained_on: Mapping[str, Sequence[Problem]], is_offline: bool = False) -> None:
        """ValueError for a problem that the arms are measured on (`benchmark`, table and pass@k) and that something is
        fitted on; it names both sides, how many there are and the first.

        Arguments: `trained_on` are problems that models of the pair are known to have been trained on, by name.
        `is_offline` compares only what can be read without a network.
        """
        fitted = {key: other for key, other in self.fitted_on().items() if other.is_local or not is_offline}
        if not (fitted or trained_on) or (is_offline and not self.benchmark.is_local):
            return
        measured = problems_of(self.benchmark)
        for key, other in fitted.items():
            _refuse_shared(key, problems_of(other), measured, other.id_space == self.benchmark.id_space)
        for name, problems in trained_on.items():
            _refuse_shared(name, problems, measured, are_named_alike=False)


def _refuse_shared(key: str, ours: Sequence[Problem], measured: Sequence[Problem], are_named_alike: bool) -> None:
    if not (shared := shared_problems(ours, measured, are_named_alike)):
        return
    first = shared[0]
    raise ValueError(
        f"{key}: {len(shared)} of its {len(ours)} problems are among the {len(measured)} of benchmark, on which the "
        f"arms are measured; the first is {first.one.id!r}, there {first.other.id!r}: {first.one.question[:60]!r}. "
        f"Nothing is fitted on what is measured: take another split, file or seed for {key}, or for benchmark."
    )


def _check_matches(arms: dict[str, Arm]) -> None:
    """ValueError for an arm that waits for itself, at first or second hand."""
    for name in arms:
        waits, seen = [name], set[str]()
        while waits:
            arm = arms[waits.pop()]
            others = {arm.sampler.matched_to, arm.steering.rate_matched_to} - {None}
            if name in others:
                key, own = (
                    ("tokens_matched_to", "n or budget")
                    if arm.sampler.matched_to == name
                    else ("rate_matched_to", "rate")
                )
                raise ValueError(f"{key}={name}: arm {name} is matched to itself, in the end; set {own} instead.")
            waits += [other for other in others - seen if other in arms]
            seen |= others


def _check_engine(name: str, arm: Arm, engine: Engine) -> None:
    """ValueError for an arm that the engine can't draw."""
    why = engine.refusal(arm.role, not isinstance(arm.steering, NoSteering), arm.sampler.needs)
    if why is None and arm.sampler.waits_for_cue and not engine.holds_weights:
        why = f"its cue is to be found, which takes the model's weights here; give arms.{name}.sampler.cue"
    if why is not None:
        raise ValueError(f"arms.{name}: {why}; choose engine=transformers, or drop the arm by ~arms.{name}.")


def _check_steered(name: str, arm: Arm, experiment: Experiment) -> None:
    """What a steered arm needs beside itself."""
    if not isinstance(experiment.taxonomy, Taxonomy):
        raise ValueError(f"arms.{name}.steering: vectors need categories; choose taxonomy=embedded or venhoff2025.")
    if arm.role != "base" or experiment.model_pair.thinking is None:
        raise ValueError(
            f"arms.{name}.role={arm.role}: a hybrid steers the base model by the thinking model; set role=base, and a "
            "model_pair with both."
        )
    if isinstance(arm.steering, BiasOnly) and not arm.steering.inner.vectors.has_bias:
        raise ValueError(
            f"arms.{name}.steering: these vectors have no bias to be alone; choose arms=hybrid_without_bias, or "
            f"drop the arm by ~arms.{name}."
        )
    rate = arm.steering.rate_matched_to
    if rate is not None and rate not in experiment.arms:
        known = ", ".join(experiment.arms)
        raise ValueError(f"arms.{name}.steering.rate_matched_to={rate}: must be one of the arms ({known}).")
    arm.steering.check_sampler(arm.sampler)
