"""Costs in words: every multiple says of what, decode tokens or floating-point operations."""

from collections.abc import Sequence

from reasoning_lab.records import ModelSize
from reasoning_lab.report.data import Report
from reasoning_lab.report.views.arms import ROLLOUTS, ArmSummary
from reasoning_lab.report.views.tables import Column
from reasoning_lab.report.words import NOTHING, decimal, thousands

DECODE_TOKENS: Column[ArmSummary] = Column(
    "Decode tokens",
    "Mean tokens drawn per answer, rejected and discarded ones included; the thinking model of a hybrid draws none, it "
    "reads: see forward tokens",
    lambda row: thousands(row.decode_tokens),
)
FORWARD_TOKENS: Column[ArmSummary] = Column(
    "Forward tokens",
    "Mean tokens passed through the model per answer, of a hybrid through base | thinking model: prompt, decode steps, "
    "second passes and candidates; a pass through some of the layers counts by its share of them",
    lambda row: forward_words(row),
    from_width=130,
)
FLOPS: Column[ArmSummary] = Column(
    "FLOPs ÷ base",
    "Floating-point operations per answer, 2 × parameters × forward tokens of every model by its own size, over those "
    "of the base arm",
    lambda row: decimal(row.flops_over_base),
    from_width=110,
)


def forward_words(row: ArmSummary) -> str:
    """'512', or '512 | 498' of a hybrid; a dash where nobody counted."""
    if row.forward_tokens is None:
        return NOTHING
    own, thinking = thousands(row.forward_tokens), thousands(row.thinking_tokens or 0.0)
    return f"{own} | {thinking}" if row.thinking_tokens else own


def cost_sentence(studied: ArmSummary, base: ArmSummary) -> str:
    """What an answer of the studied arm costs, beside one of the base arm."""
    factor = studied.decode_tokens / max(base.decode_tokens, 1e-9)
    said = f"one answer of {studied.label} draws {thousands(studied.decode_tokens)} tokens, {factor:.1f} times the "
    said += f"decode tokens of {base.label} ({thousands(base.decode_tokens)})"
    if studied.flops_over_base is not None:
        said += (
            f", and takes {studied.flops_over_base:.1f} times its FLOPs (all models' forward passes, prompts included)"
        )
    if studied.grpo_epochs:
        few, many = studied.grpo_epochs
        said += (
            f"; in decode tokens it is what {few:.2f} GRPO epochs spend on a problem with {ROLLOUTS[0]} rollouts, or "
        )
        said += f"{many:.2f} with {ROLLOUTS[1]}. Training is paid for once, sampling with every answer"
    return said + "."


def cost_footer(report: Report, rows: Sequence[ArmSummary]) -> list[str]:
    """How the costs were counted, by models of which size; nothing where nobody counted."""
    if all(row.flops is None for row in rows):
        return []
    sizes: dict[str, ModelSize] = {}
    for arm in report.arms:
        sizes |= {arm.role: arm.own_size} if arm.own_size else {}
        sizes |= {"thinking": arm.thinking_size} if arm.thinking_size else {}
    known = "; ".join(f"{role} {thousands(float(s.body))} + {thousands(float(s.head))}" for role, s in sizes.items())
    return [
        "Forward tokens and FLOPs count for each answer its prompt once and all that was passed through any model for "
        "it: rejected proposals, discarded candidates, second passes above the steered layer, what the thinking model "
        "reads. FLOPs: 2 × (parameters of the layers + of the head where logits were computed) × tokens; parameters "
        f"without embedding tables, layers + head: {known}. Not counted: attention's products over the context, the "
        "taxonomy's encoder, the padding of the fixed shape, what a resume reads again, a judge, and whatever is paid "
        "once (training, taxonomy, vectors). Answers to one problem share its prompt's state here; each is counted "
        "with its own.",
    ]
