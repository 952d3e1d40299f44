"""Steering vectors: the set that is stored and added, the contract of the methods that find one, and their log."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from reasoning_lab.checks import require, require_count
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.records import Record
from reasoning_lab.steering.vectors.examples import LabelledTrace, Sentence, usable_sentences

Progress = Callable[..., None]
"""Hears of a phase's name, how much of it is done, of how much, and in training, as a fourth, of losses by name."""

FORMAT = "reasoning_lab steering vectors 1"


@dataclass(frozen=True, eq=False)
class VectorSet:
    """What is added to the base model's residual stream: one vector per category, perhaps one for all of them."""

    layer: int
    """The stream is the output of this decoder layer, counted from 0."""
    vectors: Float[Tensor, "n d"]
    """Zero rows belong to categories that had too few examples."""
    bias: Float[Tensor, " width"] | None = None
    """As wide as the vectors; added beside every vector; in training with coefficient 1."""
    mlp: dict[str, Tensor] | None = None
    """Coefficient network (Venhoff et al. 2026): trunk.weight [hidden, d], trunk.bias, heads.weight [n, hidden],
    heads.bias."""
    titles: tuple[str, ...] = ()
    """Of the categories; empty: their numbers."""
    base: str = ""
    """Identity of the base model that the vectors belong to; empty until the caller names it with `of_base`."""

    def __post_init__(self) -> None:
        n, width = self.vectors.shape
        if self.titles and len(self.titles) != n:
            raise ValueError(f"titles has {len(self.titles)} entries for {n} vectors; give one for each.")
        if self.bias is not None and tuple(self.bias.shape) != (width,):
            raise ValueError(f"bias has shape {tuple(self.bias.shape)}: the vectors have width {width}.")
        for name, tensor in self.tensors().items():
            if not tensor.isfinite().all():
                raise ValueError(f"{name} holds NaN or infinite values; lower the learning rate and train again.")

    @property
    def n_categories(self) -> int:
        """Rows of the table."""
        return self.vectors.shape[0]

    @property
    def norms(self) -> Float[Tensor, " n"]:
        """Length of each vector, without the bias."""
        return self.vectors.norm(dim=1)

    @property
    def empty(self) -> tuple[int, ...]:
        """Categories without a vector."""
        return tuple((self.norms == 0).nonzero()[:, 0].tolist())

    def of_base(self, base: str, titles: Sequence[str] = ()) -> VectorSet:
        """The same vectors, tied to a base model's identity, with the categories' titles where they are given."""
        return replace(self, base=base, titles=tuple(titles) or self.titles)

    def check_base(self, base: str, width: int) -> None:
        """ValueError unless the vectors were made for the base model of this identity and residual width."""
        if self.vectors.shape[1] != width:
            raise ValueError(f"vectors of width {self.vectors.shape[1]}: the base model's residual stream has {width}.")
        if self.base != base:
            raise ValueError(
                f"these vectors belong to base model {self.base[:12] or '(unnamed)'}, not to {base[:12]}; train "
                "vectors for this one (stage vectors)."
            )

    def coefficients(
        self, hidden: Float[Tensor, "position d"], categories: Int[Tensor, " position"]
    ) -> Float[Tensor, " position"]:
        """The coefficient network's factors at positions whose unsteered residual is `hidden`."""
        if self.mlp is None:
            raise ValueError("coefficient=learned: these vectors have no coefficient network; use venhoff2026 vectors.")
        return coefficients(self.mlp, hidden, categories)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as safetensors takes them."""
        named = {"vectors": self.vectors} | ({} if self.bias is None else {"bias": self.bias})
        return named | {f"mlp.{name}": tensor for name, tensor in (self.mlp or {}).items()}

    def metadata(self) -> dict[str, str]:
        """The rest, as safetensors takes it."""
        return {"format": FORMAT, "layer": str(self.layer), "names": json.dumps(self.titles), "base": self.base}


def vectors_from(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> VectorSet:
    """The set of `tensors()` and `metadata()`."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"format={metadata.get('format')}: not {FORMAT!r}; the file holds something else.")
    mlp = {name.removeprefix("mlp."): tensor for name, tensor in tensors.items() if name.startswith("mlp.")}
    return VectorSet(
        int(metadata["layer"]), tensors["vectors"], tensors.get("bias"), mlp or None,
        tuple(json.loads(metadata["names"])), metadata["base"],
    )  # fmt: skip


def coefficients(
    mlp: Mapping[str, Tensor], hidden: Float[Tensor, "position d"], categories: Int[Tensor, " position"]
) -> Float[Tensor, " position"]:
    """softplus(heads[c] · GELU(trunk h)) for each position: never negative (Venhoff et al. 2026)."""
    inner = functional.gelu(
        functional.linear(hidden.to(mlp["trunk.weight"].dtype), mlp["trunk.weight"], mlp["trunk.bias"])
    )
    return functional.softplus((inner * mlp["heads.weight"][categories]).sum(-1) + mlp["heads.bias"][categories])


