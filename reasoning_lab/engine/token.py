"""The one place where a token is drawn and scored."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROUNDING = 1e-12
"""Of a sum of float64 probabilities."""


class Tokens(NamedTuple):
    """One token per row with its scalars (natural logarithms, float64), on the host."""

    ids: list[int]
    log_p: list[float]
    log_q: list[float]
    log_z: list[float]
    negentropy: list[float]
    alternatives: list[tuple[tuple[int, float], ...]]


def draw_tokens(
    logits: Float[Tensor, "row vocab"],
    temperatures: Sequence[float],
    uniforms: Sequence[float],
    forced: Sequence[int | None],
    excluded: Sequence[int | frozenset[int] | None],
    top_k: Sequence[int],
    want_negentropy: bool = False,
    n_alternatives: int = 0,
    top_p: Sequence[float] = (),
) -> Tokens:
    """Draw a token per row from q ∝ p^(1/temperature) on q's support, and score it.

    p = softmax(logits) in float64; the support is what exclusion, then top_k, then top_p (none given: 1 in every row)
    leave; log Z = log sum_support p^(1/temperature) and log q = log p / temperature - log Z. The token is the inverse
    of q's cumulative law, in order of ids, at the row's uniform. Temperature 0: the most probable token of the
    support, log q = log Z = 0. A row with a forced id takes that id and gets the same scalars.
    """
    log_p = torch.log_softmax(logits.double(), dim=-1)
    temperature = torch.tensor(temperatures, dtype=torch.float64, device=logits.device)
    support = _support(log_p, excluded, top_k)
    greedy = temperature == 0
    tempered = (support / torch.where(greedy, torch.ones_like(temperature), temperature)[:, None]).nan_to_num(
        nan=-torch.inf, neginf=-torch.inf
    )
    if any(p < 1 for p in top_p):
        tempered = _nucleus(tempered, top_p)
    log_z = torch.logsumexp(tempered, dim=-1)
    chosen = torch.where(greedy, support.argmax(-1), _inverse(tempered, log_z, uniforms))
    ids = _forced(chosen, forced)
    at_ids = ids[:, None]
    log_q = tempered.gather(-1, at_ids)[:, 0] - log_z
    zero = torch.zeros_like(log_z)
    negentropy = (log_p.exp() * log_p).nan_to_num(nan=0.0).sum(-1) if want_negentropy else zero
    scalars = torch.stack(
        (log_p.gather(-1, at_ids)[:, 0], torch.where(greedy, zero, log_q), torch.where(greedy, zero, log_z), negentropy)
    )
    return Tokens(ids.tolist(), *scalars.tolist(), alternatives=_alternatives(log_p, n_alternatives))


def _support(
    log_p: Float[Tensor, "row vocab"], excluded: Sequence[int | frozenset[int] | None], top_k: Sequence[int]
) -> Float[Tensor, "row vocab"]:
    """log p where q may draw, -inf elsewhere."""
    support = log_p
    if any(id is not None for id in excluded):
        support = support.clone()
        for row, id in enumerate(excluded):
            if id is not None:
                support[row, sorted(id) if isinstance(id, frozenset) else id] = -torch.inf
    vocab = log_p.shape[-1]
    largest = max((k for k in top_k if k < vocab), default=0)
    if largest > 0:
        truncated = torch.tensor([0 < k < vocab for k in top_k], device=log_p.device)
        last = torch.tensor([k - 1 if 0 < k < vocab else 0 for k in top_k], device=log_p.device)
        kth = support.topk(largest, dim=-1).values.gather(-1, last[:, None])
        support = support.masked_fill((support < kth) & truncated[:, None], -torch.inf)
    return support


def _nucleus(tempered: Float[Tensor, "row vocab"], top_p: Sequence[float]) -> Float[Tensor, "row vocab"]:
    """`tempered` where top_p leaves a token, -inf elsewhere (Holtzman et al. 2020, section 3.1, ties kept)."""
    wanted = torch.tensor(top_p, dtype=tempered.dtype, device=tempered.device)[:, None]
    falling = tempered.sort(dim=-1, descending=True).values
    # A mass that is top_p but for rounding reaches it: .5 + .3 of a law (.5, .3, .2) at top_p=.8.
    n_short = (falling.softmax(-1).cumsum(-1) < wanted - _ROUNDING).sum(-1, keepdim=True)
    least = falling.gather(-1, n_short.clamp(max=tempered.shape[-1] - 1))
    return tempered.masked_fill((tempered < least) & (wanted < 1), -torch.inf)


def _inverse(
    tempered: Float[Tensor, "row vocab"], log_z: Float[Tensor, " row"], uniforms: Sequence[float]
) -> Int[Tensor, " row"]:
    """First id whose cumulative probability exceeds the uniform: an id of probability zero is never met."""
    cumulative = (tempered - log_z[:, None]).exp().cumsum(-1)
    total = cumulative[:, -1]
    u = torch.tensor(uniforms, dtype=torch.float64, device=tempered.device)
    # Rounding must not carry u * total past the last id of the support.
    target = torch.minimum(u * total, torch.nextafter(total, torch.zeros_like(total)))
    # A row of NaN has no such id; its scalars are NaN, and the caller refuses it by name.
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0].clamp(max=tempered.shape[-1] - 1)


def _forced(chosen: Int[Tensor, " row"], forced: Sequence[int | None]) -> Int[Tensor, " row"]:
    if all(id is None for id in forced):
        return chosen
    given = torch.tensor([-1 if id is None else id for id in forced], device=chosen.device)
    return torch.where(given >= 0, given, chosen)


def _alternatives(log_p: Float[Tensor, "row vocab"], n: int) -> list[tuple[tuple[int, float], ...]]:
    if n == 0:
        return [()] * log_p.shape[0]
    top = log_p.topk(min(n, log_p.shape[-1]), dim=-1)
    return [
        tuple(zip(ids, values, strict=True))
        for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
