"""What a config may name: a class of ours, a plug-in of Hydra's in its place; nothing by which it could do more than
configure.

All checks are of plain data, every interpolation resolved: what is checked here is what is saved and what a job reads,
and nothing is resolved later.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.logging_section import check_logging
from reasoning_lab.launch.places import check_below, check_places
from reasoning_lab.launch.secret_words import check_no_secrets
from reasoning_lab.launch.sources import MOST_DEPTH, MOST_NODES

OUR_CLASS = re.compile(r"reasoning_lab(\.[A-Za-z_]\w*)+", re.ASCII)
"""Every class that a config may name in our part; `typed` takes dataclasses alone."""
LAUNCHERS = frozenset(
    {
        "reasoning_lab.launch.launchers.BasicLauncher",
        "reasoning_lab.launch.launchers.LocalLauncher",
        "reasoning_lab.launch.launchers.SlurmLauncher",
    }
)
OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
SWEEPERS = frozenset({"hydra._internal.core_plugins.basic_sweeper.BasicSweeper", OPTUNA})
SAMPLERS = frozenset(
    f"optuna.samplers.{name}"
    for name in ("TPESampler", "RandomSampler", "CmaEsSampler", "NSGAIISampler", "GridSampler")
)
PLACES = {"hydra.launcher": LAUNCHERS, "hydra.sweeper": SWEEPERS, "hydra.sweeper.sampler": SAMPLERS}
"""Where under `hydra` a class may be named, and which."""
KEYS = frozenset(
    {
        "callbacks", "env", "help", "hydra_help", "hydra_logging", "job", "job_logging", "launcher", "mode",
        "output_subdir", "overrides", "run", "runtime", "searchpath", "sweep", "sweeper", "verbose",
    }
)  # fmt: skip
"""Of `hydra`."""
_INSTRUCTION = re.compile(r"_\w+_")
"""Keys by which Hydra's instantiate does more than set a field."""
_LEFT_OVER = re.compile(r"\$\{|^\?\?\?$")


def check_plain(plain: Mapping[str, Any]) -> None:
    """ConfigError unless our part of a resolved config is plain, small, names our classes alone and has no secret.

    For a config as it was composed, and as a job reads it again from its folder.
    """
    check_size(plain)
    for path, node in mappings(plain):
        for key, value in node.items():
            where = f"{path}.{key}" if path else key
            if key == "_target_":
                check_target(where, value)
            elif _INSTRUCTION.fullmatch(key):
                raise ConfigError(f"{where}: no such key; an option has `_target_` and its own fields alone.")
    _check_resolved(plain, "")
    check_no_secrets(plain)


def check_target(where: str, target: Any) -> None:
    """ConfigError unless the class is one of ours."""
    if not (isinstance(target, str) and OUR_CLASS.fullmatch(target)):
        raise ConfigError(f"{where}={target}: not allowed; must name a class of reasoning_lab, written out.")


def check_hydra(plain: Mapping[str, Any], outputs: str) -> None:
    """ConfigError unless the resolved `hydra` node only configures: known classes in their places, all that is written
    below `outputs`, no environment, no callbacks, and nothing left to be resolved."""
    check_size(plain)
    if unknown := sorted(set(plain) - KEYS):
        raise ConfigError(f"hydra.{unknown[0]}: no such key; hydra has {', '.join(sorted(KEYS))}.")
    for path, node in mappings(plain, "hydra"):
        for key, value in node.items():
            _check_instruction(path, key, value)
    _check_unused(plain)
    check_places(plain, outputs)
    for section in ("hydra_logging", "job_logging"):
        check_logging(f"hydra.{section}", plain.get(section), outputs)
    _check_sweeper(plain.get("sweeper") or {}, outputs)
    _check_resolved({key: value for key, value in plain.items() if key != "overrides"}, "hydra")
    check_no_secrets(dict(plain), "hydra")


