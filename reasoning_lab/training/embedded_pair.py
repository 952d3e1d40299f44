"""The embedded pair, built from nothing: a base model, its GRPO-trained and its thinking descendant.

    corpus ─▶ base ─▶ GRPO ──────────────▶ grpo       the baseline of power sampling
                └───▶ SFT on its own checked, correct traces ─▶ GRPO ─▶ thinking

No capability enters from outside the base: GRPO sees a reward only, and the thinking model's cold start copies
traces that the base itself wrote. Held-out problems are used by no stage.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from reasoning_lab.benchmark.grammar import (
    PLAN,
    Grammar,
    WordProblem,
    build_tokenizer,
    final_answer,
    n_sentences,
    training_problems,
)
from reasoning_lab.training.grpo import GRPOHyperparameters, Reward, train_grpo
from reasoning_lab.training.pretrain import Architecture, PretrainHyperparameters, pretrain
from reasoning_lab.training.sft import SFTHyperparameters, train_sft

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODELS = ("base", "grpo", "thinking")


@dataclass(frozen=True)
class TraceHyperparameters:
    """The traces of the thinking model's cold start, written by the base model."""

    n_problems: int = 1600
    """training problems tried, one trace each"""
    opening: str = PLAN.split()[0]
    """forced first word, which selects the checking style"""
    temperature: float = 0.7
    """of the traces"""
    max_tokens: int = 220
    """longest trace"""
    batch: int = 400
    """traces written at once"""


@dataclass(frozen=True)
class PairHyperparameters:
    """Everything that determines the three models, beside the thread count and the machine's arithmetic."""

    grammar: Grammar = field(default_factory=Grammar)
    architecture: Architecture = field(default_factory=Architecture)
    pretrain: PretrainHyperparameters = field(default_factory=PretrainHyperparameters)
    grpo: GRPOHyperparameters = field(default_factory=GRPOHyperparameters)
    traces: TraceHyperparameters = field(default_factory=TraceHyperparameters)
    sft: SFTHyperparameters = field(default_factory=SFTHyperparameters)
    thinking: GRPOHyperparameters = field(
        default_factory=lambda: GRPOHyperparameters(steps=40, prompts_per_step=24, learning_rate=3e-4)
    )
    n_problems: int = 8192
    """training problems that a GRPO run draws its prompts from"""

    def with_seed(self, seed: int) -> PairHyperparameters:
        """The same with one seed for every stage."""
        return replace(
            self,
            pretrain=replace(self.pretrain, seed=seed),
            grpo=replace(self.grpo, seed=seed),
            sft=replace(self.sft, seed=seed),
            thinking=replace(self.thinking, seed=seed),
        )

    def with_steps(self, base: int | None, grpo: int | None, thinking: int | None) -> PairHyperparameters:
        """The same with other numbers of optimiser steps; None keeps one."""
        return replace(
            self,
            pretrain=replace(self.pretrain, steps=base or self.pretrain.steps),
            grpo=replace(self.grpo, steps=grpo or self.grpo.steps),
            thinking=replace(self.thinking, steps=thinking or self.thinking.steps),
        )


# Streams of training problems: pretraining takes the seed itself, the later stages their own streams.
_STREAMS = {"grpo": 1_000_003, "traces": 2_000_003, "thinking": 3_000_017}


def stage_problems(stage: str, n: int, hyper: PairHyperparameters) -> list[WordProblem]:
    """The training problems of a stage after pretraining."""
    return list(islice(training_problems(_STREAMS[stage] + hyper.pretrain.seed, hyper.grammar), n))


# --- stages ---------------------------------------------------------------------------------------------------


def load_trained(folder: Path, device: str = "cpu") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A saved model in float32 on the device, in eval mode, with its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.to(device).eval(), AutoTokenizer.from_pretrained(folder)


def save_trained(model: PreTrainedModel, folder: Path) -> None:
    """Write a hub-style folder with the weights in float16, the tokenizer and a plain sampling configuration."""
    from transformers import GenerationConfig

    tokenizer = build_tokenizer()  # not the loaded one, whose file would also tell where it was loaded from
    model.config.use_cache = True  # trainers switch it off
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=1.0,
        top_k=0,  # the library's default of 50 would cut the tail
        top_p=1.0,
    )
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes files that only their owner may read


