"""What an arm's answers cost in forward passes: whole tokens through each model, and floating-point operations."""

from typing import NamedTuple

from reasoning_lab.report.data import ArmResult


class ForwardCost(NamedTuple):
    """Means over an arm's answers."""

    tokens: float
    """Tokens passed through the model that writes, prompts included; a pass through some layers counts by its share."""
    thinking: float
    """The same of the thinking model that steers; 0 where none does."""
    flops: float
    """By both models' own sizes (ModelSize.flops)."""


def forward_cost(arm: ArmResult) -> ForwardCost | None:
    """The arm's cost; None where nobody counted its passes or a size that it needs is not known."""
    own, thinking = arm.own_size, arm.thinking_size
    passes = [answer.compute for answer in arm.completions if answer.compute is not None]
    if own is None or len(passes) < len(arm.completions):
        return None
    steers = any(each.thinking.layers for each in passes)
    if steers and thinking is None:
        return None
    n = len(passes)
    tokens, flops = (sum(count(each.own) for each in passes) / n for count in (own.tokens, own.flops))
    if not steers or thinking is None:
        return ForwardCost(tokens, 0.0, flops)
    read, more = (sum(count(each.thinking) for each in passes) / n for count in (thinking.tokens, thinking.flops))
    return ForwardCost(tokens, read, flops + more)
