"""What a reader sees of a run: name, group, tags, columns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from reasoning_lab.launch.compose import Composer, resolved
from reasoning_lab.launch.tracking.log import RunInfo
from reasoning_lab.launch.tracking.names import LONGEST_TAG, run_info
from reasoning_lab.launch.typed import build

SWEEP = Path("/o/sweeps/power_grid/2026-01-02_03-04-05")


def told(*overrides: str, sweep: Path | None = None, cell: int | None = None, **of_tracking: Any) -> RunInfo:
    """Of an experiment as the command line makes it."""
    config = Composer().compose(overrides, multirun=sweep is not None)
    experiment = build(config)
    experiment = replace(experiment, tracking=replace(experiment.tracking, **of_tracking))
    parsed = OverridesParser.create().parse_overrides([line for line in overrides if not line.startswith("hydra")])
    return run_info(
        experiment, resolved(config), {each.get_key_element(): each.value() for each in parsed},
        dict(config.hydra.runtime.choices), sweep, cell, f"reasoning-lab {' '.join(overrides)}", "c0ffee",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), "power α=4 B=16 · embedded · arithmetic"),
        (("sampler.alpha=8", "sampler.block_size=32"), "power α=8 B=32 · embedded · arithmetic"),
        (("seed=3", "sampler.n_steps=5"), "power α=4 B=16 seed=3 steps=5 · embedded · arithmetic"),
        (("sampler=majority", "sampler.pool.n=8", "arms=single"), "majority T=1 n=8 · embedded · arithmetic"),
        (("experiment=hybrid",), "hybrid embedded T=0.6 · embedded · arithmetic"),
        (("stage=taxonomy", "taxonomy=embedded", "taxonomy.layer=2", "taxonomy.n_clusters=15", "arms=single"),
         "taxonomy layer=2 categories=15 · embedded · arithmetic"),
        (("model_pair=smollm2", "benchmark=gsm8k", "arms=single"), "power α=4 B=16 · smollm2 · gsm8k"),
        (("runtime.rows=8", "outputs=elsewhere", "tracking.project=mine"), "power α=4 B=16 · embedded · arithmetic"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_what_is_studied(overrides: tuple[str, ...], name: str) -> None:
    assert told(*overrides).name == name


def test_cells_of_a_sweep_have_names_of_their_own_and_one_group() -> None:
    cells = [
        told("sweep=power_grid", f"sampler.alpha={alpha}", f"sampler.block_size={size}", sweep=SWEEP, cell=number)
        for number, (alpha, size) in enumerate([(2, 8), (2, 16), (4, 8)])
    ]
    assert [cell.name for cell in cells] == [
        "power α=2 B=8 · embedded · arithmetic",
        "power α=2 B=16 · embedded · arithmetic",
        "power α=4 B=8 · embedded · arithmetic",
    ]
    assert {cell.group for cell in cells} == {"power_grid/2026-01-02_03-04-05"}
    assert [cell.config["cell"] for cell in cells] == [0, 1, 2]
    assert "power_grid" in cells[0].tags


def test_single_runs_have_a_group_too() -> None:
    assert told().group == "embedded/arithmetic"
    assert told("experiment=hybrid").group == "hybrid"


def test_tags_say_what_was_chosen_then_the_users_own_each_once() -> None:
    info = told("experiment=hybrid", tags=("mine", "embedded", "x" * 100), notes="why")
    assert info.tags == ("hybrid", "embedded", "arithmetic", "mine", "x" * LONGEST_TAG)
    assert info.notes == "why"


def test_columns_are_short_and_none_has_a_dot() -> None:
    info = told("sampler.alpha=8")
    columns = {key: value for key, value in info.config.items() if key.startswith("choice/")}
    assert columns["choice/sampler"] == "power"
    assert columns["choice/benchmark"] == "arithmetic"
    assert not any("." in key or "@" in key for key in columns)
    assert "choice/experiment" not in columns, "what was not chosen has no column"
    assert info.config["sampler"]["alpha"] == 8, "the config itself is whole"
    assert (info.command, info.commit) == (("reasoning-lab", "sampler.alpha=8"), "c0ffee")


def test_the_users_tags_and_notes_come_from_the_config() -> None:
    info = told("tracking.tags=[a,b]", "tracking.notes='a run, of mine'")
    assert info.tags[-2:] == ("a", "b")
    assert info.notes == "a run, of mine"
