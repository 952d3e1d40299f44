"""Named tensors as a safetensors file whose bytes follow from its content alone.

The library's own writer lays the header's keys out as a hash map has them, so that two processes write one content in
two ways; a store that knows files by their hashes must not. Format (github.com/huggingface/safetensors, "Format"): the
header's length as a little-endian u64, the header as JSON padded by spaces to 8 bytes, the tensors' bytes without gaps.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file as bytes: keys of header and metadata sorted, data in order of falling item size, then of name.

    Tensors may lie on any device and in any layout. ValueError for a dtype that the format has no name for here.
    """
    return b"".join(_parts(tensors, metadata or {}))


def write_safetensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write `safetensors_bytes` to a file, one tensor in memory at a time."""
    with file.open("wb") as opened:
        opened.writelines(_parts(tensors, metadata or {}))


def _parts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[bytes]:
    """Length and header, then each tensor's data."""
    assert sys.byteorder == "little", "the format is little-endian, and so must this machine be"
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in order:
        tensor, start = tensors[name], offset
        offset += tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _name(name, tensor), "shape": list(tensor.shape), "data_offsets": [start, offset]}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _name(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in _NAMES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _NAMES)
        raise ValueError(f"{name} has dtype {tensor.dtype}: must be one of {known}; convert it before it is written.")
    return _NAMES[tensor.dtype]
