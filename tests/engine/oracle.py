"""Slow, obvious references: exact laws and matrices by enumeration, many draws against them, a runner without cache."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jaxtyping
import numpy as np
from scipy.stats import chisquare

from reasoning_lab.engine.policy import Chain, Checkpoint, Policy, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.model_pair.toy import ToyPolicy
from reasoning_lab.sampler.base import Prompt, Sample, Sampler

State = tuple[int, ...]
PROMPT = (0,)
STOP = frozenset({0})
CHECKED = 2
"""Chains of a bulk draw that run with annotations checked."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Calls into the package without the check of their annotations, which is most of the time of small calls.

    For the repetitions of what has run with the check already.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


# -- exact laws --------------------------------------------------------------------------------------------------------


def tempered(probabilities: list[float], temperature: float) -> list[float]:
    """q of a token law: p^(1/temperature), normalised."""
    powers = [p ** (1 / temperature) if p > 0 else 0.0 for p in probabilities]
    return [power / sum(powers) for power in powers]


def power_law(log_p: Mapping[State, float], alpha: float) -> dict[State, float]:
    """p^alpha, normalised over the given states (Karan & Du 2025, section 4.1)."""
    top = max(log_p.values())
    weights = {state: math.exp(alpha * (value - top)) for state, value in log_p.items()}
    total = sum(weights.values())
    return {state: weight / total for state, weight in weights.items()}


def chain_of(policy: ToyPolicy, state: State, temperature: float) -> Chain:
    """The state with the scalars that a sampler would have recorded."""
    log_p, log_q, log_z = [], [], []
    for n, id in enumerate(state):
        p = list(policy.probabilities(PROMPT + state[:n]))
        log_p.append(math.log(p[id]))
        log_q.append(math.log(tempered(p, temperature)[id]))
        log_z.append(math.log(sum(x ** (1 / temperature) for x in p if x > 0)))
    zeros = (0.0,) * len(state)
    return Chain(PROMPT, state, tuple(log_p), tuple(log_q), tuple(log_z), zeros, ((),) * len(state))


def continuations(policy: ToyPolicy, prefix: State, cap: int, temperature: float) -> Iterator[tuple[State, float]]:
    """Every continuation of `prefix` to a stop id or `cap`, with its probability under q."""
    if len(prefix) == cap or (prefix and prefix[-1] in STOP):
        yield prefix, 1.0
        return
    for id, q in enumerate(tempered(list(policy.probabilities(PROMPT + prefix)), temperature)):
        if q > 0:
            for state, rest in continuations(policy, (*prefix, id), cap, temperature):
                yield state, q * rest


def all_states(policy: ToyPolicy, cap: int) -> list[State]:
    """Finished states and unfinished ones of *every* length 1 ... cap (the reference's chain visits them)."""
    states = {state for n in range(1, cap + 1) for state in policy.states(n)}
    return sorted(states, key=lambda state: (len(state), state))


LogRatio = Callable[[Chain, Chain, int], float]


@unchecked()
def matrix(
    policy: ToyPolicy,
    states: list[State],
    temperature: float,
    log_ratio: LogRatio,
    cap_of: Callable[[State], int],
    n_cuts: Callable[[State], int] = len,
) -> np.ndarray:
    """P[i, j]: one step from state i, cut uniform on {0 ... n_cuts-1}; a cut at or beyond the state's end stays."""
    at = {state: i for i, state in enumerate(states)}
    chains = {state: chain_of(policy, state, temperature) for state in states}
    P = np.zeros((len(states), len(states)))
    for x in states:
        cuts = n_cuts(x)
        for cut in range(cuts):
            if cut >= len(x):
                P[at[x], at[x]] += 1 / cuts
                continue
            for y, q in continuations(policy, x[:cut], cap_of(x), temperature):
                accept = min(1.0, math.exp(min(0.0, log_ratio(chains[x], chains[y], cut))))
                P[at[x], at[y]] += q * accept / cuts
                P[at[x], at[x]] += q * (1 - accept) / cuts
    return P


def pad_log_ratio(alpha: float, temperature: float, policy: ToyPolicy) -> LogRatio:
    """K-pad's ratio, from the law itself and not from recorded scalars: both suffixes whole, no length factor."""

    def weight(state: State) -> float:
        total = 0.0
        for n, id in enumerate(state):
            p = list(policy.probabilities(PROMPT + state[:n]))
            total += alpha * math.log(p[id]) - math.log(tempered(p, temperature)[id])
        return total

    # Prefix terms cancel, so whole-state weights serve for every cut.
    return lambda x, y, _cut: weight(y.tokens) - weight(x.tokens)