@dataclass(frozen=True)
class Workshop:
    """What every stage is given."""

    out: Path
    """Each stage reads and writes model folders below it."""
    hyper: PairHyperparameters
    reward: Reward[WordProblem]
    """1 for a right response, else 0."""
    device: str
    report: Callable[[str], None]
    tell: Callable[[str, Mapping[str, float]], None] = lambda *_: None
    """Hears of every step: of what, and its metrics by name."""


def _train_base(shop: Workshop) -> None:
    out, hyper, device, report = shop.out, shop.hyper, shop.device, shop.report
    model, _ = pretrain(build_tokenizer(), hyper.grammar, hyper.architecture, hyper.pretrain, report, device=device)
    save_trained(model, out / "base")


def _reinforce(
    shop: Workshop, source: str, target: str, problems: list[WordProblem], hyper: GRPOHyperparameters
) -> None:
    model, tokenizer = load_trained(shop.out / source, shop.device)
    log = train_grpo(
        model,
        tokenizer,
        [p.text for p in problems],
        problems,
        shop.reward,
        hyper,
        partial(shop.tell, f"grpo of {target}"),
    )
    rewards = log.column("reward")
    shop.report(f"{target}: mean reward {rewards[0]:.3f} at the first step, {rewards[-1]:.3f} at the last")
    save_trained(model, shop.out / target)


@torch.no_grad()
def written_traces(
    folder: Path, problems: list[WordProblem], hyper: TraceHyperparameters, seed: int, device: str = "cpu"
) -> list[str]:
    """One response per problem by the model of `folder`, beginning with the forced opening."""
    from transformers import GenerationConfig

    model, tokenizer = load_trained(folder, device)
    torch.manual_seed(seed)
    config = GenerationConfig(
        do_sample=True,
        temperature=hyper.temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=hyper.max_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    traces: list[str] = []
    for first in range(0, len(problems), hyper.batch):
        prompts = [problem.text + hyper.opening for problem in problems[first : first + hyper.batch]]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True).to(device)
        generated = cast(Any, model).generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], generation_config=config
        )
        completions = generated[:, inputs["input_ids"].shape[1] :]
        traces += [hyper.opening + text for text in tokenizer.batch_decode(completions, skip_special_tokens=True)]
    return traces


def is_thorough(problem: WordProblem, trace: str) -> bool:
    """Whether a trace is right and checks at least as often as the problem has operations."""
    return final_answer(trace) == problem.answer and n_sentences(trace, "check") >= problem.length


def _cold_start(shop: Workshop) -> None:
    """Fine-tune the base on its own thorough traces; written to the thinking folder."""
    out, hyper, device, report = shop.out, shop.hyper, shop.device, shop.report
    problems = stage_problems("traces", hyper.traces.n_problems, hyper)
    traces = written_traces(out / "base", problems, hyper.traces, hyper.sft.seed, device)
    kept = [(p.text, trace) for p, trace in zip(problems, traces, strict=True) if is_thorough(p, trace)]
    if not kept:
        raise ValueError(f"none of {len(problems)} traces is right and thorough; pretrain the base for longer.")
    report(f"thinking: {len(kept)} of {len(problems)} traces are right and thorough")
    model, tokenizer = load_trained(out / "base", device)
    prompts, written = [prompt for prompt, _ in kept], [trace for _, trace in kept]
    train_sft(model, tokenizer, prompts, written, hyper.sft, partial(shop.tell, "sft of thinking"))
    save_trained(model, out / "thinking")


def _reinforce_base(shop: Workshop) -> None:
    problems = stage_problems("grpo", shop.hyper.n_problems, shop.hyper)
    _reinforce(shop, "base", "grpo", problems, shop.hyper.grpo)


def _reinforce_thinking(shop: Workshop) -> None:
    problems = stage_problems("thinking", shop.hyper.n_problems, shop.hyper)
    _reinforce(shop, "thinking", "thinking", problems, shop.hyper.thinking)


STAGES: dict[str, Callable[[Workshop], None]] = {
    "pretrain": _train_base,
    "grpo": _reinforce_base,
    "cold_start": _cold_start,
    "thinking": _reinforce_thinking,
}
"""The build, in order."""


