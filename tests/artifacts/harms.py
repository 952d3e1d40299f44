"""What can happen to the files of finished artifacts, by mishap or by hand, up to a manifest that is made to fit.

A harm is given an artifact's folder and another one's of the same kind, and says whether it did anything.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.store import MANIFEST, _digest, sealed

Harm = Callable[[Path, Path], None]


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def data_of(folder: Path) -> Path:
    """The artifact's largest file."""
    files = [file for file in folder.iterdir() if file.name != MANIFEST]
    return max(files, key=lambda file: (file.stat().st_size, file.name))


def manifest_of(folder: Path) -> dict[str, Any]:
    """What its manifest says."""
    return json.loads((folder / MANIFEST).read_text())


def _rewrite(folder: Path, **changes: Any) -> None:
    """Change the manifest and make its seal fit again."""
    (folder / MANIFEST).write_text(sealed(manifest_of(folder) | changes))


def _edit(folder: Path, old: str, new: str) -> None:
    """Change the manifest's text alone."""
    file = folder / MANIFEST
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def _swap(one: Path, two: Path) -> None:
    between = one.with_name(one.name + ".between")
    os.rename(one, between)
    os.rename(two, one)
    os.rename(between, two)


def _link(path: Path) -> None:
    """The same content, behind a link."""
    target = path.parent.parent / f".{path.name}-elsewhere"
    os.rename(path, target)
    path.symlink_to(target, target_is_directory=target.is_dir())


