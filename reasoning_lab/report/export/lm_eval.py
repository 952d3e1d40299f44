"""Completions and grades in the files of lm-evaluation-harness, for the tools that read those.

One arm is one model, one benchmark one task: DIR/<model>/results_<date>.json and samples_<task>_<date>.jsonl, as
lm-eval 0.4.13 writes them. The verdicts are the lab's own grader's, under the filter name `grader`.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.report.data import ArmResult
from reasoning_lab.report.words import finite, natural_key

METRIC, FILTER = "exact_match", "grader"


@dataclass(frozen=True)
class LmEvalTask:
    """What lm-eval calls a task, and what is known of the run."""

    name: str
    """File-safe."""
    version: int
    """Of the benchmark."""
    problems: Mapping[str, Problem]
    prompts: Mapping[str, str]
    """Problem id -> the text that the model was given."""
    max_new_tokens: int
    model: str
    """Name of model and arm, for the folder."""
    model_args: Mapping[str, Any]
    """What determines the law: model, role, sampler ..."""
    seed: int


def write_lm_eval(arm: ArmResult, task: LmEvalTask, out_dir: Path, date: float, versions: Mapping[str, str]) -> Path:
    """Write an arm's results and samples; return the results' file. The same input gives the same bytes.

    Arguments: `date` is the seconds since the epoch that name the files; `versions` are of libraries (transformers).
    `exact_match,grader` is the mean over problems of the share of correct chains, `exact_match_stderr,grader` its
    standard error over problems, sd / sqrt(n) with divisor n - 1 (null for one problem).
    """
    folder = out_dir / _file_safe(task.model)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(date, UTC).replace(tzinfo=None).isoformat(timespec="microseconds").replace(":", "-")
    samples = _samples(arm, task)
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples]
    (folder / f"samples_{task.name}_{stamp}.jsonl").write_text("".join(lines), encoding="utf-8")
    file = folder / f"results_{stamp}.json"
    results = _results(task, samples, date, versions)
    file.write_text(json.dumps(results, indent=2, ensure_ascii=False), encoding="utf-8")
    return file


def _samples(arm: ArmResult, task: LmEvalTask) -> list[dict[str, Any]]:
    """A record per problem, in natural order of ids; its chains are the repeats of one request."""
    answers: dict[str, list[tuple[Completion, Grade]]] = {}
    grades = {(grade.problem, grade.chain): grade for grade in arm.grades}
    for answer in sorted(arm.completions, key=lambda answer: answer.chain):
        answers.setdefault(answer.problem, []).append((answer, grades[answer.problem, answer.chain]))
    ids = sorted(answers, key=natural_key)
    return [_sample(number, task.problems[id], task, answers[id]) for number, id in enumerate(ids)]


def _sample(
    number: int, problem: Problem, task: LmEvalTask, answers: Sequence[tuple[Completion, Grade]]
) -> dict[str, Any]:
    doc, prompt = problem.to_json(), task.prompts[problem.id]
    read = [grade.answer or "" for _, grade in answers]
    return {
        "doc_id": number,
        "doc": doc,
        "target": problem.gold,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": _generation(task)}},
        "resps": [[answer.text for answer, _ in answers]],
        "filtered_resps": read if len(read) == 1 else [read],
        "filter": FILTER,
        "metrics": [METRIC],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(problem.gold),
        METRIC: sum(grade.correct for _, grade in answers) / len(answers),
        # Beyond lm-eval's fields: its metrics can't tell a wrong answer from one that is none.
        "verdicts": [grade.verdict for _, grade in answers],
        "reasons": [grade.reason for _, grade in answers],
    }


def _results(
    task: LmEvalTask, samples: list[dict[str, Any]], date: float, versions: Mapping[str, str]
) -> dict[str, Any]:
    name, n = task.name, len(samples)
    values = [sample[METRIC] for sample in samples]
    mean = sum(values) / n
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n) if n > 1 else math.nan
    hashes = "".join(sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"] for sample in samples)
    scored = {f"{METRIC},{FILTER}": mean, f"{METRIC}_stderr,{FILTER}": finite(error)}
    config = {
        "task": name, "output_type": "generate_until", "repeats": len(samples[0]["verdicts"]), "num_fewshot": 0,
        "generation_kwargs": _generation(task), "metadata": {"version": task.version},
        "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    return {
        "results": {name: {"alias": name, "name": name, "sample_len": n, **scored}},
        "group_subtasks": {name: []},
        "configs": {name: config},
        "versions": {name: task.version},
        "n-shot": {name: 0},
        "higher_is_better": {name: {METRIC: True}},
        "n-samples": {name: {"original": n, "effective": n}},
        "config": {"model": "reasoning_lab", "model_args": dict(task.model_args), "random_seed": task.seed},
        "date": date,
        "transformers_version": versions.get("transformers"),
        "task_hashes": {name: _hash(hashes)},
        "model_source": "reasoning_lab",
        "model_name": task.model,
        "model_name_sanitized": _file_safe(task.model),
    }


def _generation(task: LmEvalTask) -> dict[str, Any]:
    return {"until": [], "max_gen_toks": task.max_new_tokens}


def _file_safe(name: str) -> str:
    """As lm-eval makes a folder's name of a model's."""
    return re.sub(r'["<>:/|\\?*\[\]]+', "__", name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
