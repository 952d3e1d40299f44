"""Group-relative policy optimisation of a causal model through TRL: the reinforcement-learning baseline.

The trainer is TRL's; this file fixes the hyperparameters and the meaning of the reward, so that the same code trains
the embedded pair on a CPU and a hub model on a GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from reasoning_lab.checks import require

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ProblemT = TypeVar("ProblemT")
Reward = Callable[[ProblemT, str], float]
"""reward(problem, completion text without special tokens)."""


@dataclass(frozen=True)
class GRPOHyperparameters:
    """Shao et al. 2024 with the defaults of TRL where a field does not say otherwise; no KL term."""

    steps: int = 80
    """optimiser steps"""
    prompts_per_step: int = 32
    """different problems in a step"""
    completions_per_prompt: int = 8
    """group size: the advantage is (reward - group mean) / group standard deviation"""
    learning_rate: float = 4e-4
    """constant after the warm-up; for a hub model choose some 1e-6"""
    warmup: int = 10
    """steps of linear warm-up"""
    temperature: float = 1.0
    """of the rollouts"""
    max_tokens: int = 220
    """longest completion; a completion cut here earns nothing"""
    kl: float = 0.0
    """weight of the KL term to the starting model (TRL: beta)"""
    betas: tuple[float, ...] = (0.9, 0.95)
    """AdamW moments"""
    clip: float = 1.0
    """gradient norm"""
    accumulation: int = 1
    """parts into which the completions of a step are split, to fit memory; divides their number"""
    bfloat16: bool = False
    """autocast to bfloat16"""
    gradient_checkpointing: bool = False
    """recompute activations in the backward pass"""
    seed: int = 0
    """of the problem order and the rollouts"""
    extra: dict[str, Any] = field(default_factory=dict)
    """further arguments of trl.GRPOConfig, such as use_vllm"""

    def __post_init__(self) -> None:
        n, parts = self.completions_per_step, self.accumulation
        holds = parts > 0 and n % parts == 0
        require(holds, "accumulation", parts, f"a divisor of the {n} completions of a step", "choose one")

    @property
    def completions_per_step(self) -> int:
        """Rollouts behind one optimiser step."""
        return self.prompts_per_step * self.completions_per_prompt


class TrainingLog(NamedTuple):
    """What a trainer reported: one dict per optimiser step, in order."""

    steps: list[dict[str, float]]

    def column(self, name: str) -> list[float]:
        """The values of one metric, at the steps that report it."""
        return [step[name] for step in self.steps if name in step]


OnStep = Callable[[Mapping[str, float]], None]
"""Hears of the step's number and of its metrics, all by name."""
SHOWN = ("reward", "reward_std", "loss", "learning_rate", "entropy", "grad_norm", "completions/mean_length")
"""Of TRL's metrics of a step: those that are told on the way."""


def step_teller(on_step: OnStep, shown: Sequence[str]) -> Any:
    """A trainer's callback that tells `on_step` of the `shown` metrics of every step."""
    from transformers import TrainerCallback

    class Teller(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            del args, control
            told = {name.rpartition("/")[2]: float(logs[name]) for name in shown if name in (logs or {})}
            if told:
                on_step({"step": float(state.global_step), **told})

    return Teller()


def _trl_reward(problems: Sequence[ProblemT], reward: Reward[ProblemT], stop_ids: frozenset[int]) -> Callable[..., Any]:
    """The reward in TRL's calling convention: a completion that was cut before a stop token earns 0."""

    def exact(
        completions: list[str], completion_ids: list[list[int]], problem_index: list[int], **_: Any
    ) -> list[float]:
        return [
            reward(problems[index], text) if ids and ids[-1] in stop_ids else 0.0
            for text, ids, index in zip(completions, completion_ids, problem_index, strict=True)
        ]

    return exact


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """End-of-text ids of the model and of its tokenizer."""
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)


def _trl_config(hyper: GRPOHyperparameters, output_dir: str, on_cpu: bool) -> Any:
    from trl import GRPOConfig

    settings: dict[str, Any] = {
        "output_dir": output_dir,
        "max_steps": hyper.steps,
        "per_device_train_batch_size": hyper.completions_per_step // hyper.accumulation,
        "gradient_accumulation_steps": hyper.accumulation,
        "num_generations": hyper.completions_per_prompt,
        "max_completion_length": hyper.max_tokens,
        "temperature": hyper.temperature,
        "learning_rate": hyper.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": hyper.warmup,
        "beta": hyper.kl,
        "adam_beta1": hyper.betas[0],
        "adam_beta2": hyper.betas[1],
        "weight_decay": 0.0,
        "max_grad_norm": hyper.clip,
        "loss_type": "dapo",
        "scale_rewards": "group",
        "bf16": hyper.bfloat16,
        "gradient_checkpointing": hyper.gradient_checkpointing,
        "use_cpu": on_cpu,
        "seed": hyper.seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    return GRPOConfig(**{**settings, **hyper.extra})


def train_grpo(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    problems: Sequence[ProblemT],
    reward: Reward[ProblemT],
    hyper: GRPOHyperparameters | None = None,
    on_step: OnStep = lambda _: None,
) -> TrainingLog:
    """Train `model` in place on its own completions of `prompts`; `problems[i]` is what `reward` grades the completions
    of prompt i by.

    The prompts are used as given (apply a chat template before); `on_step` hears of every step's metrics. Needs the
    optional extra `train`.
    """
    from datasets import Dataset
    from trl import GRPOTrainer

    hyper = hyper or GRPOHyperparameters()
    if len(prompts) != len(problems):
        raise ValueError(f"{len(prompts)} prompts but {len(problems)} problems; they must match one to one.")
    if len(prompts) < hyper.prompts_per_step:
        raise ValueError(f"{len(prompts)} prompts but a step takes {hyper.prompts_per_step}; give more prompts.")
    with tempfile.TemporaryDirectory() as scratch:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=_trl_reward(problems, reward, _stop_ids(model, tokenizer)),
            args=_trl_config(hyper, scratch, on_cpu=model.device.type == "cpu"),
            train_dataset=Dataset.from_dict({"prompt": list(prompts), "problem_index": list(range(len(prompts)))}),
            processing_class=tokenizer,
            callbacks=[step_teller(on_step, SHOWN)],
        )
        trainer.train()
    model.eval()
    return TrainingLog([entry for entry in trainer.state.log_history if "reward" in entry])
