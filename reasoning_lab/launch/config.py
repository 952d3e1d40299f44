"""From yaml files and overrides to one typed Experiment; every mistake is one message that names the key.

Hydra composes; `check_targets` then refuses every class that is not ours or one of Hydra's own plug-ins, and `build`
makes the objects bottom-up by their own type annotations. hydra.utils.instantiate is never called on our part of the
tree: its list of forbidden targets is no list of allowed ones.
"""

import difflib
import importlib
import math
import os
import re
import secrets
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from reasoning_lab.experiment import Experiment

CONFIG_NAME = "config"
PLUGINS = frozenset(
    {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
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
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
"""Environment variables with one of these in their name can't be read into a config, which runs save and share."""


class ConfigError(Exception):
    """A mistake in files or overrides; the message is all that the user needs."""


# -- places and resolvers ----------------------------------------------------------------------------------------------


def lab_root() -> Path:
    """The folder with conf/ and multirun_launchers/: the package in a wheel, the folder above it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for root in (package, package.parent):
        if (root / "conf" / "config.yaml").is_file():
            return root
    raise FileNotFoundError(f"conf/config.yaml is neither in {package} nor above it; install the package again.")


def conf_dir() -> str:
    """Hydra's primary config folder."""
    return str(lab_root() / "conf")


def reciprocal(value: Any) -> float:
    """1/value; nan or inf where there is none, for then the value's own check says what is wrong."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return 1 / value if value else math.inf


def environment(name: str, *default: Any) -> Any:
    """oc.env without secrets."""
    if any(word in name.upper() for word in SECRET_WORDS):
        raise ValueError(f"${{oc.env:{name}}} looks like a secret, and configs are saved; leave it in the environment")
    return oc.env(name, *default)


OmegaConf.register_new_resolver("lab_root", lambda: str(lab_root()), replace=True)
OmegaConf.register_new_resolver("random_hex", lambda: secrets.token_hex(3), use_cache=True, replace=True)
OmegaConf.register_new_resolver("sweep_name", lambda chosen: chosen or "multirun", replace=True)
OmegaConf.register_new_resolver("reciprocal", reciprocal, replace=True)
OmegaConf.register_new_resolver("oc.env", environment, replace=True)


# -- composing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One cell of a sweep, or the only one of a run."""

    overrides: tuple[str, ...]
    """Of the task, without Hydra's."""
    config: DictConfig
    """As composed, Hydra's part included."""


class Composer:
    """Hydra's own composition with our search path, before Hydra's main has its turn."""

    def __init__(self, config_dir: str | None = None, config_name: str | None = None) -> None:
        self._config_name = config_name or CONFIG_NAME
        self._config_dir = Path(config_dir).resolve() if config_dir is not None else None
        path = create_config_search_path(conf_dir())
        if self._config_dir is not None:
            if not self._config_dir.is_dir():
                raise ConfigError(f"--config-dir {config_dir}: no such folder.")
            path.prepend("command-line", f"file://{self._config_dir}", SearchPathQuery(provider="schema"))
        self._hydra = Hydra.create_main_hydra2("main", path)
        GlobalHydra.instance().clear()

    def compose(self, overrides: Sequence[str], multirun: bool = False) -> DictConfig:
        """The config of a run, or the one that a sweep's cells derive from, targets checked."""
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        try:
            config = self._hydra.compose_config(self._config_name, list(overrides), mode)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError(self._explained(error, overrides)) from error
        check_targets(config)
        return config

    def help(self, overrides: Sequence[str], resolve: bool) -> str:
        """The text of --help: groups with their options, and the config as it would be."""
        config = self.compose(overrides)
        task = without_hydra(config)
        groups = "".join(f"{group}: {', '.join(options)}\n" for group, options in sorted(self._groups().items()))
        return "\n".join(
            [
                f"{config.hydra.help.header}\n",
                f"== Groups and their options (group=option) ==\n\n{groups}",
                f"== Values (key=value) ==\n\n{OmegaConf.to_yaml(task, resolve=resolve)}",
                config.hydra.help.footer,
            ]
        )

    def _groups(self) -> dict[str, list[str]]:
        """Options by group, of all folders; Hydra's own listing takes as long as everything else together."""
        found: dict[str, set[str]] = {"hydra/launcher": {"basic"}}
        own = [self._config_dir] if self._config_dir else []
        for folder in (Path(conf_dir()), lab_root() / "multirun_launchers", *own):
            for file in folder.glob("*/**/*.yaml"):
                found.setdefault(file.parent.relative_to(folder).as_posix(), set()).add(file.stem)
        return {group: sorted(options) for group, options in found.items()}

    def cells(self, master: DictConfig) -> list[Cell]:
        """A sweep's cells in the order of their numbers, expanded as Hydra's BasicSweeper does.

        A sweeper that chooses its cells as it goes (Optuna) has none yet: the overrides that don't vary stand for all.
        """
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        sweeper, task = master.hydra.sweeper, [str(line) for line in master.hydra.overrides.task]
        is_basic = str(sweeper._target_).endswith(".BasicSweeper")
        params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] if is_basic else []
        try:
            parser = OverridesParser.create(config_loader=self._hydra.config_loader)
            parsed = parser.parse_overrides([*params, *task])
            if not is_basic:
                parsed = [override for override in parsed if not override.is_sweep_override()]
            (batch,) = BasicSweeper.split_arguments(parsed, None)
        except HydraException as error:
            raise ConfigError(_one_line(error)) from error
        return [self._cell(master, tuple(overrides)) for overrides in batch]

    def _cell(self, master: DictConfig, overrides: tuple[str, ...]) -> Cell:
        hydra = [str(line) for line in master.hydra.overrides.hydra]
        try:
            config = self._hydra.config_loader.load_sweep_config(master, list(overrides))
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError(self._explained(error, [*hydra, *overrides])) from error
        check_targets(config)
        return Cell(overrides, config)

    def _explained(self, error: Exception, overrides: Sequence[str]) -> str:
        """Hydra's message as one of ours: key, value, what is allowed, next move."""
        text = str(error)
        if found := re.search(r"Could not find '([^']+)'(?:\s*Available options in '[^']+':\s*(.*))?", text, re.DOTALL):
            group, _, option = found[1].rpartition("/")
            known = ", ".join((found[2] or "").partition("Config search path")[0].split())
            return f"{group}={option}: no such option; choose one of {known}." if known else _one_line(error)
        if found := re.search(r"Could not override '([^']+)'\.\nTo append", text):
            return self._unknown_key(found[1], overrides)
        return _one_line(error)

    def _unknown_key(self, key: str, overrides: Sequence[str]) -> str:
        """Names the keys beside which the unknown one would stand."""
        others = [line for line in overrides if not re.match(rf"[+~]*{re.escape(key)}=", line)]
        try:
            config = self._hydra.compose_config(self._config_name, others, RunMode.MULTIRUN)
        except (HydraException, OmegaConfBaseException):  # Another mistake; this one is reported first.
            return f"{key}: no such key."
        parent, _, name = key.rpartition(".")
        while parent and not OmegaConf.is_config(OmegaConf.select(config, parent)):
            parent, _, name = parent.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        known = [str(k) for k in node if k not in ("_target_", "hydra")] if isinstance(node, DictConfig) else []
        return f"{key}: no such key; {_choices(name, known, parent)}"


def _choices(name: str, known: Sequence[str], parent: str) -> str:
    """What the user may have meant, and all there is."""
    if not known:
        return f"{parent or 'the config'} has no keys; remove it."
    near = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}{parent or 'the config'} has {', '.join(known)}."


