"""Where a composition may read: yaml files of folders, measured before OmegaConf expands them, and Hydra's own package.

A search path `pkg://NAME` imports NAME, which runs code; ten lines of yaml with anchors can stand for 10^10 values.
Both are refused here, at the only door by which Hydra opens files: --cfg, --info and completion are held to it too.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult

from reasoning_lab.launch.errors import ConfigError

MOST_BYTES = 128 * 1024
"""Of one file; the largest of conf/ has 6,000."""
MOST_NODES = 10_000
"""Values, keys and containers of one file, anchors expanded; whole configs have fewer than 1,000."""
MOST_DEPTH = 32
"""Containers within containers."""
MOST_REFERENCES = 256
"""Interpolations in one value."""
MOST_LOOKUPS = 20_000
"""Files that one composition asks a folder for; lists of defaults that name one another multiply."""
HYDRA_PACKAGE = "hydra.conf"
_STANDARD = "tag:yaml.org,2002:"
_TAGS = frozenset(_STANDARD + name for name in ("str", "int", "float", "bool", "null", "seq", "map"))


class BoundedFiles(FileConfigSource):
    """The yaml files of one folder."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._lookups = 0
        if provider.startswith("hydra.searchpath") and not Path(self.path).is_dir():
            raise ConfigError(f"hydra.searchpath={path}: no such folder; name one that is there, or drop it.")

    def is_config(self, config_path: str) -> bool:
        """Whether the folder has the file."""
        self._lookups += 1
        if self._lookups > MOST_LOOKUPS:
            raise ConfigError(f"{config_path}: its defaults lead to more than {MOST_LOOKUPS:,} files; shorten them.")
        return super().is_config(config_path)

    def load_config(self, config_path: str) -> ConfigResult:
        """The file's content, once it is known to be small and plain."""
        name = self._normalize_file_name(config_path)
        file = Path(self.path, name)
        # The lab's own files may be links into an installer's cache.
        if not _is_within(file, Path(self.path)) and not _is_within(Path(os.path.abspath(file)), _own_folder()):
            raise ConfigError(f"{file}: leads out of {self.path}; copy the file there, or add its folder.")
        check_yaml(name, file)
        return super().load_config(config_path)


class HydraPackage(ImportlibResourcesConfigSource):
    """Hydra's own options; any other package would be imported, which runs it."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        if self.path != HYDRA_PACKAGE:
            raise ConfigError(
                f"hydra.searchpath=pkg://{self.path}: not allowed, for it imports the package; give its folder as "
                "file://FOLDER, or by --config-dir FOLDER."
            )


def use_bounded_sources() -> None:
    """Let every composition of this process read by these two alone."""
    Plugins.instance()  # It registers Hydra's own, once.
    SourcesRegistry.instance().types.update({"file": BoundedFiles, "pkg": HydraPackage})


def _own_folder() -> Path:
    return Path(__file__).resolve().parents[2]


def _is_within(file: Path, folder: Path) -> bool:
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def check_yaml(name: str, file: Path) -> None:
    """ConfigError for a file that is too large, too deep, not plain, or that its anchors would make too large."""
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{name}: has {size:,} bytes; a config file may have {MOST_BYTES:,}; split it.")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return  # Composition says which options there are.
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: can't be read ({' '.join(str(error).split())}).") from error
    try:
        _check_events(name, yaml.parse(text, Loader=yaml.SafeLoader))
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: no valid yaml ({' '.join(str(error).split())}).") from error
    if root is not None and _expanded(name, root, {}) > MOST_NODES:
        raise ConfigError(f"{name}: its anchors stand for more than {MOST_NODES:,} values; write out what is meant.")


def _check_events(name: str, events: Iterator[Any]) -> None:
    """Tags, number and depth, read off the stream: nothing is built yet."""
    depth = 0
    for number, event in enumerate(events):
        where = f"{name}, line {event.start_mark.line + 1}"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if number > 2 * MOST_NODES or depth > MOST_DEPTH:
            raise ConfigError(
                f"{where}: more than {MOST_NODES:,} values, or {MOST_DEPTH} within one another; split the file."
            )
        if isinstance(event, yaml.ScalarEvent) and event.value.count("${") > MOST_REFERENCES:
            raise ConfigError(f"{where}: a value has more than {MOST_REFERENCES} interpolations; write it out.")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _TAGS:
            shown = tag.replace(_STANDARD, "!!")
            raise ConfigError(f"{where}: tag {shown}: not allowed, for tags make objects; write plain values.")


def _expanded(name: str, node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for, anchors expanded; each node is visited once."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise ConfigError(f"{name}: an anchor stands within itself; write out what is meant.")
        return known[id(node)]
    known[id(node)] = -1
    size = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(name, node)
        size += sum(_expanded(name, child, known) for pair in node.value for child in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_expanded(name, child, known) for child in node.value)
    known[id(node)] = size
    return size


def _check_keys(name: str, node: yaml.MappingNode) -> None:
    """Every key is a plain value and stands there once."""
    seen: set[str] = set()
    for key, _ in node.value:
        where = f"{name}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{where}: a key is a list or a mapping; write a name.")
        if key.value in seen:
            raise ConfigError(f"{where}: key {key.value} stands there twice; keep one.")
        seen.add(key.value)
