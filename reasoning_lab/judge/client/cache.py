"""Replies on disk, under the hash of the full request: what was paid for once is never asked again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from reasoning_lab.disk import told, write_whole


def json_sha256(value: object) -> str:
    """sha256 of plain data as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class ReplyCache:
    """One file per request. Any number of threads and processes may read and write: files appear whole, by rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The reply to `request` (plain data), or None; a file that is torn, altered or of another request is as if
        it weren't there. DiskError where it can't be read: to ask again may cost."""
        file = self._file(request)
        try:
            with told(file):
                entry = json.loads(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
            return None
        reply = entry.get("reply") if isinstance(entry, dict) else None
        return reply if isinstance(reply, dict) and entry == _entry(request, reply) else None

    def put(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Keep a reply (plain data). DiskError where it can't be kept: it may have been paid for."""
        entry = json.dumps(_entry(request, reply), sort_keys=True)
        write_whole(self._file(request), entry.encode(), partials=self.folder)

    def _file(self, request: dict[str, Any]) -> Path:
        name = json_sha256(request)
        return self.folder / name[:2] / f"{name}.json"


def _entry(request: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """What is kept; the hash binds the reply to the request, so that no other's can stand in its place."""
    return {"request": request, "reply": reply, "sha256": json_sha256([request, reply])}
