"""The one place where a token is drawn and scored."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasoning_lab.engine.policy import Request
from reasoning_lab.engine.rng import uniform

_ROUNDING = 1e-12
"""Of a sum of float64 probabilities."""


class TokenPlan(NamedTuple):
    """How one row's next token is chosen; as the fields of Request."""

    temperature: float = 1.0
    uniform: float = 0.5
    forced: int | None = None
    top_k: int = 0
    top_p: float = 1.0
    excluded: frozenset[int] = frozenset()
    scores_excluded: bool = False


def plan_at(request: Request, position: int, forced: int | None, is_first: bool) -> TokenPlan:
    """How a request's token at a generated position is chosen.

    Arguments: `forced` is the id that it has to be, if any; `is_first` says whether it is the first one to be drawn.
    """
    temperature = request.temperature_at(position)
    if forced is not None:
        return TokenPlan(temperature, forced=forced, top_k=request.top_k, top_p=request.top_p)
    plan = TokenPlan(temperature, uniform(request.key, position, "token"), None, request.top_k, request.top_p)
    if not is_first or request.excluded is None:
        return plan
    out = request.excluded if isinstance(request.excluded, frozenset) else frozenset({request.excluded})
    return plan._replace(excluded=out, scores_excluded=request.scores_excluded)


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
    plans: Sequence[TokenPlan],
    want_negentropy: bool = False,
    n_alternatives: int = 0,
) -> Tokens:
    """Draw a token per row from q ∝ p^(1/temperature) on q's support, and score it.

    p = softmax(logits) in float64; the support is what exclusion, then top_k, then top_p leave; log Z =
    log sum_support p^(1/temperature) and log q = log p / temperature - log Z. The token is the inverse of q's
    cumulative law, in order of ids, at the row's uniform. Temperature 0: the most probable token of the support,
    log q = log Z = 0. A row with a forced id takes that id and gets the same scalars. A row that scores its excluded
    ids is scored by q with them, and draws from q given that the token is none of them.

    One copy to the device and one back, however many rows.
    """
    temperature, uniform, forced, top_k, top_p = _columns(plans, logits.device)
    log_p = torch.log_softmax(logits.double(), dim=-1)
    out = [(row, id) for row, plan in enumerate(plans) if not plan.scores_excluded for id in plan.excluded]
    support = _top(_without(log_p, out), top_k, max((plan.top_k for plan in plans), default=0))
    greedy = temperature == 0
    tempered = (support / torch.where(greedy, torch.ones_like(temperature), temperature)[:, None]).nan_to_num(
        nan=-torch.inf, neginf=-torch.inf
    )
    if any(plan.top_p < 1 for plan in plans):
        tempered = _nucleus(tempered, top_p)
    log_z = torch.logsumexp(tempered, dim=-1)
    out = [(row, id) for row, plan in enumerate(plans) if plan.scores_excluded for id in plan.excluded]
    drawn = _without(tempered, out)
    ids = torch.where(greedy, drawn.argmax(-1), _inverse(drawn, torch.logsumexp(drawn, -1) if out else log_z, uniform))
    ids = torch.where(forced >= 0, forced.long(), ids)
    at_ids = ids[:, None]
    own = log_p.gather(-1, at_ids)[:, 0]
    log_q = tempered.gather(-1, at_ids)[:, 0] - log_z
    zero = torch.zeros_like(log_z)
    negentropy = (log_p.exp() * log_p).nan_to_num(nan=0.0).sum(-1) if want_negentropy else zero
    back = torch.stack(
        (ids.double(), own, torch.where(greedy, zero, log_q), torch.where(greedy, zero, log_z), negentropy)
    )
    host_ids, *scalars = back.tolist()
    return Tokens(list(map(int, host_ids)), *scalars, alternatives=_alternatives(log_p, n_alternatives))


def _columns(plans: Sequence[TokenPlan], device: torch.device) -> Float[Tensor, "5 row"]:
    """Temperature, uniform, forced id (-1: none), top_k and top_p of all rows, in one copy."""
    rows = [(p.temperature, p.uniform, -1 if p.forced is None else p.forced, p.top_k, p.top_p) for p in plans]
    here = torch.tensor(rows, dtype=torch.float64).t().contiguous()
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.to(device)


def _without(law: Float[Tensor, "row vocab"], out: Sequence[tuple[int, int]]) -> Float[Tensor, "row vocab"]:
    """The law with -inf at some (row, id)."""
    if not out:
        return law
    rows, ids = torch.tensor(out, device=law.device).t()
    return law.index_put((rows, ids), torch.tensor(-torch.inf, dtype=law.dtype, device=law.device))


def _top(law: Float[Tensor, "row vocab"], top_k: Float[Tensor, " row"], largest: int) -> Float[Tensor, "row vocab"]:
    """The law where top_k leaves a token, -inf elsewhere; `largest` is the largest k."""
    vocab = law.shape[-1]
    if largest == 0:
        return law
    is_truncated = (top_k > 0) & (top_k < vocab)
    falling = law.topk(min(largest, vocab), dim=-1).values
    kth = falling.gather(-1, (top_k.long() - 1).clamp(0, falling.shape[-1] - 1)[:, None])
    return law.masked_fill((law < kth) & is_truncated[:, None], -torch.inf)


def _nucleus(tempered: Float[Tensor, "row vocab"], top_p: Float[Tensor, " row"]) -> Float[Tensor, "row vocab"]:
    """`tempered` where top_p leaves a token, -inf elsewhere (Holtzman et al. 2020, section 3.1, ties kept)."""
    wanted = top_p[:, None]
    falling = tempered.sort(dim=-1, descending=True).values
    # A mass that is top_p but for rounding reaches it: .5 + .3 of a law (.5, .3, .2) at top_p=.8.
    n_short = (cumulative(falling.softmax(-1)) < wanted - _ROUNDING).sum(-1, keepdim=True)
    least = falling.gather(-1, n_short.clamp(max=tempered.shape[-1] - 1))
    return tempered.masked_fill((tempered < least) & (wanted < 1), -torch.inf)


def _inverse(
    tempered: Float[Tensor, "row vocab"], log_z: Float[Tensor, " row"], uniform: Float[Tensor, " row"]
) -> Int[Tensor, " row"]:
    """First id whose cumulative probability exceeds the uniform: an id of probability zero is never met."""
    sums = cumulative((tempered - log_z[:, None]).exp())
    total = sums[:, -1]
    # Rounding must not carry u * total past the last id of the support.
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    # A row of NaN has no such id; its scalars are NaN, and the caller refuses it by name.
    return torch.searchsorted(sums, target[:, None], right=True)[:, 0].clamp(max=tempered.shape[-1] - 1)


def cumulative(law: Float[Tensor, "row vocab"]) -> Float[Tensor, "row vocab"]:
    """Running sums along each row, always in the same order.

    CUDA scans a single row in pieces whose order of summation differs from call to call, and several rows by one
    block each: a single row is given company.
    """
    return law.cumsum(-1) if law.shape[0] > 1 else law.expand(2, -1).cumsum(-1)[:1]


def _alternatives(log_p: Float[Tensor, "row vocab"], n: int) -> list[tuple[tuple[int, float], ...]]:
    if n == 0:
        return [()] * log_p.shape[0]
    top = log_p.topk(min(n, log_p.shape[-1]), dim=-1)
    return [
        tuple(zip(ids, values, strict=True))
        for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
