"""What judges read and wrote for a report: no arm's answers cost it, so it stands apart."""

from reasoning_lab.artifacts.arms import Arms
from reasoning_lab.artifacts.base import Context
from reasoning_lab.judge.base import Usage


def judge_costs(arms: Arms, context: Context) -> list[str]:
    """A line for each kind of question that was asked; none where nobody was asked, or by a judge that counts no
    tokens."""
    naming = arms.categories.naming if arms.categories else None
    asked = {
        "naming and scoring the categories": context.get(naming).usage if naming else Usage(),
        "grading the answers": sum((each.grades.usage(context) for each in arms.answers()), Usage()),
    }
    return [
        f"A judge read {used.prompt_tokens:,} tokens and wrote {used.completion_tokens:,} for {what}, replies from its "
        "cache not counted; they are in no arm's tokens or FLOPs."
        for what, used in asked.items()
        if used.prompt_tokens + used.completion_tokens
    ]
