"""What every engine promises; each yaml of conf/engine enters by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from reasoning_lab.engine.base import WORDS, Engine, Need
from reasoning_lab.engine.policy import Checkpoint, Request
from reasoning_lab.engine.scheduler import run
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.toy import ToyPolicy
from tests.sampler.test_contract import LENGTH, SAMPLERS, prompt, sampler

ENGINES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "engine").glob("*.yaml"))
NEEDING: dict[str, str] = {
    "top_k": "top_k50", "top_p": "nucleus", "excluded": "budget_forcing", "alternatives": "beam",
}  # fmt: skip
"""A sampler that needs it and nothing else."""


def engine(name: str) -> Engine:
    return build(Composer().compose([f"engine={name}", "arms=single", "sampler.redraw=from_cut"])).engine


def asked_by(name: str) -> set[Need]:
    """What the requests of a sampler ask for on the toy policy."""
    found: set[Need] = set()

    def spied(coroutine: Any) -> Any:
        answer = None
        while True:
            try:
                asked = coroutine.send(answer)
            except StopIteration as end:
                return end.value
            for request in asked if isinstance(asked, list) else [] if isinstance(asked, Checkpoint) else [asked]:
                found.update(_asked(request))
            answer = yield asked

    tasks = [(i, spied(sampler(name).sample(prompt(i)))) for i in range(20)]
    list(run(ToyPolicy.random(5, length=LENGTH), tasks, 4, 16))
    return found


def _asked(request: Request) -> set[Need]:
    asked: dict[Need, bool] = {
        "top_k": request.top_k > 0, "top_p": request.top_p < 1, "excluded": request.excluded is not None,
        "forced": bool(request.forced) and not request.insert, "alternatives": request.n_alternatives > 0,
    }  # fmt: skip
    return {need for need, is_asked in asked.items() if is_asked}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_says_what_its_requests_ask_for(name: str) -> None:
    assert asked_by(name) <= sampler(name).needs
    assert sampler("cue").needs == replace(sampler("power"), redraw="from_cut").needs == frozenset(), "what all give"
    assert sampler("power").needs == {"excluded"}


def test_a_choice_by_confidence_needs_what_it_reads() -> None:
    chosen = build(Composer().compose(["sampler=best_of_n", "sampler.score=confidence", "arms=single"])).sampler
    assert chosen.needs == {"negentropy"}


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_called_as_its_option_and_says_what_it_is(name: str) -> None:
    option = engine(name)
    assert option.name == option.identity()["engine"] == name
    assert "url" not in str(option.identity()).lower()
    assert option.lacks <= set(get_args(Need)) == set(WORDS)


@pytest.mark.parametrize("name", ENGINES)
def test_an_arm_that_an_engine_cant_draw_is_refused_by_name_before_any_work(name: str) -> None:
    for need, sampler_name in NEEDING.items():
        overrides = [f"engine={name}", f"sampler={sampler_name}", "arms=single"]
        if need in engine(name).lacks:
            with pytest.raises(ConfigError, match=rf"arms\.main: .*engine={name}.*drop the arm by ~arms\.main\."):
                build(Composer().compose(overrides))
        else:
            assert build(Composer().compose(overrides)).engine == engine(name)


@pytest.mark.parametrize("name", ENGINES)
def test_a_steered_arm_is_for_engines_that_take_any_law(name: str) -> None:
    overrides = [f"engine={name}", "experiment=hybrid"]
    if engine(name).takes_laws:
        build(Composer().compose(overrides))
        return
    with pytest.raises(ConfigError, match=rf"arms\.\w+: engine={name} draws from a model as it is.*choose engine="):
        build(Composer().compose([*overrides, "~arms.thinking", "baseline=base"]))