def stationary(P: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The limit of start P^n (uniform start where none is given) by repeated squaring."""
    pi = np.full(len(P), 1 / len(P)) if start is None else start
    for _ in range(60):
        P = P @ P
        P /= P.sum(1, keepdims=True)
    return pi @ P


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Half the L1 distance of two laws."""
    return 0.5 * float(np.abs(a - b).sum())


# -- draws against a law -----------------------------------------------------------------------------------------------


def samples(policy: Policy, sampler: Sampler, n: int, **prompt: Any) -> list[Sample]:
    """Chains 0 ... n-1 of one problem after PROMPT; `prompt` is what else its Prompt has."""

    def some(first: int, last: int) -> list[Sample]:
        tasks = ((i, sampler.sample(Prompt(PROMPT, STOP, Key(7, "toy", i), **prompt))) for i in range(first, last))
        return [sample for _, sample in run(policy, tasks, rows=256, capacity=16)]

    checked = some(0, min(CHECKED, n))
    with unchecked():
        return checked + some(min(CHECKED, n), n)


def draws(policy: Policy, sampler: Sampler, n: int, **prompt: Any) -> Counter[State]:
    """How often each answer comes in n chains."""
    return Counter(sample.chain.tokens for sample in samples(policy, sampler, n, **prompt))


def p_value(counts: Counter[State], law: dict[State, float]) -> float:
    """Chi-square p of counts against a law, cells below 8 expected pooled."""
    n = sum(counts.values())
    assert all(law.get(state, 0) > 0 for state in counts)
    big = [state for state, p in law.items() if n * p >= 8]
    rest = n * (1 - sum(law[state] for state in big))
    observed, expected = [counts[s] for s in big], [n * law[s] for s in big]
    if rest > 1e-9:
        observed.append(n - sum(observed))
        expected.append(rest)
    return float(chisquare(observed, expected).pvalue)


# -- a runner without cache --------------------------------------------------------------------------------------------


@dataclass
class Reprefill:
    """Drives one coroutine alone: a whole forward pass per token over the whole prefix, one token at a time."""

    policy: Policy
    checkpoints: list[dict[str, Any]] = field(default_factory=list)

    def run(self, coroutine: Any) -> Any:
        """The coroutine's result."""
        answer = None
        while True:
            try:
                asked = coroutine.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(asked, Checkpoint):
                self.checkpoints.append(asked.state)
                answer = None
            elif isinstance(asked, list):
                answer = [self.answer(request) for request in asked]
            else:
                answer = self.answer(asked)

    def answer(self, request: Request) -> Chain:
        """The continuation that the request asks for."""
        import torch

        from reasoning_lab.engine.rng import uniform
        from reasoning_lab.engine.token import TokenPlan, draw_tokens

        kept = request.parent.kept(request.keep)
        tokens = list(kept.tokens)
        columns: dict[str, list[Any]] = {
            name: list(getattr(kept, name)) for name in ("log_p", "log_q", "log_z", "negentropy", "alternatives")
        }
        forced = list(request.forced)
        inserted = list(kept.inserted)
        drawn, finish = 0, None
        out = request.excluded
        excluded = out if isinstance(out, frozenset) else frozenset() if out is None else frozenset({out})
        while finish is None:
            logits = self.policy.next_logits([*kept.prompt, *tokens])
            position = len(tokens)
            given = forced.pop(0) if forced else None
            one = draw_tokens(
                logits[None] if isinstance(logits, torch.Tensor) else torch.tensor([logits]),
                [
                    TokenPlan(
                        request.temperature_at(position), uniform(request.key, position, "token"), given,
                        request.top_k, request.top_p, excluded if given is None and drawn == 0 else frozenset(),
                        request.scores_excluded,
                    )
                ],
                request.want_negentropy,
                request.n_alternatives,
            )  # fmt: skip
            tokens.append(one.ids[0])
            is_inserted = given is not None and request.insert
            if is_inserted:
                inserted.append(position)
            for name, values in columns.items():
                zero = () if name == "alternatives" else 0.0
                values.append(zero if is_inserted else getattr(one, name)[0])
            drawn += given is None
            if given is None and tokens[-1] in request.stop_ids:
                finish = "stop"
            elif len(tokens) == request.cap:
                finish = "cap"
            elif given is None and request.floor is not None:
                r = sum(columns["log_z"][request.keep :])
                if r - (math.log(len(tokens) - len(inserted)) if request.floor_per_length else 0.0) < request.floor:
                    finish = "floor"
        return Chain(
            kept.prompt, tuple(tokens), **{name: tuple(values) for name, values in columns.items()},
            finish=finish, n_drawn=drawn, inserted=tuple(inserted),
        )  # fmt: skip