def _over(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _append_and_fit(folder: Path, key: str) -> None:
    """A line more, and a hash that would be right for an artifact of another key."""
    file = data_of(folder)
    file.write_bytes(file.read_bytes() + b"\n")
    _rewrite(folder, files=manifest_of(folder)["files"] | {file.name: _digest(file, key)})


def _outside(folder: Path, data: Path, name: str) -> None:
    """The manifest names the same content by a way that leads there from elsewhere."""
    files = manifest_of(folder)["files"]
    _rewrite(folder, files={name if each == data.name else each: value for each, value in files.items()})


def _into_subfolder(folder: Path) -> None:
    data = data_of(folder)
    (folder / "sub").mkdir()
    os.rename(data, folder / "sub" / data.name)
    _outside(folder, data, f"sub/{data.name}")


ALONE: dict[str, Callable[[Path], object]] = {
    "flip data": lambda a: _flip(data_of(a)),
    "flip manifest": lambda a: _flip(a / MANIFEST),
    "truncate data": lambda a: os.truncate(data_of(a), data_of(a).stat().st_size - 1),
    "truncate manifest": lambda a: os.truncate(a / MANIFEST, (a / MANIFEST).stat().st_size - 1),
    "empty data": lambda a: os.truncate(data_of(a), 0),
    "empty manifest": lambda a: os.truncate(a / MANIFEST, 0),
    "lengthen data": lambda a: data_of(a).open("ab").write(b"\n"),
    "no data": lambda a: data_of(a).unlink(),
    "no manifest": lambda a: (a / MANIFEST).unlink(),
    "no files": lambda a: [file.unlink() for file in a.iterdir()],
    "extra file": lambda a: (a / "more.jsonl").write_text(""),
    "extra folder": lambda a: (a / "more").mkdir(),
    "data is a link": lambda a: _link(data_of(a)),
    "manifest is a link": lambda a: _link(a / MANIFEST),
    "folder is a link": _link,
    "folder is a file": lambda a: (shutil.rmtree(a), a.write_text("")),
    "data is a folder": lambda a: _over(data_of(a), Path.mkdir),
    "data is a pipe": lambda a: _over(data_of(a), os.mkfifo),
    "manifest is a folder": lambda a: _over(a / MANIFEST, Path.mkdir),
    "manifest is a pipe": lambda a: _over(a / MANIFEST, os.mkfifo),
    "manifest is a list": lambda a: (a / MANIFEST).write_text("[]"),
    "manifest is deep": lambda a: (a / MANIFEST).write_text("[" * 99999),
    "manifest is of a number": lambda a: (a / MANIFEST).write_text("7"),
    "manifest of another layout": lambda a: (a / MANIFEST).write_text(json.dumps(manifest_of(a))),
    "manifest without a seal": lambda a: (a / MANIFEST).write_text(
        json.dumps({name: each for name, each in manifest_of(a).items() if name != "seal"}, indent=1, sort_keys=True)
    ),
    "a word twice": lambda a: _edit(a, "{\n", '{\n "key": "' + "0" * 64 + '",\n'),
    "edited runtime": lambda a: _edit(a, '"seconds": ', '"seconds": 1'),
    "edited time, resealed without it": lambda a: _edit(a, '"built": "2', '"built": "1'),
    "empty list, files there": lambda a: _rewrite(a, files={}),
    "empty list, files gone": lambda a: (_rewrite(a, files={}), data_of(a).unlink()),
    "list of names": lambda a: _rewrite(a, files=list(manifest_of(a)["files"])),
    "hash is a number": lambda a: _rewrite(a, files=dict.fromkeys(manifest_of(a)["files"], 7)),
    "hash is nothing": lambda a: _rewrite(a, files=dict.fromkeys(manifest_of(a)["files"])),
    "hash is a list": lambda a: _rewrite(a, files={name: [each] for name, each in manifest_of(a)["files"].items()}),
    "manifest is of itself": lambda a: _rewrite(a, files=manifest_of(a)["files"] | {MANIFEST: "0" * 64}),
    "name leads out": lambda a: _outside(a, data_of(a), f"../{a.name}/{data_of(a).name}"),
    "name is a way here": lambda a: _outside(a, data_of(a), f"./{data_of(a).name}"),
    "name is absolute": lambda a: _outside(a, data_of(a), str(data_of(a).absolute())),
    "name is empty": lambda a: _outside(a, data_of(a), ""),
    "name is the folder": lambda a: _outside(a, data_of(a), "."),
    "data in a subfolder": _into_subfolder,
    "one file less in both": lambda a: (_rewrite(a, files={"none.jsonl": "0" * 64}), data_of(a).unlink()),
    "key edited": lambda a: _rewrite(a, key="0" * 64),
    "key is a list": lambda a: _rewrite(a, key=[manifest_of(a)["key"]]),
    "artifact edited": lambda a: _rewrite(a, artifact=manifest_of(a)["artifact"] | {"seed": 99}),
    "artifact gone": lambda a: _rewrite(a, artifact=None),
    "data fits a key of nobody": lambda a: _append_and_fit(a, "0" * 64),
}
"""By name, to one artifact."""
EXCHANGES: dict[str, Harm] = {
    "folders": _swap,
    "data": lambda a, b: _swap(data_of(a), b / data_of(a).name),
    "manifests": lambda a, b: _swap(a / MANIFEST, b / MANIFEST),
    "a copy of its folder": lambda a, b: (shutil.rmtree(a), shutil.copytree(b, a))[0],
    "a copy of its data": lambda a, b: shutil.copy(b / data_of(a).name, data_of(a)) and None,
    "a copy of its manifest": lambda a, b: shutil.copy(b / MANIFEST, a / MANIFEST) and None,
    "its data and hashes under our key": lambda a, b: (
        shutil.copy(b / data_of(a).name, data_of(a)), _rewrite(a, files=manifest_of(b)["files"]),
    )[1],
    "its data and manifest, our key in it": lambda a, b: (
        shutil.copy(b / data_of(a).name, data_of(a)),
        (a / MANIFEST).write_text(sealed(manifest_of(b) | {"key": manifest_of(a)["key"]})),
    )[0] and None,
    "its data and manifest, all that names us in it": lambda a, b: (
        shutil.copy(b / data_of(a).name, data_of(a)),
        (a / MANIFEST).write_text(
            sealed(manifest_of(b) | {name: manifest_of(a)[name] for name in ("key", "artifact")})
        ),
    )[0] and None,
    "its data, a hash that fits it there": lambda a, b: (
        shutil.copy(b / data_of(a).name, data_of(a)),
        _rewrite(a, files={**manifest_of(a)["files"], data_of(a).name: _digest(data_of(a), manifest_of(b)["key"])}),
    )[1],
}  # fmt: skip
"""By name, from another artifact of the same kind."""
