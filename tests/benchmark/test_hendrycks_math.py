"""Hendrycks MATH: its rows, and a holdout that shares nothing with MATH500."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.benchmark.hendrycks_math import SUBJECTS
from tests.benchmark.test_contract import WRONG_TYPE, build

ROW = {"problem": "What is $1 + 1$?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}
MATH500 = {"problem": "What is $1 + 1$?", "answer": "2", "unique_id": "test/algebra/1.json", "subject": "Algebra"}


def files(folder: Path, rows: list[dict[str, Any]], math500: list[dict[str, Any]]) -> dict[str, str]:
    for name, found in (("math.jsonl", rows), ("math500.jsonl", math500)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in found))
    return {"path": str(folder / "math.jsonl"), "math500_path": str(folder / "math500.jsonl")}


@pytest.mark.parametrize("split", ["train", "test"])
def test_by_text_no_problem_of_math500_is_left_in_any_split(tmp_path: Path, split: str) -> None:
    copies = ["What is $1 + 1$?", "what is\n$1 + 1$ ?", "What is $1+1$?", "Ｗhat is $1 + 1$?"]
    rows = [ROW | {"problem": text} for text in (*copies, "What is $1 + 2$?")]
    given = files(tmp_path, rows, [MATH500, MATH500 | {"problem": "Another", "unique_id": "test/algebra/2.json"}])
    assert [p.question for p in build("hendrycks_math", split=split, **given).load()] == ["What is $1 + 2$?"]
    assert len(build("hendrycks_math", split=split, disjoint_by="none", **given).load()) == 5


def test_by_id_only_the_id_counts(tmp_path: Path) -> None:
    rows = [ROW | {"unique_id": f"test/algebra/{n}.json"} for n in (1, 2)]
    given = files(tmp_path, rows, [MATH500])
    assert [p.id for p in build("hendrycks_math", disjoint_by="id", **given).load()] == ["test/algebra/2.json"]
    given = files(tmp_path, [ROW], [MATH500])
    with pytest.raises(ValueError, match=r"^benchmark\.disjoint_by='id': the rows have no unique_id; set it to text"):
        build("hendrycks_math", disjoint_by="id", **given).load()


def test_the_holdout_is_counted_after_math500_is_out(tmp_path: Path) -> None:
    rows = [ROW | {"problem": f"What is ${n}$?"} for n in range(6)]
    given = files(tmp_path, rows, [MATH500 | {"problem": f"What is ${n}$?"} for n in range(2)])
    assert len(build("hendrycks_math", n_problems=4, **given).load()) == 4
    with pytest.raises(ValueError, match=r"n_problems=5: must be at most 4, the number of problems"):
        build("hendrycks_math", n_problems=5, **given).load()


def test_nothing_left_is_an_error_and_so_is_a_bad_row_of_math500(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no problem is in it"):
        build("hendrycks_math", **files(tmp_path, [ROW], [MATH500])).load()
    with pytest.raises(ValueError, match=r"math500\.jsonl:1: no field 'problem'"):
        build("hendrycks_math", **files(tmp_path, [ROW], [{"question": "q"}])).load()
    with pytest.raises(ValueError, match=r"no such file"):
        build("hendrycks_math", math500_path=str(tmp_path / "none.jsonl")).load()


def test_all_subjects_of_the_hub_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[str] = []

    def load(hub_id: str, config: str, revision: str, split: str) -> list[dict[str, str]]:
        asked.append(config)
        return [ROW | {"problem": f"{config} {n}", "type": config} for n in range(2)]

    monkeypatch.setattr(datasets, "load_dataset", load)
    problems = build("hendrycks_math", path=None, split="train").load()
    assert asked == list(SUBJECTS) and len(problems) == 14
    assert [p.id for p in problems] == [f"train-{n:05d}" for n in range(14)]
    assert [p.question for p in build("hendrycks_math", path=None, hub_config="geometry").load()] == [
        "geometry 0", "geometry 1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"solution": "no box"}, "solution has no \\boxed answer"),
        ({"solution": None}, "solution is of type NoneType"),
        ({"level": "Level 6"}, "level='Level 6', must be 1 to 5"), ({"type": ""}, "type is empty"),
        ({"problem": 3}, "problem is of type int"), ({"unique_id": 3}, "unique_id is of type int"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    given = files(tmp_path, [ROW | {"problem": "q"}, ROW | change], [])
    with pytest.raises(ValueError, match=rf"math\.jsonl:2: {re.escape(said)}"):
        build("hendrycks_math", **given).load()


def test_the_reference_is_the_answer_or_the_last_box(tmp_path: Path) -> None:
    rows = [
        ROW | {"problem": "a", "solution": "\\boxed{1} \\boxed{\\frac{1}{2}}"},
        ROW | {"problem": "b", "answer": "7"},
    ]
    assert [p.gold for p in build("hendrycks_math", **files(tmp_path, rows, [])).load()] == ["\\frac{1}{2}", "7"]


@pytest.mark.parametrize(("field", "value"), [("disjoint_by", "hash"), ("math500_hub_id", ""), ("math500_path", " ")])
def test_a_bad_field_is_named(field: str, value: object) -> None:
    with pytest.raises(WRONG_TYPE, match=field):
        build("hendrycks_math", **{field: value})
