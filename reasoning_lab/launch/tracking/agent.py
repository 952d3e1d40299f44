"""A sweep as W&B's agents take it: the same cells, started by `wandb agent` instead of by this project."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import yaml

from reasoning_lab.launch.errors import ConfigError

ARGUMENTS = "${args_no_hyphens}"
"""What an agent replaces by key=value for each swept key."""


def agent_file(cells: Sequence[Sequence[str]], name: str, metric: str = "accuracy") -> str:
    """The yaml of a W&B grid sweep that starts exactly these cells.

    Arguments: `cells` are the overrides of each, as typed; `metric` is what the agents' page sorts by. ConfigError
    where the cells are no full grid of what they set, which a grid sweep would start.
    """
    common = [override for override in cells[0] if all(override in cell for cell in cells)]
    swept = _swept(cells, common)
    expected = {
        frozenset(f"{key}={text}" for key, text in zip(swept, each, strict=True)) for each in product(*swept.values())
    }
    if {frozenset(cell) - frozenset(common) for cell in cells} != expected:
        raise ConfigError(
            f"{name}: its {len(cells)} cells are no grid of {', '.join(swept)}; an agent would start {len(expected)}."
        )
    is_sweep = any(override.startswith("sweep=") for override in common)
    told = {
        "name": name,
        "method": "grid",
        "metric": {"name": metric, "goal": "maximize"},
        "parameters": {key: {"values": [_plain(text) for text in texts]} for key, texts in swept.items()},
        "command": ["reasoning-lab", *(["-m"] if is_sweep else []), *common, ARGUMENTS],
    }
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def _swept(cells: Sequence[Sequence[str]], common: Sequence[str]) -> dict[str, list[str]]:
    """By key, the values that the cells give it, each once, in their order."""
    swept: dict[str, list[str]] = {}
    for cell in cells:
        for override in cell:
            key, _, text = override.partition("=")
            if override not in common and text not in swept.setdefault(key, []):
                swept[key].append(text)
    return swept


def _plain(text: str) -> Any:
    """The value as a number where an agent writes that number as it was typed, else its text."""
    for number in (int, float):
        try:
            if str(number(text)) == text:
                return number(text)
        except ValueError:
            continue
    return text
