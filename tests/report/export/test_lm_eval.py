"""An arm in lm-eval's files: by hand, and field by field against files that lm-eval itself writes."""

import hashlib
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.records import Completion, Grade, Problem, Verdict
from reasoning_lab.report import ArmResult
from reasoning_lab.report.export.lm_eval import LmEvalTask, write_lm_eval

DATE = 1_700_000_000.25
VERDICTS: dict[str, tuple[Verdict, ...]] = {
    "p1": ("correct", "correct"), "p2": ("wrong", "correct"), "p10": ("ungradable", "timeout"),
}  # fmt: skip
PROBLEMS = {name: Problem(name, f"question of {name}é", "7", {"level": "1"}) for name in VERDICTS}


def arm(verdicts: dict[str, tuple[Verdict, ...]]) -> ArmResult:
    pairs: list[tuple[str, int, Verdict]] = [(n, c, v) for n, all_ in verdicts.items() for c, v in enumerate(all_)]
    completions = [Completion(n, c, f"text {n} {c}", (1, 2), "stop", -1.0, -0.5, 2) for n, c, _ in reversed(pairs)]
    grades = [Grade(n, c, v, None if v == "ungradable" else "7", "a rule") for n, c, v in pairs]
    return ArmResult("power", "power", "base", "Power()", completions, grades)


def task() -> LmEvalTask:
    prompts = {name: problem.question + "\n" for name, problem in PROBLEMS.items()}
    return LmEvalTask("toy", 3, PROBLEMS, prompts, 96, "org/pair:power", {"role": "base", "sampler": "Power()"}, 0)


def written(folder: Path, verdicts: dict[str, tuple[Verdict, ...]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    file = write_lm_eval(arm(verdicts), task(), folder, DATE, {"transformers": "5.0"})
    assert file == folder / "org__pair__power" / "results_2023-11-14T22-13-20.250000.json"
    samples = file.with_name("samples_toy_2023-11-14T22-13-20.250000.jsonl").read_text(encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8")), [json.loads(line) for line in samples.splitlines()]


def test_metrics_are_the_means_over_problems(tmp_path: Path) -> None:
    results, samples = written(tmp_path, VERDICTS)
    shares = [1.0, 0.5, 0.0]
    assert [sample["exact_match"] for sample in samples] == shares
    found = results["results"]["toy"]
    assert found["exact_match,grader"] == 0.5
    assert found["exact_match_stderr,grader"] == pytest.approx(statistics.stdev(shares) / math.sqrt(3))
    assert results["n-samples"]["toy"] == {"original": 3, "effective": 3}


def test_a_sample_has_the_texts_answers_and_verdicts_of_its_chains(tmp_path: Path) -> None:
    _, samples = written(tmp_path, VERDICTS)
    assert [sample["doc"]["id"] for sample in samples] == ["p1", "p2", "p10"]
    assert [sample["doc_id"] for sample in samples] == [0, 1, 2]
    last = samples[2]
    assert last["resps"] == [["text p10 0", "text p10 1"]]
    assert last["filtered_resps"] == [["", "7"]]
    assert last["verdicts"] == ["ungradable", "timeout"]
    assert last["prompt_hash"] == hashlib.sha256("question of p10é\n".encode()).hexdigest()


def test_the_same_input_gives_the_same_bytes_and_one_problem_has_no_error(tmp_path: Path) -> None:
    assert written(tmp_path / "a", VERDICTS) == written(tmp_path / "b", VERDICTS)
    results, samples = written(tmp_path / "c", {"p1": ("correct",)})
    assert results["results"]["toy"]["exact_match_stderr,grader"] is None
    assert samples[0]["filtered_resps"] == ["7"]


def test_fields_are_those_that_lm_eval_writes(tmp_path: Path) -> None:
    """Every field that lm-eval's own files have, but for those about its machine and its few-shot prompts."""
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")
    import lm_eval  # pyright: ignore[reportMissingImports]
    from lm_eval.loggers import EvaluationTracker  # pyright: ignore[reportMissingImports]

    from tests.test_lm_eval_model import LabLM, overrides
    from tests.test_lm_eval_model import task as local_task

    tracker = EvaluationTracker(output_path=str(tmp_path / "theirs"))
    model = LabLM(overrides(tmp_path / "out", "sampler=greedy"))
    found: Any = lm_eval.simple_evaluate(
        model=model, tasks=["local_arithmetic"], task_manager=local_task(tmp_path), evaluation_tracker=tracker
    )
    samples = found.pop("samples")
    tracker.save_results_aggregated(found, samples)
    tracker.save_results_samples("local_arithmetic", samples["local_arithmetic"])
    (results_file,) = (tmp_path / "theirs").rglob("results_*.json")
    (samples_file,) = (tmp_path / "theirs").rglob("samples_*.jsonl")
    theirs, their_sample = json.loads(results_file.read_text()), json.loads(samples_file.read_text().splitlines()[0])
    ours, our_samples = written(tmp_path / "ours", VERDICTS)
    assert set(their_sample) <= set(our_samples[0])
    assert {type(v) for k, v in our_samples[0].items() if k in their_sample} <= {type(v) for v in their_sample.values()}
    missing = set(theirs) - set(ours)
    assert missing <= {
        "git_hash", "pretty_env_info", "lm_eval_version", "upper_git_hash", "tokenizer_pad_token",
        "tokenizer_eos_token", "tokenizer_bos_token", "eot_token_id", "max_length", "system_instruction",
        "system_instruction_sha", "fewshot_as_multiturn", "chat_template", "chat_template_sha", "start_time",
        "end_time", "total_evaluation_time_seconds", "groups",
    }, missing  # fmt: skip
    for name in ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes"):
        assert type(ours[name]) is type(theirs[name]), name
    theirs_keys = {key.replace("last_integer", "grader") for key in theirs["results"]["local_arithmetic"]}
    assert theirs_keys <= set(ours["results"]["toy"]) | {" "}, theirs_keys
