"""What identifies an artifact: the fields of a frozen dataclass, as plain data and as a hash of it.

A key is the sha256 of its canonical form: the class with its module, `version`, and the fields that differ from
their defaults, upstream artifacts by their keys. A field that is annotated `Annotated[X, Enters(f)]` enters as f(value)
(of a benchmark its rendered prompts, of a model the content of its files); `Annotated[X, APART]` keeps a field out (a
label). A field added later gets the default that reproduces the old behaviour, so old keys stay; a change of meaning
bumps `version`, which a value that is no artifact (a rule) has from its second meaning on. Device, rows, threads and
logging belong to the runtime and can be no field.
"""

import hashlib
import json
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, cached_property
from typing import Any, ClassVar


@dataclass(frozen=True)
class Enters:
    """Annotation of a field: what of its value enters the key, as plain data."""

    what: Callable[[Any], Any]


@dataclass(frozen=True)
class Apart:
    """Annotation of a field that can't change the result and does not enter the key."""


APART = Apart()
IDENTITY = Enters(lambda value: None if value is None else value.identity())
"""What a model or a judge says that it is."""


class Keyed(ABC):
    """What the store knows of an artifact; subclasses are frozen dataclasses whose fields are real objects and other
    artifacts."""

    kind: ClassVar[str]
    """The folder below outputs/artifacts."""
    version: ClassVar[int]
    """Bumped when the same fields come to mean another result."""

    @property
    @abstractmethod
    def slug(self) -> str:
        """Readable beginning of the folder's name."""

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical form."""
        return digest(self.canonical())

    def canonical(self) -> dict[str, Any]:
        """Plain data that identifies the result."""
        return {"kind": self.kind} | _fields_form(self)


def canonical_form(value: Any) -> Any:
    """Plain data that identifies a value: dataclasses by class and fields, artifacts by their keys alone, so that a key
    says all that a result is made of in one line."""
    if isinstance(value, Keyed):
        return {"key": value.key}
    if isinstance(value, Mapping):
        return {str(name): canonical_form(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical_form(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(canonical_form, value))
    return _fields_form(value) if is_dataclass(value) and not isinstance(value, type) else value


def _fields_form(value: Any) -> dict[str, Any]:
    """The class with its module, and the fields that differ from their defaults and enter."""
    cls = type(value)
    form: dict[str, Any] = {"class": f"{cls.__module__}.{cls.__qualname__}"}
    if hasattr(cls, "version"):
        form["version"] = cls.version
    marks = _marks(cls)
    for field in fields(value):
        item, mark = getattr(value, field.name), marks.get(field.name)
        if item != field.default and not isinstance(mark, Apart):
            form[field.name] = canonical_form(mark.what(item) if mark is not None else item)
    return form


@cache
def _marks(cls: type) -> dict[str, Enters | Apart]:
    """By field name how the field enters the key, where its annotation says so."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        name: mark
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, (Enters, Apart))
    }


def digest(value: Any) -> str:
    """sha256 of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
