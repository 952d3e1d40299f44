"""The root of the config tree: one frozen Experiment, made of the very objects that do the work."""

from dataclasses import dataclass
from typing import Any, Literal

from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.model_pair.pair import ModelPair, Role
from reasoning_lab.sampler.base import Sampler, require_positive


@dataclass(frozen=True)
class NoSteering:
    """The policy as it is."""


@dataclass(frozen=True)
class NoTaxonomy:
    """No categories of reasoning steps."""


@dataclass(frozen=True)
class NoJudge:
    """No judge model."""


@dataclass(frozen=True)
class Arm:
    """One row of the table: whose law, steered how, drawn by what."""

    role: Role
    steering: NoSteering
    sampler: Sampler
    label: str = ""
    """Name in tables; empty: the arm's key."""


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
        require_positive(self, "n_problems", "n_samples")


@dataclass(frozen=True)
class Runtime:
    """Where and how fast, never what: no field of it can enter an artifact's key."""

    device: str
    """auto, cpu, cuda or cuda:N."""
    rows: int
    """R: sequences that advance together; part of the physical shape."""
    max_prompt_tokens: int
    """Longest prompt; with max_new_tokens it fixes the cache's length, which no single problem may set."""
    workers: int
    """Processes that draw at the same time on a CPU; on a GPU one does."""
    threads: int
    """CPU threads of torch in each process; 0 leaves torch's default."""
    checkpoint_seconds: float
    """Least time between two saved states of one chain [s]."""
    build_shared: bool = True
    """Before a sweep, the launching process draws what several cells need; else the first cell that needs it does."""

    def __post_init__(self) -> None:
        require_positive(self, "rows", "max_prompt_tokens", "workers")


@dataclass(frozen=True)
class Tracking:
    """Where metrics go beside the local log, which is always written."""

    wandb: bool
    project: str
    entity: str | None
    mode: Literal["auto", "online", "offline", "disabled"]
    """auto: online with a key, else offline with a notice; or online, offline, disabled."""


@dataclass(frozen=True)
class Experiment:
    """Everything about one run."""

    stage: str
    """What to make: a key of stages.STAGES."""
    seed: int
    n_samples: int
    """Chains per problem and arm of the table."""
    typical_length: float
    """Tokens of a plain answer, for the plan's estimate alone."""
    model_pair: ModelPair
    taxonomy: NoTaxonomy
    steering: NoSteering
    benchmark: Benchmark
    sampler: Sampler
    """The sampler under study: arms refer to it."""
    judge: NoJudge
    arms: dict[str, Arm]
    baseline: str
    """Arm that the paired differences are against."""
    passk: PassK
    runtime: Runtime
    tracking: Tracking
    outputs: str
    """Folder of artifacts, runs, sweeps and tables."""
    title: str = ""
    """Of the report; empty: a title made of pair, benchmark and sampler."""
    published: tuple[dict[str, Any], ...] = ()
    """Rows of the paper to print beside ours: arm, value, source, reason for a difference."""

    def __post_init__(self) -> None:
        require_positive(self, "n_samples", "typical_length")
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
            matched = getattr(getattr(arm.sampler, "pool", arm.sampler), "tokens_matched_to", None)
            if matched is not None and matched not in self.arms:
                raise ValueError(f"tokens_matched_to={matched}: must be one of the arms ({known}).")
