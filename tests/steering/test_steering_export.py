"""Files for other programs, read back by other programs' readers."""

import sys

import pytest
import safetensors.torch
import torch

from reasoning_lab.engine.tensors import safetensors_bytes
from reasoning_lab.steering.export import control_vectors
from reasoning_lab.steering.vectors.base import VectorSet, vectors_from


def a_set(layer=2) -> VectorSet:
    vectors = torch.tensor([[1.0, -2, 0.5], [0, 0, 0], [3, 3, 3]], dtype=torch.float64)
    return VectorSet(layer, vectors, torch.ones(3), None, ("Plan ahead!", "empty", "check"), "base")


def test_safetensors_reads_it_back(tmp_path):
    file = tmp_path / "vectors.safetensors"
    file.write_bytes(safetensors_bytes(a_set().tensors(), a_set().metadata()))
    with safetensors.safe_open(str(file), "pt") as opened:
        again = vectors_from({name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata())  # noqa: SIM118
    assert (again.layer, again.titles, again.base) == (2, a_set().titles, "base")
    assert torch.equal(again.vectors, a_set().vectors)
    assert again.bias is not None
    assert torch.equal(again.bias, torch.ones(3))


def test_gguf_reads_the_control_vectors(tmp_path):
    gguf = pytest.importorskip("gguf")
    files = control_vectors(a_set(), "llama")
    assert set(files) == {"00-plan-ahead.gguf", "02-check.gguf", "bias.gguf"}
    expected = {"00-plan-ahead.gguf": [1.0, -2.0, 0.5], "02-check.gguf": [3.0] * 3, "bias.gguf": [1.0] * 3}
    for name, data in files.items():
        file = tmp_path / name
        file.write_bytes(data)
        reader = gguf.GGUFReader(str(file))
        text = {
            key: bytes(reader.fields[key].parts[reader.fields[key].data[0]]).decode()
            for key in ("general.architecture", "controlvector.model_hint")
        }
        assert text == {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
        count = reader.fields["controlvector.layer_count"]
        assert int(count.parts[count.data[0]][0]) == 1
        (tensor,) = reader.tensors
        assert (tensor.name, tensor.tensor_type) == ("direction.2", gguf.GGMLQuantizationType.F32)
        assert tensor.data.tolist() == expected[name]


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ValueError, match=r"need the extra `small`: run `pip install"):
        control_vectors(a_set(), "llama")


def test_layer_0_has_no_control_vector():
    with pytest.raises(ValueError, match="layer=0: must be at least 1 in llama.cpp's control vectors"):
        control_vectors(a_set(0), "llama")
