"""What a model folder is: the hash of its content, so that a copy is the same model and a changed weight another."""

import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path

_SUFFIXES = {".json", ".safetensors", ".gguf", ".txt", ".model", ".jinja", ".bin"}
"""Of the files that determine a model or its tokenizer."""
_CONFIGS = {"config.json", "tokenizer_config.json", "generation_config.json"}
_BOOKKEEPING = {"is_local", "local_files_only", "use_cache", "transformers_version", "_name_or_path"}
"""What transformers writes into a config about the moment of saving; it changes no law."""
_HASHED_WHOLE = 64 * 2**20
"""Files up to this size [bytes] enter whole; of larger ones the size and both ends do."""

_SETTLED = 2 * 10**9
"""Age [ns] from which a file's time of change tells it from any later state: clocks of file systems tick slowly."""

Stamp = tuple[str, int, int]
"""Name, size [bytes] and time of the last change [ns] of a file."""


def folder_hash(folder: Path) -> str:
    """sha256 over names and content of a folder's model and tokenizer files.

    Read once in a process, as long as no file's name, size or time of change does.
    """
    folder = folder.resolve()
    stamps = tuple(_stamp(file) for file in sorted(folder.iterdir()) if file.suffix in _SUFFIXES)
    settled = all(changed < time.time_ns() - _SETTLED for _, _, changed in stamps)
    return _hashed(folder, stamps) if settled else _hashed.__wrapped__(folder, stamps)


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


@cache
def _hashed(folder: Path, stamps: tuple[Stamp, ...]) -> str:
    digest = hashlib.sha256()
    for name, size, _ in stamps:
        content = _meaning(folder / name) if name in _CONFIGS else _file_hash(folder / name, size)
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _meaning(file: Path) -> bytes:
    """Hash of a config without its bookkeeping."""
    data = json.loads(file.read_text(encoding="utf-8"))
    told = {key: value for key, value in data.items() if key not in _BOOKKEEPING}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


def _file_hash(file: Path, size: int) -> bytes:
    with file.open("rb") as opened:
        if size <= _HASHED_WHOLE:
            return hashlib.sha256(opened.read()).digest()
        head = opened.read(2**20)
        opened.seek(-(2**20), os.SEEK_END)
        return hashlib.sha256(str(size).encode() + head + opened.read()).digest()
