"""GSM8K: its rows and all its references."""

import re
from pathlib import Path

import pytest

from tests.benchmark.data import shared
from tests.benchmark.test_contract import build


@pytest.mark.slow
def test_every_reference_is_correct_against_itself() -> None:
    benchmark = build("gsm8k", path=shared("gsm8k_test.jsonl"))
    problems = benchmark.load()
    assert len(problems) == 1319
    assert (problems[0].id, problems[0].gold, problems[-1].id) == ("test-00000", "18", "test-01318")
    for problem in problems:
        for text in (benchmark.gold_text(problem), f"#### {problem.gold}\n", f"The answer is ${problem.gold} dollars."):
            assert benchmark.grade(problem, text, 0, "cap").correct
        assert not benchmark.grade(problem, f"\\boxed{{{problem.gold}1}}", 0, "stop").correct


@pytest.mark.parametrize("answer", ["18", "#### ", "#### eighteen", "#### 1.5", "#### 18 dollars", "#### 1,23"])
def test_a_row_without_an_integer_reference_is_refused(answer: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f'{{"question": "q", "answer": "{answer}"}}\n')
    with pytest.raises(ValueError, match=re.escape(f"{path}:1: answer does not end in")):
        build("gsm8k", path=str(path)).load()


@pytest.mark.parametrize(
    ("text", "answer"),
    [("\\boxed{18 dollars}", "18"), ("\\boxed{x = -5}", "-5"), ("\\boxed{\\$1,175.50}", "1,175.50"),
     ("\\boxed{20 miles/hour}", "20"), ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"), ("\\boxed{many}", "many")],
)  # fmt: skip
def test_of_a_number_in_words_the_number_is_the_answer(text: str, answer: str) -> None:
    assert build("gsm8k").answer(text) == answer
