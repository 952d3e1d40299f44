"""What a model is: the hash of a folder's content, so that a copy is the same model and a changed weight another; of a
model of the hub the commit."""

import hashlib
import json
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

from reasoning_lab.model_pair.hashes import HASHES

_SUFFIXES = {".json", ".safetensors", ".gguf", ".txt", ".model", ".jinja", ".bin"}
"""Of the files that determine a model or its tokenizer."""
_CONFIGS = {"config.json", "tokenizer_config.json", "generation_config.json"}
_BOOKKEEPING = {"is_local", "local_files_only", "use_cache", "transformers_version", "_name_or_path"}
"""What transformers writes into a config about the moment of saving; it changes no law."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def folder_hash(folder: Path) -> str:
    """sha256 over names and whole content of a folder's model and tokenizer files, each read once (`hashes.py`)."""
    digest = hashlib.sha256()
    for file in sorted(folder.resolve().iterdir()):
        if file.suffix in _SUFFIXES:
            content = _meaning(file) if file.name in _CONFIGS else HASHES.sha256(file)
            digest.update(file.name.encode() + b"\0" + content)
    return digest.hexdigest()


def _meaning(file: Path) -> bytes:
    """Hash of a config without its bookkeeping."""
    data = json.loads(file.read_text(encoding="utf-8"))
    told = {key: value for key, value in data.items() if key not in _BOOKKEEPING}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


@cache
def hub_commit(hub_id: str, revision: str | None, kind: Literal["model", "dataset"] = "model") -> str | None:
    """The commit that a branch, a tag or None (main) stands for; None where neither this machine nor the hub knows.

    This machine's cache goes before the hub: what was downloaded once stays the same model until the cache is
    updated. Of a data set the cache alone is asked. One answer per process.
    """
    name = revision or "main"
    if _COMMIT.fullmatch(name):
        return name
    cached = _cached_commit(hub_id, name, kind)
    return _fetched_commit(hub_id, name) if cached is None and kind == "model" else cached


def _cached_commit(hub_id: str, name: str, kind: str) -> str | None:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    reference = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type=kind) / "refs" / name
    try:
        commit = reference.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def _fetched_commit(hub_id: str, name: str) -> str | None:
    """By way of the config, whose download leaves the reference in the cache: without a network the next process
    finds it there."""
    from huggingface_hub import hf_hub_download

    with suppress(Exception):  # no network, no such model, no such file: the loading will say which
        hf_hub_download(hub_id, "config.json", revision=name)
    return _cached_commit(hub_id, name, "model")
