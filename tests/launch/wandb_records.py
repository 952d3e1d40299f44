"""What an offline run of W&B 0.31 holds, read off its file: a header of seven bytes, then blocks as LevelDB's log has
them (record: crc, length, type; blocks of 32 KiB)."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(run: Path) -> list[Any]:
    """The records of an offline run's folder, in their order."""
    from wandb.proto import wandb_internal_pb2

    (file,) = run.glob("run-*.wandb")
    found = []
    for data in _frames(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        found.append(record)
    return found


def _frames(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(data):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        _, n, kind = struct.unpack("<IHB", data[at : at + 7])
        if kind == 0:
            return
        chunk = data[at + 7 : at + 7 + n]
        at += 7 + n
        parts = chunk if kind in (WHOLE, FIRST) else parts + chunk
        if kind in (WHOLE, LAST):
            yield parts


def offline_run(folder: Path) -> list[Any]:
    """Records of the only offline run below a run's folder."""
    (run,) = folder.glob("wandb/offline-run-*")
    return records(run)


def of_kind(found: list[Any], kind: str) -> list[Any]:
    """The records of one type."""
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def items(pairs: Any) -> dict[str, Any]:
    """Keys and values as W&B nests them."""
    return {".".join(pair.nested_key) or pair.key: json.loads(pair.value_json) for pair in pairs}


def history(found: list[Any]) -> dict[int, dict[str, Any]]:
    """Points by W&B's step."""
    return {entry.step.num: items(entry.item) for entry in of_kind(found, "history")}


def summary(found: list[Any]) -> dict[str, Any]:
    """The last value of each name."""
    return {key: value for each in of_kind(found, "summary") for key, value in items(each.update).items()}
