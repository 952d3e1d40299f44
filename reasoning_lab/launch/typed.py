"""From a composed config to one typed Experiment, bottom-up by the classes' own annotations.

hydra.utils.instantiate is never called on our part of the tree: its list of forbidden targets is no list of allowed
ones.
"""

import importlib
import math
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from omegaconf import DictConfig

from reasoning_lab.launch.compose import choices, resolved
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.options import split_launching
from reasoning_lab.launch.whitelist import check_plain, check_target

if TYPE_CHECKING:
    from reasoning_lab.experiment import Experiment

T = TypeVar("T")
MOST_WHOLE = 10**9
"""Of any whole number but a seed, which has 64 bits, and a cap on tokens; counts have closer bounds of their own."""


def build(config: DictConfig) -> "Experiment":
    """The typed Experiment of a composed config (Hydra's part, and how it is launched, are left out)."""
    return build_plain(split_launching(resolved(config))[1])


def build_plain(plain: Mapping[str, Any]) -> "Experiment":
    """The typed Experiment of its resolved config, as it was composed or as a job reads it again from its folder."""
    check_plain(plain)
    from reasoning_lab.experiment import Experiment  # Which loads torch; the other options need none.

    return build_option(Experiment, plain, "")


def build_option(cls: type[T], plain: Mapping[str, Any], path: str) -> T:
    """The object of a resolved node, an instance of `cls` or of a class under it; `path` is the node's key."""
    built = _build(cls, plain, path)
    assert isinstance(built, cls)
    return built


def _build(hint: Any, value: Any, path: str) -> Any:
    """The value as what the annotation says: our classes from mappings, tuples from lists, the rest checked."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, dict) and "_target_" in value:
        return _object(_target(value["_target_"], path), value, path, hint)
    if hint is Any:
        return _any(value, path)
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
            raise ConfigError(f"{_join(path, name)}: no such key; {choices(name, list(known), path)}")
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
    check_target(_join(path, "_target_"), name)
    try:
        target = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{_join(path, '_target_')}={name}: there is no such class ({error}).") from error
    if not (isinstance(target, type) and is_dataclass(target)):
        raise ConfigError(f"{_join(path, '_target_')}={name}: not a dataclass of options.")
    return target


def _union(options: Sequence[Any], value: Any, path: str) -> Any:
    """`X | None` and `Literal["auto"] | X`, which are the only kinds of unions that configs have."""
    if value is None and type(None) in options:
        return None
    words = [word for option in options if typing.get_origin(option) is Literal for word in typing.get_args(option)]
    if isinstance(value, str) and value in words:
        return value
    rest = [option for option in options if option is not type(None)]
    rest = [option for option in rest if typing.get_origin(option) is not Literal] or rest
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
        return _finite(value, path)
    if isinstance(value, int) and abs(value) > (most := _most(path)):
        _refuse(path, value, f"a whole number of at most {most:,}")
    if hint not in words:
        allowed = f"a {hint.__name__}; choose an option of the group"
        return value if isinstance(value, hint) else _refuse(path, value, allowed)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        _refuse(path, value, words[hint])
    return value


def _most(path: str) -> int:
    """The largest whole number that a field of this name takes."""
    words = set(re.split(r"[._\[]", path))
    return 2**63 - 1 if words & {"seed", "seeds"} else 10**12 if "cap" in words else MOST_WHOLE


def _finite(value: int | float, path: str) -> float:
    """As a float. No field means anything by nan or inf; what may be without bound is null, or a class of its own."""
    if abs(value) > sys.float_info.max or math.isnan(value):
        _refuse(path, value, "a finite number")
    return float(value)


def _any(value: Any, path: str) -> Any:
    """Free values, as they are, without nan and inf."""
    if isinstance(value, dict):
        return {key: _any(item, _join(path, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_any(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return _finite(value, path) if isinstance(value, float) else value


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
