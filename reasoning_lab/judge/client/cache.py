"""Replies on disk, under the hash of the full request: what was paid for once is never asked again."""

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any


def json_sha256(value: object) -> str:
    """sha256 of plain data as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class ReplyCache:
    """One file per request. Any number of threads and processes may read and write: files appear whole, by rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The reply to `request` (plain data), or None; a file that is torn, altered or of another request is as if
        it weren't there."""
        try:
            entry = json.loads(self._file(request).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(entry, dict) or entry.get("request") != request or not isinstance(entry.get("reply"), dict):
            return None
        return entry["reply"] if entry.get("sha256") == json_sha256(entry["reply"]) else None

    def put(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Keep a reply (plain data)."""
        file = self._file(request)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.partial")
        entry = {"request": request, "reply": reply, "sha256": json_sha256(reply)}
        try:
            partial.write_text(json.dumps(entry, sort_keys=True), encoding="utf-8")
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)

    def _file(self, request: dict[str, Any]) -> Path:
        name = json_sha256(request)
        return self.folder / name[:2] / f"{name}.json"
