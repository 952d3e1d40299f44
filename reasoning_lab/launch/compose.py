"""From yaml files and overrides to composed configs; every mistake is one message that names the key.

Hydra composes, from files that `sources` has measured; all is resolved to plain data; `whitelist` refuses every class
that is not ours or a plug-in of Hydra's in its place; `typed` makes the objects.
"""

import copy
import difflib
import math
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.interpolation import bounded_interpolation, plain_data, unresolved
from reasoning_lab.launch.secret_words import check_overrides, is_secret_variable, secret_shape
from reasoning_lab.launch.shell_lines import check_shell_lines
from reasoning_lab.launch.sources import use_bounded_sources
from reasoning_lab.launch.whitelist import check_hydra, check_plain

CONFIG_NAME = "config"


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
    value = None if is_secret_variable(name) else oc.env(name, *default)
    if is_secret_variable(name) or (isinstance(value, str) and secret_shape(name, value)):
        raise ValueError(f"oc.env:{name} looks like a secret, and configs are saved; leave it in the environment")
    return value


OmegaConf.register_new_resolver("lab_root", lambda: str(lab_root()), replace=True)
OmegaConf.register_new_resolver("random_hex", lambda: secrets.token_hex(3), use_cache=True, replace=True)
OmegaConf.register_new_resolver("sweep_name", lambda chosen: chosen or "multirun", replace=True)
OmegaConf.register_new_resolver("reciprocal", reciprocal, replace=True)
OmegaConf.register_new_resolver("oc.env", environment, replace=True)
use_bounded_sources()


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
        """The config of a run, or the one that a sweep's cells derive from; Hydra's part checked as it resolves."""
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        check_overrides(overrides)
        with self._told(overrides):
            config = self._hydra.compose_config(self._config_name, list(overrides), mode)
        self._check_hydra(config, overrides)
        return config

    def _check_hydra(self, config: DictConfig, overrides: Sequence[str]) -> None:
        if sorted(line for lines in _told_overrides(config).values() for line in lines) != sorted(overrides):
            raise ConfigError("hydra.overrides: says what the command line said; remove it from the files.")
        hydra = resolved_hydra(config)
        check_hydra(hydra, _outputs(config))
        check_shell_lines(hydra, overrides, lab_root() / "multirun_launchers")

    @contextmanager
    def _told(self, overrides: Sequence[str]) -> Iterator[None]:
        """Every error of a composition as one of ours, for its files may hold anything."""
        try:
            with bounded_interpolation():
                yield
        except ConfigError:
            raise
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError(self._explained(error, overrides)) from error
        except Exception as error:
            raise ConfigError(f"the files can't be composed ({type(error).__name__}: {_one_line(error)}).") from error

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
        options: dict[str, set[str]] = {"hydra/launcher": {"basic"}}
        own = [self._config_dir] if self._config_dir else []
        for folder in (Path(conf_dir()), lab_root() / "multirun_launchers", *own):
            for file in folder.glob("*/**/*.yaml"):
                options.setdefault(file.parent.relative_to(folder).as_posix(), set()).add(file.stem)
        return {group: sorted(names) for group, names in options.items()}

    def cells(self, master: DictConfig) -> list[Cell]:
        """A sweep's cells in the order of their numbers, expanded as Hydra's BasicSweeper does.

        A sweeper that chooses its cells as it goes (Optuna) has none yet: the overrides that don't vary stand for all.
        """
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        sweeper, task = master.hydra.sweeper, _told_overrides(master)["task"]
        is_basic = str(sweeper._target_).endswith(".BasicSweeper")
        axes = resolved_hydra(master)["sweeper"].get("params") or {}
        params = [f"{key}={value}" for key, value in axes.items()] if is_basic else []
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
        told = [*_told_overrides(master)["hydra"], *overrides]
        check_overrides(told)
        with self._told(told):
            config = self._hydra.config_loader.load_sweep_config(master, list(overrides))
        self._check_hydra(config, told)
        check_plain(resolved(config))
        return Cell(overrides, config)

    def _explained(self, error: Exception, overrides: Sequence[str]) -> str:
        """Hydra's message as one of ours: key, value, what is allowed, next move."""
        text = str(error)
        absent = r"Could not find '([^']+)'(?:\s*Available options in '[^']+':\s*(.*))?"
        if none := re.search(absent, text, re.DOTALL):
            group, _, option = none[1].rpartition("/")
            known = ", ".join((none[2] or "").partition("Config search path")[0].split())
            return f"{group}={option}: no such option; choose one of {known}." if known else _one_line(error)
        if missing := re.search(r"Could not override '([^']+)'\.\nTo append", text):
            return self._unknown_key(missing[1], overrides)
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
        return f"{key}: no such key; {choices(name, known, parent)}"


def choices(name: str, known: Sequence[str], parent: str) -> str:
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


def without_hydra(config: DictConfig) -> DictConfig:
    """Our part of a composed config."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def resolved(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved, Hydra's part left out."""
    return plain_data(without_hydra(config))


def resolved_hydra(config: DictConfig, number: int = 0, folder: Path | None = None) -> dict[str, Any]:
    """Hydra's part as plain data, for the run or cell `number` in `folder` (None: where the config says).

    What only a run knows (its number, job and folder) is set, so that nothing is left to be resolved later; what can't
    be resolved is refused, by its key. This very data is what `check_hydra` checks, what is saved, and what logging is
    configured from.
    """
    if folder is None:
        folder = Path(_told_folder(config))
    known = copy.deepcopy(config)
    overrides = _told_overrides(config)
    # The command line is kept as it was typed: an interpolation in it is the business of the key that it sets.
    dirname = str(config.hydra.job._get_node("override_dirname")._value()).replace("${", "{")
    with open_dict(known.hydra):
        known.hydra.overrides.hydra, known.hydra.overrides.task = [], []
        known.hydra.job.override_dirname = dirname
        known.hydra.job.num, known.hydra.job.id = number, str(number)
        known.hydra.runtime.output_dir = str(folder.absolute())
        known.hydra.hydra_help.hydra_help = "full"  # Hydra has no value for it.
    return plain_data(known, "hydra") | {"overrides": overrides}


def _told_overrides(config: DictConfig) -> dict[str, list[str]]:
    """The command line's overrides of Hydra's part and of ours, as they were typed."""
    plain = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    assert isinstance(plain, dict)
    return {str(part): [str(line) for line in lines or []] for part, lines in plain.items()}


def _told_folder(config: DictConfig) -> str:
    """Where Hydra's part says that a run goes; asked of the config itself, which keeps the time and the random part."""
    try:
        with bounded_interpolation():
            folders = str(config.hydra.run.dir), str(config.hydra.sweep.dir)
    except OmegaConfBaseException as error:
        raise ConfigError(unresolved(error)) from error
    return folders[config.hydra.mode == RunMode.MULTIRUN]


def _outputs(config: DictConfig) -> str:
    """The folder that everything is written below."""
    try:
        with bounded_interpolation():
            outputs = config.get("outputs")
    except OmegaConfBaseException as error:
        raise ConfigError(unresolved(error)) from error
    if not isinstance(outputs, str) or not outputs.strip():
        raise ConfigError(f"outputs={outputs}: must be a folder; set outputs=FOLDER.")
    return outputs
