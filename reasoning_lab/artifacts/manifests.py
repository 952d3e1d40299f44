"""The manifests of a store: what its finished artifacts say of themselves, read without their files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Form = dict[str, Any]
"""An artifact's canonical form (key.py)."""


class Finished(NamedTuple):
    """A finished artifact, as its manifest tells it."""

    folder: Path
    key: str
    form: Form
    manifest: dict[str, Any]


class Manifests:
    """Those below a store's root, each read once. Folders without a readable manifest that names their key are passed
    over: partial ones, and those that were set aside."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kinds: dict[str, list[Finished]] = {}

    def of_kind(self, kind: str) -> list[Finished]:
        """In the order of their folders' names."""
        if kind not in self._kinds:
            folders = sorted((self._root / kind).glob("*/manifest.json"))
            self._kinds[kind] = [found for file in folders for found in _read(file)]
        return self._kinds[kind]

    def of_slug(self, kind: str, slug: str) -> list[Finished]:
        """Those whose folder has this slug."""
        return [each for each in self.of_kind(kind) if each.folder.name == f"{slug}-{each.key[:12]}"]

    def form(self, key: str) -> Form | None:
        """The canonical form of a finished artifact of any kind; None where there is none."""
        for file in sorted(self._root.glob(f"*/*-{key[:12]}/manifest.json")):
            for found in _read(file):
                if found.key == key:
                    return found.form
        return None


def _read(file: Path) -> Iterator[Finished]:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        found = Finished(file.parent, str(manifest["key"]), dict(manifest["artifact"]), manifest)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if found.folder.name.endswith(f"-{found.key[:12]}"):
        yield found
