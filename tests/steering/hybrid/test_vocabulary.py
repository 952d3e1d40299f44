"""The map between two vocabularies: token by token, special tokens by role, a refusal where a text can't be read."""

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.steering.hybrid.vocabulary import map_vocabularies, match_strings
from tests.steering.pairs import same_vocabulary

WORDS = ("a", "b", " c", "\n")


def tokenizer(tokens: tuple[str, ...], **special: str) -> PreTrainedTokenizerFast:
    table = {token: id for id, token in enumerate(tokens)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(table, tokens[0])), **special)


def characters(table: dict[str, int]) -> PreTrainedTokenizerFast:
    """Reads a text character by character."""
    model = Tokenizer(models.WordLevel(table, "<end>"))
    model.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<end>")


def test_equal_tables_map_to_themselves() -> None:
    one = load_reader(ModelSource("package:embedded/base")).tokenizer
    two = load_reader(ModelSource("package:embedded/thinking")).tokenizer
    found = map_vocabularies(one, two, len(one), len(two))
    assert found == same_vocabulary(len(one))


def test_equal_sizes_are_not_equal_tables() -> None:
    base = tokenizer((*WORDS, "<end>"), eos_token="<end>")
    other = tokenizer(("<end>", *reversed(WORDS)), eos_token="<end>")
    found = map_vocabularies(base, other, 5, 5)
    assert found.to_thinking == (4, 3, 2, 1, 0)
    assert found.to_base == (4, 3, 2, 1, 0)


def test_strings_are_read_anew_and_ids_compared_as_numbers() -> None:
    """The authors' way (B7): where tables differ, so do the numbers of equal tokens."""
    base = tokenizer((*WORDS, "ab", "<end>"), eos_token="<end>")
    other = characters({"<end>": 0, "\n": 1, " ": 2, "c": 3, "b": 4, "a": 5})
    found = match_strings(base, other, 7, 6)
    assert found.to_thinking == (5, 4, 2, 1, 5, 0, 0), "of ' c' and 'ab' the first piece; past the table its end"
    assert found.to_base == (0, 1, 2, 3, 4, 5)
    exact = map_vocabularies(base, tokenizer(("<end>", "ab", *WORDS), eos_token="<end>"), 6, 6)
    assert exact.to_base[2] == 0, "the thinking model's 'a' is the base model's"


def test_strings_are_ids_where_both_models_share_one_table() -> None:
    one = load_reader(ModelSource("package:embedded/base")).tokenizer
    assert match_strings(one, one, len(one), len(one)) == same_vocabulary(len(one))


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


def test_the_base_reads_a_marker_that_it_lacks_as_its_end_and_refuses_a_text_that_it_lacks() -> None:
    """A distilled model's </think>, one token of its own; and a padded vocabulary's unused rows."""
    base = tokenizer(("<end>", *WORDS), eos_token="<end>")
    other = tokenizer((*WORDS, "word", "<stop>"), eos_token="<stop>")
    other.add_tokens([AddedToken("</think>", special=False)])
    found = map_vocabularies(base, other, 5, 9)
    assert found.to_base == (1, 2, 3, 4, -1, 0, -1, -1, -1)
    assert found.in_base((0, 6, 8, 5)) == (1, 0, 0, 0)
    with pytest.raises(ValueError, match="id 4 of the thinking model has no counterpart"):
        found.in_base((0, 4))


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