def check_size(plain: Any) -> None:
    """ConfigError for data of more values, or deeper, than any config has."""
    left, pending = MOST_NODES, [(plain, 0)]
    while pending:
        node, depth = pending.pop()
        left -= 1
        if left < 0 or depth > MOST_DEPTH:
            raise ConfigError(f"the config has more than {MOST_NODES:,} values, or {MOST_DEPTH} within one another.")
        children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
        pending += [(child, depth + 1) for child in children]


def mappings(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of plain data with its key."""
    if isinstance(node, Mapping):
        yield path, node
        for key, child in node.items():
            yield from mappings(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from mappings(child, f"{path}[{index}]")


def _check_instruction(path: str, key: Any, value: Any) -> None:
    """A class that may be named here, and no other word to Hydra's instantiate."""
    where = f"{path}.{key}"
    if key == "_target_":
        allowed = PLACES.get(path, frozenset())
        if value not in allowed:
            known = f"one of {', '.join(sorted(allowed))}" if allowed else "classes are named by launcher and sweeper"
            raise ConfigError(f"{where}={value}: not allowed; {known}.")
    elif isinstance(key, str) and _INSTRUCTION.fullmatch(key):
        raise ConfigError(f"{where}: not allowed; remove it.")


def _check_unused(hydra: Mapping[str, Any]) -> None:
    """What Hydra offers and this lab has no use for, because it runs code or moves files."""
    if hydra.get("callbacks"):
        named = ", ".join(map(str, hydra["callbacks"]))
        raise ConfigError(f"hydra.callbacks.{named}: not allowed, for callbacks are code; remove it.")
    job = hydra.get("job") or {}
    for key in ("env_copy", "env_set"):
        if job.get(key):
            raise ConfigError(f"hydra.job.{key}: environment variables are not set by configs; set them in the shell.")
    if job.get("chdir"):
        raise ConfigError(
            f"hydra.job.chdir={job['chdir']}: relative paths would move with it; drop it, every run has its own "
            "folder below outputs already."
        )
    verbose = hydra.get("verbose")
    names = verbose if isinstance(verbose, list) else [verbose]
    if not all(name is None or isinstance(name, (bool, str)) for name in names):
        raise ConfigError("hydra.verbose: must be true, false, or names of loggers.")


def _check_sweeper(sweeper: Mapping[str, Any], outputs: str) -> None:
    """Axes are of our own keys; Optuna's study is a file below `outputs`, and no code makes its space."""
    for key in ("params", "search_space"):
        for axis in sweeper.get(key) or {}:
            if str(axis).lstrip("+~").split("@")[0].split(".")[0].split("/")[0] == "hydra":
                raise ConfigError(f"hydra.sweeper.{key}.{axis}: not allowed; a sweep varies the experiment's own keys.")
    if (code := sweeper.get("custom_search_space")) is not None:
        raise ConfigError(f"hydra.sweeper.custom_search_space={code}: not allowed, for it is code; use params.")
    storage = sweeper.get("storage")
    if storage is None:
        return
    file = re.fullmatch(r"sqlite:///([^?#]+)", storage) if isinstance(storage, str) else None
    if file is None:
        raise ConfigError("hydra.sweeper.storage: must be null or sqlite:///FILE below outputs (it is not shown).")
    check_below("hydra.sweeper.storage", file[1], outputs)


def _check_resolved(node: Any, path: str) -> None:
    """Nothing that OmegaConf would take for an interpolation or a missing value, if somebody read the file by it."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            _check_resolved(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            _check_resolved(child, f"{path}[{index}]")
    elif isinstance(node, str) and _LEFT_OVER.search(node):
        raise ConfigError(f"{path}: has ${{...}} or ??? left in it after all was resolved; write the value out.")
    elif not isinstance(node, (str, int, float, bool, type(None))):
        raise ConfigError(f"{path}: is a {type(node).__name__}, no plain value; write text or a number.")
