"""The lab's samplers under lm-evaluation-harness itself, on a task with a local file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

import lm_eval  # pyright: ignore[reportMissingImports]
import torch
from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]
from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

from reasoning_lab.artifacts.sampling import AnswerId, Shape, score_texts
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.lm_eval_model import LabLM, _until
from tests.command import environment

ARITHMETIC = Arithmetic(n_problems=5, problem_seed=777, max_new_tokens=96)
PROBLEMS = ARITHMETIC.load()
TASK = """\
task: local_arithmetic
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}\\n"
doc_to_target: "{{{{gold}}}}"
repeats: {repeats}
generation_kwargs:
  until: ["\\n\\n"]
  max_gen_toks: 96
filter_list:
  - name: last_integer
    filter:
      - function: regex
        regex_pattern: "(-?[0-9]+)"
        group_select: -1
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


def overrides(outputs: Path, *more: str) -> str:
    return " ".join(["runtime=cpu", "runtime.rows=8", "benchmark.max_new_tokens=96", f"outputs={outputs}", *more])


def task(folder: Path, repeats: int = 1) -> TaskManager:
    """lm-eval's own view of a local task."""
    rows = [json.dumps({"question": p.question, "gold": p.gold}) for p in PROBLEMS]
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "local_arithmetic.yaml").write_text(TASK.format(file=folder / "rows.jsonl", repeats=repeats))
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    return TaskManager(include_path=str(folder), include_defaults=False)


def asked(name: str, *arguments: Any, doc_id: int = 0) -> Instance:
    return Instance(name, {}, arguments, 0, metadata=("t", doc_id, 1))


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> LabLM:
    return LabLM(overrides(tmp_path_factory.mktemp("out"), "sampler=greedy"))


# -- scoring ---------------------------------------------------------------------------------------------------------


