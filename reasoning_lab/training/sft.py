"""Supervised fine-tuning of a causal model on (prompt, completion) pairs through TRL; the prompt bears no loss."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reasoning_lab.training.grpo import OnStep, TrainingLog, step_teller

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class SFTHyperparameters:
    """AdamW at a constant rate after a warm-up."""

    epochs: float = 2.0
    """passes over the pairs"""
    batch: int = 32
    """pairs in an optimiser step"""
    learning_rate: float = 5e-4
    """constant after the warm-up; for a hub model choose some 1e-5"""
    warmup: int = 5
    """steps of linear warm-up"""
    max_tokens: int = 512
    """longest pair; what is beyond is cut"""
    weight_decay: float = 0.0
    """of AdamW"""
    clip: float = 1.0
    """gradient norm"""
    bfloat16: bool = False
    """autocast to bfloat16"""
    gradient_checkpointing: bool = False
    """recompute activations in the backward pass"""
    seed: int = 0
    """of the order of the pairs"""
    extra: dict[str, Any] = field(default_factory=dict)
    """further arguments of trl.SFTConfig"""


def _trl_config(hyper: SFTHyperparameters, output_dir: str, on_cpu: bool) -> Any:
    from trl import SFTConfig

    settings: dict[str, Any] = {
        "output_dir": output_dir,
        "num_train_epochs": hyper.epochs,
        "per_device_train_batch_size": hyper.batch,
        "learning_rate": hyper.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": hyper.warmup,
        "weight_decay": hyper.weight_decay,
        "max_grad_norm": hyper.clip,
        "max_length": hyper.max_tokens,
        "completion_only_loss": True,
        "packing": False,
        "bf16": hyper.bfloat16,
        "gradient_checkpointing": hyper.gradient_checkpointing,
        "use_cpu": on_cpu,
        "seed": hyper.seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    return SFTConfig(**{**settings, **hyper.extra})


def train_sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    hyper: SFTHyperparameters | None = None,
    on_step: OnStep = lambda _: None,
) -> TrainingLog:
    """Train `model` in place to write `completions[i]` and an end-of-text token after `prompts[i]`.

    `on_step` hears of every step's metrics. Needs the optional extra `train`.
    """
    from datasets import Dataset
    from trl import SFTTrainer

    if len(prompts) != len(completions):
        raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions; they must match one to one.")
    hyper = hyper or SFTHyperparameters()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_trl_config(hyper, scratch, on_cpu=model.device.type == "cpu"),
            train_dataset=Dataset.from_dict({"prompt": list(prompts), "completion": list(completions)}),
            processing_class=tokenizer,
            callbacks=[step_teller(on_step, ("loss", "learning_rate", "grad_norm"))],
        )
        trainer.train()
    model.eval()
    return TrainingLog([entry for entry in trainer.state.log_history if "loss" in entry])
