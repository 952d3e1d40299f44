"""A thinking model made of any causal base model: fine-tuning on its own right answers, then GRPO on the grader's word.

STaR (Zelikman et al. 2022) before GRPO (Shao et al. 2024), both through TRL. Nothing enters from outside the base:
the cold start copies what the base itself wrote and the benchmark's grader found correct; the reward is that grader's
verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab.benchmark.base import Benchmark, Finish
from reasoning_lab.checks import require
from reasoning_lab.records import Grade, Problem
from reasoning_lab.training.grpo import GRPOHyperparameters, Reward, train_grpo
from reasoning_lab.training.sft import SFTHyperparameters, train_sft

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Tell = Callable[[str, Mapping[str, float]], None]


@dataclass(frozen=True)
class ThinkingHyperparameters:
    """What makes a thinking model of a base model."""

    benchmark: Benchmark
    """Whose problems it is trained on, by that benchmark's verdict; disjoint from those that arms are measured on."""
    cold_start: bool
    """Fine-tune on the base's own correct answers before GRPO."""
    temperature: float
    """Of those answers."""
    sft: SFTHyperparameters
    grpo: GRPOHyperparameters

    def __post_init__(self) -> None:
        holds = self.temperature > 0
        require(holds, "temperature", self.temperature, "above 0", "1 draws from the base's own law")

    def check(self, n_problems: int) -> None:
        """Enough problems for a step; an error before anything is drawn or loaded."""
        if n_problems < self.grpo.prompts_per_step:
            raise ValueError(
                f"training.benchmark.n_problems={n_problems}: a GRPO step takes {self.grpo.prompts_per_step} prompts; "
                "take more problems, or lower training.grpo.prompts_per_step."
            )


def graded(grade: Callable[[Problem, str, int, Finish], Grade]) -> Reward[Problem]:
    """The reward of a benchmark: 1 for a completion that its grader finds correct, else 0.

    `train_grpo` gives nothing for a completion that was cut, so the text is graded as one that ended by itself.
    """
    return lambda problem, text: float(grade(problem, text, 0, "stop").correct)


def train_thinking(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: dict[str, str],
    problems: Sequence[Problem],
    reward: Reward[Problem],
    right: Sequence[tuple[str, str]],
    hyper: ThinkingHyperparameters,
    tell: Tell = lambda *_: None,
) -> dict[str, list[float]]:
    """Train `model` in place; the mean loss of each fine-tuning step and the mean reward of each GRPO step.

    Arguments: `prompts` maps problem ids to rendered prompts; `right` are (problem id, correct answer) pairs of
    the cold start, empty for GRPO alone; `tell` hears of every step: of what, and its metrics by name.
    """
    losses: list[float] = []
    if right:
        pairs = [(prompts[problem], text) for problem, text in right]
        told = partial(tell, "sft")
        log = train_sft(model, tokenizer, [p for p, _ in pairs], [text for _, text in pairs], hyper.sft, told)
        losses = log.column("loss")
    asked = [prompts[problem.id] for problem in problems]
    log = train_grpo(model, tokenizer, asked, problems, reward, hyper.grpo, partial(tell, "grpo"))
    return {"loss": losses, "reward": log.column("reward")}


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype) -> None:
    """Write a hub-style folder that model_pair.thinking.path can name."""
    model.config.use_cache = True  # Trainers switch it off.
    model.to(dtype)  # pyright: ignore[reportArgumentType] -- transformers' own wrapper of `to`
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
