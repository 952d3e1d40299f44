"""Steering vectors for llama.cpp: control vectors in GGUF, written by the format's own library (extra `small`)."""

import logging
import re
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float
from torch import Tensor

from reasoning_lab.checks import require
from reasoning_lab.steering.vectors.base import VectorSet


def control_vectors(vector_set: VectorSet, model_hint: str) -> dict[str, bytes]:
    """File name → content: one control vector per category that has a vector, and one for the bias.

    `model_hint` is llama.cpp's name of the architecture ("llama", "qwen2" ...). llama.cpp adds the vectors of all
    files that it is given, each with its own factor, at every position: the format holds no gate and no coefficient
    network, so of venhoff2026 vectors it has the directions alone.
    """
    titles = vector_set.titles or tuple(str(category) for category in range(vector_set.n_categories))
    vectors = {
        f"{category:02d}-{_slug(titles[category])}": vector_set.vectors[category]
        for category in range(vector_set.n_categories)
        if category not in vector_set.empty
    }
    if vector_set.bias is not None:
        vectors["bias"] = vector_set.bias
    return {f"{name}.gguf": control_vector(vector, vector_set.layer, model_hint) for name, vector in vectors.items()}


def control_vector(vector: Float[Tensor, " d"], layer: int, model_hint: str) -> bytes:
    """One control vector as a GGUF file: tensor direction.L of float32, added to the output of layer L.

    llama.cpp counts layers from 0, as we do, and has no direction.0, so vectors of layer 0 are refused. ValueError
    without the extra.
    """
    require(layer >= 1, "layer", layer, "at least 1 in llama.cpp's control vectors", "train for a later layer")
    require_gguf()
    from gguf import GGUFWriter

    logging.getLogger("gguf.gguf_writer").setLevel(logging.WARNING)  # It tells of every file.
    with TemporaryDirectory() as folder:  # The library writes to files alone.
        file = Path(folder, "vector.gguf")
        writer = GGUFWriter(file, "controlvector")
        writer.add_string("controlvector.model_hint", model_hint)
        writer.add_uint32("controlvector.layer_count", 1)
        writer.add_tensor(f"direction.{layer}", vector.detach().to("cpu", torch.float32).contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return file.read_bytes()


def require_gguf() -> None:
    """ValueError without the extra; to be called before any work."""
    if find_spec("gguf") is None:
        raise ValueError("control vectors need the extra `small`: run `pip install -e '.[small]'`.")


def _slug(title: str) -> str:
    """A file name of the category's title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "unnamed"