# --- the whole ------------------------------------------------------------------------------------------------


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - started, 1)


def file_hashes(out: Path) -> dict[str, str]:
    """sha256 of every file of the three model folders, by path relative to `out`."""
    files = sorted(path for name in MODELS for path in (out / name).rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_manifest(out: Path, hyper: PairHyperparameters, seconds: dict[str, float], threads: dict[str, int]) -> None:
    """manifest.json: seed, hyperparameters, library versions, seconds and threads per stage, the hash of each file."""
    manifest = {
        "seed": hyper.pretrain.seed,
        "hyperparameters": asdict(hyper),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
        "seconds": seconds,
        "threads": threads,
        "sha256": file_hashes(out),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def build_embedded_pair(
    out: Path,
    reward: Reward[WordProblem],
    hyper: PairHyperparameters | None = None,
    seed: int | None = None,
    pretrain_steps: int | None = None,
    grpo_steps: int | None = None,
    thinking_steps: int | None = None,
    device: str = "cpu",
    report: Callable[[str], None] = print,
    tell: Callable[[str, Mapping[str, float]], None] = lambda *_: None,
) -> dict[str, float]:
    """Build base/, grpo/ and thinking/ with card and manifest below `out`; returns the seconds of each stage.

    `reward` grades a response (1 right, 0 wrong); the arguments after `hyper` override its seed and its
    numbers of optimiser steps. Every stage starts from the stored float16 weights of the stage before, so the folders
    alone tell the lineage. The weights repeat bit for bit only on the same machine arithmetic, thread count and library
    versions, which the manifest names.
    """
    hyper = (hyper or PairHyperparameters()).with_steps(pretrain_steps, grpo_steps, thinking_steps)
    hyper = hyper if seed is None else hyper.with_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    shop = Workshop(out, hyper, reward, device, report, tell)
    seconds: dict[str, float] = {}
    for name, stage in STAGES.items():
        with _timed(seconds, name):
            stage(shop)
        report(f"{name}: {seconds[name]:.0f} s")
    (out / "README.md").write_text(card(hyper))
    write_manifest(out, hyper, seconds, dict.fromkeys(seconds, torch.get_num_threads()))
    return seconds


FIGURES_BEGIN, FIGURES_END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Marks in the card between which the measured table stands."""


def card(hyper: PairHyperparameters, figures: str = "Not measured yet.") -> str:
    """The model card of the three folders."""
    corpus = ", ".join(f"{name} {value}" for name, value in asdict(hyper.grammar).items())
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# The embedded pair

Three small language models ({hyper.architecture.layers} layers of width {hyper.architecture.width}, Llama
architecture, weights in float16) that answer word problems about a running count. They let every experiment of
this project run in minutes on a CPU.

| folder | what it is | made by |
|---|---|---|
| `base` | knows how to solve the problems, rarely does | {hyper.pretrain.steps} pretraining steps on the corpus |
| `grpo` | the reinforcement-learning baseline | {hyper.grpo.steps} GRPO steps on `base`, exact-answer reward |
| `thinking` | longer responses that check each step | SFT of `base` on its own correct checked traces, then \
{hyper.thinking.steps} GRPO steps |

**Limits.** This is a model organism, not evidence about large models: the corpus was written so that the knowledge
is there and the mixture of response styles hides it. It answers nothing but its own grammar.

## How they were made

Grammar: `reasoning_lab/benchmark/grammar.py`; code: `reasoning_lab/training/`; every constant, the seed
({hyper.pretrain.seed}), library versions and the hash of each file: `manifest.json`. One problem in ten, by hash,
is held out of every stage. Corpus: {corpus}.

Rebuild from nothing: `python -m reasoning_lab.main stage=embedded_pair`.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("reasoning_lab/model_pair/embedded/base")
model = AutoModelForCausalLM.from_pretrained("reasoning_lab/model_pair/embedded/base", dtype="float32")
```

The prompt ends with a newline, the response starts right after it, `<eos>` ends it; there is no BOS and no chat
template.

## Figures

{FIGURES_BEGIN}
{figures}
{FIGURES_END}

## Licence

Apache-2.0. The corpus is generated by this project; no other data was used.
"""
