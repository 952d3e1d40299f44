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
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
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


PLAIN_VARIABLE = re.compile(
    r"(\w+_)?(HOME|DIR|FOLDER|PATH|ROOT|CACHE|PWD)|USER|LOGNAME|HOST|HOSTNAME|SCRATCH|WORK|STORE|PROJECT|TMP|TEMP|TMPDIR|"
    r"(SLURM|LAB|XDG)_\w+|CUDA_VISIBLE_DEVICES|LANG|TZ"
)
"""Environment variables that a config may read, unless their name or value looks like a secret."""


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
    """oc.env without secrets: variables that name places and jobs, which is what a config needs of them."""
    if not PLAIN_VARIABLE.fullmatch(name):
        raise ValueError(
            f"oc.env:{name} may hold anything, and configs are saved and shared; a config may name folders (..._DIR, "
            "_PATH, _HOME, _ROOT, _CACHE, SCRATCH, TMPDIR), users, hosts, SLURM's and the lab's own LAB_... variables; "
            "call it LAB_..., or type its value"
        )
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


def own_the_launchers() -> None:
    """Take Hydra's and its plug-ins' own configs of the launchers out of their store: the names are our files', and
    Hydra would hold those against its own classes."""
    Plugins.instance()  # Which fills the store.
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    for file in (lab_root() / "multirun_launchers" / "hydra" / "launcher").glob("*.yaml"):
        launchers.pop(file.name, None)


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
        self.config_dir = Path(config_dir).resolve() if config_dir is not None else None
        path = create_config_search_path(conf_dir())
        if self.config_dir is not None:
            if not self.config_dir.is_dir():
                raise ConfigError(f"--config-dir {config_dir}: no such folder.")
            path.prepend("command-line", f"file://{self.config_dir}", SearchPathQuery(provider="schema"))
        own_the_launchers()
        self._hydra = Hydra.create_main_hydra2("main", path)
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        """Of a sweep's cells: Hydra's overrides and the choices of options → their config."""
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
        resolved_hydra(config)

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

    @property
    def config_loader(self) -> ConfigLoader:
        """Hydra's."""
        return self._hydra.config_loader

    def _groups(self) -> dict[str, list[str]]:
        """Options by group, of all folders; Hydra's own listing takes as long as everything else together."""
        options: dict[str, set[str]] = {}
        own = [self.config_dir] if self.config_dir else []
        for folder in (Path(conf_dir()), lab_root() / "multirun_launchers", *own):
            for file in folder.glob("*/**/*.yaml"):
                options.setdefault(file.parent.relative_to(folder).as_posix(), set()).add(file.stem)
        return {group: sorted(names) for group, names in options.items()}

    def is_search(self, master: DictConfig) -> bool:
        """Whether the sweeper chooses its cells as it goes (Optuna), so that there are none yet."""
        return not str(master.hydra.sweeper._target_).endswith(".BasicSweeper")

    def count_cells(self, master: DictConfig) -> int:
        """How many cells a sweep has, without making them; of a search its trials."""
        if self.is_search(master):
            return int(master.hydra.sweeper.n_trials)
        return math.prod(_n_values(override) for override in self._parsed(master))

    def cells(self, master: DictConfig) -> list[Cell]:
        """A sweep's cells in the order of their numbers, expanded as Hydra's BasicSweeper does.

        A search has none yet: the overrides that don't vary stand for all.
        """
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        parsed = self._parsed(master)
        if self.is_search(master):
            parsed = [override for override in parsed if not override.is_sweep_override()]
        try:
            (batch,) = BasicSweeper.split_arguments(parsed, None)
        except HydraException as error:
            raise ConfigError(_one_line(error)) from error
        return [self.cell(master, tuple(overrides)) for overrides in batch]

    def _parsed(self, master: DictConfig) -> list[Override]:
        """The overrides of all cells, sweeps unexpanded; the command line's come last and win."""
        task = _told_overrides(master)["task"]
        params = resolved_hydra(master)["sweeper"].get("params") or {}
        try:
            parser = OverridesParser.create(config_loader=self._hydra.config_loader)
            parsed = parser.parse_overrides([*(f"{key}={value}" for key, value in params.items()), *task])
        except HydraException as error:
            raise ConfigError(_one_line(error)) from error
        return list({override.get_key_element(): override for override in parsed}.values())

    def cell(self, master: DictConfig, overrides: tuple[str, ...]) -> Cell:
        """The cell of these overrides, checked."""
        told = [*_told_overrides(master)["hydra"], *overrides]
        check_overrides(told)
        with self._told(told):
            config = self._composed_cell(master, overrides)
        self._check_hydra(config, told)
        check_plain(resolved(config))
        return Cell(overrides, config)

    def _composed_cell(self, master: DictConfig, overrides: tuple[str, ...]) -> DictConfig:
        """As Hydra composes it. Cells that choose the same options of all groups differ in values alone: those are
        composed once."""
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        values = [one for one in parsed if _is_value(one)]
        choices = tuple(line for line, one in zip(overrides, parsed, strict=True) if not _is_value(one))
        if (known := (*_told_overrides(master)["hydra"], "", *choices)) not in self._composed:
            self._composed[known] = self._hydra.config_loader.load_sweep_config(master, list(choices))
        config = copy.deepcopy(self._composed[known])
        OmegaConf.copy_cache(from_config=master, to_config=config)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        config.hydra.overrides.task = list(overrides)
        return config

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