def test_loglikelihood_is_forced_scoring_and_the_law_itself(greedy: LabLM) -> None:
    question = PROBLEMS[0].question + "\n"
    (answer,) = greedy.generate_until([asked("generate_until", question, {"until": []})])
    # lm-eval moves white space from the end of a context to the continuation: so it is scored.
    texts = ["\n" + answer, "\n" + answer.replace(answer.split()[0], answer.split()[1], 1)]
    found = greedy.loglikelihood([asked("loglikelihood", question, text[1:]) for text in texts], disable_tqdm=True)
    assert [is_greedy for _, is_greedy in found] == [True, False]
    model, prompt = greedy._model, greedy._model.encode(PROBLEMS[0].question)
    ids = [greedy.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    triples = [(AnswerId("p", n), prompt, tuple(each)) for n, each in enumerate(ids)]
    scores = score_texts(model, triples, Shape(8, 64), 96)
    for n, (value, _) in enumerate(found):
        assert value == pytest.approx(scores[AnswerId("p", n)][0] * len(ids[n]), rel=1e-12)
        steps = [model.policy.next_logits([*prompt, *ids[n][:j]]).double() for j in range(len(ids[n]))]
        exact = sum(float(torch.log_softmax(step, -1)[id]) for step, id in zip(steps, ids[n], strict=True))
        assert value == pytest.approx(exact, abs=1e-3)


def test_rolling_covers_every_token_once_after_the_prefix(greedy: LabLM) -> None:
    text = PROBLEMS[0].question + "\n"
    (value,) = greedy.loglikelihood_rolling([asked("loglikelihood_rolling", text)], disable_tqdm=True)
    ids = greedy.tok_encode(text, add_special_tokens=False)
    ((forced, _),) = greedy._loglikelihood_tokens([(None, [greedy.prefix_token_id], ids)])
    assert value == pytest.approx(forced, rel=1e-12)


# -- drawing ---------------------------------------------------------------------------------------------------------


def test_until_cuts_at_the_first_of_its_texts() -> None:
    assert _until("a b\n\nc d", ["d", "\n\n"]) == "a b"
    assert _until("a b", ["x", ""]) == _until("a b", None) == "a b"
    assert _until("a b", "b") == "a "


def test_repeats_are_different_chains_and_the_same_at_every_call(tmp_path: Path) -> None:
    request = asked("generate_until", PROBLEMS[0].question + "\n", {"until": ["\n\n"], "max_gen_toks": 48})
    models = [LabLM(overrides(tmp_path / name, "sampler=temperature", "sampler.temperature=1.0")) for name in "ab"]
    first, again = (model.generate_until([request] * 4) for model in models)
    assert first == again
    assert len(set(first)) > 1


@pytest.mark.parametrize("sampler", ["power sampler.n_steps=1", "majority sampler.pool.n=4"])
def test_a_task_runs_with_the_labs_samplers(tmp_path: Path, sampler: str) -> None:
    outputs = tmp_path / "out"
    model = LabLM(overrides(outputs, f"sampler={sampler}"), role="grpo")
    results: Any = lm_eval.simple_evaluate(
        model=model, tasks=["local_arithmetic"], task_manager=task(tmp_path), bootstrap_iters=0
    )
    samples = results["samples"]["local_arithmetic"]
    assert len(samples) == len(PROBLEMS)
    # The harness read the lab's own answers: its metric is the lab's grade of the same texts.
    for sample, problem in zip(samples, PROBLEMS, strict=True):
        ((text,),) = sample["resps"]
        grade = ARITHMETIC.grade(problem, text, 0, "stop")
        assert sample["exact_match"] == float(grade.correct), (text, grade)
    value = results["results"]["local_arithmetic"]["exact_match,last_integer"]
    assert value == sum(sample["exact_match"] for sample in samples) / len(samples)
    # Of a vote the answers that it chose, beside the pool that it chose them from: as any arm's.
    (stored,) = outputs.glob(f"artifacts/completions/embedded-grpo-{sampler.split()[0]}-*/completions.jsonl")
    texts = {row["problem"]: row["text"] for row in map(json.loads, stored.read_text().splitlines())}
    assert [texts[f"local_arithmetic/{n}/0"] for n in range(5)] == [sample["resps"][0][0] for sample in samples]
    print(f"{sampler}: exact_match {value}")


def test_the_command_finds_the_model_by_name(tmp_path: Path) -> None:
    task(tmp_path)
    arguments = [
        "run", "--model", "reasoning_lab", "--model_args", f"overrides={overrides(tmp_path / 'out', 'sampler=greedy')}",
        "--tasks", "local_arithmetic", "--include_path", str(tmp_path), "--output_path", str(tmp_path / "results"),
        "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "reasoning_lab.lm_eval_model", *arguments],
        cwd=tmp_path, env=environment(tmp_path, HF_DATASETS_CACHE=str(tmp_path / "cache")), capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    (file,) = (tmp_path / "results").rglob("results_*.json")
    results = json.loads(file.read_text())
    assert results["config"]["model"] == "reasoning_lab"
    assert results["n-samples"]["local_arithmetic"] == {"original": 5, "effective": 5}


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_a_mistake_is_named_before_anything_is_drawn(greedy: LabLM, tmp_path: Path) -> None:
    long = asked("generate_until", PROBLEMS[0].question * 20 + "\n", {"until": []})
    with pytest.raises(ValueError, match=r"runtime.max_prompt_tokens=64: must be 1 to that many"):
        greedy.generate_until([long])
    with pytest.raises(ValueError, match=r"exceed \d+ positions; raise runtime.max_prompt_tokens"):
        greedy.loglikelihood([asked("loglikelihood", PROBLEMS[0].question, " " + PROBLEMS[0].question * 20)])
    with pytest.raises(ValueError, match=r"prompt_format=chat"):
        greedy.apply_chat_template([{"role": "user", "content": "x"}])
    with pytest.raises(ConfigError, match=r"tokens_matched_to=main.*n or budget"):
        LabLM(overrides(tmp_path, "sampler=best_of_n sampler.pool.n=null sampler.pool.tokens_matched_to=main"))


def test_a_cue_that_is_to_be_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sampler.cue=null: no cue is looked for here"):
        LabLM(overrides(tmp_path, "sampler=cue"))
