"""The map between two vocabularies: token by token, special tokens by role, a refusal where a text can't be read."""

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from reasoning_lab.model_pair.pair import ModelSource, load_reader
from reasoning_lab.steering.vocabulary import map_vocabularies, same_vocabulary

WORDS = ("a", "b", " c", "\n")


def tokenizer(tokens: tuple[str, ...], **special: str) -> PreTrainedTokenizerFast:
    table = {token: id for id, token in enumerate(tokens)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(table, tokens[0])), **special)


def test_equal_tables_map_to_themselves() -> None:
    one = load_reader(ModelSource("package:embedded/base")).tokenizer
    two = load_reader(ModelSource("package:embedded/thinking")).tokenizer
    found = map_vocabularies(one, two, len(one), len(two))
    assert found == same_vocabulary(len(one))
    assert found.identity


def test_equal_sizes_are_not_equal_tables() -> None:
    base = tokenizer((*WORDS, "<end>"), eos_token="<end>")
    other = tokenizer(("<end>", *reversed(WORDS)), eos_token="<end>")
    found = map_vocabularies(base, other, 5, 5)
    assert found.to_thinking == (4, 3, 2, 1, 0)
    assert found.to_base == (4, 3, 2, 1, 0)
    assert not found.identity


def test_special_tokens_map_by_role_before_their_text() -> None:
    """The base's end is the thinking model's end, though that has a token of the base's name in another role."""
    base = tokenizer(("<x>", *WORDS, "<fim>"), eos_token="<x>", additional_special_tokens=["<fim>"])
    markers = ["<x>", "<user>"]
    other = tokenizer((*WORDS, "<x>", "<user>", "<end>"), eos_token="<end>", additional_special_tokens=markers)
    found = map_vocabularies(base, other, 8, 9)
    assert found.to_thinking[0] == 6
    assert found.to_base[6] == 0
    assert found.to_base[4] == found.to_base[5] == -1
    # A marker that the thinking model lacks, and unused rows of the embedding, are read as its end of text.
    assert found.to_thinking[5:] == (6, 6, 6)
    assert found.exact == (True,) * 5 + (False,) * 3
    assert found.to_base[7:] == (-1, -1)


def test_a_larger_thinking_vocabulary_is_fine() -> None:
    base = tokenizer((*WORDS, "<end>"), eos_token="<end>")
    other = tokenizer((*WORDS, "<end>", "more"), eos_token="<end>")
    found = map_vocabularies(base, other, 5, 6)
    assert found.to_thinking == (0, 1, 2, 3, 4)
    assert found.to_base == (0, 1, 2, 3, 4, -1)


def test_text_that_cannot_be_read_is_refused_and_listed() -> None:
    base = tokenizer((*WORDS, *(f"w{i}" for i in range(20)), "<end>"), eos_token="<end>")
    other = tokenizer((*WORDS, "<end>"), eos_token="<end>")
    with pytest.raises(ValueError, match=r"lacks 20 of the base model's 25 tokens \('w0', 'w1', .*'w7' \.\.\.\)"):
        map_vocabularies(base, other, 25, 5)
