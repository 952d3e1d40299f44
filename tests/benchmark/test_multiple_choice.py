"""Multiple choice: the keyed order of the options, and the loaders in the hub's schema."""

import csv
import json
from collections import Counter
from itertools import permutations
from math import factorial
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chisquare

from reasoning_lab.benchmark.multiple_choice import ChoiceProblem, MultipleChoice
from reasoning_lab.records import Problem
from tests.benchmark.test_contract import GOLDEN, WRONG_TYPE, build

ROWS = [json.loads(line) for line in (GOLDEN / "rows" / "gpqa_diamond.jsonl").read_text().splitlines()]
PRO_ROWS = [json.loads(line) for line in (GOLDEN / "rows" / "mmlu_pro.jsonl").read_text().splitlines()]


def gpqa(**changes: Any) -> MultipleChoice:
    benchmark = build("gpqa_diamond", **changes)
    assert isinstance(benchmark, MultipleChoice)
    return benchmark


BY_SEED = {seed: gpqa(option_seed=seed) for seed in (0, 1)}


def order(seed: int, id: str, n: int = 4) -> tuple[str, ...]:
    texts = [f"option {index}" for index in range(n)]
    return BY_SEED[seed].lettered(id, "q", texts, 0, {}, "f:1").options


def test_every_order_is_as_likely_as_any() -> None:
    n = 2400
    counts = Counter(order(0, str(id)) for id in range(n))
    assert set(counts) == {tuple(f"option {i}" for i in p) for p in permutations(range(4))}
    assert chisquare(list(counts.values())).pvalue > 1e-4
    assert len(counts) == factorial(4)


def test_the_order_depends_on_seed_and_problem_alone(tmp_path: Path) -> None:
    problems = gpqa().load()
    path = tmp_path / "turned.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[::-1]))
    assert sorted(gpqa(path=str(path)).load(), key=lambda p: p.id) == sorted(problems, key=lambda p: p.id)
    assert [p for p in gpqa(n_problems=2).load() if p not in problems] == []
    assert any(order(0, id) != order(1, id) for id in "abcd")
    assert any(order(0, one) != order(0, other) for one, other in permutations("abcd", 2))


def test_the_letter_follows_the_right_option() -> None:
    for problem, row in zip(gpqa().load(), ROWS, strict=True):
        assert isinstance(problem, ChoiceProblem)
        assert problem.options["ABCD".index(problem.gold)] == row["Correct Answer"].strip()
        assert problem.question.endswith("\n".join(f"{a}) {b}" for a, b in zip("ABCD", problem.options, strict=True)))
        assert gpqa().grade(problem, f"\\boxed{{\\text{{{row['Correct Answer']}}}}}", 0, "stop").correct
        assert not gpqa().grade(problem, f"The answer is {row['Incorrect Answer 1']}.", 0, "stop").correct


def test_without_a_seed_the_data_keep_their_order() -> None:
    for problem, row in zip(build("mmlu_pro").load(), PRO_ROWS, strict=True):
        assert isinstance(problem, ChoiceProblem)
        assert problem.options == tuple(option for option in row["options"] if option != "N/A")
        assert problem.gold == row["answer"]
    with pytest.raises(ValueError, match=r"^option_seed=None: must be a number"):
        gpqa(option_seed=None)


def test_with_a_seed_mmlu_pro_is_shuffled_too() -> None:
    plain, shuffled = build("mmlu_pro").load()[0], build("mmlu_pro", option_seed=3).load()[0]
    assert isinstance(plain, ChoiceProblem) and isinstance(shuffled, ChoiceProblem)
    assert sorted(plain.options) == sorted(shuffled.options) and plain.options != shuffled.options
    assert shuffled.options["ABCDEFGHIJ".index(shuffled.gold)] == "10"


def test_the_instruction_names_the_letters_there_are() -> None:
    ten, three, _ = build("mmlu_pro", prompt_style="karan2025").load()
    benchmark = build("mmlu_pro", prompt_style="karan2025")
    assert "one of ABCDEFGHIJ (ex. '\\boxed{A}')" in benchmark.prompt(ten)
    assert "one of ABC (ex." in benchmark.prompt(three)
    assert build("mmlu_pro", prompt_style="model_card").prompt(three).endswith('`"answer": "C"`.')


def test_parquet_and_csv_hold_the_same_problems(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(PRO_ROWS), tmp_path / "p.parquet")
    with (tmp_path / "p.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PRO_ROWS[0])
        writer.writeheader()
        writer.writerows(row | {"options": json.dumps(row["options"])} for row in PRO_ROWS)
    wanted = build("mmlu_pro").load()
    assert build("mmlu_pro", path=str(tmp_path / "p.parquet")).load() == wanted
    assert build("mmlu_pro", path=str(tmp_path / "p.csv")).load() == wanted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": ["1"], "answer": "A"}, "1 options, must be 2 to 10"),
        ({"options": list("abcdefghijkl")}, "12 options, must be 2 to 10"),
        ({"options": None}, "options is of type NoneType"), ({"options": "[1"}, "no JSON list"),
        ({"options": [1, 2]}, "options is of type int"), ({"answer": "D"}, "is no letter of the 3 options"),
        ({"answer": "b"}, None), ({"answer": 1}, "answer is of type int"), ({"question_id": "x"}, "must be a number"),
        ({"question_id": True}, "must be a number"), ({"options": ["1", "2", "2 "], "answer": "B"}, "is there twice"),
        ({"options": ["N/A"] * 5}, "options"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(change: dict[str, Any], said: str | None) -> None:
    benchmark = build("mmlu_pro")
    assert isinstance(benchmark, MultipleChoice)
    row = PRO_ROWS[1] | change
    if said is None:
        assert isinstance(benchmark.problem(row, 0, "f:1"), Problem)
    else:
        with pytest.raises(ValueError, match=rf"^f:1: .*{said}"):
            benchmark.problem(row, 0, "f:1")


@pytest.mark.parametrize(
    ("field", "value"), [("prompt_style", "cot"), ("grader", "math"), ("option_seed", -1), ("option_seed", "x")]
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    with pytest.raises(WRONG_TYPE, match=field):
        gpqa(**{field: value})