def _is_value(override: Override) -> bool:
    """Whether an override sets a value below a group, and can't be a choice among a group's options."""
    key = override.key_or_group
    is_plain = override.package is None and not override.is_delete() and not key.startswith("hydra.")
    return is_plain and ("." in key or key == "seed")


def _n_values(override: Override) -> int:
    """Over how many values an override sweeps, without making them; 1 where it does not."""
    value = override.value()
    if not override.is_sweep_override():
        return 1
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return max(0, math.ceil((value.stop - value.start) / value.step))
    return len(value.list) if isinstance(value, ChoiceSweep) else sum(1 for _ in override.sweep_string_iterator())


def without_hydra(config: DictConfig) -> DictConfig:
    """Our part of a composed config."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def resolved(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved, Hydra's part left out."""
    return plain_data(without_hydra(config))


def resolved_hydra(config: DictConfig, folder: Path | None = None, number: int | None = None) -> dict[str, Any]:
    """Hydra's part as plain data, checked: of the run in `folder` (None: where the config says), or of the sweep's cell
    `number` there.

    What only a run knows (its folder, number and job) is set, so that nothing is left to be resolved later; what can't
    be resolved is refused, by its key. This very data is what is saved and what logging is configured from.
    """
    if folder is None:
        folder = Path(_told_folder(config))
    known, overrides = copy.deepcopy(config), _told_overrides(config)
    # The command line is kept as it was typed: an interpolation in it is the business of the key that it sets.
    dirname = str(config.hydra.job._get_node("override_dirname")._value()).replace("${", "{")
    OmegaConf.set_readonly(known.hydra, False)
    with open_dict(known.hydra):
        known.hydra.pop("help")  # Texts, one of them left open by Hydra.
        known.hydra.pop("hydra_help")
        known.hydra.overrides.hydra, known.hydra.overrides.task = [], []
        known.hydra.job.override_dirname = dirname
        known.hydra.job.num, known.hydra.job.id = number or 0, folder.name
        known.hydra.mode = RunMode.RUN if number is None else RunMode.MULTIRUN
        known.hydra.runtime.output_dir = str(folder.absolute())
    plain = plain_data(known, "hydra") | {"overrides": overrides}
    check_hydra(plain, _outputs(config))
    check_shell_lines(
        plain, [line for lines in overrides.values() for line in lines], lab_root() / "multirun_launchers"
    )
    return plain


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