# --- how a set is found ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CategoryLog(Record):
    """How one vector was trained; losses are mean cross-entropies [nats per token]."""

    category: int
    """-1: the bias."""
    n_candidates: int
    """Sentences (venhoff2026: positions) that passed the filters."""
    n_train: int
    n_heldout: int
    """On whose loss the moment of training is picked."""
    skipped: str = ""
    """Why there is no vector; empty: there is one."""
    train_losses: tuple[float, ...] = ()
    """Of each step's minibatch, before the step."""
    heldout_losses: tuple[tuple[int, float], ...] = ()
    """(steps done, loss on the held-out examples with the vector of that moment)."""
    heldout_without: float | None = None
    """Held-out loss without the vector; a frozen bias stays."""
    heldout_with: float | None = None
    """Held-out loss with the vector that was kept: the least of those that it was picked by."""
    n_test: int = 0
    """Examples of further held-out problems, which picked nothing."""
    test_without: float | None = None
    """Their loss without the vector; None where there are none."""
    test_with: float | None = None
    """Their loss with it: what is reported."""
    best_step: int = 0
    """Steps after which the kept vector stood."""
    norm: float = 0.0


@dataclass(frozen=True)
class VectorLog(Record):
    """How a set was trained."""

    method: str
    layer: int
    """Whose output the vectors were trained at: the generation layer, or one less (departures B2)."""
    residual_norm: float
    """Mean length of the base model's residual at that layer, over the positions that predict generated tokens."""
    learning_rate: float
    """Of the vectors, at the start; 0 where nothing is trained."""
    categories: tuple[CategoryLog, ...]
    bias: CategoryLog | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VectorLog:
        """As Record.from_json, with the nested logs restored."""
        flat = {name: value for name, value in data.items() if name not in ("categories", "bias")}
        if unknown := sorted(set(flat) - {f.name for f in fields(cls)}):
            raise KeyError(f"VectorLog has no field {unknown[0]!r}; the file was written by another version.")
        bias = data.get("bias")
        categories = tuple(CategoryLog.from_json(each) for each in data["categories"])
        return cls(**flat, categories=categories, bias=None if bias is None else CategoryLog.from_json(bias))

    @property
    def skipped(self) -> dict[int, str]:
        """Categories without a vector, and why."""
        return {each.category: each.skipped for each in self.categories if each.skipped}

    @property
    def untrained(self) -> tuple[CategoryLog, ...]:
        """Of the vectors that are still what training began with, the bias first: no step had a lower loss on the
        examples that select."""
        logs = (*([self.bias] if self.bias else []), *self.categories)
        return tuple(each for each in logs if self.learning_rate > 0 and not each.skipped and each.best_step == 0)


@dataclass(frozen=True, eq=False)
class VectorFit:
    """A set and how it came about."""

    vector_set: VectorSet
    log: VectorLog


@dataclass(frozen=True, kw_only=True)
class VectorMethod(ABC):
    """A way to find one vector per category; the fields here choose what it is given."""

    reads_tokens: ClassVar[bool] = False
    """Whether it trains on single tokens' categories where those are picked token by token."""
    min_tokens: int = 1
    """Shortest sentence [tokens]."""
    correct_only: bool = False
    """Only sentences of traces with the right answer."""
    max_positions: int = 4096
    """Longest context with its sentence [tokens]; longer ones are left out."""
    heldout_share: float = 0.2
    """Share of the problems whose sentences are held out."""
    min_examples: int = 8
    """Fewest training examples of a category; one with fewer gets no vector and is listed."""

    def __post_init__(self) -> None:
        require_count(self, "min_tokens", "max_positions", "min_examples")
        share = self.heldout_share
        require(0 < share < 1, "heldout_share", share, "between 0 and 1", "0.2 is usual")

    @property
    def has_bias(self) -> bool:
        """Whether its sets have a bias vector."""
        return False

    def usable(self, decoder: Decoder, traces: Sequence[LabelledTrace], min_tokens: int) -> list[Sentence]:
        """The sentences of `min_tokens` or more that pass the other filters and fit into the base model's context."""
        longest = min(self.max_positions, decoder.policy.context_length)
        return usable_sentences(traces, min_tokens, self.correct_only, longest)

    @abstractmethod
    def fit(
        self,
        decoder: Decoder,
        traces: Sequence[LabelledTrace],
        n_categories: int,
        layer: int,
        seed: int,
        on_progress: Progress = lambda *_: None,
    ) -> VectorFit:
        """Vectors for the output of `layer` of the base model `decoder`, from traces in its vocabulary.

        A function of the arguments before `on_progress` alone. Categories with too few examples get a zero vector and
        are listed in the log; ValueError if all have.
        """


def refuse_if_empty(logs: Sequence[CategoryLog]) -> None:
    """ValueError if every category was skipped."""
    if all(log.skipped for log in logs):
        counts = ", ".join(f"{log.category}: {log.n_train}" for log in logs)
        raise ValueError(
            f"no category has enough examples (training examples by category: {counts}); draw more traces, lower "
            "min_examples, or loosen min_tokens and correct_only."
        )
