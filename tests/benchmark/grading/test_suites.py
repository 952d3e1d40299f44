"""Two suites of cases by two hands that had not seen the graders: what is misjudged is known, case by case."""

import json
from pathlib import Path

import pytest

from reasoning_lab.benchmark.grading.choices import chosen
from reasoning_lab.benchmark.grading.equality import shared_pool
from reasoning_lab.benchmark.grading.extraction import extract_answer

SUITES = Path(__file__).parents[2] / "golden" / "grading"
ACCEPTED_WRONGLY: dict[str, set[str]] = {"suite_first": set(), "suite_second": {"attack-031", "attack-307"}}
REFUSED_WRONGLY = {
    "suite_first": {"set-037", "whole-114"},
    "suite_second": {
        "attack-003", "attack-012", "attack-043", "attack-044", "attack-045", "attack-270", "attack-271", "attack-272",
        "attack-279", "attack-369", "attack-580",
    },
}  # fmt: skip


def accepts(case: dict[str, str]) -> bool:
    if case["kind"] == "choice":
        choice = chosen(case["text"], ("",) * 4)
        return choice is not None and choice.text == case["gold"]
    answer = extract_answer(case["text"])
    return answer is not None and shared_pool().verify(case["gold"], answer.text).verdict == "correct"


@pytest.mark.parametrize("suite", ["suite_first", "suite_second"])
def test_misjudged_cases_are_the_known_ones(suite: str) -> None:
    cases = [json.loads(line) for line in (SUITES / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(cases) > 600
    verdicts = {case["id"]: (accepts(case), case["correct"]) for case in cases}
    assert {name for name, (said, truth) in verdicts.items() if said and not truth} == ACCEPTED_WRONGLY[suite]
    assert {name for name, (said, truth) in verdicts.items() if truth and not said} == REFUSED_WRONGLY[suite]
