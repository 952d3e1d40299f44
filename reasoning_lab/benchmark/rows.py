"""Rows of a data set: of a local file, or of the Hugging Face hub. A bad row stops the reading and is named."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

MAX_FIELD_CHARS = 100_000
"""Longest text of a field [characters]. No problem of a known benchmark comes near; a broken file does."""


class Row(NamedTuple):
    """One row, and what to call it in an error."""

    number: int
    """Counted from 0; blank lines don't count."""
    where: str
    """file:line, or data set:index."""
    data: dict[str, Any]


def rows(path: str | None, hub_id: str, hub_config: str | None, revision: str, split: str) -> Iterator[Row]:
    """The rows of `path` if it is given, else of the hub. ValueError says what is wrong, where, and what to set."""
    return hub_rows(hub_id, hub_config, revision, split) if path is None else local_rows(Path(path).expanduser())


def text_field(row: Mapping[str, Any], field: str, where: str) -> str:
    """A field that must be a text: present, not blank, at most `MAX_FIELD_CHARS` long, and writable as UTF-8."""
    if field not in row:
        raise ValueError(f"{where}: no field {field!r}; the row has {_names(row)}.")
    value = row[field]
    if not isinstance(value, str):
        raise ValueError(f"{where}: {field} is of type {type(value).__name__}, must be a text.")
    if not value.strip():
        raise ValueError(f"{where}: {field} is empty.")
    if len(value) > MAX_FIELD_CHARS:
        raise ValueError(f"{where}: {field} has {len(value):,} characters, at most {MAX_FIELD_CHARS:,} are read.")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{where}: {field} holds a NUL or half a surrogate pair, which no text file can carry.")
    return value


def _names(row: Mapping[str, Any]) -> str:
    names = sorted(map(repr, row))
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "no field at all"


# --- local files ----------------------------------------------------------------------------------------------


def local_rows(path: Path) -> Iterator[Row]:
    """The rows of a .jsonl, .jsonl.gz, .parquet or .csv file; ValueError names file and line."""
    if not path.is_file():
        raise ValueError(f"benchmark.path={path}: no such file; set benchmark.path to a file, or to null for the hub.")
    for suffix, reader in _READERS.items():
        if path.name.endswith(suffix):
            return _numbered(reader(path))
    raise ValueError(f"benchmark.path={path}: the name must end in one of {', '.join(_READERS)}.")


def _numbered(found: Iterator[tuple[str, object]]) -> Iterator[Row]:
    for index, (where, data) in enumerate(found):
        if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
            raise ValueError(f"{where}: a row must be an object of named fields.")
        yield Row(index, where, cast(dict[str, Any], data))


def _jsonl(path: Path) -> Iterator[tuple[str, object]]:
    with path.open("rb") as file:
        yield from _json_lines(path, file)


def _jsonl_gz(path: Path) -> Iterator[tuple[str, object]]:
    try:
        with gzip.open(path, "rb") as file:
            yield from _json_lines(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error}); fetch it again.") from error


def _json_lines(path: Path, file: Iterable[bytes]) -> Iterator[tuple[str, object]]:
    # Bytes split at \n alone: text mode would also split at U+2028 and its like, which JSON allows in a string.
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are ValueErrors
            raise ValueError(f"{path}:{number}: not a line of JSON ({error}).") from error
        yield f"{path}:{number}", data


def _csv(path: Path) -> Iterator[tuple[str, object]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for data in reader:
                where = f"{path}:{reader.line_num}"
                if None in data or None in data.values():
                    raise ValueError(f"{where}: the row has not as many fields as the header.")
                yield where, data
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}:{reader.line_num + 1}: not a row of CSV ({error}).") from error


def _parquet(path: Path) -> Iterator[tuple[str, object]]:
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these
        raise ValueError(f"{path}: not a readable parquet file ({error}).") from error
    for index, data in enumerate(table.to_pylist()):
        yield f"{path}:{index + 1}", data


_READERS = {".jsonl": _jsonl, ".jsonl.gz": _jsonl_gz, ".parquet": _parquet, ".csv": _csv}


# --- the hub --------------------------------------------------------------------------------------------------


def hub_rows(hub_id: str, hub_config: str | None, revision: str, split: str) -> Iterator[Row]:
    """The rows of a split of a data set of the hub, through `datasets` (which caches them).

    Whatever fails there (no network, no such data set, revision or split) is one ValueError that says to set
    `benchmark.path`.
    """
    try:
        from datasets import load_dataset

        found = load_dataset(hub_id, hub_config, revision=revision, split=split)
    except Exception as error:  # the library raises a dozen kinds, by version and cause
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ValueError(
            f"benchmark.hub_id={hub_id}: split {split!r} at revision {revision!r} could not be loaded ({cause}). "
            "Without network, set benchmark.path to a local .jsonl, .jsonl.gz, .parquet or .csv file of it."
        ) from error
    return _numbered((f"{hub_id}/{split}:{index}", data) for index, data in enumerate(found))
