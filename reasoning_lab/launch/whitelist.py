"""What a config may name: a class of ours, a plug-in of Hydra's; nothing by which it could do more than configure."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from reasoning_lab.launch.errors import ConfigError

PLUGINS = frozenset(
    {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "reasoning_lab.launch.launchers.Basic",
        "reasoning_lab.launch.launchers.Local",
        "reasoning_lab.launch.launchers.Slurm",
        "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
        "hydra.experimental.callbacks.LogJobReturnCallback",
        "optuna.samplers.TPESampler",
        "optuna.samplers.RandomSampler",
        "optuna.samplers.CmaEsSampler",
        "optuna.samplers.NSGAIISampler",
        "optuna.samplers.GridSampler",
    }
)
"""Every class that a config may name under `hydra`."""
LOG_CLASSES = frozenset(
    {"logging.StreamHandler", "logging.FileHandler", "logging.Formatter", "colorlog.ColoredFormatter"}
)
"""Every class that a logging section may name."""
OUR_CLASS = re.compile(r"reasoning_lab(\.\w+)+")
"""Every class that a config may name elsewhere; `build` takes dataclasses alone."""


def check_targets(config: DictConfig) -> None:
    """Refuse every `_target_`, logging class and run folder by which a config could do more than configure."""
    hydra = config.get("hydra") if "hydra" in config else None
    for path, node in _nodes(config, ""):
        in_hydra = path == "hydra" or path.startswith("hydra.")
        for key in node:
            _check_key(path, str(key), node, in_hydra)
    if hydra is not None:
        _check_folders(config)


def _nodes(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Every mapping with its key path. What an interpolation stands for is visited where it is written, or, where it
    is written nowhere (a resolver made it), here."""
    if isinstance(node, DictConfig) and not (node._is_none() or node._is_missing()):
        yield path, node
        for key in node:
            yield from _nodes(_raw(node, key), f"{path}.{key}" if path else str(key))
    elif isinstance(node, ListConfig) and not (node._is_none() or node._is_missing()):
        for index in range(len(node)):
            yield from _nodes(_raw(node, index), f"{path}[{index}]")


def _raw(node: Any, key: Any) -> Any:
    """The child; of an interpolation what it stands for, plain data from a resolver included."""
    child = node._get_node(key)
    if not child._is_interpolation():
        return child
    try:
        stands_for = node[key]
        return OmegaConf.create(stands_for) if isinstance(stands_for, (dict, list)) else stands_for
    except (OmegaConfBaseException, ValueError):  # Not resolvable yet (hydra.job.num ...): a scalar of the run itself.
        return None


def _check_key(path: str, key: str, node: DictConfig, in_hydra: bool) -> None:
    where = f"{path}.{key}" if path else key
    value = node._get_node(key)
    assert value is not None
    raw = value._value()
    if in_hydra and key == "env_set" and path == "hydra.job" and node[key]:
        raise ConfigError(f"{where}: environment variables are not set by configs; set them in the shell.")
    is_logging = path.startswith(("hydra.job_logging", "hydra.hydra_logging"))
    if key == "_target_":
        check_target(where, raw, in_hydra)
    elif is_logging and key in ("()", "class") and str(value) not in LOG_CLASSES:
        raise ConfigError(f"{where}={value}: not allowed; a logging section may name {', '.join(sorted(LOG_CLASSES))}.")
    elif is_logging and isinstance(raw, str) and re.match(r"ext://(?!sys\.std(out|err)$)", raw):
        raise ConfigError(f"{where}={raw}: not allowed; only ext://sys.stdout and ext://sys.stderr are.")


def check_target(where: str, target: Any, in_hydra: bool) -> None:
    """A class that may be named: a plug-in's under hydra, one of ours elsewhere; never by interpolation."""
    if in_hydra:
        if target is not None and target not in PLUGINS:
            allowed = "under hydra only its own launcher and sweeper, submitit's and Optuna's are"
            raise ConfigError(f"{where}={target}: not allowed; {allowed}.")
    elif not (isinstance(target, str) and OUR_CLASS.fullmatch(target)):
        raise ConfigError(f"{where}={target}: not allowed; must name a class of reasoning_lab, written out.")


def _check_folders(config: DictConfig) -> None:
    """Runs write below `outputs` and nowhere else."""
    try:
        outputs = Path(str(config.outputs)).absolute()
        folders = {key: str(OmegaConf.select(config, key)) for key in ("hydra.run.dir", "hydra.sweep.dir")}
    except OmegaConfBaseException as error:
        raise ConfigError(unresolved(error)) from error
    for key, folder in folders.items():
        if not Path(os.path.normpath(Path(folder).absolute())).is_relative_to(os.path.normpath(outputs)):
            raise ConfigError(f"{key}={folder}: must be below outputs={config.outputs}; set outputs instead.")
    subdir = str(config.hydra.sweep._get_node("subdir")._value())
    if subdir.startswith(("/", "~")) or ".." in subdir:
        raise ConfigError(f"hydra.sweep.subdir={subdir}: must stay in the sweep's folder; drop the override.")


def unresolved(error: OmegaConfBaseException) -> str:
    """Message for a value that is missing or refers to nothing."""
    key = error.full_key or "config"
    if isinstance(error, MissingMandatoryValue):
        return f"{key}: has no value; set {key}=..."
    needed = re.search(r"Interpolation key '([^']+)' not found", str(error))
    if isinstance(error, InterpolationKeyError) and needed:
        group = needed[1].partition(".")[0]
        advice = f"set arms=single, or choose a {group} that has it" if key.startswith("arms.") else f"set {key}=..."
        return f"{key}: refers to {needed[1]}, which the chosen options don't have; {advice}."
    return f"{key}: {str(error).splitlines()[0]}"
