"""Files of tensors: the library reads them back, and their bytes follow from their content alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from reasoning_lab.engine.tensors import safetensors_bytes, write_safetensors

METADATA = {name: name.upper() for name in ("layer", "kind", "k", "source", "names", "a é")}


def tensors() -> dict[str, Tensor]:
    whole = torch.arange(24, dtype=torch.float32).view(2, 3, 4)
    return {
        "turned": whole.transpose(0, 2), "scalar": torch.tensor(7), "half": whole.to(torch.bfloat16),
        "double": -whole.double(), "empty": torch.zeros(0, 3), "mask": whole > 5, "a": whole, "b": whole,
    }  # fmt: skip


def test_the_library_reads_it_back(tmp_path: Path) -> None:
    written = safetensors_bytes(tensors(), METADATA)
    for name, tensor in load(written).items():
        assert torch.equal(tensor, tensors()[name]) and tensor.dtype == tensors()[name].dtype
    write_safetensors(tmp_path / "x.safetensors", tensors(), METADATA)
    assert (tmp_path / "x.safetensors").read_bytes() == written
    with safe_open(tmp_path / "x.safetensors", framework="pt") as opened:
        assert opened.metadata() == METADATA
        assert set(opened.keys()) == set(tensors())
    assert load(safetensors_bytes({})) == {}


def test_content_is_the_librarys_but_for_the_order_of_keys() -> None:
    """The library orders int64 among float64 by a rule of its own, so the integer stays out."""
    plain = {name: tensor.clone().contiguous() for name, tensor in tensors().items() if name != "scalar"}
    for metadata in (METADATA, None):
        parts = []
        for written in (safetensors_bytes(plain, metadata), save(plain, metadata)):
            stop = 8 + int.from_bytes(written[:8], "little")
            assert stop % 8 == 0
            parts.append((json.loads(written[8:stop]), written[stop:]))
        assert parts[0][0] == parts[1][0]
        assert parts[0][1] == parts[1][1]


def test_two_processes_write_the_same_bytes() -> None:
    """Under unlike hash seeds, from sets and in unlike orders of insertion."""
    code = (
        "import hashlib, torch\n"
        "from reasoning_lab.engine.tensors import safetensors_bytes\n"
        "names = list({'w', 'bias', 'mean', 'layer3', 'k', 'é'})\n"
        "tensors = {name: torch.full((3,), float(len(name))) for name in names}\n"
        "print(hashlib.sha256(safetensors_bytes(tensors, {name: name for name in names})).hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_a_dtype_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"phase has dtype torch.complex64: must be one of float64, .*; convert it"):
        safetensors_bytes({"phase": torch.zeros(2, dtype=torch.complex64)})
