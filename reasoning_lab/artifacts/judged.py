"""What questions to a judge cost, told before the first and checked after the last."""

from reasoning_lab.artifacts.base import Context
from reasoning_lab.judge.base import Usage


def tell_cost(judge: str, expected: Usage, context: Context) -> None:
    """Print what questions will cost, before the first is asked; nothing where all replies are at hand."""
    if not expected.sent:
        return
    price = f", ${expected.dollars:,.2f}" if expected.dollars else ""
    context.tell(
        f"  judge {judge}: {expected.sent:,} questions to ask ({expected.cached:,} cached), about "
        f"{expected.prompt_tokens:,} tokens to read and {expected.completion_tokens:,} to write{price}"
    )


def require_replies(usage: Usage) -> None:
    """ValueError where questions were not answered: numbers of the rest would not be those of all."""
    if usage.skipped or usage.failed:
        raise ValueError(
            f"judge: {usage.skipped} of {usage.asked} questions were not sent (the cap was reached) and {usage.failed} "
            "got no reply; what was answered is cached: raise the judge's cap, or see that it is up, and run the same "
            "command again."
        )
