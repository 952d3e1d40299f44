"""What a reader of a dashboard sees of a run: its name, group, tags and columns. Pure functions of plain values."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from shlex import split
from typing import Any

from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.tracking.log import RunInfo

SYMBOLS = {
    "alpha": "α", "block_size": "B", "n_steps": "steps", "temperature": "T", "top_p": "p", "top_k": "k", "n": "n",
    "budget": "budget", "width": "width", "layer": "layer", "n_clusters": "categories",
}  # fmt: skip
"""Parameters by which a run is named, as papers write them; others keep their key."""
NAMED = ("alpha", "block_size", "temperature", "top_p", "top_k", "n", "budget", "width")
"""Those of a sampler that a name always has."""
NEUTRAL = {"top_p": 1.0, "top_k": 0}
"""Values by which nothing is cut."""
DRAWING = ("completions", "grades", "preferences", "report")
"""Stages that are about the arms, and so about the sampler or the steering."""
LONGEST_TAG = 64
"""Characters of a W&B tag."""


def run_info(
    experiment: Experiment,
    config: dict[str, Any],
    overrides: Mapping[str, Any],
    choices: Mapping[str, str | None],
    sweep: Path | None,
    cell: int | None,
    command: str,
    commit: str | None,
) -> RunInfo:
    """All that a dashboard is told of a run before it starts.

    Arguments: `config` is the resolved one, `overrides` what was set, by key, `choices` Hydra's option of each group,
    `sweep` the sweep's folder and `cell` the number in it (None of a single run), `command` the line that was typed.
    """
    tracking = experiment.tracking
    return RunInfo(
        project=tracking.project,
        entity=tracking.entity,
        group=group_of(choices, sweep),
        kind=experiment.stage,
        name=name_of(experiment, overrides, choices),
        config=config | columns(choices) | ({} if cell is None else {"cell": cell}),
        tags=tags_of(choices, tracking.tags),
        notes=tracking.notes,
        command=tuple(split(command)),
        commit=commit,
    )


def name_of(experiment: Experiment, overrides: Mapping[str, Any], choices: Mapping[str, str | None]) -> str:
    """What is studied with its parameters, the pair, the benchmark: "power α=4 B=16 · embedded · arithmetic"."""
    shown: dict[str, Any] = {}
    head = experiment.stage
    if experiment.stage in DRAWING:
        steering = choices.get("steering")
        is_steered = steering not in (None, "none") and any(arm.steering == experiment.steering for arm in
                                                            experiment.arms.values())  # fmt: skip
        head = f"hybrid {steering}" if is_steered else choices.get("sampler") or type(experiment.sampler).__name__
        shown = _parameters(experiment.sampler)
    shown |= {key: value for key, value in overrides.items() if _is_shown(key, value, choices)}
    parts = [f"{_symbol(key)}={_short(value)}" for key, value in shown.items()]
    pair = choices.get("model_pair") or experiment.model_pair.name
    benchmark = choices.get("benchmark") or type(experiment.benchmark).__name__
    return " · ".join([" ".join([str(head), *parts]), str(pair), str(benchmark)])


def _parameters(sampler: Any, prefix: str = "sampler") -> dict[str, Any]:
    """By key, those that a name has, of the sampler and of those that it is made of; what changes nothing is left
    out."""
    assert is_dataclass(sampler)
    given = {field.name: getattr(sampler, field.name) for field in fields(sampler)}
    shown = {name: given[name] for name in NAMED if isinstance(given.get(name), (int, float))}
    own = {f"{prefix}.{name}": value for name, value in shown.items() if value != NEUTRAL.get(name)}
    for name, value in given.items():
        if is_dataclass(value):
            own |= _parameters(value, f"{prefix}.{name}")
    return own


def _is_shown(key: str, value: Any, choices: Mapping[str, str | None]) -> bool:
    """Whether an override tells the run from its neighbours: no option of a group, and nothing of where it runs."""
    elsewhere = ("runtime", "tracking", "outputs", "title", "stage", "hydra", "notes")
    return key not in choices and key.partition(".")[0] not in elsewhere and isinstance(value, (int, float, str))


def _symbol(key: str) -> str:
    """α of sampler.alpha; of others the last part, which most often says it."""
    last = key.rpartition(".")[2]
    return SYMBOLS.get(last, last)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def group_of(choices: Mapping[str, str | None], sweep: Path | None) -> str:
    """Runs to be read together: of a sweep its name and time, else of an experiment, else of a pair on a benchmark."""
    if sweep is not None:
        return "/".join(sweep.parts[-2:])
    return choices.get("experiment") or f"{choices.get('model_pair')}/{choices.get('benchmark')}"


def tags_of(choices: Mapping[str, str | None], own: tuple[str, ...]) -> tuple[str, ...]:
    """Experiment, pair, benchmark and sweep where they are chosen, and the user's own; each once."""
    chosen = (choices.get(group) for group in ("experiment", "model_pair", "benchmark", "sweep"))
    return tuple(dict.fromkeys(tag[:LONGEST_TAG] for tag in (*chosen, *own) if tag))


def columns(choices: Mapping[str, str | None]) -> dict[str, Any]:
    """Short columns of the table of runs, `choice/sampler: power`. Options within options have none, for a dot in a
    column's name would be read as a level of the config."""
    of_ours = (group for group in choices if not group.startswith("hydra/") and "@" not in group)
    return {f"choice/{group}": choices[group] for group in of_ours if choices[group] is not None}
