"""Vectors for other programs: safetensors, and control vectors in llama.cpp's GGUF.

Everything is returned as bytes; the caller writes the files.
"""

import re
import struct

import torch
from jaxtyping import Float
from torch import Tensor

from reasoning_lab.steering.vectors.base import VectorSet

ALIGNMENT = 32
"""Of GGUF's tensor data [bytes]; the format's default."""
_VERSION, _UINT32, _STRING, _F32 = 3, 4, 8, 0


def control_vectors(vector_set: VectorSet, model_hint: str) -> dict[str, bytes]:
    """One GGUF control vector per category that has a vector, and one for the bias, by file name.

    `model_hint` is llama.cpp's name of the architecture ("llama", "qwen2" ...). llama.cpp adds the vectors of all
    files that it is given, each with its own factor, at every position: the format holds no gate and no coefficient
    network, so of venhoff2026 vectors it has the directions alone.
    """
    names = vector_set.names or tuple(str(category) for category in range(vector_set.n_categories))
    chosen = {
        f"{category:02d}-{_slug(names[category])}": vector_set.vectors[category]
        for category in range(vector_set.n_categories)
        if category not in vector_set.empty
    }
    if vector_set.bias is not None:
        chosen["bias"] = vector_set.bias
    return {f"{name}.gguf": control_vector(vector, vector_set.layer, model_hint) for name, vector in chosen.items()}


def control_vector(vector: Float[Tensor, " d"], layer: int, model_hint: str) -> bytes:
    """One control vector as a GGUF file: tensor direction.L of float32, added to the output of layer L.

    llama.cpp counts layers from 0, as we do, and has no direction.0, so vectors of layer 0 are refused.
    """
    if layer < 1:
        raise ValueError(f"layer={layer}: llama.cpp's control vectors begin at layer 1; train for a later layer.")
    data = vector.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4").tobytes()
    settings = (
        ("general.architecture", "controlvector"),
        ("controlvector.model_hint", model_hint),
        ("controlvector.layer_count", 1),
    )
    header = b"GGUF" + struct.pack("<IQQ", _VERSION, 1, len(settings))
    header += b"".join(_string(key) + _value(value) for key, value in settings)
    header += _string(f"direction.{layer}") + struct.pack("<IQIQ", 1, vector.shape[0], _F32, 0)
    return header.ljust(-(-len(header) // ALIGNMENT) * ALIGNMENT, b"\0") + data


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(value: str | int) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    return struct.pack("<II", _UINT32, value)


def _slug(name: str) -> str:
    """A file name of the category's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"