def _one_line(error: BaseException) -> str:
    """The message of an error and of what caused it, without line breaks."""
    parts = [str(error), str(error.__cause__) if isinstance(error.__cause__, OmegaConfBaseException) else ""]
    return " ".join(" ".join(parts).split())


# -- targets -----------------------------------------------------------------------------------------------------------


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
        found = node[key]
        return OmegaConf.create(found) if isinstance(found, (dict, list)) else found
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
        _check_target(where, raw, in_hydra)
    elif is_logging and key in ("()", "class") and str(value) not in LOG_CLASSES:
        raise ConfigError(f"{where}={value}: not allowed; a logging section may name {', '.join(sorted(LOG_CLASSES))}.")
    elif is_logging and isinstance(raw, str) and re.match(r"ext://(?!sys\.std(out|err)$)", raw):
        raise ConfigError(f"{where}={raw}: not allowed; only ext://sys.stdout and ext://sys.stderr are.")


def _check_target(where: str, target: Any, in_hydra: bool) -> None:
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
        raise ConfigError(_resolution(error)) from error
    for key, folder in folders.items():
        if not Path(os.path.normpath(Path(folder).absolute())).is_relative_to(os.path.normpath(outputs)):
            raise ConfigError(f"{key}={folder}: must be below outputs={config.outputs}; set outputs instead.")
    subdir = str(config.hydra.sweep._get_node("subdir")._value())
    if subdir.startswith(("/", "~")) or ".." in subdir:
        raise ConfigError(f"hydra.sweep.subdir={subdir}: must stay in the sweep's folder; drop the override.")


