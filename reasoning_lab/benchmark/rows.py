"""Rows of a data set: of a local file, or of the Hugging Face hub. A bad row is named; it stops the reading, or is left
out where the caller says so. A file that is broken as a whole always stops it."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

MAX_FIELD_CHARS = 100_000
"""Longest text of a field [characters]. No problem of a known benchmark comes near; a broken file does."""


class Row(NamedTuple):
    """One row, and what to call it in an error."""

    number: int
    """Counted from 0; blank lines don't count, bad rows do."""
    where: str
    """file:line, or data set:index."""
    data: dict[str, Any]


OnBad = Callable[[str], None]
"""Hears of a bad row: its file and line, and what is wrong with it."""


def stop(message: str) -> None:
    """The default: a bad row is a ValueError."""
    raise ValueError(message)


def rows(
    path: str | None, hub_id: str | None, hub_config: str | None, revision: str, split: str, on_bad: OnBad = stop
) -> Iterator[Row]:
    """The rows of `path` if it is given, else of the hub. ValueError says what is wrong, where, and what to set.

    `on_bad` hears of each row that can't be read; where it returns, that row is left out.
    """
    if path is not None:
        return local_rows(Path(path).expanduser(), on_bad)
    if hub_id is None:
        raise ValueError(
            "benchmark.path=None, benchmark.hub_id=None: there is nothing to read; set benchmark.path to a file, or "
            "benchmark.hub_id to a data set of the hub."
        )
    return hub_rows(hub_id, hub_config, revision, split, on_bad)


def text_field(row: Mapping[str, object], field: str, where: str) -> str:
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


def _names(row: Mapping[str, object]) -> str:
    names = sorted(map(repr, row))
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "no field at all"


# --- local files ----------------------------------------------------------------------------------------------


def local_rows(path: Path, on_bad: OnBad = stop) -> Iterator[Row]:
    """The rows of a .jsonl, .jsonl.gz, .parquet or .csv file; messages name file and line."""
    if not path.is_file():
        raise ValueError(f"benchmark.path={path}: no such file; set benchmark.path to a file, or to null for the hub.")
    for suffix, reader in _READERS.items():
        if path.name.endswith(suffix):
            return _numbered(reader(path), on_bad)
    raise ValueError(f"benchmark.path={path}: the name must end in one of {', '.join(_READERS)}.")


class _Unread(NamedTuple):
    """What is wrong with a row that could not be read."""

    reason: str


def _numbered(items: Iterator[tuple[str, object]], on_bad: OnBad) -> Iterator[Row]:
    for index, (where, data) in enumerate(items):
        if isinstance(data, _Unread):
            on_bad(f"{where}: {data.reason}")
        elif not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
            on_bad(f"{where}: a row must be an object of named fields.")
        else:
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
            data: object = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are ValueErrors
            data = _Unread(f"not a line of JSON ({str(error)[:200]}).")
        yield f"{path}:{number}", data


def _csv(path: Path) -> Iterator[tuple[str, object]]:
    # Bytes that are not UTF-8 come as surrogates, so that they spoil their own row and not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            header = reader.fieldnames or ()
        except csv.Error as error:
            raise ValueError(f"{path}:1: not a header of CSV ({error}).") from error
        if len(set(header)) != len(header) or _is_escaped("".join(header)):
            raise ValueError(f"{path}:1: the header's names must be different, and UTF-8.")
        while True:
            try:
                data = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield f"{path}:{reader.line_num + 1}", _Unread(f"not a row of CSV ({error}).")
            else:
                yield f"{path}:{reader.line_num}", _csv_row(data)


def _csv_row(data: dict[Any, Any]) -> object:
    if None in data or None in data.values():
        return _Unread("the row has not as many fields as the header.")
    return _Unread("not UTF-8.") if _is_escaped("".join(data.values())) else data


def _is_escaped(text: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in text)


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


def hub_rows(hub_id: str, hub_config: str | None, revision: str, split: str, on_bad: OnBad = stop) -> Iterator[Row]:
    """The rows of a split of a data set of the hub, through `datasets` (which caches them).

    Whatever fails there (no network, no such data set, revision or split) is one ValueError that says to set
    `benchmark.path`.
    """
    try:
        from datasets import load_dataset

        data_set = load_dataset(hub_id, hub_config, revision=revision, split=split)
    except Exception as error:  # the library raises a dozen kinds, by version and cause
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ValueError(
            f"benchmark.hub_id={hub_id}: split {split!r} at revision {revision!r} could not be loaded ({cause}). "
            "Without network, set benchmark.path to a local .jsonl, .jsonl.gz, .parquet or .csv file of it."
        ) from error
    return _numbered(((f"{hub_id}/{split}:{index}", data) for index, data in enumerate(data_set)), on_bad)
