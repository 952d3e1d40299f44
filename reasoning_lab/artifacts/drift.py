"""Drift: in what a missing artifact differs from finished ones of its kind and slug, by their canonical forms."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reasoning_lab.artifacts.base import Artifact
from reasoning_lab.artifacts.manifests import Form, Manifests

ABSENT = object()
"""A field that a form does not have: it has its default."""
LONGEST = 40
"""Characters of a value that is shown; a longer one is named without it."""
CHANGED = ("class", "version")
"""Of a form, what says what the fields mean."""


@dataclass(frozen=True)
class Drift:
    """How a missing artifact differs from a finished one."""

    folder: str
    """Of the finished one."""
    differences: tuple[str, ...]
    """A field each: 'sampler.alpha 4.0 → 8.0'; of something that it is made of 'upstream vectors: layer 2 → 3'; names
    alone where the values are hashes."""


def drifts_of(artifact: Artifact[Any], upstream: Mapping[str, Artifact[Any]], manifests: Manifests) -> list[Drift]:
    """The artifact against every finished one of its kind and slug, fewest differences first, ties by the folder.

    Arguments: `upstream` has the artifacts that it is made of by their keys; those of the finished ones are looked up
    among the manifests, and one that is gone is named without its fields.
    """

    def form(key: str) -> Form | None:
        return upstream[key].canonical() if key in upstream else manifests.form(key)

    ours = _plain(artifact.canonical())
    drifts = [
        Drift(each.folder.name, tuple(dict.fromkeys(_differences(each.form, ours, "", form))))
        for each in manifests.of_slug(artifact.kind, artifact.slug)
        if each.key != artifact.key
    ]
    return sorted(drifts, key=lambda drift: (len(drift.differences), drift.folder))


def _plain(form: Any) -> Any:
    """As a manifest gives it back: lists for tuples."""
    return json.loads(json.dumps(form))


def _differences(theirs: Any, ours: Any, path: str, form: Callable[[str], Form | None]) -> Iterator[str]:
    """The fields that differ below a path, in the order of their names."""
    if theirs == ours:
        return
    if _is_key(theirs) and _is_key(ours):
        yield from _upstream(theirs["key"], ours["key"], path, form)
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        changed = [name for name in CHANGED if theirs.get(name) != ours.get(name)]
        names = (
            ["class"] if "class" in changed else sorted({*theirs, *ours}, key=lambda name: (name != "version", name))
        )
        for name in names:
            before, now = _field(theirs, ours, name), _field(ours, theirs, name)
            yield from _differences(before, now, f"{path}.{name}" if path else name, form)
    elif _are_alike(theirs, ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]", form)
    else:
        yield _words(path, theirs, ours)


def _upstream(theirs: str, ours: str, path: str, form: Callable[[str], Form | None]) -> Iterator[str]:
    """The fields of what two artifacts are made of; their place alone where one of them is gone."""
    before, now = form(theirs), form(ours)
    if before is None or now is None:
        yield f"upstream {path}"
        return
    for line in _differences(_plain(before), _plain(now), "", form):
        yield line if line.startswith("upstream ") else f"upstream {now['kind']}: {line}"


def _is_key(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"key"}


def _are_alike(theirs: Any, ours: Any) -> bool:
    """Whether two lists of objects are compared one by one."""
    if not (isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours)):
        return False
    return all(isinstance(each, dict) for each in (*theirs, *ours))


def _field(form: Mapping[str, Any], other: Mapping[str, Any], name: str) -> Any:
    """A field's value; where only the other form has it, the default of its class, as plain data."""
    if name in form or form.get("class") != other.get("class"):
        return form.get(name, ABSENT)
    module, _, cls = str(form.get("class")).rpartition(".")
    known: Any = getattr(sys.modules.get(module), cls, None)
    defaults = {each.name: each.default for each in dataclasses.fields(known)} if known is not None else {}
    default = defaults.get(name, dataclasses.MISSING)
    return default if isinstance(default, str | int | float | bool | None) else ABSENT


def _words(path: str, theirs: Any, ours: Any) -> str:
    """'sampler.alpha 4.0 → 8.0', 'model.content' for hashes and what is too long to read."""
    name = path.removesuffix(".class")
    shown = [_value(value) for value in (theirs, ours)]
    return f"{name} {shown[0]} → {shown[1]}" if None not in shown else name


def _value(value: Any) -> str | None:
    """A value in words; None where it is a hash or too long."""
    if value is ABSENT:
        return "none"
    if _is_key(value):
        return "another"
    if isinstance(value, dict) and "class" in value:
        return str(value["class"]).rpartition(".")[2]
    text = str(value).rpartition(".")[2] if _names_class(value) else json.dumps(value, ensure_ascii=False).strip('"')
    is_hash = isinstance(value, str) and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", value)
    return None if is_hash or len(text) > LONGEST else text


def _names_class(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(\w+\.)+[A-Z]\w*", value) is not None