# -- building ----------------------------------------------------------------------------------------------------------


def build(config: DictConfig) -> Experiment:
    """The typed Experiment of a composed config (Hydra's part is left out)."""
    plain = resolved(config)
    experiment = _build(Experiment, plain, "")
    assert isinstance(experiment, Experiment)
    return experiment


def resolved(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved, Hydra's part left out."""
    try:
        plain = OmegaConf.to_container(without_hydra(config), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_resolution(error)) from error
    assert isinstance(plain, dict)
    return typing.cast(dict[str, Any], plain)


def without_hydra(config: DictConfig) -> DictConfig:
    """Our part of a composed config."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _resolution(error: OmegaConfBaseException) -> str:
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


def _build(hint: Any, value: Any, path: str) -> Any:
    """The value as what the annotation says: our classes from mappings, tuples from lists, the rest checked."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, dict) and "_target_" in value:
        return _object(_target(value["_target_"], path), value, path, hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, path)
    if origin is Literal:
        return value if value in arguments else _refuse(path, value, f"one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return _tuple(arguments, value, path)
    if origin is dict:
        return _mapping(arguments, value, path)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _object(hint, value, path, hint)
    return _scalar(hint, value, path)


def _object(cls: type, value: dict[str, Any], path: str, hint: Any) -> Any:
    """An instance of a frozen dataclass, its fields built first; its own ValueError gets the key's path."""
    if isinstance(hint, type) and not issubclass(cls, hint):
        raise ConfigError(f"{path or 'config'}._target_={cls.__module__}.{cls.__name__}: must be a {hint.__name__}.")
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}
    given = {str(key): item for key, item in value.items() if key != "_target_"}
    for name in given:
        if name not in known:
            raise ConfigError(f"{_join(path, name)}: no such key; {_choices(name, list(known), path)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{_join(path, name)}: has no value; set {_join(path, name)}=...")
    # The class's order, not the file's: errors come in the same order whoever wrote the file.
    built = {name: _build(hints[name], given[name], _join(path, name)) for name in known if name in given}
    try:
        return cls(**built)
    except ValueError as error:
        raise ConfigError(_prefixed(str(error), path, known)) from error


def _target(name: Any, path: str) -> type:
    """The dataclass that `_target_` names."""
    module, _, attribute = str(name).rpartition(".")
    _check_target(_join(path, "_target_"), name, in_hydra=False)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{_join(path, '_target_')}={name}: there is no such class ({error}).") from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ConfigError(f"{_join(path, '_target_')}={name}: not a dataclass of options.")
    return found


def _union(options: Sequence[Any], value: Any, path: str) -> Any:
    """`X | None`, which is the only kind of union that configs have."""
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    assert len(rest) == 1, f"{path}: a union of {options} has no rule"
    return _build(rest[0], value, path)


def _tuple(arguments: Sequence[Any], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        _refuse(path, value, "a list, such as [a,b]")
    assert arguments[1:] == (Ellipsis,), f"{path}: only tuples of any length have a rule"
    return tuple(_build(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))


def _mapping(arguments: Sequence[Any], value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(path, value, "a mapping")
    return {str(key): _build(arguments[1], item, _join(path, str(key))) for key, item in value.items()}


def _scalar(hint: Any, value: Any, path: str) -> Any:
    """A number, text or truth value as it is; an int becomes a float where one is wanted, so that 4 and 4.0 are one."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint not in words:
        allowed = f"a {hint.__name__}; choose an option of the group"
        return value if isinstance(value, hint) else _refuse(path, value, allowed)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        _refuse(path, value, words[hint])
    return value


def _refuse(path: str, value: Any, allowed: str) -> typing.NoReturn:
    shown = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    raise ConfigError(f"{path}={shown}: must be {allowed}.")


def _prefixed(message: str, path: str, known: typing.Iterable[str]) -> str:
    """The message with the path of the key it is about."""
    if not path or message.startswith(path):
        return message
    about = re.match(r"\w+", message)
    return f"{path}.{message}" if about and about[0] in known else f"{path}: {message}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
