"""From a config with ${...} to plain data, within bounds: OmegaConf evaluates an interpolation anew wherever it is met,
so that ten lines can stand for 10^10 values or characters."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Container
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from reasoning_lab.launch.errors import ConfigError

MOST_STEPS = 5_000
"""Interpolations evaluated on the way to one plain config; the largest of conf/ takes 400."""
MOST_CHARACTERS = 2_000_000
"""Of all that they stand for."""


class _TooMuch(BaseException):
    """No Exception, so that OmegaConf passes it on at once."""


@contextmanager
def bounded_interpolation() -> Iterator[None]:
    """ConfigError where the interpolations evaluated within stand for more than any config does."""
    left = [MOST_STEPS, MOST_CHARACTERS]

    def spend(value: Any) -> Any:
        held = value._value() if hasattr(value, "_value") else value
        left[0] -= 1
        left[1] -= len(held) if isinstance(held, str) else 0
        if min(left) < 0:
            raise _TooMuch
        return value

    node, resolver = Container._resolve_node_interpolation, Container._evaluate_custom_resolver
    Container._resolve_node_interpolation = lambda self, *args, **kwargs: spend(node(self, *args, **kwargs))
    Container._evaluate_custom_resolver = lambda self, *args, **kwargs: spend(resolver(self, *args, **kwargs))
    try:
        yield
    except _TooMuch as error:
        raise ConfigError(
            f"the config's interpolations stand for more than {MOST_STEPS:,} values or {MOST_CHARACTERS:,} characters; "
            "write out what is meant."
        ) from error
    except RecursionError as error:
        raise ConfigError(
            "the config's defaults or interpolations lead to one another without end; break the circle."
        ) from error
    finally:
        Container._resolve_node_interpolation, Container._evaluate_custom_resolver = node, resolver


def plain_data(config: DictConfig, within: str = "") -> dict[str, Any]:
    """A config's mapping at the key `within` as plain data; ConfigError for what is missing or can't be resolved."""
    node = OmegaConf.select(config, within) if within else config
    try:
        with bounded_interpolation():
            plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True, enum_to_str=True)
    except OmegaConfBaseException as error:
        raise ConfigError(unresolved(error, within)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def unresolved(error: OmegaConfBaseException, within: str = "") -> str:
    """Message for a value that is missing or refers to nothing."""
    key = error.full_key or within or "config"
    if isinstance(error, MissingMandatoryValue):
        return f"{key}: has no value; set {key}=..."
    needed = re.search(r"Interpolation key '([^']+)' not found", str(error))
    if isinstance(error, InterpolationKeyError) and needed:
        group = needed[1].partition(".")[0]
        if key.startswith("hydra."):
            return f"{key}: refers to {needed[1]}, which nobody sets before a run; write the value out."
        advice = f"set arms=single, or choose a {group} that has it" if key.startswith("arms.") else f"set {key}=..."
        return f"{key}: refers to {needed[1]}, which the chosen options don't have; {advice}."
    return f"{key}: {str(error).splitlines()[0]}"
