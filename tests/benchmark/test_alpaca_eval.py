"""AlpacaEval 2.0: rows, references, and the whole way from answers to win rates before a scripted judge."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.benchmark.alpaca_eval import AlpacaEval, instruction_index, judged
from tests.benchmark.test_contract import GOLDEN, build
from tests.judge.server import Exchange, serve
from tests.judge.test_preference import answer

FIRST_OUTPUT = re.compile(r'"model_identifier": "m",\s*"output": """(.*?)"""', re.DOTALL)
ROWS = [json.loads(line) for line in (GOLDEN / "rows" / "alpaca_eval.jsonl").read_text().splitlines()]


def benchmark(**changes: Any) -> AlpacaEval:
    found = build("alpaca_eval", **changes)
    assert isinstance(found, AlpacaEval)
    return found


def test_a_released_list_is_read_like_lines(tmp_path: Path) -> None:
    file = tmp_path / "alpaca_eval.json"
    file.write_text(json.dumps(ROWS, indent=1))
    assert benchmark(path=str(file)).load() == benchmark().load()
    problem = benchmark().load()[1]
    assert (problem.id, problem.question, problem.gold) == ("eval-001", ROWS[1]["instruction"], ROWS[1]["output"])
    assert problem.tags == {"generator": "gpt4_1106_preview", "dataset": "selfinstruct"}
    assert instruction_index(problem.id) == 1


def test_references_are_matched_by_instruction(tmp_path: Path) -> None:
    file = tmp_path / "reference.json"
    others = [row | {"output": row["instruction"].upper(), "generator": "shouter"} for row in reversed(ROWS)]
    file.write_text(json.dumps(others))
    problems = benchmark(reference_path=str(file)).load()
    assert [problem.gold for problem in problems] == [row["instruction"].upper() for row in ROWS]
    assert {problem.tags["generator"] for problem in problems} == {"shouter"}
    file.write_text(json.dumps(others[1:]))
    with pytest.raises(ValueError, match=r"alpaca_eval.jsonl:4: benchmark.reference_path=.*has no output"):
        benchmark(reference_path=str(file)).load()
    partly = benchmark(reference_path=str(file), on_bad_row="skip")
    assert len(partly.load()) == 3 and len(partly.skipped()) == 1


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for content, message in (("{", "not JSON"), ('{"a": 1}', "one list of objects"), ('[{"a": 1}]', "no field")):
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            benchmark(path=str(file)).load()
    with pytest.raises(ValueError, match="no such file"):
        benchmark(path=str(tmp_path / "none.json")).load()


def test_no_answer_is_right_before_it_is_judged() -> None:
    alpaca = benchmark()
    problem = alpaca.load()[0]
    grade = alpaca.grade(problem, "The Loire.", 2, "stop")
    assert (grade.verdict, grade.reason, grade.chain) == ("ungradable", "needs judge", 2)
    assert alpaca.grade(problem, " ", 0, "stop").reason == "empty text"


@pytest.mark.parametrize(
    ("preference", "verdict"), [(0.51, "correct"), (0.5, "wrong"), (0.0, "wrong"), (None, "ungradable")]
)
def test_preferred_is_correct(preference: float | None, verdict: str) -> None:
    assert judged("eval-000", 0, preference).verdict == verdict


def dislikes_i_see(exchange: Exchange) -> None:
    """A judge that gives outputs that begin "I see" a quarter, in the package's own prompt."""
    found = FIRST_OUTPUT.search(exchange.body["messages"][1]["content"])
    assert found is not None
    p = 0.25 if found[1].startswith("I see") else 0.75
    answer(exchange, {"m": math.log(p), "M": math.log(1 - p)})


def run_metrics(row: dict[str, float]) -> dict[str, float]:
    return {f"{name}/main": value for name, value in row.items()}


def test_from_answers_to_win_rates(tmp_path: Path) -> None:
    """The embedded pair answers, a scripted judge compares, the package counts; a second run sends nothing."""
    pytest.importorskip("alpaca_eval", reason="the extra alpaca is not installed")
    from reasoning_lab.artifacts.preferences import Preferences
    from reasoning_lab.benchmark.arithmetic import Arithmetic
    from reasoning_lab.launch.compose import Composer
    from reasoning_lab.launch.typed import build as experiment_of
    from reasoning_lab.stages import preferences_stage
    from tests.report.export.test_alpaca_eval import synthetic
    from tests.runs import run_of

    questions = Arithmetic(n_problems=12, problem_seed=777, max_new_tokens=8).load()
    rows = [
        {"instruction": p.question + "\n", "output": "I see " * (n + 1), "generator": "reference", "dataset": "made_up"}
        for n, p in enumerate(questions)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    synthetic(tmp_path)

    with serve(dislikes_i_see) as server:
        config = Composer().compose([
            "arms=single", "sampler=greedy", "runtime=cpu", "runtime.rows=8", "benchmark=alpaca_eval",
            f"benchmark.path={tmp_path}/rows.json", f"benchmark.lc_tables={tmp_path}", "benchmark.max_new_tokens=16",
            "judge=alpaca_eval", f"judge.base_url={server.url}", f"outputs={tmp_path}/out",
        ])  # fmt: skip
        experiment = experiment_of(config)
        run = run_of(experiment, tmp_path / "out")
        row = {name.removesuffix("/main"): value for name, value in preferences_stage(run).items()}
        answers = run.arms.rows["main"].draws[0]
        found = run.context.get(Preferences(answers.completions, experiment.judge, 0))  # type: ignore[arg-type]
        given = run.context.get(answers.grades)
        assert len(server.requests) == 12, "the grades send nothing"
        assert preferences_stage(run_of(experiment, tmp_path / "out", "again")) == run_metrics(row)
        assert len(server.requests) == 12, "nor does a second run"
    assert [each.value for each in found] == pytest.approx([0.75] * 12)
    assert {each.output_first for each in found} == {True, False}
    assert all(grade.correct for grade in given) and len(given) == 12
    assert row["win_rate"] == pytest.approx(75.0) and row["n_wins"] == row["n_total"] == 12
    assert row["length_controlled_winrate"] is not None
    annotations = json.loads((run.folder / "alpaca_eval" / "main" / "annotations.json").read_text())
    assert [each["index"] for each in annotations] == list(range(12))
    assert {each["generator_2"] for each in annotations} == {"embedded-main"}
    assert {each["preference"] for each in annotations} == {1.75}
