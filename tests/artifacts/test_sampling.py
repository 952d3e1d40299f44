"""Answers drawn with a log: whoever dies and comes back has drawn the same and counts the same."""

from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.sampling import Shape, draw_completions
from reasoning_lab.engine.local import Rows
from reasoning_lab.model_pair.loaded import LoadedModel, load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.records import Completion
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.best_of_n import Pool
from reasoning_lab.sampler.power import Power
from tests.engine.witness import witnessed

SAMPLERS = {"power": Power(24, 4.0, 8, 2), "pool": Pool(24, 1.0, n=3), "ancestral": Temperature(24, 1.0)}
SHAPE = Shape(2, 64)
KEY = "5" * 64
QUESTIONS = {"a": "Lily has 40 cards. She sells 5. How many cards now?\n", "b": "Tom has 3 pens. How many pens now?\n"}


class Death(BaseException):
    """Stands for a kill between two appends."""


@pytest.fixture(scope="module")
def model() -> LoadedModel[Any]:
    return load_model(ModelSource("package:embedded/base"), "float32", "cpu")


def drawn(model: LoadedModel[Any], sampler: Any, log: RunLog, shape: Shape = SHAPE) -> list[Completion]:
    prompts = {name: model.encode(text) for name, text in QUESTIONS.items()}
    answers, _ = draw_completions(
        Rows(model.policy), model.reader, sampler, prompts, (0, 2), 0, lambda _: None, shape, log, 0.0, lambda *_: None
    )  # fmt: skip
    return answers


@pytest.mark.parametrize("name", SAMPLERS)
def test_death_at_any_append_neither_loses_nor_doubles_what_an_answer_took(
    name: str, model: LoadedModel[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = drawn(model, SAMPLERS[name], RunLog(tmp_path / "whole", KEY))
    n_records = len(RunLog(tmp_path / "whole", KEY).records)
    assert n_records > len(whole) or name == "ancestral", "states are saved at every checkpoint"
    append = RunLog.append
    left = [0]

    def dying(self: RunLog, record: dict[str, Any]) -> None:
        append(self, record)
        left[0] -= 1
        if left[0] == 0:
            raise Death

    monkeypatch.setattr(RunLog, "append", dying)
    for first in range(1, n_records):
        log = tmp_path / f"dying{first}"
        left[0] = first
        with pytest.raises(Death):
            drawn(model, SAMPLERS[name], RunLog(log, KEY))
        left[0] = 2  # Once more, soon after it came back.
        try:
            drawn(model, SAMPLERS[name], RunLog(log, KEY))
        except Death:
            left[0] = 0
        assert drawn(model, SAMPLERS[name], RunLog(log, KEY)) == whole


def test_an_answer_of_the_embedded_model_took_what_was_passed(model: LoadedModel[Any], tmp_path: Path) -> None:
    with witnessed(model.policy.model, spare=64 + 24) as seen:
        answers = drawn(model, SAMPLERS["power"], RunLog(tmp_path / "log", KEY), Shape(1, 64))
    taken = [answer.compute for answer in answers]
    assert all(each is not None and each.thinking.layers == 0 for each in taken)
    assert sum(each.own.decode for each in taken if each) == seen.real.decode
    assert sum(each.own.heads for each in taken if each) == seen.real.heads == sum(a.decode_tokens for a in answers)
    # Two chains of a problem: each answers for its prompt, which is read once.
    assert sum(each.own.prefill for each in taken if each) == 2 * seen.real.prefill


def test_completions_come_back_from_their_lines(model: LoadedModel[Any], tmp_path: Path) -> None:
    for answer in drawn(model, SAMPLERS["pool"], RunLog(tmp_path / "log", KEY)):
        assert answer.compute is not None
        assert Completion.from_json(answer.to_json()) == answer
