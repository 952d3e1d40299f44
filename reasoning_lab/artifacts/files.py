"""The files of artifacts: JSON lines of records."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from reasoning_lab.records import Record

R = TypeVar("R", bound=Record)


def write_records(file: Path, records: Iterable[Record]) -> None:
    """One JSON line each."""
    write_lines(file, (record.dumps() for record in records))


def read_records(file: Path, cls: type[R]) -> tuple[R, ...]:
    """The records of a file of JSON lines."""
    return tuple(cls.from_json(line) for line in read_lines(file))


def write_lines(file: Path, lines: Iterable[str]) -> None:
    """Text lines, each with its end."""
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_lines(file: Path) -> Iterator[Any]:
    """The JSON of each line."""
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)


def read_json(file: Path) -> Any:
    """The JSON of a whole file."""
    return json.loads(file.read_text(encoding="utf-8"))
