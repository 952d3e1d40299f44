"""Vectors that make a base model write a category's sentences (Venhoff et al. 2025, arXiv 2510.07364)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasoning_lab.checks import require, require_count, require_one_of, require_positive
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.steering.vectors.base import (
    CategoryLog,
    Progress,
    VectorFit,
    VectorLog,
    VectorMethod,
    VectorSet,
    refuse_if_empty,
)
from reasoning_lab.steering.vectors.examples import (
    ACTIVATION_POOL,
    Example,
    LabelledTrace,
    Positions,
    Sentence,
    at_random,
    by_activation,
    by_perplexity,
    by_trace,
    check_labels,
    heldout_traces,
    selection_and_test,
    sentence_example,
    text_example,
)
from reasoning_lab.steering.vectors.optimise import (
    Packed,
    Schedule,
    SelectOn,
    Trained,
    VectorTask,
    frozen,
    loss_pairs,
    random_direction,
    train_table,
    vector_dtype,
)
from reasoning_lab.steering.vectors.streams import read_predictions, read_streams, residual_norm, tokens_of

Choice = Literal["venhoff2025", "random"]
Split = Literal["problems", "ranked_after"]
Hook = Literal["output", "input"]


class Chosen(NamedTuple):
    """Sentences of one category."""

    train: list[Sentence]
    heldout: list[Sentence]
    """Pick the moment of training."""
    n_candidates: int
    test: list[Sentence]
    """Of other problems still: what the vector does is reported on them."""


@final
@dataclass(frozen=True, kw_only=True)
class Venhoff2025(VectorMethod):
    """One vector per category, and one bias vector for all, that minimise the base model's loss on sentences.

    Loss: mean cross-entropy [nats per token] of a sentence's tokens given its context, the base model frozen. The bias
    is trained first, on whole texts given their prompts; then it is frozen and added beside each category's vector.

    Defaults are the paper's and its code's but for the held-out split, on which the best moment is chosen, and for the
    positions and the layer, which are those of generation. The authors' ways: heldout="ranked_after" with
    select_on="train" (departures B9: the held-out sentences are easier and unused), positions="targets" (departures
    B3), hook="input" (departures B2).
    """

    min_tokens: int = 7
    """Shortest sentence [tokens]; the authors' code has 7 words."""
    n_train: int = 2048
    """Most sentences per category to train on, and most texts for the bias."""
    n_heldout: int = 512
    """Most sentences per category, and texts for the bias, to hold out: on half of the held-out problems to pick the
    moment of training, and as many on the other half to report on."""
    selection: Choice = "venhoff2025"
    """venhoff2025: of the 4n most active sentences the n of highest perplexity under the base model."""
    heldout: Split = "problems"
    """problems: sentences of other problems, chosen in the same way; ranked_after: those ranked after the training
    sentences, of any problem."""
    positions: Positions = "sentence"
    hook: Hook = "output"
    """input: train at the input of the layer at whose output generation adds."""
    bias: bool = True
    learning_rate: float | None = 1e-2
    """Of Adam, per coordinate; None when learning_rate_of_norm decides."""
    learning_rate_of_norm: float | None = None
    """Learning rate as a multiple of the mean length of the residual; a step then moves by some sqrt(d) times that."""
    minibatch: int = 6
    """Examples per step and vector."""
    epochs: float | None = 50.0
    """Passes over a category's sentences; None when steps decides."""
    steps: int | None = None
    eval_every: int | None = None
    """Steps between evaluations; None: one pass over the sentences."""
    patience: int = 10
    """Evaluations without improvement that end a vector's training."""
    min_delta: float = 1e-3
    """Least improvement [nats per token]; the paper's 1e-3 is of its loss, divided by ln 10."""
    select_on: SelectOn = "heldout"
    """Which loss chooses the moment whose vector is kept."""
    starting_norm: float = 1.0
    max_norm: float | None = None
    """Longest vector; None: any."""
    cache_context: bool = True
    """Keep keys and values of the contexts above the layer; without, each step computes them anew. The result is the
    same; the memory is 2 · kv_heads · dim numbers per token of the traces and layer above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "n_train", "n_heldout", "minibatch", "patience", *self._given("steps", "eval_every"))
        optional = self._given("learning_rate", "learning_rate_of_norm", "epochs", "max_norm")
        require_positive(self, "starting_norm", *optional)
        for choices, name in ((Choice, "selection"), (Split, "heldout"), (Hook, "hook"), (SelectOn, "select_on")):
            require_one_of(choices, name, getattr(self, name))
        require_one_of(Positions, "positions", self.positions)
        for pair in (("learning_rate", "learning_rate_of_norm"), ("epochs", "steps")):
            given = self._given(*pair)
            require(len(given) == 1, " and ".join(pair), given, "given one of the two", "set the other to null")

    def _given(self, *names: str) -> list[str]:
        """Those of the fields that are not null."""
        return [name for name in names if getattr(self, name) is not None]

    @property
    def has_bias(self) -> bool:
        """Whether its sets have a bias vector: as the field says."""
        return self.bias

    def fit(
        self,
        decoder: Decoder,
        traces: Sequence[LabelledTrace],
        n_categories: int,
        layer: int,
        seed: int,
        on_progress: Progress = lambda *_: None,
    ) -> VectorFit:
        """As VectorMethod.fit."""
        decoder.check_layer(layer)
        check_labels(traces, n_categories)
        with frozen(decoder):
            chosen, texts = self._choose(decoder, traces, n_categories, seed, on_progress)
            logs = [self._planned(category, own) for category, own in enumerate(chosen)]
            refuse_if_empty(logs)
            run = _Run(self, decoder, traces, chosen, texts, logs, layer, seed, on_progress)
            bias, bias_log = run.bias() if self.bias else (None, None)
            vectors, logs = run.categories(bias)
        log = VectorLog(type(self).__name__, run.streams.layer, run.norm, run.schedule.learning_rate, logs, bias_log)
        return VectorFit(VectorSet(layer, vectors, bias), log)

    # --- what is trained on ---------------------------------------------------------------------------------------

    def _choose(
        self, decoder: Decoder, traces: Sequence[LabelledTrace], n_categories: int, seed: int, on_progress: Progress
    ) -> tuple[list[Chosen], tuple[list[Example], list[Example], list[Example]]]:
        """Each category's sentences, and the bias's (training, held-out, test) texts."""
        usable = self.usable(decoder, traces, max(self.min_tokens, 2 if self.positions == "targets" else 1))
        own = by_trace(self.usable(decoder, traces, 1))
        kept_back = heldout_traces(traces, own, self.heldout_share, seed)
        halves = selection_and_test(traces, kept_back, seed)
        losses = self._losses(decoder, traces, usable, on_progress) if self.selection == "venhoff2025" else {}
        chosen = [
            self._choose_of([s for s in usable if s.category == category], halves, losses, traces, seed)
            for category in range(n_categories)
        ]

        def texts(among: list[Sentence], n: int) -> list[Example]:
            return [text_example(own[s.trace], self.positions, 0) for s in at_random(among, n, traces, seed)]

        first = [sentences[0] for sentences in own.values()]
        train = texts([s for s in first if s.trace not in kept_back], self.n_train)
        selection, test = (texts([s for s in first if s.trace in half], self.n_heldout) for half in halves)
        return chosen, (train, selection, test)

    def _losses(
        self, decoder: Decoder, traces: Sequence[LabelledTrace], usable: list[Sentence], on_progress: Progress
    ) -> dict[Sentence, float]:
        """Mean loss of each sentence given its context [nats per token]: log perplexity."""
        stops = {index: max(sentence.last for sentence in own) for index, own in by_trace(usable).items()}
        read = read_predictions(decoder, tokens_of(decoder, traces, stops), on_progress)
        return {s: sum(read[s.trace].losses[s.first - 1 : s.last - 1]) / (s.last - s.first) for s in usable}

    def _choose_of(
        self, candidates: list[Sentence], halves: tuple[frozenset[int], frozenset[int]],
        losses: Mapping[Sentence, float], traces: Sequence[LabelledTrace], seed: int,
    ) -> Chosen:  # fmt: skip
        """Training, held-out and test sentences among one category's. Those ranked after the training sentences are of
        no problems of their own: they test where they pick nothing."""
        kept_back = halves[0] | halves[1]

        def ranked(among: list[Sentence], n: int) -> list[Sentence]:
            if self.selection == "random":
                return at_random(among, n, traces, seed)
            return by_perplexity(by_activation(among, ACTIVATION_POOL * n), losses, n)

        if self.heldout == "problems":
            train = ranked([s for s in candidates if s.trace not in kept_back], self.n_train)
            heldout, test = (ranked([s for s in candidates if s.trace in half], self.n_heldout) for half in halves)
            return Chosen(train, heldout, len(candidates), test)
        both = ranked(candidates, self.n_train + self.n_heldout)
        cut = min(self.n_train, len(both) - round(self.heldout_share * len(both)))
        after = both[cut : cut + self.n_heldout]
        return Chosen(both[:cut], after, len(candidates), after if self.select_on == "train" else [])

    def _planned(self, category: int, chosen: Chosen) -> CategoryLog:
        """The log before training: counts, and whether there will be any."""
        n_train, n_heldout = len(chosen.train), len(chosen.heldout)
        skipped = ""
        if n_train < self.min_examples:
            skipped = f"{n_train} training sentences, below min_examples={self.min_examples}"
        elif not n_heldout and self.select_on == "heldout":
            skipped = "no held-out sentence to select on"
        return CategoryLog(category, chosen.n_candidates, n_train, n_heldout, skipped, n_test=len(chosen.test))


class _Run:
    """One fit: the streams of all traces that are trained on, and the two trainings on them."""

    def __init__(
        self, method: Venhoff2025, decoder: Decoder, traces: Sequence[LabelledTrace], chosen: Sequence[Chosen],
        texts: tuple[list[Example], list[Example], list[Example]], logs: Sequence[CategoryLog], layer: int, seed: int,
        on_progress: Progress,
    ) -> None:  # fmt: skip
        self.method, self.decoder, self.seed, self.on_progress = method, decoder, seed, on_progress
        self.logs, self.texts = logs, texts
        self.examples = [
            (
                [sentence_example(s, method.positions, log.category) for s in own.train],
                [sentence_example(s, method.positions, log.category) for s in own.heldout],
                [sentence_example(s, method.positions, log.category) for s in own.test],
            )
            for own, log in zip(chosen, logs, strict=True)
        ]
        pairs = zip(self.examples, logs, strict=True)
        trained = [example for parts, log in pairs if not log.skipped for part in parts for example in part]
        stops: dict[int, int] = {}
        for example in [*trained, *(example for part in (texts if method.bias else ()) for example in part)]:
            stops[example.trace] = max(stops.get(example.trace, 0), example.stop + 1)
        at = layer - 1 if method.hook == "input" else layer
        tokens = tokens_of(decoder, traces, stops)
        self.streams = read_streams(decoder, at, tokens, method.cache_context, on_progress)
        self.norm = residual_norm(self.streams, trained)
        self.schedule = self._schedule()

    def _schedule(self) -> Schedule:
        m = self.method
        rate = m.learning_rate if m.learning_rate is not None else (m.learning_rate_of_norm or 0.0) * self.norm
        return Schedule(
            float(rate), m.minibatch, m.epochs, m.steps, m.eval_every, m.patience, m.min_delta, m.select_on,
            m.max_norm,
        )  # fmt: skip

    def bias(self) -> tuple[Float[Tensor, " d"], CategoryLog]:
        """The bias vector, trained on whole texts."""
        train, heldout, test = self.texts
        n = len(train) + len(heldout) + len(test)
        log = CategoryLog(-1, n, len(train), len(heldout), n_test=len(test))
        if log.n_train < self.method.min_examples:
            raise ValueError(
                f"the bias has {log.n_train} training texts, below min_examples={self.method.min_examples}; draw more "
                "traces or set bias to false."
            )
        table, logs = self._train("bias", [self.texts], [log], None)
        return table[0], logs[0]

    def categories(self, bias: Float[Tensor, " d"] | None) -> tuple[Float[Tensor, "n d"], tuple[CategoryLog, ...]]:
        """The table of vectors, all categories trained together beside the frozen bias."""
        return self._train("category", self.examples, self.logs, bias)

    def _train(
        self, name: str, examples: Sequence[tuple[list[Example], list[Example], list[Example]]],
        logs: Sequence[CategoryLog], fixed: Float[Tensor, " d"] | None,
    ) -> tuple[Float[Tensor, "n d"], tuple[CategoryLog, ...]]:  # fmt: skip
        packed_examples: list[Example] = []
        tasks = []
        for row, (parts, log) in enumerate(zip(examples, logs, strict=True)):
            if not log.skipped:
                numbered = []
                for part in parts:
                    numbered.append(tuple(range(len(packed_examples), len(packed_examples) + len(part))))
                    packed_examples += part
                tasks.append(VectorTask(row, *numbered))
        packed = Packed(packed_examples, self.streams)
        drawn = [random_direction(self.seed, f"{name} {row}", self.decoder.width) for row in range(len(logs))]
        stream = self.streams.hidden
        start = (self.method.starting_norm * torch.stack(drawn)).to(stream.device, vector_dtype(stream.dtype))
        trained = train_table(
            self.decoder, self.streams, packed, tasks, start, fixed, self.schedule, self.seed, name, self.on_progress
        )
        table = torch.zeros_like(start)
        for task, result in zip(tasks, trained, strict=True):
            table[task.row] = result.vector
        heldout, test = (
            loss_pairs(self.decoder, self.streams, packed, examples, table, fixed)
            for examples in ({t.row: t.heldout for t in tasks}, {t.row: t.test for t in tasks})
        )
        by_row = {task.row: result for task, result in zip(tasks, trained, strict=True)}
        return table, tuple(
            _done(log, by_row[row], heldout[row], test[row]) if row in by_row else log for row, log in enumerate(logs)
        )


def _done(
    log: CategoryLog, trained: Trained, heldout: tuple[float | None, float | None],
    test: tuple[float | None, float | None],
) -> CategoryLog:  # fmt: skip
    return replace(
        log, train_losses=trained.train_losses, heldout_losses=trained.heldout_losses, heldout_without=heldout[0],
        heldout_with=heldout[1], test_without=test[0], test_with=test[1], best_step=trained.best_step,
        norm=float(trained.vector.norm()),
    )  # fmt: skip
