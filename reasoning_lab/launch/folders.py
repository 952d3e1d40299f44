"""What a run or a cell is made from lies in its folder: the config as it was submitted, resolved, as plain data.

Whoever works reads it there, on whichever machine and however much later; conf/ is never read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from reasoning_lab.launch.errors import ConfigError

HYDRA = ".hydra"
"""Subfolder with the config, under the names that Hydra gives its files."""


@dataclass(frozen=True)
class Submitted:
    """A run as it was submitted."""

    folder: Path
    config: dict[str, Any]
    """Of the experiment, resolved."""
    overrides: tuple[str, ...]
    """Of the task, as typed; in a sweep this cell's."""
    hydra: dict[str, Any]
    """Hydra's part, resolved: choices, logging."""

    @property
    def choices(self) -> dict[str, str]:
        """Group → option."""
        return dict(self.hydra["runtime"]["choices"])

    @property
    def is_cell(self) -> bool:
        """Whether it is a cell of a sweep."""
        return self.hydra["mode"] == "MULTIRUN"

    @property
    def sweep(self) -> Path | None:
        """The sweep's folder."""
        return self.folder.parent if self.is_cell else None


def write_submitted(run: Submitted) -> None:
    """Make its folder's files."""
    place = run.folder / HYDRA
    place.mkdir(parents=True, exist_ok=True)
    _write(place / "config.yaml", run.config)
    _write(place / "overrides.yaml", list(run.overrides))
    _write(place / "hydra.yaml", {"hydra": run.hydra})


def read_submitted(folder: Path) -> Submitted:
    """The run of a folder; ConfigError where it is none."""
    place = folder / HYDRA
    try:
        config, overrides, hydra = (_read(place / f"{name}.yaml") for name in ("config", "overrides", "hydra"))
        return Submitted(folder, dict(config), tuple(map(str, overrides)), dict(hydra["hydra"]))
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"{folder}: not the folder of a run ({type(error).__name__}: {error}).") from error


def _write(file: Path, data: Mapping[str, Any] | Sequence[Any]) -> None:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    file.write_text(yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _read(file: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return cast(Any, yaml.load(file.read_text(encoding="utf-8"), Loader=loader))
