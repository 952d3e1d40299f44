"""The files of artifacts: JSON lines of records, text, tensors."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from torch import Tensor

from reasoning_lab.disk import told
from reasoning_lab.engine.tensors import write_safetensors
from reasoning_lab.model_pair.pair import ModelPair, Role
from reasoning_lab.records import Problem, Record

R = TypeVar("R", bound=Record)
TRAINED_ON = "trained_on.jsonl"
"""Beside the weights of a model that stage=thinking made: the problems that it was trained on."""


def write_records(file: Path, records: Iterable[Record]) -> None:
    """One JSON line each."""
    write_lines(file, (record.dumps() for record in records))


def read_records(file: Path, cls: type[R]) -> tuple[R, ...]:
    """The records of a file of JSON lines."""
    return tuple(cls.from_json(line) for line in read_lines(file))


def write_lines(file: Path, lines: Iterable[str]) -> None:
    """Text lines, each with its end."""
    write_text(file, "".join(line + "\n" for line in lines))


def write_text(file: Path, text: str) -> None:
    """The whole file; DiskError where the disk is full, failing or closed."""
    with told(file):
        file.write_text(text, encoding="utf-8")


def write_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file; DiskError where the disk is full, failing or closed."""
    with told(file):
        write_safetensors(file, tensors, metadata)


def read_lines(file: Path) -> Iterator[Any]:
    """The JSON of each line."""
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)


def read_json(file: Path) -> Any:
    """The JSON of a whole file."""
    return json.loads(file.read_text(encoding="utf-8"))


def write_trained_on(folder: Path, problems: Sequence[Problem]) -> None:
    """Let a model's folder say what it was trained on, so that nobody measures it there."""
    write_records(folder / TRAINED_ON, [Problem(each.id, each.question, each.gold) for each in problems])


def trained_on(pair: ModelPair) -> dict[str, tuple[Problem, ...]]:
    """The problems that the pair's models are known to have been trained on, by the key of the model."""
    folders = {role: source.folder() for role in get_args(Role) if (source := getattr(pair, role)) is not None}
    files = {role: folder / TRAINED_ON for role, folder in folders.items() if folder is not None}
    return {
        f"model_pair.{role}.path, trained on {file.name},": read_records(file, Problem)
        for role, file in files.items()
        if file.is_file()
    }
